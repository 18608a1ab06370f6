package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// CPU time and memory of processes come from /proc (proc_pid_stat(5)), so that
// what a target does beside its requests (collecting garbage, writing to its
// database) counts too.

// cpuTime is what a process and all below it have used so far. Threads that
// have ended are left out: those of the targets last as long as they do.
func cpuTime(root int) (time.Duration, error) {
	pids, err := family("/proc", root)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, pid := range pids {
		t, err := taskTime("/proc", pid)
		if err != nil && pid != root {
			continue // a child that ended since
		}
		if err != nil {
			return 0, err
		}
		sum += t
	}
	return sum, nil
}

// taskTime adds up the first field of each thread's schedstat, in nanoseconds
// (the kernel's Documentation/scheduler/sched-stats.rst). stat would count ticks
// of 10 ms.
func taskTime(proc string, pid int) (time.Duration, error) {
	paths, err := filepath.Glob(fmt.Sprintf("%s/%d/task/*/schedstat", proc, pid))
	if err != nil {
		return 0, err
	}
	if len(paths) == 0 {
		return 0, fmt.Errorf("process %d has no /proc/PID/task/*/schedstat: it has ended, or this is no Linux with CONFIG_SCHED_INFO", pid)
	}
	var sum time.Duration
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // a thread that ended since
		}
		if err != nil {
			return 0, err
		}
		t, err := parseSchedstat(string(raw))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		sum += t
	}
	return sum, nil
}

func parseSchedstat(s string) (time.Duration, error) {
	first, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	if err != nil || ns < 0 {
		return 0, fmt.Errorf("%q is no schedstat", s)
	}
	return time.Duration(ns), nil
}

// family is a process and all below it.
func family(proc string, root int) ([]int, error) {
	paths, err := filepath.Glob(proc + "/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it ended since
		}
		pid, parent, err := parseStat(string(raw))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		children[parent] = append(children[parent], pid)
	}
	all := []int{root}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

// parseStat reads fields 1 and 4. Field 2, the name, is in parentheses and may
// hold anything.
func parseStat(s string) (pid, parent int, err error) {
	before, _, ok := strings.Cut(s, " (")
	end := strings.LastIndex(s, ") ")
	if !ok || end < 0 {
		return 0, 0, fmt.Errorf("%q is no stat", s)
	}
	fields := strings.Fields(s[end+2:])
	if len(fields) < 2 {
		return 0, 0, fmt.Errorf("%q is no stat", s)
	}
	pid, err1 := strconv.Atoi(before)
	parent, err2 := strconv.Atoi(fields[1])
	return pid, parent, errors.Join(err1, err2)
}

// resident is the memory of a process and all below it, in bytes.
func resident(root int) (int, error) {
	pids, err := family("/proc", root)
	if err != nil {
		return 0, err
	}
	sum := 0
	for _, pid := range pids {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
		if err != nil {
			return 0, err
		}
		pages, err := parseStatm(string(raw))
		if err != nil {
			return 0, err
		}
		sum += pages * os.Getpagesize()
	}
	return sum, nil
}

// parseStatm reads field 2, pages that are resident.
func parseStatm(s string) (int, error) {
	fields := strings.Fields(s)
	if len(fields) < 2 {
		return 0, fmt.Errorf("%q is no statm", s)
	}
	return strconv.Atoi(fields[1])
}

// settled is the CPU time of a process once it has come to rest: what it puts
// off (rows of a log, garbage) belongs to the turn that caused it.
func settled(ctx context.Context, root int) (time.Duration, error) {
	const (
		pause = 25 * time.Millisecond
		quiet = pause / 50 // of CPU per pause
		rests = 3
		limit = 3 * time.Second
	)
	before, err := cpuTime(root)
	if err != nil {
		return 0, err
	}
	for calm, begin := 0, time.Now(); calm < rests && time.Since(begin) < limit; {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(pause):
		}
		now, err := cpuTime(root)
		if err != nil {
			return 0, err
		}
		if calm++; now-before > quiet {
			calm = 0
		}
		before = now
	}
	return before, nil
}
