package main

import (
	"context"
	"fmt"
	"time"

	"agentvault/api"
)

// renewEvery is how often a lease is renewed when the server does not say how
// long it lasts.
const renewEvery = 15 * time.Second

// A lease keeps a session alive for as long as this process lives. Its token is
// in this process's memory only: a child that had it could outlive us.
type lease struct {
	client *api.Client   // with the lease's token
	every  time.Duration // between renewals; a fifth of it after one that failed
}

func leaseOf(address string, s api.SessionResponse) lease {
	l := lease{&api.Client{Address: address, Token: s.LeaseToken, Name: clientName()}, renewEvery}
	if s.LeaseSeconds > 0 {
		l.every = max(time.Second, time.Duration(s.LeaseSeconds)*time.Second/3)
	}
	return l
}

// keep renews until ctx ends, which is false, or until the server does not know
// the session any more, which is true. Anything else that goes wrong is tried
// again: a server that was away gives every session a whole lease.
func (l lease) keep(ctx context.Context) (gone bool) {
	wait := time.NewTimer(l.every)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-wait.C:
		}
		next := l.every
		if err := l.renew(ctx); err != nil {
			if isUnauthorized(err) {
				return true
			}
			next /= 5
		}
		wait.Reset(next)
	}
}

func (l lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.every) // a server that hangs is no better than one that is away
	defer cancel()
	_, err := l.client.RenewLease(ctx)
	return err
}

// kept keeps the lease in the background and says when the session has ended.
// stop ends that, and reports whether it has. A session without a lease needs
// nothing.
func (l lease) kept(std stdio) (stop func() (gone bool)) {
	if l.client.Token == "" {
		return func() bool { return false }
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan bool, 1)
	go func() {
		gone := l.keep(ctx)
		if gone {
			fmt.Fprintln(std.err, "agent-vault: the session has ended")
		}
		done <- gone
	}()
	return func() bool {
		cancel()
		return <-done
	}
}
