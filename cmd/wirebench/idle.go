package main

import "context"

// idle opens n connections, sends one request on each, and lets them rest.
func idle(ctx context.Context, b *bench, t *target, n int) (sample, error) {
	before, err := restingMemory(ctx, t)
	if err != nil {
		return nil, err
	}
	// A program that cannot be told to give memory back keeps what an earlier turn
	// made it take, and would be measured as if a connection cost nothing.
	if t.collect == nil {
		if b.turn == 0 {
			t.rested = before
		}
		before = t.rested
	}
	p, err := connect(ctx, t, n, answerJSON, func(session int) []byte {
		return t.request("GET", hostH1, pathJSON, session, nil)
	})
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := each(ctx, 8, n, func(_, i int) error {
		return p.clients[i].exchange(p.requests[i], p.want, p.bufs[i])
	}); err != nil {
		return nil, err
	}
	after, err := restingMemory(ctx, t)
	return sample{"memory": float64(after-before) / float64(n) / 1024}, err
}

// restingMemory is what a target occupies without garbage, in bytes.
func restingMemory(ctx context.Context, t *target) (int, error) {
	if _, err := settled(ctx, t.pid); err != nil {
		return 0, err
	}
	if t.collect != nil {
		for range 2 { // what a finalizer lets go of, the second finds
			if err := t.collect(ctx); err != nil {
				return 0, err
			}
		}
	}
	return resident(t.pid)
}
