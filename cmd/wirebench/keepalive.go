package main

import (
	"bytes"
	"context"
	"time"
)

// keepalive is GETs over connections that stay open.
func keepalive(connections int) func(context.Context, *bench, *target, int) (sample, error) {
	return func(ctx context.Context, b *bench, t *target, n int) (sample, error) {
		return overKept(ctx, b, t, connections, n, func(session int) []byte {
			return t.request("GET", hostH1, pathJSON, session, nil)
		})
	}
}

// post is POSTs of 32 KiB over connections that stay open.
func post(ctx context.Context, b *bench, t *target, n int) (sample, error) {
	body := bytes.Repeat([]byte(`{"role":"user","text":"a few words of a prompt."}`), 1+32<<10/49)[:32<<10]
	return overKept(ctx, b, t, 16, n, func(session int) []byte {
		return t.request("POST", hostH1, pathJSON, session, body)
	})
}

func overKept(ctx context.Context, b *bench, t *target, connections, n int, request func(int) []byte) (sample, error) {
	p, err := connect(ctx, t, connections, answerJSON, request)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.run(ctx, max(n/10, 4*connections)); err != nil { // warm
		return nil, err
	}
	before, err := originConnections(ctx, b.control)
	if err != nil {
		return nil, err
	}
	var took time.Duration
	cpu, err := cpuPer(ctx, t, n, func() error {
		begin := time.Now()
		err := p.run(ctx, n)
		took = time.Since(begin)
		return err
	})
	if err != nil {
		return nil, err
	}
	after, err := originConnections(ctx, b.control)
	if err != nil {
		return nil, err
	}
	all := p.all()
	return sample{
		"cpu": cpu, "p50": micros(quantile(all, 0.5)), "p99": micros(quantile(all, 0.99)),
		"rate": float64(n) / took.Seconds(), "opened": 1000 * float64(after-before) / float64(n),
	}, nil
}

// perTunnel is a new connection for each request.
func perTunnel(ctx context.Context, _ *bench, t *target, n int) (sample, error) {
	one := func(_, _ int) error { return single(ctx, t, hostH1) }
	if err := each(ctx, 4, max(n/10, 8), one); err != nil {
		return nil, err
	}
	cpu, err := cpuPer(ctx, t, n, func() error { return each(ctx, 4, n, one) })
	return sample{"cpu": cpu}, err
}

// single is one request on a connection of its own.
func single(ctx context.Context, t *target, host string) error {
	c, err := t.dial(ctx, host, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.exchange(t.request("GET", host, pathJSON, 0, nil), answerJSON, make([]byte, len(answerJSON)+1))
}
