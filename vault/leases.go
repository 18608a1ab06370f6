package vault

import (
	"context"
	"errors"
	"sync"
	"time"
)

// LeaseTTL is how long a leased session lives without a renewal. With the
// sweep, it is gone within a minute after who held the lease was killed.
const LeaseTTL = 45 * time.Second

// sweepEvery is how often what is over is put away.
const sweepEvery = 5 * time.Second

// leases are when leased sessions end. They are in memory: a server that
// starts gives each session a whole lease to be renewed in.
type leases struct {
	mu   sync.Mutex
	ends map[string]time.Time // by session ID
}

func (l *leases) renew(id string, now time.Time) (ends time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ends == nil {
		l.ends = make(map[string]time.Time)
	}
	l.ends[id] = now.Add(LeaseTTL)
	return l.ends[id]
}

func (l *leases) drop(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ends, id)
}

// over returns those of the sessions whose lease has ended, and forgets the
// leases of all others that are not among them.
func (l *leases) over(sessions []Session, now time.Time) (ended []Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := make(map[string]time.Time, len(sessions))
	for _, s := range sessions {
		ends, known := l.ends[s.ID]
		if !known {
			ends = now.Add(LeaseTTL)
		}
		if !now.Before(ends) {
			ended = append(ended, s)
			continue
		}
		kept[s.ID] = ends
	}
	for id, ends := range l.ends {
		if _, known := kept[id]; !known && now.Before(ends) {
			kept[id] = ends // minted a moment ago
		}
	}
	l.ends = kept
	return ended
}

// RenewLease keeps the session of a lease token alive for another LeaseTTL, and
// returns until when.
func (r *Registry) RenewLease(ctx context.Context, leaseToken string) (ends time.Time, err error) {
	if prefix, ok := CheckToken(leaseToken); !ok || prefix != PrefixLease {
		return time.Time{}, errUnknownToken
	}
	var s Session
	err = r.store.Read(ctx, func(tx Tx) (err error) {
		s, err = tx.SessionByLease(DigestToken(leaseToken))
		return err
	})
	if errors.Is(err, ErrNotFound) || err == nil && s.ended(r.now()) {
		return time.Time{}, errUnknownToken
	}
	if err != nil {
		return time.Time{}, err
	}
	return r.leases.renew(s.ID, r.now()), nil
}

// Sweep puts away what is over: sessions whose lease nobody renewed, proposals
// that nobody decided, what held requests said, and grants that have ended.
func (r *Registry) Sweep(ctx context.Context) error {
	return errors.Join(r.endLeases(ctx), r.expireProposals(ctx), r.forgetHeld(ctx), r.endGrants(ctx), r.endRotation(ctx))
}

func (r *Registry) endLeases(ctx context.Context) error {
	var leased []Session
	err := r.store.Read(ctx, func(tx Tx) (err error) {
		leased, err = tx.ListLeased()
		return err
	})
	if err != nil {
		return err
	}
	ended := r.leases.over(leased, r.now())
	if len(ended) == 0 {
		return nil
	}
	return r.write(ctx, func(tx Tx) error {
		for _, s := range ended {
			err := tx.DeleteSession(s.ID)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err := errors.Join(err, r.noteIn(tx, Caller{}, actOwnEnd, s.VaultID, "lease of "+s.ID)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Run sweeps until ctx ends.
func (r *Registry) Run(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if err := r.Sweep(ctx); err != nil && ctx.Err() == nil {
			r.log.Error("what is over could not be put away", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
