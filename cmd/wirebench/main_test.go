package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

// The servers of a run are this program again: here, the test's.
func TestMain(m *testing.M) {
	if os.Getenv(wiringVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestRun measures one scenario against real processes, with tiny counts.
func TestRun(t *testing.T) {
	if _, err := cpuTime(os.Getpid()); err != nil {
		t.Skipf("needs Linux: %v", err)
	}
	var out bytes.Buffer
	if err := run(context.Background(), []string{"-scenario", "^keepalive-1$", "-turns", "2", "-requests", "20", "-dir", t.TempDir()}, &out, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"direct", "path/reference", "mitm/reference", "mitm/goproxy", "path/agent-vault", "mitm/agent-vault"} {
		if !strings.Contains(out.String(), "\n"+want+" ") {
			t.Errorf("no row of %s:\n%s", want, &out)
		}
	}
}
