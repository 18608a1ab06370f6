package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
)

// A bench is one run.
type bench struct {
	options
	out     io.Writer
	dir     string
	wiring  wiring
	control string // the origin's, in clear
	targets []*target
	started []*process
	results []result
}

// options are what the flags say.
type options struct {
	scenario, target *regexp.Regexp
	turns            int
	requests         int // 0: as the scenario says
	quick            bool
	vaults           []build // none: build one
}

// A build is an agent-vault binary.
type build struct{ name, path string }

// A result is one scenario's figures: by target, by measure, by turn.
type result struct {
	scenario scenario
	targets  []*target
	values   map[string]map[string][]float64
}

// start starts the origin and all targets that are asked for.
func (b *bench) start(ctx context.Context) error {
	if err := writeCertificates(b.dir); err != nil {
		return err
	}
	b.wiring = wiring{Dir: b.dir}
	var addr originAddr
	p, err := startOwn(ctx, "serve-origin", b.wiring, &addr)
	if err != nil {
		return err
	}
	b.started = append(b.started, p)
	b.wiring.OriginH1, b.wiring.OriginH2, b.control = addr.H1, addr.H2, addr.Control
	return errors.Join(b.startOwn(ctx), b.startVaults(ctx))
}

func (b *bench) stop() {
	for _, p := range slices.Backward(b.started) {
		p.stop()
	}
}

func (b *bench) startOwn(ctx context.Context) error {
	pool, err := roots(filepath.Join(b.dir, caFile))
	if err != nil {
		return err
	}
	b.add(&target{name: "direct", entrance: entranceDirect, http2: true, wide: true, tls: clientTLS(pool)})
	var addr proxyAddr
	p, err := startOwn(ctx, "serve-reference", b.wiring, &addr)
	if err != nil {
		return err
	}
	b.started = append(b.started, p)
	collect := collectAt(addr.Control)
	b.add(&target{name: "path/reference", entrance: entrancePath, pid: p.pid(), addr: addr.Path, wide: true, collect: collect})
	b.add(&target{name: "mitm/reference", entrance: entranceMITM, pid: p.pid(), addr: addr.TLS, http2: true, wide: true, tls: clientTLS(pool), collect: collect})
	addr = proxyAddr{}
	if p, err = startOwn(ctx, "serve-goproxy", b.wiring, &addr); err != nil {
		return err
	}
	b.started = append(b.started, p)
	b.add(&target{name: "mitm/goproxy", entrance: entranceMITM, pid: p.pid(), addr: addr.Proxy, connect: true, wide: true, tls: clientTLS(pool), collect: collectAt(addr.Control)})
	return nil
}

// add takes a target in, if it is asked for. What others are held against always is.
func (b *bench) add(t *target) {
	t.wiring = b.wiring
	if b.target.MatchString(t.name) || t.name == "direct" || t.program() == "reference" {
		b.targets = append(b.targets, t)
	}
}

func (b *bench) startVaults(ctx context.Context) error {
	if len(b.vaults) == 0 {
		path, err := buildVault(ctx, b.dir)
		if err != nil {
			return err
		}
		b.vaults = []build{{"agent-vault", path}}
	}
	for _, v := range b.vaults {
		if err := b.startVault(ctx, v, "", variant{10, 1}); err != nil {
			return err
		}
	}
	return nil
}

// startVault adds both entrances of a build.
func (b *bench) startVault(ctx context.Context, v build, suffix string, as variant) error {
	server, err := startVault(ctx, v.path, b.dir, b.wiring, b.hosts(), as.services, as.sessions)
	if err != nil {
		return err
	}
	b.started = append(b.started, server.process)
	both, err := server.targets(v.name + suffix)
	if err != nil {
		return err
	}
	for _, t := range both {
		t.wiring = b.wiring
		if err := injects(ctx, t); err != nil {
			return fmt.Errorf("%s: the origin did not get the credential: %w", t.name, err)
		}
		b.add(t)
	}
	return nil
}

// hosts is all names of the origin that a run may ask for.
func (b *bench) hosts() []string { return []string{hostH1, hostH2} }

// run measures one scenario: all targets in each turn, one after the other.
func (b *bench) run(ctx context.Context, s scenario) error {
	r := result{scenario: s, values: make(map[string]map[string][]float64)}
	for _, t := range b.targets {
		if s.fits == nil || s.fits(t) {
			r.targets = append(r.targets, t)
			r.values[t.name] = make(map[string][]float64)
		}
	}
	n := s.requests
	if b.quick {
		n = max(n/10, 1)
	}
	if b.requests > 0 {
		n = b.requests
	}
	for turn := range b.turns {
		for _, t := range r.targets {
			got, err := s.turn(ctx, b, t, n)
			if err != nil {
				return fmt.Errorf("%s, %s, turn %d: %w", s.name, t.name, turn+1, err)
			}
			for name, v := range got {
				r.values[t.name][name] = append(r.values[t.name][name], v)
			}
		}
	}
	b.results = append(b.results, r)
	r.print(b.out)
	return nil
}
