package main_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Proxies that others wrote: squid by HTTP with a login, dante by SOCKS5. Each
// refuses one of the world's origins.

const squidConfig = `
http_port %s
auth_param basic program /bin/sh %s
acl known proxy_auth REQUIRED
acl forbidden port %s
http_access deny forbidden
http_access allow known
http_access deny all
cache deny all
cache_log /dev/null
access_log none
pid_filename none
pinger_enable off
shutdown_lifetime 1 seconds
max_filedescriptors 1024
`

// What squid asks whether a login is right.
const squidLogins = `while read user password; do
	if [ "$user $password" = "vault ` + egressPassword + `" ]; then echo OK; else echo ERR; fi
done
`

const danteConfig = `
logoutput: stderr
internal: %s port = %s
external: 127.0.0.1
socksmethod: none
clientmethod: none
client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
socks block { from: 127.0.0.0/8 to: 0.0.0.0/0 port = %s }
socks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }
`

func TestEgressOfOthers(t *testing.T) {
	t.Run("squid", func(t *testing.T) {
		program, addr := needs(t, "squid"), closedPort(t)
		w := newEgressWorld(t, "http://"+addr)
		logins := filepath.Join(t.TempDir(), "logins.sh")
		for _, dir := range []string{filepath.Dir(logins), filepath.Dir(filepath.Dir(logins))} {
			if err := os.Chmod(dir, 0o711); err != nil { // squid gives root away before it looks
				t.Fatal(err)
			}
		}
		config := fmt.Sprintf(squidConfig, addr, logins, portOf(t, w.modern.Addr))
		for path, text := range map[string]string{logins: squidLogins, w.path("squid.conf"): config} {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		startProxy(t, addr, program, "-N", "-d", "1", "-f", w.path("squid.conf"))
		w.throughOthers(t)
	})
	t.Run("dante", func(t *testing.T) {
		program, addr := needs(t, "danted"), closedPort(t)
		w := newWorldWith(t, "egress: {proxy: 'socks5://"+addr+"'}\n")
		config := fmt.Sprintf(danteConfig, "127.0.0.1", portOf(t, addr), portOf(t, w.modern.Addr))
		if err := os.WriteFile(w.path("danted.conf"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		startProxy(t, addr, program, "-f", w.path("danted.conf"))
		w.throughOthers(t)
	})
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func (w *world) throughOthers(t *testing.T) {
	t.Helper()
	for _, e := range entrances {
		for host, want := range map[string]string{
			"api.test":     `"proto":"HTTP/1.1"`,
			"modern.test":  "the egress proxy does not allow this host or port",
			"down.test":    "the egress proxy could not reach the host",
			"private.test": "network_blocked",
		} {
			if a := w.do(e, w.token, call{host: host, target: "/"}); !strings.Contains(a.body, want) {
				t.Errorf("%s %s: %d %s, want %s", e, host, a.status, a.body, want)
			}
		}
		w.echoes(t, e)
	}
}

// startProxy runs a program until the test ends, and waits until it takes
// connections: squid says so a little before it does.
func startProxy(t *testing.T, addr, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has children
	said := new(syncBuffer)
	cmd.Stderr = said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended does not matter
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it may have ended
		<-done
	})
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
		select {
		case <-done:
			t.Fatalf("%s ended:\n%s", program, said)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
