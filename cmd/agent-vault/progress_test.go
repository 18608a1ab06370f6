package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"
)

func TestProgress(t *testing.T) {
	const what = "waiting for http://127.0.0.1:14321"
	for _, tt := range []struct {
		name     string
		terminal bool
		after    time.Duration
		want     string
	}{
		{"quick, on a terminal", true, 900 * time.Millisecond, ""},
		{"quick, elsewhere", false, 4900 * time.Millisecond, ""},
		{"slow, on a terminal", true, 2500 * time.Millisecond, "\r" + what + " (1 s)\x1b[K\r" + what + " (2 s)\x1b[K\r\x1b[K"},
		{"slow, elsewhere", false, 10 * time.Second, "agent-vault: " + what + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var b bytes.Buffer
				stop := startProgress(&b, what, tt.terminal, 5*time.Second)
				time.Sleep(tt.after) // of the bubble's clock
				stop()
				stop() // may be called again
				if b.String() != tt.want {
					t.Errorf("got %q, want %q", b.String(), tt.want)
				}
			})
		})
	}
}
