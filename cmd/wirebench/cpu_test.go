package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestParseProc(t *testing.T) {
	for s, want := range map[string]time.Duration{"985918 176337 6\n": 985918, "0 0 0\n": 0} {
		if got, err := parseSchedstat(s); err != nil || got != want {
			t.Errorf("parseSchedstat(%q) = %v, %v", s, got, err)
		}
	}
	for s, want := range map[string][2]int{
		"7 (cat) R 3 7 3 0":       {7, 3},
		"12 (a (b) c) d) S 7 1 1": {12, 7},
	} {
		pid, parent, err := parseStat(s)
		if err != nil || pid != want[0] || parent != want[1] {
			t.Errorf("parseStat(%q) = %v, %v, %v", s, pid, parent, err)
		}
	}
	if got, err := parseStatm("100 42 3 4 5 6 7\n"); err != nil || got != 42 {
		t.Errorf("parseStatm = %v, %v", got, err)
	}
	for _, bad := range []string{"", "x", "-1 x"} {
		_, err1 := parseSchedstat(bad)
		_, _, err2 := parseStat(bad)
		_, err3 := parseStatm(bad)
		if err1 == nil || err2 == nil || err3 == nil {
			t.Errorf("%q passes: %v, %v, %v", bad, err1, err2, err3)
		}
	}
}

// TestFamily lays a /proc: workers and their children count, others do not.
func TestFamily(t *testing.T) {
	proc := t.TempDir()
	for pid, parent := range map[int]int{1: 0, 10: 1, 11: 10, 12: 10, 13: 12, 20: 1} {
		for task, ns := range map[int]int{pid: 100, pid + 1000: 11} {
			dir := filepath.Join(proc, fmt.Sprint(pid), "task", fmt.Sprint(task))
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "schedstat"), fmt.Appendf(nil, "%d 0 0\n", ns), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(proc, fmt.Sprint(pid), "stat"), fmt.Appendf(nil, "%d (x) S %d 0\n", pid, parent), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := family(proc, 10)
	slices.Sort(got)
	if want := []int{10, 11, 12, 13}; err != nil || !slices.Equal(got, want) {
		t.Errorf("family = %v, %v, want %v", got, err, want)
	}
	if got, err := taskTime(proc, 10); err != nil || got != 111 {
		t.Errorf("taskTime = %v, %v, want 111", got, err)
	}
	if _, err := taskTime(proc, 99); err == nil {
		t.Error("a process that is not there has a time")
	}
}
