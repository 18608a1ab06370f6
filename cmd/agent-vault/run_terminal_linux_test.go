package main_test

import (
	"strings"
	"testing"

	"github.com/creack/pty"
)

// TestChildHasTheTerminal: its size and its changes, what is typed, and one
// Ctrl-C as one.
func TestChildHasTheTerminal(t *testing.T) {
	python := needs(t, "python3")
	w := newWorld(t)
	term := onTerminal(t, w.env("HOME="+w.dir), "vault", "run", "--", python, "-u", "-c", `
import os, signal, sys
interrupts = []
signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
signal.signal(signal.SIGWINCH, lambda *_: print("now", *os.get_terminal_size()))
print("terminals:", *(os.isatty(fd) for fd in range(3)))
line = input()
print("read", line, "interrupts", len(interrupts))
sys.exit(5)`)
	term.sees("terminals: True True True")
	if err := pty.Setsize(term.file, &pty.Winsize{Rows: 33, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	term.sees("now 77 33")
	if _, err := term.file.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	term.sees("^C")
	if _, err := term.file.WriteString("typed\n"); err != nil {
		t.Fatal(err)
	}
	if status, seen := term.ends(); status != 5 || !strings.Contains(seen, "read typed interrupts 1\n") {
		t.Errorf("status %d: %s", status, seen)
	}
}
