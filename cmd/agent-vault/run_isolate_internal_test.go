package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDataOfServers: what command lines of servers tell of where the data is.
func TestDataOfServers(t *testing.T) {
	proc, home := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_DATA_HOME", "")
	password := write(t, "egress", "a password", 0o600)
	config := write(t, "c.yaml", "data_dir: /srv/vault\negress: {proxy: 'http://me@proxy.test:3128', password: 'file:"+password+"'}\n", 0o600)
	process := func(pid string, uid int, words ...string) {
		dir := filepath.Join(proc, pid)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"cmdline": strings.Join(words, "\x00") + "\x00", "status": fmt.Sprintf("Name:\tx\nUid:\t%d\t0\t0\t0\n", uid),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	self := os.Getuid()
	process("self", self, "agent-vault", "server") // no process
	process("10", self, "/usr/bin/agent-vault", "server", "--data-dir", "/var/lib/vault")
	process("11", self, "agent-vault", "server", "--config", config)
	process("12", self, "agent-vault", "server")
	process("13", self+1, "agent-vault", "server", "--data-dir", "/somebody's")
	process("14", self, "agent-vault", "vault", "run", "--", "x")
	process("15", self, "vim", "server")
	process("16", self, "server")
	process("17", self, "agent-vault", "server", "--config", "c.yaml")
	process("18", self, "")
	got, err := dataOfServers(proc)
	slices.Sort(got)
	want := []string{filepath.Join(home, ".local/share/agent-vault"), "/srv/vault", "/var/lib/vault", password}
	slices.Sort(want)
	if !slices.Equal(got, want) || err == nil || !strings.Contains(err.Error(), "process 17 ") || strings.Count(err.Error(), "cannot be told") != 1 {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}
