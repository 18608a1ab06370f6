package main

import (
	"context"
	"fmt"
)

// hosts is a new connection to each of n hosts that the target has not met, and
// then to each again.
func hosts(ctx context.Context, b *bench, t *target, n int) (sample, error) {
	if n > manyHosts {
		return nil, fmt.Errorf("at most %d hosts", manyHosts)
	}
	all := func() error {
		return each(ctx, 4, n, func(_, i int) error { return single(ctx, t, manyHost(t.entrance, b.turn, i)) })
	}
	first, err := cpuPer(ctx, t, n, all)
	if err != nil {
		return nil, err
	}
	again, err := cpuPer(ctx, t, n, all)
	return sample{"first": first, "again": again}, err
}

const manyHosts = 500

// manyHost differs by entrance, since both may lead to one process.
func manyHost(entrance string, turn, i int) string {
	return fmt.Sprintf("%s-%d-%d.%s", entrance, turn, i, domain)
}
