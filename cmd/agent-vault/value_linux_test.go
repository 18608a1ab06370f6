package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// TestTypedValue: a value is asked for where there is a terminal, also when
// standard input is named, and is taken whole or not at all.
func TestTypedValue(t *testing.T) {
	for _, tt := range []struct{ name, spec, typed, want, err string }{
		{"asked for", "", "sk-live-3f9a\n", "sk-live-3f9a", ""},
		{"typed to standard input", "-", "sk-live-3f9a\n", "sk-live-3f9a", ""},
		{"nothing", "", "\n", "", "the value is empty"},
		{"long", "", strings.Repeat("v", 4094) + "\n", strings.Repeat("v", 4094), ""},
		{"cut off", "", strings.Repeat("v", 5000) + "\n", "", "the value is longer than what a terminal takes as one line"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keyboard, screen, err := pty.Open()
			if err != nil {
				t.Fatal(err)
			}
			defer keyboard.Close()
			r, w, err := os.Pipe() // standard error
			if err != nil {
				t.Fatal(err)
			}
			go io.Copy(io.Discard, keyboard) // its echo, while there is one
			if _, err := io.WriteString(keyboard, tt.typed); err != nil {
				t.Fatal(err)
			}
			got, err := readValue(stdio{screen, w, w}, tt.spec, "Value: ")
			if got != tt.want || err == nil && tt.err != "" || err != nil && err.Error() != tt.err {
				t.Errorf("got %.80q, %v; want %.80q, %q", got, err, tt.want, tt.err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if said, err := io.ReadAll(r); err != nil || string(said) != "Value: \n" {
				t.Errorf("said %q, %v", said, err)
			}
			screen.Close()
		})
	}
}
