package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// eraseLine erases from the cursor to the end of the line (ECMA-48 §8.3.41).
const eraseLine = "\x1b[K"

// progress says on standard error what is waited for. On a terminal that is a
// line which counts the seconds, from the first on, and is gone when stop is
// called; elsewhere it is one line, after patience. stop may be called more than
// once.
func progress(std stdio, what string, patience time.Duration) (stop func()) {
	return startProgress(std.err, what, isTerminal(std.err) && os.Getenv("TERM") != "dumb", patience)
}

// startProgress writes to w from a goroutine of its own, which has ended when
// stop returns.
func startProgress(w io.Writer, what string, terminal bool, patience time.Duration) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for seconds := 1; ; seconds++ {
			select {
			case <-over:
				if terminal && seconds > 1 {
					fmt.Fprint(w, "\r"+eraseLine)
				}
				return
			case <-tick.C:
			}
			switch {
			case terminal:
				fmt.Fprintf(w, "\r%s (%d s)"+eraseLine, plain(what), seconds)
			case time.Duration(seconds)*time.Second == patience:
				fmt.Fprintf(w, "agent-vault: %s\n", plain(what))
			}
		}
	}()
	return sync.OnceFunc(func() { close(over); <-ended })
}
