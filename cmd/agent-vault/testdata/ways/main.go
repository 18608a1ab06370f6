//go:build linux

// Command ways tries every way that it knows out of where it runs, and prints
// what came of each: "" for one that led out. TestWaysOut runs it outside, where
// they do, and in an isolated command, where none may.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// Targets are what stands outside, for the ways to lead to.
type Targets struct {
	TCP4, LAN, TCP6, UDP4, UDPLAN, UDP6, DNS, HTTP string // addresses; "": there is none

	HomeSocket, TmpSocket, RunSocket, Datagrams, Abstract string

	Victim int // a process of the same user, with Secret in its environment and memory
	Secret string

	Login, Data, Hidden string // files that hold Secret, in folders that are hidden
	TmpFile             string // likewise, in /tmp, and its name from the working folder
	TmpRelative         string
	Shared              string // in /dev/shm
	SysV                int    // key of a segment of shared memory
	Terminal            string // that somebody else uses
	Control             string // file of a control group of this user's; "": there is none
	Descriptor          int    // of a file that holds Secret, handed down
	Setuid              string // this program, of root and setuid; "": it could not be made
}

// Result is what is printed.
type Result struct {
	Ways map[string]string
	API  string // what an allowed API answered, through the proxy
	Self string // what the vault's own API answered
	Me   string // user, group, process group's and working folder
}

func main() {
	if len(os.Args) < 2 {
		os.Exit(2)
	}
	switch os.Args[1] {
	case "user":
		fmt.Print(os.Geteuid())
		return
	case "wait":
		fmt.Print(".")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	case "below":
		os.Exit(below(os.Args[2]))
	}
	var t Targets
	raw, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = json.Unmarshal(raw, &t)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	here, _ := os.Getwd()
	r := Result{Ways: make(map[string]string), Me: fmt.Sprint(os.Getuid(), os.Getgid(), here)}
	for _, w := range ways(&t) {
		if os.Getenv("WAYS") != "" { // which one hangs
			fmt.Fprintln(os.Stderr, w.name)
		}
		r.Ways[w.name] = outcome(w.try)
	}
	if os.Getenv("AGENT_VAULT_ADDR") != "" {
		r.API = get("https://api.test/allowed", "")
		r.Self = get(os.Getenv("AGENT_VAULT_ADDR")+"/discover", os.Getenv("AGENT_VAULT_SESSION_TOKEN"))
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		os.Exit(2)
	}
}

// outcome gives each way as long as a network that answers nothing deserves.
func outcome(try func() error) string {
	done := make(chan error, 1)
	go func() { done <- try() }()
	select {
	case err := <-done:
		if err != nil {
			return err.Error()
		}
		return ""
	case <-time.After(3 * time.Second):
		return "nothing came of it"
	}
}

func get(url, token string) string {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err.Error()
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(string(body)), " ", err)
}
