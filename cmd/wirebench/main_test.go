package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"regexp"
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
	if err := run(context.Background(), []string{"-scenario", "^keepalive-1$", "-turns", "2", "-requests", "20", "-target", "goproxy|agent-vault", "-dir", t.TempDir()}, &out, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, want := range []string{"direct", "path/reference", "mitm/reference", "mitm/goproxy", "path/agent-vault", "mitm/agent-vault"} {
		if !strings.Contains(out.String(), "\n"+want+" ") {
			t.Errorf("no row of %s:\n%s", want, &out)
		}
	}
}

// TestOthers sends a few requests through each proxy that is installed.
func TestOthers(t *testing.T) {
	for _, o := range others() {
		t.Run(o.program, func(t *testing.T) {
			if _, err := exec.LookPath(o.program); err != nil {
				t.Skipf("needs %s, which is not installed", o.program)
			}
			dir, err := os.MkdirTemp("", "wirebench-test-") // t.TempDir is in one that squid's user cannot enter
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			b := &bench{options: options{target: regexp.MustCompile(o.program)}, dir: dir}
			defer b.stop()
			if err := b.startOrigin(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := b.startOthers(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(b.targets) == 0 {
				t.Skipf("needs %s as a flavour that intercepts TLS", o.program)
			}
			for range 3 {
				if err := single(t.Context(), b.targets[0], hostH1); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
