package vault_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentvault/vault"
	"agentvault/vault/seal"
)

func (f *fixture) mintLeased(t *testing.T) vault.Minted {
	t.Helper()
	m, err := f.MintSession(t.Context(), f.owner, vault.NewSession{Vault: mainVault, Lease: true, Label: "leased"})
	must(t, err)
	return m
}

func (f *fixture) lives(t *testing.T, when, token string, want bool) {
	t.Helper()
	if _, err := f.Authenticate(t.Context(), token); (err == nil) != want {
		t.Errorf("%s: it lives: %t (%v), want %t", when, err == nil, err, want)
	}
}

// A leased session lives as long as its lease is renewed, and for 45 s more.
func TestALeaseKeepsASessionAlive(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	m := f.mintLeased(t)
	if prefix, ok := vault.CheckToken(m.LeaseToken); !ok || prefix != vault.PrefixLease || !m.Leased() || m.LeaseDigest != vault.DigestToken(m.LeaseToken) {
		t.Errorf("lease %q of %v", m.LeaseToken, m.Session)
	}
	for range 3 {
		f.pass(vault.LeaseTTL - time.Millisecond)
		must(t, f.Sweep(ctx))
		f.lives(t, "just before its end", m.Token, true)
		ends, err := f.RenewLease(ctx, m.LeaseToken)
		must(t, err)
		if want := f.now().Add(45 * time.Second); ends != want {
			t.Errorf("renewed until %v, want %v", ends, want)
		}
	}
	before := f.revision(t)
	f.pass(vault.LeaseTTL)
	must(t, f.Sweep(ctx))
	f.lives(t, "at its end", m.Token, false)
	f.lives(t, "a session without a lease", f.sessionToken, true)
	if f.revision(t) != before+1 {
		t.Errorf("revision %d, want %d: what it has open must be cut", f.revision(t), before+1)
	}
	_, err := f.RenewLease(ctx, m.LeaseToken)
	refused(t, "renewing a lease that is over", vault.CodeUnauthorized, "the token is missing, unknown, expired or revoked", err)
	must(t, f.Sweep(ctx))
	if f.revision(t) != before+1 {
		t.Error("a sweep that finds nothing changes something")
	}
	diff(t, "the record", vault.Event{
		Time: f.now(), ActorKind: "server", Action: "session.end", VaultID: m.VaultID, Vault: mainVault, Object: "lease of " + m.ID,
	}, f.lastEvent(t))
}

// events are the record of changes, newest first.
func (f *fixture) events(t *testing.T) (events []vault.Event) {
	t.Helper()
	must(t, f.db.Read(t.Context(), func(tx vault.Tx) (err error) {
		events, err = tx.ListEvents("", 0, 1000)
		return err
	}))
	return events
}

func (f *fixture) lastEvent(t *testing.T) vault.Event {
	t.Helper()
	e := f.events(t)[0]
	e.ID = 0
	return e
}

// A lease's token renews, and does nothing else; nothing else renews.
func TestWhatALeasesTokenIsFor(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	m := f.mintLeased(t)
	f.lives(t, "the lease's token as a caller's", m.LeaseToken, false)
	for name, token := range map[string]string{
		"nothing": "", "the session's token": m.Token, "unknown": vault.NewToken(vault.PrefixLease), "an agent's": f.agentToken,
		"a session's spelled as a lease's": signed(vault.PrefixLease, f.sessionToken[len(vault.PrefixSession):][:43]),
	} {
		_, err := f.RenewLease(ctx, token)
		wantCode(t, name, vault.CodeUnauthorized, err)
	}
	f.pass(24 * time.Hour)
	_, err := f.RenewLease(ctx, m.LeaseToken)
	wantCode(t, "of a session whose time is over", vault.CodeUnauthorized, err)
	f.refresh(t)
	other := f.mintLeased(t)
	must(t, f.RevokeOwnSession(ctx, f.caller(t, other.Token)))
	_, err = f.RenewLease(ctx, other.LeaseToken)
	wantCode(t, "of a session that was revoked", vault.CodeUnauthorized, err)
	diff(t, "the record", vault.Event{
		Time: f.now(), ActorKind: "session", ActorID: other.ID, ActorName: "leased",
		Action: "session.end", VaultID: other.VaultID, Vault: mainVault, Object: "end " + other.ID,
	}, f.lastEvent(t))
}

// A server that starts gives each leased session one whole lease to be renewed
// in, counted from its first sweep.
func TestALeaseOutlivesARestart(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	renewed, lost := f.mintLeased(t), f.mintLeased(t)
	f.pass(44 * time.Second)
	restarted, err := vault.New(vault.Options{Store: f.db, Key: f.key, Now: f.now})
	must(t, err)
	must(t, restarted.Sweep(ctx))
	f.pass(vault.LeaseTTL - time.Millisecond)
	_, err = restarted.RenewLease(ctx, renewed.LeaseToken)
	must(t, err)
	must(t, restarted.Sweep(ctx))
	f.lives(t, "within the lease", lost.Token, true)
	f.pass(time.Millisecond)
	must(t, restarted.Sweep(ctx))
	f.lives(t, "unrenewed", lost.Token, false)
	f.lives(t, "renewed", renewed.Token, true)
}

// A sweep whose store fails ends nothing, and the next one does.
func TestASweepThatFails(t *testing.T) {
	var s brokenStore
	f := newFixture(t, breaking(&s))
	m := f.mintLeased(t)
	f.pass(vault.LeaseTTL)
	s.at, s.count = 2, 0
	if err := f.Sweep(t.Context()); err == nil {
		t.Error("no error")
	}
	s.at = 0
	f.lives(t, "after a sweep that failed", m.Token, true)
	must(t, f.Sweep(t.Context()))
	if err := f.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
}

// Run sweeps every few seconds, so that a session is gone within a minute after
// the last renewal, and ends with its context.
func TestRunSweeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sweeps atomic.Int64
		r, err := vault.New(vault.Options{Store: countingStore{&sweeps}, Key: seal.NewKey()})
		must(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		time.Sleep(time.Minute - vault.LeaseTTL) // of the bubble
		synctest.Wait()
		if sweeps.Load() < 2 {
			t.Errorf("%d sweeps in the 15 s that a lease leaves of a minute", sweeps.Load())
		}
		cancel()
		<-ended
	})
}

// A countingStore is empty, and counts who looks.
type countingStore struct{ looks *atomic.Int64 }

func (s countingStore) Read(context.Context, func(vault.Tx) error) error { s.looks.Add(1); return nil }
func (s countingStore) Write(context.Context, func(vault.Tx) error) (int64, error) {
	return 0, nil
}
func (s countingStore) Browse(context.Context, func(vault.Tx) error) error { return nil }
func (s countingStore) Changes() (<-chan struct{}, func())                 { return nil, func() {} }
func (s countingStore) Logged() (<-chan struct{}, func())                  { return nil, func() {} }
