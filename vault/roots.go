package vault

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"agentvault/ca"
	"agentvault/vault/seal"
)

// Roots keep a line of signers as it is stored: each node that shares the store
// has one, and follows what another changed.
type Roots struct {
	*ca.Line
	store Store
	key   seal.Key
	opts  ca.Options

	mu     sync.Mutex
	stored Authority // what Line was made of
}

// OpenRoots opens the stored roots, or makes the first one where there is none.
func OpenRoots(ctx context.Context, s Store, key seal.Key, opts ca.Options) (*Roots, error) {
	a, err := storedAuthority(ctx, s)
	if errors.Is(err, ErrNotFound) {
		a, err = firstAuthority(ctx, s, key, opts)
	}
	if err != nil {
		return nil, err
	}
	line, err := a.open(key, opts)
	if err != nil {
		return nil, err
	}
	return &Roots{Line: ca.NewLine(line, opts.Now), store: s, key: key, opts: opts, stored: a}, nil
}

// Refresh returns once leaves are signed by whoever does so as it is stored.
func (r *Roots) Refresh(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	a, err := storedAuthority(ctx, r.store)
	if err != nil || reflect.DeepEqual(a, r.stored) {
		return err
	}
	line, err := a.open(r.key, r.opts)
	if err != nil {
		return err
	}
	r.Set(line)
	r.stored = a
	return nil
}

// Run refreshes after each change, and every second for those of other nodes,
// until ctx ends.
func (r *Roots) Run(ctx context.Context, changes <-chan struct{}, log *slog.Logger) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changes:
		case <-ticker.C:
		}
		if err := r.Refresh(ctx); err != nil && ctx.Err() == nil {
			log.Error("the root certificate could not be looked at; the one before stays in use", "err", err)
		}
	}
}
