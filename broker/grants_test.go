package broker_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/policy"
	"agentvault/vault"
)

// guest makes the kit's requests those of an agent that has one service for a
// while.
func (k *kit) guest(t *testing.T, g vault.TimedGrant) {
	t.Helper()
	k.token = vault.NewToken(vault.PrefixAgent)
	k.snapshot.Agents = []vault.Agent{{ID: "a1", Name: "guest-bot", Digest: vault.DigestToken(k.token), Vaults: map[string]vault.Grant{
		"v1": {Role: vault.VaultProxy, Services: []string{}, Ends: vault.Ending{Guest: true, Grants: []vault.TimedGrant{g}}},
	}}}
	k.publish(t)
}

func (k *kit) asAgent(t testing.TB, host string) broker.Request {
	x := k.request(t, host, "/")
	x.Identity = broker.Identify(k.token, "default")
	return x
}

// A grant is for its service and for so many requests, whichever View they are
// decided on.
func TestGrantForSomeUses(t *testing.T) {
	k, _ := budgetKit(t, nil, nil)
	k.guest(t, vault.TimedGrant{ID: "g1", Service: "api", ExpiresAt: k.clock.Now().Add(time.Minute), Uses: 2})
	for n, want := range []string{"", "", broker.CodeBudgetExceeded, broker.CodeBudgetExceeded} {
		w := k.serve(t, k.asAgent(t, "example.com"))
		if c := code(t, w); c != want {
			t.Errorf("request %d: %q %s, want %q", n, c, w.Body, want)
		}
		if want != "" && !strings.Contains(w.Body.String(), "this agent was granted the service for so many requests, and has sent them: 2 uses") {
			t.Errorf("it is told %s", w.Body)
		}
		k.publish(t)
	}
	if c := code(t, k.serve(t, k.asAgent(t, "refuses.test"))); c != broker.CodeForbidden {
		t.Errorf("another service: %q", c)
	}
	k.snapshot.Agents[0].Vaults["v1"].Ends.Grants[0].ID = "g2" // granted again
	k.publish(t)
	if c := code(t, k.serve(t, k.asAgent(t, "example.com"))); c != "" {
		t.Errorf("granted again: %q", c)
	}
}

// Its end reaches what is open, and leaves the agent without the vault.
func TestGrantEnds(t *testing.T) {
	more := make(chan struct{})
	k := newKit(t, streaming(more), nil)
	k.guest(t, vault.TimedGrant{ID: "g1", Service: "api", ExpiresAt: k.clock.Now().Add(time.Minute)})
	k.changing(t, k.asAgent(t, "example.com"), more, broker.CodeUnauthorized, func() {
		k.clock.advance(time.Minute)
		if err := k.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// A rule that has ended lets nothing through, and opens nothing for the others.
func TestRuleEnds(t *testing.T) {
	k := newKit(t, echo, nil)
	k.snapshot.Vaults[0].Services[0].Rules = []policy.Rule{{ExpiresAt: k.clock.Now().Add(time.Minute).UTC().Format(time.RFC3339)}}
	k.publish(t)
	if c := code(t, k.get(t, "example.com", "/")); c != "" {
		t.Fatalf("before its end: %q", c)
	}
	k.clock.advance(time.Minute)
	if err := k.Refresh(t.Context()); err != nil { // which the store says nothing of
		t.Fatal(err)
	}
	if c := code(t, k.get(t, "example.com", "/")); c != broker.CodePathNotAllowed {
		t.Errorf("after its end: %q", c)
	}
}

func (k *kit) serve(t testing.TB, x broker.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	k.Serve(w, httptest.NewRequestWithContext(t.Context(), "GET", x.Path, nil), x)
	return w
}
