package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Other proxies take part when they are installed. They do what the reference
// does: hand on, over verified TLS, what comes for hostH1.

// An other is a proxy that somebody else makes.
type other struct {
	program  string // to look for
	entrance string
	version  []string // arguments that print it
	slow     int      // a turn has that many times fewer requests

	// run returns the command that serves on addr in the foreground, with its
	// files in dir; at is what it was found as.
	run func(ctx context.Context, at, dir, addr string, w wiring) (*exec.Cmd, error)

	lacks []string // scenarios that it cannot do
}

func others() []other {
	return []other{
		{program: "nginx", entrance: entrancePath, version: []string{"-v"}, run: nginx},
		{program: "haproxy", entrance: entrancePath, version: []string{"-v"}, run: haproxy},
		{program: "squid", entrance: entranceMITM, version: []string{"-v"}, run: squid, lacks: []string{"websocket"}},
		{program: "mitmdump", entrance: entranceMITM, version: []string{"--version"}, run: mitmproxy, slow: 10},
	}
}

// startOthers starts those that are installed and asked for.
func (b *bench) startOthers(ctx context.Context) error {
	for _, o := range others() {
		t := &target{name: o.entrance + "/" + o.program, entrance: o.entrance, connect: o.entrance == entranceMITM, slow: o.slow, lacks: o.lacks}
		at, err := exec.LookPath(o.program)
		if err != nil || !b.target.MatchString(t.name) {
			continue
		}
		if err := b.startOther(ctx, o, at, t); err != nil {
			return fmt.Errorf("%s: %w", o.program, err)
		}
	}
	return nil
}

func (b *bench) startOther(ctx context.Context, o other, at string, t *target) (err error) {
	dir := filepath.Join(b.dir, o.program)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if o.program == "squid" {
		if _, t.port, err = net.SplitHostPort(b.wiring.OriginH1); err != nil {
			return err
		}
	}
	if t.addr, err = freeAddr(); err != nil {
		return err
	}
	cmd, err := o.run(ctx, at, dir, t.addr, b.wiring)
	if errors.Is(err, fs.ErrNotExist) {
		b.programs = append(b.programs, program{o.program, "installed, but cannot intercept TLS"})
		return nil
	}
	if err != nil {
		return err
	}
	p, err := startAt(ctx, cmd, t.addr)
	if err != nil {
		return err
	}
	b.started = append(b.started, p)
	t.pid = p.pid()
	pool, err := roots(filepath.Join(b.dir, caFile))
	if err != nil {
		return err
	}
	t.tls = clientTLS(pool)
	b.add(t)
	out, err := exec.CommandContext(ctx, at, o.version...).CombinedOutput()
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(out), "\n")
	b.programs = append(b.programs, program{o.program, strings.TrimSpace(first)})
	return nil
}

// freeAddr is an address of loopback on which nothing listens at the moment.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}
