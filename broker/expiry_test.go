package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/vault"
)

// until makes a change by which the kit's service lasts for so long.
func (k *kit) until(d time.Duration) func(*vault.Vault) {
	return func(v *vault.Vault) { v.Services[0].ExpiresAt = k.clock.Now().Add(d) }
}

// A service that has ended is as if it were not there, and the View learns that
// without a change of the store.
func TestServiceEnds(t *testing.T) {
	k := newKit(t, echo, nil)
	k.changeVault(t, k.until(time.Minute))
	if c := code(t, k.get(t, "example.com", "/")); c != "" {
		t.Fatalf("refused with %s before its end", c)
	}
	k.clock.advance(time.Minute)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := k.get(t, "example.com", "/")
	if c := code(t, w); c != broker.CodeForbidden || !strings.Contains(w.Body.String(), `"proposal_hint"`) {
		t.Errorf("%s %s, want %s with a hint", c, w.Body, broker.CodeForbidden)
	}
	k.changeVault(t, k.until(time.Minute))
	if c := code(t, k.get(t, "example.com", "/")); c != "" {
		t.Errorf("refused with %s though it lasts again", c)
	}
}

// The end reaches what is open (R14).
func TestEndReachesOpenStreams(t *testing.T) {
	more := make(chan struct{})
	k := newKit(t, streaming(more), nil)
	k.changeVault(t, k.until(time.Minute))
	k.changing(t, k.request(t, "example.com", "/"), more, broker.CodeForbidden, func() {
		k.clock.advance(time.Minute)
		if err := k.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A node that cannot read its store does not let a service outlive its end.
func TestEndWithoutAStore(t *testing.T) {
	k := newKit(t, echo, nil)
	k.changeVault(t, k.until(time.Second))
	k.source.set(vault.Snapshot{}, errors.New("the store is gone"))
	k.clock.advance(time.Second)
	if k.Refresh(t.Context()) == nil {
		t.Fatal("the store answers")
	}
	k.clock.advance(time.Second + time.Nanosecond)
	if c := code(t, k.get(t, "example.com", "/")); c != broker.CodeUnavailable {
		t.Errorf("%q, want %s", c, broker.CodeUnavailable)
	}
}
