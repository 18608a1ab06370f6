package main

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Against what a measure is held.
const (
	ratioToReference = "reference" // of the same entrance
	beyondDirect     = "direct"    // what comes on top
	nothing          = ""
)

// A measure is one figure of a scenario.
type measure struct {
	name     string // of the key in a sample
	unit     string
	title    string
	against  string
	noDirect bool   // it says nothing of a client without a proxy
	goal     string // at most so much; "" has none
}

// A sample is what one turn gave, by measure.
type sample map[string]float64

// A scenario is something that agents do.
type scenario struct {
	name, title string
	requests    int    // per turn, unless told otherwise
	noun        string // what they are; "" is requests
	measures    []measure
	fits        func(t *target) bool
	turn        func(ctx context.Context, b *bench, t *target, n int) (sample, error)

	// variants, when set, are the vaults that are measured instead of everything
	// else, each held against the first.
	variants []variant
}

// cpuPer runs f and returns what the target's process used meanwhile, in
// microseconds per n.
func cpuPer(ctx context.Context, t *target, n int, f func() error) (float64, error) {
	if t.pid == 0 {
		return 0, f()
	}
	before, err := settled(ctx, t.pid)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := settled(ctx, t.pid)
	return micros(after-before) / float64(n), err
}

// each runs n numbered pieces of work on as many workers, and returns the first error.
func each(ctx context.Context, workers, n int, work func(worker, i int) error) error {
	var next atomic.Int64
	var first error
	var failed sync.Once
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := work(worker, i); err != nil {
					failed.Do(func() { first = err })
					next.Store(int64(n)) // the others stop too
				}
			}
		})
	}
	wg.Wait()
	return cmp.Or(first, ctx.Err())
}

// A pool is connections that stay open, each with its request.
type pool struct {
	clients  []*client
	requests [][]byte
	want     []byte
	bufs     [][]byte
	took     [][]time.Duration // by connection
}

// connect opens connections; each asks as the next session.
func connect(ctx context.Context, t *target, connections int, want []byte, request func(session int) []byte) (*pool, error) {
	p := &pool{
		want: want, clients: make([]*client, connections), requests: make([][]byte, connections),
		bufs: make([][]byte, connections), took: make([][]time.Duration, connections),
	}
	err := each(ctx, min(connections, 8), connections, func(_, i int) (err error) {
		p.clients[i], err = t.dial(ctx, hostH1, i)
		p.requests[i] = request(i)
		p.bufs[i] = make([]byte, len(want)+1)
		return err
	})
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pool) close() {
	for _, c := range p.clients {
		if c != nil {
			c.Close()
		}
	}
}

// run sends n requests over all connections and notes how long each took.
func (p *pool) run(ctx context.Context, n int) error {
	p.forget()
	return each(ctx, len(p.clients), n, func(c, _ int) error {
		begin := time.Now()
		if err := p.clients[c].exchange(p.requests[c], p.want, p.bufs[c]); err != nil {
			return err
		}
		p.took[c] = append(p.took[c], time.Since(begin))
		return nil
	})
}

// forget forgets how long things took.
func (p *pool) forget() {
	for i := range p.took {
		p.took[i] = p.took[i][:0]
	}
}

func (p *pool) all() []time.Duration {
	var all []time.Duration
	for _, t := range p.took {
		all = append(all, t...)
	}
	return all
}

// A variant is an agent-vault with so many services and sessions.
type variant struct {
	name               string
	services, sessions int
}

// usual is what is measured unless a scenario says otherwise.
var usual = variant{"", 10, 1}
