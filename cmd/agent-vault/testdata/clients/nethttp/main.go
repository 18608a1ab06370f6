// CELL URL FILE: what the matrix of clients asks of net/http.
package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	cell, url, file := os.Args[1], os.Args[2], os.Args[3]
	method, body := http.MethodGet, io.Reader(nil)
	if cell == "upload" {
		f, err := os.Open(file)
		if err != nil {
			log.Fatal(err)
		}
		method, body = http.MethodPut, f
	}
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		log.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if cell == "stream" {
		sum := sha256.New()
		if _, err := io.Copy(sum, resp.Body); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%x\n", sum.Sum(nil))
		return
	}
	fmt.Println(resp.Proto, resp.Status)
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		fmt.Println(lines.Text())
	}
}
