package isolate_test

import (
	"fmt"
	"io"
	"os"

	"agentvault/isolate"
)

// A command finds one listener, and nothing else that answers.
func ExampleStart() {
	isolate.Stage() // first of all in main

	p, err := isolate.Start(isolate.Command{
		Path: "/usr/bin/curl", Args: []string{"curl", "http://127.0.0.1:8080/"}, Dir: "/",
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Listen: []string{"127.0.0.1:8080"},
	})
	if err != nil {
		fmt.Println(err) // and nothing has run
		return
	}
	go func() {
		c, err := p.Listeners[0].Accept()
		if err != nil {
			return // it has ended
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nhello\n") // curl says what it got
	}()
	status, err := p.Wait()
	fmt.Println(status, err)
}
