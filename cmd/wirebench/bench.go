package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// A bench is one run.
type bench struct {
	options
	out      io.Writer
	dir      string
	wiring   wiring
	control  string // the origin's, in clear
	targets  []*target
	started  []*process
	results  []result
	programs []program
	began    time.Time
	turn     int // the current one
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
	if _, err := cpuTime(os.Getpid()); err != nil {
		return err
	}
	b.began, b.programs = time.Now(), ownPrograms()
	for _, f := range []func(context.Context) error{b.startOrigin, b.startOwn, b.startOthers, b.startVaults} {
		if err := f(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) startOrigin(ctx context.Context) error {
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
	return nil
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

func (b *bench) add(t *target) {
	t.wiring = b.wiring
	if b.wants(t) {
		b.targets = append(b.targets, t)
	}
}

// wants says whether a target is asked for. What others are held against always is.
func (b *bench) wants(t *target) bool {
	return b.target.MatchString(t.name) || t.name == entranceDirect || t.program() == "reference"
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
		b.programs = append(b.programs, vaultProgram(v))
		p, both, err := b.startVault(ctx, v, "", usual)
		if err != nil {
			return err
		}
		b.started = append(b.started, p)
		for _, t := range both {
			b.add(t)
		}
	}
	return nil
}

// startVault starts a build and returns both its entrances.
func (b *bench) startVault(ctx context.Context, v build, suffix string, as variant) (*process, []*target, error) {
	server, err := startVault(ctx, v.path, b.dir, b.wiring, b.hosts(), as)
	if err != nil {
		return nil, nil, err
	}
	both, err := server.targets(v.name + suffix)
	for _, t := range both {
		t.wiring = b.wiring
		if err == nil {
			err = injects(ctx, t)
		}
	}
	if err != nil {
		server.stop()
		return nil, nil, fmt.Errorf("%s: the origin did not get the credential: %w", v.name, err)
	}
	return server.process, both, nil
}

// hosts is all names of the origin that the run asks for.
func (b *bench) hosts() []string {
	list := []string{hostH1, hostH2}
	if !b.scenario.MatchString(nameHosts) {
		return list
	}
	for turn := range b.turns {
		for i := range manyHosts {
			list = append(list, manyHost(entrancePath, turn, i), manyHost(entranceMITM, turn, i))
		}
	}
	return list
}

// run measures one scenario.
func (b *bench) run(ctx context.Context, s scenario) error {
	if s.variants == nil {
		return b.measure(ctx, s, b.targets)
	}
	var targets []*target
	for _, v := range b.vaults {
		servers, both, err := b.startVariants(ctx, v, s.variants)
		for _, p := range servers {
			defer p.stop()
		}
		if err != nil {
			return err
		}
		targets = append(targets, both...)
	}
	for _, t := range targets { // they were started only now
		if _, err := s.turn(ctx, b, t, max(b.count(s)/4, 1)); err != nil {
			return fmt.Errorf("%s, %s: %w", s.name, t.name, err)
		}
	}
	return b.measure(ctx, s, targets)
}

// startVariants starts a build in several variants; each target is held against
// that of the first.
func (b *bench) startVariants(ctx context.Context, v build, variants []variant) (started []*process, targets []*target, err error) {
	for i, as := range variants {
		p, both, err := b.startVault(ctx, v, ", "+as.name, as)
		if err != nil {
			return started, nil, err
		}
		started = append(started, p)
		for j, t := range both {
			if t.base = t.name; i > 0 {
				t.base = targets[j].base
			}
			targets = append(targets, t)
		}
	}
	return started, slices.DeleteFunc(targets, func(t *target) bool { return !b.wants(t) }), nil
}

// measure takes all targets in each turn, one after the other.
func (b *bench) measure(ctx context.Context, s scenario, targets []*target) error {
	r := result{scenario: s, values: make(map[string]map[string][]float64)}
	for _, t := range targets {
		if (s.fits == nil || s.fits(t)) && !slices.Contains(t.lacks, s.name) {
			r.targets = append(r.targets, t)
			r.values[t.name] = make(map[string][]float64)
		}
	}
	for b.turn = range b.turns {
		for _, t := range r.targets {
			got, err := s.turn(ctx, b, t, max(b.count(s)/max(t.slow, 1), 1))
			if err != nil {
				return fmt.Errorf("%s, %s, turn %d: %w", s.name, t.name, b.turn+1, err)
			}
			for name, v := range got {
				r.values[t.name][name] = append(r.values[t.name][name], v)
			}
		}
	}
	b.results = append(b.results, r)
	return r.print(b.out)
}

// count is how many requests a turn has.
func (b *bench) count(s scenario) int {
	n := s.requests
	if b.quick {
		n = max(n/10, 1)
	}
	if b.requests > 0 {
		n = b.requests
	}
	return n
}
