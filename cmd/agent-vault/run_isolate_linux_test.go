package main_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tried runs the program that tries all ways.
func (o *outside) tried(cmd *exec.Cmd) (r wayResult) {
	o.t.Helper()
	f, err := os.Open(o.targets.TmpFile)
	o.check(err)
	defer f.Close()
	cmd.ExtraFiles = []*os.File{f}
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		o.t.Fatalf("%v: %s\n%s", err, out, &errs)
	}
	return r
}

// asRoot are ways that lead out for root alone.
var asRoot = []string{"raw ICMP", "raw IP", "packets", "changing an interface", "setns", "a copy of the mounts"}

// unshown are those that lead nowhere outside, since nothing is covered there.
var unshown = []string{"unmounting", "remounting"}

// TestWaysOut: everything by which a command could get out leads out of where
// it runs otherwise, and nowhere from where it is isolated; and from there it
// reaches what the vault allows.
func TestWaysOut(t *testing.T) {
	o := newOutside(t)
	w := newWorld(t)
	o.build()
	login := w.login()

	// In a group of its own, as a shell starts a job: one of the ways leads to it.
	cmd := o.command(nil, o.ways, "targets.json")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var root wayResult
	if o.attr != nil {
		root = o.tried(cmd)
		cmd = o.command(nil, o.ways, "targets.json")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: o.attr.Credential}
	}
	plain := o.tried(cmd)
	inside := o.tried(o.isolated(w.instance, login, "--hide", filepath.Join(o.home, ".ssh"), "--", o.ways, "targets.json"))

	shown := 0
	for _, name := range slices.Sorted(maps.Keys(inside.Ways)) {
		if inside.Ways[name] == "" {
			t.Errorf("%s leads out", name)
		}
		switch here, asRoots := plain.Ways[name], root.Ways[name]; {
		case here == "":
			shown++
		case slices.Contains(asRoot, name) && root.Ways != nil:
			if asRoots != "" {
				t.Errorf("%s leads nowhere outside either: %s", name, asRoots)
			}
			shown++
		case slices.Contains(unshown, name):
		case os.Getuid() != 0 || !o.offers(name):
			t.Logf("%s cannot be shown to lead out: %s", name, here)
		default:
			t.Errorf("%s leads nowhere outside either: %s", name, here)
		}
		t.Logf("%-50s %s", name, inside.Ways[name])
	}
	t.Logf("%d ways, %d of them shown to lead out otherwise", len(inside.Ways), shown)
	if shown < 20 {
		t.Errorf("only %d ways are shown to lead out", shown)
	}
	if !strings.HasPrefix(inside.API, "200 ") || !strings.HasPrefix(inside.Self, "200 ") || !strings.Contains(inside.Self, "api.test") {
		t.Errorf("what is allowed: %s; the vault's API: %s", inside.API, inside.Self)
	}
	w.wantInjected(t, inside.API)
	if inside.Me != plain.Me {
		t.Errorf("it is %s, and %s otherwise", inside.Me, plain.Me)
	}
}

// offers reports whether this machine has what a way needs.
func (o *outside) offers(name string) bool {
	setting := func(path, want string) bool {
		b, err := os.ReadFile(path)
		return err == nil && strings.TrimSpace(string(b)) == want
	}
	socket := func(family int) bool {
		fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
		return !errors.Is(err, unix.EAFNOSUPPORT) && (err != nil || unix.Close(fd) == nil)
	}
	yama := func(scopes ...int) bool {
		return slices.ContainsFunc(scopes, func(n int) bool { return setting("/proc/sys/kernel/yama/ptrace_scope", strconv.Itoa(n)) })
	}
	switch name {
	case "TCP to the machine's address", "QUIC":
		return o.targets.LAN != ""
	case "TCP over IPv6", "UDP over IPv6":
		return o.targets.TCP6 != ""
	case "vsock to the host":
		return socket(unix.AF_VSOCK)
	case "AF_ALG":
		return socket(unix.AF_ALG)
	case "a control group":
		return o.targets.Control != ""
	case "io_uring":
		return setting("/proc/sys/kernel/io_uring_disabled", "0")
	case "TIOCSTI":
		return setting("/proc/sys/dev/tty/legacy_tiocsti", "1")
	case "ptrace of another process", "another process's mem": // a setting of Yama's, where it is
		return !yama(1, 2, 3)
	case "ptrace of a child", "memory of a child":
		return !yama(2, 3)
	}
	return true
}
