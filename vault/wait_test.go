package vault_test

import (
	"context"
	"testing"
	"time"

	"agentvault/vault"
)

// waiters is a fixture that tells of a wait that has begun.
func waiters(t *testing.T) (f *fixture, begun chan struct{}) {
	begun = make(chan struct{}, 1)
	f = newFixture(t, func(o *vault.Options) { o.Store = tellingStore{o.Store, begun} })
	return f, begun
}

// A tellingStore says when somebody begins to listen.
type tellingStore struct {
	vault.Store
	begun chan struct{}
}

func (s tellingStore) Changes() (<-chan struct{}, func()) {
	ch, stop := s.Store.Changes()
	s.begun <- struct{}{}
	return ch, stop
}

// Who waits is answered as soon as it is decided, or has expired.
func TestWaitProposal(t *testing.T) {
	for want, end := range map[string]func(*fixture){
		vault.ProposalApplied:  func(f *fixture) { _, err := f.approve(t, 1, values("A_KEY", "some value")); must(t, err) },
		vault.ProposalRejected: func(f *fixture) { _, err := f.Reject(t.Context(), f.owner, mainVault, 1, "no"); must(t, err) },
		vault.ProposalExpired:  func(f *fixture) { f.pass(7 * 24 * time.Hour) }, // which nobody signals
	} {
		f, begun := waiters(t)
		f.propose(t, f.agent, slot("A_KEY"))
		type answer struct {
			vault.Proposal
			error
		}
		answered := make(chan answer, 1)
		go func() {
			rv, err := f.WaitProposal(t.Context(), f.agent, mainVault, 1, time.Hour, nil)
			answered <- answer{rv, err}
		}()
		<-begun
		select {
		case a := <-answered:
			t.Errorf("answered before anything happened: %v, %v", a.Status, a.error)
		default:
		}
		end(f)
		if a := <-answered; a.error != nil || a.Status != want {
			t.Errorf("answered %v, %v; want %s", a.Status, a.error, want)
		}
		// What is decided is answered at once.
		if rv, err := f.WaitProposal(t.Context(), f.agent, mainVault, 1, time.Hour, nil); err != nil || rv.Status != want {
			t.Errorf("asked again: %v, %v; want %s", rv.Status, err, want)
		}
	}
}

// When the time is over it is still pending, and that is the answer; so it is
// for who hangs up.
func TestAWaitEnds(t *testing.T) {
	f, begun := waiters(t)
	f.propose(t, f.agent, slot("A_KEY"))
	for _, wait := range []time.Duration{-time.Hour, 0, time.Millisecond} {
		rv, err := f.WaitProposal(t.Context(), f.agent, mainVault, 1, wait, nil)
		if err != nil || rv.Status != vault.ProposalPending {
			t.Errorf("waiting %v: %v, %v; want pending", wait, rv.Status, err)
		}
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := f.WaitProposal(ctx, f.agent, mainVault, 1, time.Hour, nil)
		answered <- err
	}()
	<-begun
	cancel()
	<-answered
	_, err := f.WaitProposal(t.Context(), f.agent, mainVault, 2, time.Hour, nil)
	refused(t, "one that there is not", vault.CodeProposalNotFound, "there is no proposal 2 of yours in the vault main-vault", err)
}

// A wait ends with the right to see.
func TestAWaitEndsWithTheToken(t *testing.T) {
	for name, end := range map[string]func(*fixture) error{
		"revoked": func(f *fixture) error { return f.RevokeAgent(t.Context(), f.owner, "robot") },
		"without the vault": func(f *fixture) error {
			_, err := f.RevokeVault(t.Context(), f.owner, "robot", mainVault)
			return err
		},
		"the vault deleted": func(f *fixture) error { return f.DeleteVault(t.Context(), f.owner, mainVault) },
	} {
		f, begun := waiters(t)
		f.propose(t, f.agent, slot("A_KEY"))
		answered := make(chan error, 1)
		go func() {
			_, err := f.WaitProposal(t.Context(), f.agent, mainVault, 1, time.Hour, nil)
			answered <- err
		}()
		<-begun
		must(t, end(f))
		if err := <-answered; err == nil {
			t.Errorf("%s: it is answered as if nothing had happened", name)
		}
	}
}
