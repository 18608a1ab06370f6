package vault_test

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"agentvault/ca"
	"agentvault/vault"
)

// roots is a node on a fixture's store.
func (f *fixture) roots(t *testing.T) *vault.Roots {
	t.Helper()
	r, err := vault.OpenRoots(t.Context(), f.db, f.key, ca.Options{Now: f.now})
	must(t, err)
	return r
}

func (f *fixture) authority(t *testing.T) (a vault.Authority) {
	t.Helper()
	must(t, f.db.Read(t.Context(), func(tx vault.Tx) (err error) {
		a, err = tx.Authority()
		return err
	}))
	return a
}

func TestARootIsMadeOnce(t *testing.T) {
	f := newFixture(t)
	one, other := f.roots(t), f.roots(t)
	if !bytes.Equal(one.PEM(), other.PEM()) || f.authority(t).Version != 1 {
		t.Error("two nodes have two roots")
	}
}

// Each node that shares the store follows, and the new root is the same to all
// of them, after a restart too.
func TestARotationReachesEveryNode(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	one, other := f.roots(t), f.roots(t)
	before := one.PEM()
	must(t, f.RotateAuthority(ctx, f.owner, time.Hour))
	for _, r := range []*vault.Roots{one, other} {
		must(t, r.Refresh(ctx))
	}
	if !bytes.Equal(one.PEM(), other.PEM()) || !bytes.HasSuffix(one.PEM(), before) || bytes.Equal(one.PEM(), before) {
		t.Errorf("one node says\n%sthe other\n%sbefore\n%s", one.PEM(), other.PEM(), before)
	}
	if !bytes.Equal(f.roots(t).PEM(), one.PEM()) {
		t.Error("a node that starts has other roots")
	}
	s := one.Succession()
	if !s.Since.Equal(f.now()) || !s.Until.Equal(f.now().Add(time.Hour)) {
		t.Errorf("from %v until %v", s.Since, s.Until)
	}
	must(t, f.FinishAuthority(ctx, f.owner))
	must(t, other.Refresh(ctx))
	after := other.PEM()
	if !bytes.Equal(after, s.Next.PEM()) {
		t.Error("after the end the new root is not the one")
	}
	if a := f.authority(t); a.Version != 2 || a.Next != nil {
		t.Errorf("stored is version %d, next %v", a.Version, a.Next)
	}
	if !bytes.Equal(f.roots(t).PEM(), after) {
		t.Error("the new root's key is not found again")
	}
}

// Without anybody's doing: nodes switch by the clock, and the old key goes with
// the next sweep.
func TestAnOverlapEnds(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	r := f.roots(t)
	must(t, f.RotateAuthority(ctx, f.owner, time.Hour))
	must(t, r.Refresh(ctx))
	next := r.Succession().Next
	f.pass(time.Hour - time.Millisecond)
	must(t, f.Sweep(ctx))
	if r.Succession().Next == nil || f.authority(t).Next == nil {
		t.Error("it ended early")
	}
	f.pass(time.Millisecond)
	if !bytes.Equal(r.PEM(), next.PEM()) {
		t.Error("a node does not switch by the clock")
	}
	must(t, f.Sweep(ctx))
	if a := f.authority(t); a.Next != nil || !bytes.Equal(a.Certificate, next.CertificateDER()) {
		t.Error("the old root is still stored")
	}
	must(t, r.Refresh(ctx))
	if !bytes.Equal(r.PEM(), next.PEM()) {
		t.Error("a node lost the new root")
	}
	events, err := f.Events(ctx, f.owner, "", 0, 10)
	must(t, err)
	var said []string
	for _, e := range events {
		if e.Action == "ca.rotate" {
			said = append(said, e.ActorName+": "+e.Object)
		}
	}
	if len(said) != 2 || said[0] != ": the overlap has ended" || said[1] != "owner@example.com: root "+next.Fingerprint()+", overlap 1h0m0s" {
		t.Errorf("the record says %q", said)
	}
}

func TestRotationRefusals(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.roots(t)
	for _, overlap := range []time.Duration{-time.Second, vault.MaxOverlap + time.Second} {
		refused(t, overlap.String(), vault.CodeBadRequest, "overlap_seconds: from 0 to 31622400", f.RotateAuthority(ctx, f.owner, overlap))
	}
	refused(t, "an end without a beginning", vault.CodeConflict, "the root is not being replaced", f.FinishAuthority(ctx, f.owner))
	must(t, f.RotateAuthority(ctx, f.owner, time.Hour))
	refused(t, "a second one", vault.CodeConflict, "the root is being replaced already, until 2200-01-01T01:00:00Z; end that first: agent-vault ca rotate --finish", f.RotateAuthority(ctx, f.owner, time.Hour))
}

func TestRootsRunFollowsChanges(t *testing.T) {
	f := newFixture(t)
	r := f.roots(t)
	before := r.PEM()
	changes := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		r.Run(ctx, changes, slog.New(slog.DiscardHandler))
		close(done)
	}()
	must(t, f.RotateAuthority(t.Context(), f.owner, 0))
	changes <- struct{}{}
	changes <- struct{}{} // taken once the first was seen to
	if bytes.Equal(r.PEM(), before) {
		t.Error("the change was not followed")
	}
	stop()
	<-done
}

// An agent's old token works beside the new one until its overlap is over, or the
// agent's token is revoked or given anew.
func TestAnAgentsOldTokenWorksForAWhile(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	works := func(what, token string, want bool) {
		t.Helper()
		if _, err := f.Authenticate(ctx, token); (err == nil) != want {
			t.Errorf("%s: %v, want it to work: %t", what, err, want)
		}
	}
	_, err := f.RotateAgent(ctx, f.owner, "robot", vault.MaxTokenOverlap+1)
	refused(t, "too long", vault.CodeBadRequest, "overlap: from 0 to 86400 seconds", err)
	second, err := f.RotateAgent(ctx, f.owner, "robot", time.Minute)
	must(t, err)
	works("the first token in the overlap", f.agentToken, true)
	works("the second token in the overlap", second, true)
	_, err = f.RotateAgent(ctx, f.owner, "robot", time.Minute)
	wantCode(t, "a third one beside two", vault.CodeConflict, err)
	works("the first token after that", f.agentToken, true)
	f.pass(time.Minute)
	works("the first token behind the overlap", f.agentToken, false)
	works("the second token behind the overlap", second, true)
	third, err := f.RotateAgent(ctx, f.owner, "robot", time.Minute)
	must(t, err)
	must(t, f.RevokeAgent(ctx, f.owner, "robot"))
	works("the second token after a revocation", second, false)
	works("the third token after a revocation", third, false)
	fourth, err := f.RotateAgent(ctx, f.owner, "robot", time.Minute)
	must(t, err)
	works("a token that was revoked", third, false)
	fifth, err := f.RotateAgent(ctx, f.owner, "robot", 0)
	must(t, err)
	works("the fourth token without an overlap", fourth, false)
	works("the fifth token", fifth, true)
}
