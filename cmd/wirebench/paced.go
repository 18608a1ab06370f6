package main

import (
	"context"
	"time"
)

const paceRate = 400 // requests per second

// paced is requests at a fixed rate, far below what any target can do: how long
// they take then is what the way costs in time.
func paced(ctx context.Context, _ *bench, t *target, n int) (sample, error) {
	const connections = 16
	p, err := connect(ctx, t, connections, answerJSON, func(session int) []byte {
		return t.request("GET", hostH1, pathJSON, session, nil)
	})
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.run(ctx, 4*connections); err != nil { // warm
		return nil, err
	}
	took := make([]time.Duration, n)
	var begin time.Time
	cpu, err := cpuPer(ctx, t, n, func() error {
		begin = time.Now()
		return each(ctx, connections, n, func(c, i int) error {
			time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / paceRate)))
			sent := time.Now()
			err := p.clients[c].exchange(p.requests[c], p.want, p.bufs[c])
			took[i] = time.Since(sent)
			return err
		})
	})
	return sample{"cpu": cpu, "p50": micros(quantile(took, 0.5)), "p99": micros(quantile(took, 0.99))}, err
}
