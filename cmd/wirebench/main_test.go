package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
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

// TestRun measures a few scenarios against real processes, with tiny counts.
func TestRun(t *testing.T) {
	if _, err := cpuTime(os.Getpid()); err != nil {
		t.Skipf("needs Linux: %v", err)
	}
	var out bytes.Buffer
	args := []string{"-scenario", "^(keepalive-1|h2-16|websocket)$", "-target", "agent-vault|goproxy",
		"-turns", "1", "-requests", "3", "-dir", t.TempDir()}
	if err := run(t.Context(), args, &out, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for want, n := range map[string]int{"direct": 3, "path/reference": 2, "mitm/reference": 3, "mitm/goproxy": 2, "path/agent-vault": 2, "mitm/agent-vault": 3} {
		if got := strings.Count(out.String(), "\n"+want+" "); got != n {
			t.Errorf("%d rows of %s, want %d:\n%s", got, want, n, &out)
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

func TestFlags(t *testing.T) {
	o, err := parse([]string{"-scenario", "keep", "-turns", "2", "-agent-vault", "/a/b", "-agent-vault", "new=/c=d"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if want := []build{{"agent-vault", "/a/b"}, {"new", "/c=d"}}; !slices.Equal(o.vaults, want) || o.turns != 2 || !o.scenario.MatchString("keepalive-1") || !o.target.MatchString("x") {
		t.Errorf("parsed as %+v", o)
	}
	for _, bad := range [][]string{{"x"}, {"-turns", "0"}, {"-requests", "-1"}, {"-scenario", "("}, {"-agent-vault", "a,b=/x"}, {"-agent-vault", "/x", "-agent-vault", "/y"}} {
		if _, err := parse(bad, io.Discard); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
	if err := run(t.Context(), []string{"-scenario", "nothing"}, io.Discard, io.Discard); err == nil {
		t.Error("a run without a scenario passes")
	}
	var out, help bytes.Buffer
	if err := run(t.Context(), []string{"-help"}, &out, &help); err != nil || !strings.Contains(help.String(), "-agent-vault old=") {
		t.Errorf("help: %v\n%s", err, &help)
	}
	if err := run(t.Context(), []string{"-list"}, &out, &help); err != nil || !strings.Contains(out.String(), "\nkeepalive-16 ") {
		t.Errorf("list: %v\n%s", err, &out)
	}
}
