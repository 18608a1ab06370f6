package broker_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/policy"
	"agentvault/vault"
)

const notGranted = "this agent was not granted the service of this host; a person can grant it"

// An agentKit is a kit for an agent, in front of more hosts.
type agentKit struct {
	*kit
	agent string // token
}

func newAgentKit(t *testing.T, handler http.Handler) *agentKit {
	t.Helper()
	k := &agentKit{agent: vault.NewToken(vault.PrefixAgent)}
	k.kit = newKit(t, handler, func(o *broker.Options) {
		o.MaxStale = 1000 * time.Hour
		for _, host := range []string{"other.example.com", "z.wide.example.org", "blind.example.com"} {
			o.Dialer.Hosts[host] = o.Dialer.Hosts["example.com"]
		}
	})
	bearer := k.snapshot.Vaults[0].Services[0].Auth
	k.snapshot.Vaults[0].Services = []vault.Service{
		{Name: "api", Host: "example.com", Enabled: true, Auth: bearer},
		{Name: "other", Host: "other.example.com", Enabled: true, Auth: bearer},
		{Name: "wide", Host: "*.wide.example.org", Enabled: true, Auth: bearer},
		{Name: "exact", Host: "x.wide.example.org", Enabled: true, Auth: bearer},
		{Name: "off", Host: "off.wide.example.org", Enabled: false, Auth: bearer},
		{Name: "part", Host: "example.com/part/*", Enabled: true, Auth: bearer},
		{Name: "ruled", Host: "y.wide.example.org", Enabled: true, Auth: bearer, Rules: []policy.Rule{{Methods: []string{"POST"}}}},
	}
	return k
}

// grant publishes the agent with a grant of these services; nil means all.
func (k *agentKit) grant(t *testing.T, services []string, change ...func(*vault.Vault, *vault.Agent)) {
	t.Helper()
	snap := k.snapshot
	v := snap.Vaults[0]
	a := vault.Agent{ID: "a1", Name: "robot", Digest: vault.DigestToken(k.agent), Vaults: map[string]vault.Grant{"v1": {Role: vault.VaultProxy, Services: services}}}
	for _, c := range change {
		c(&v, &a)
	}
	snap.Vaults, snap.Agents = []vault.Vault{v}, []vault.Agent{a}
	k.source.set(snap, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (k *agentKit) of(t *testing.T, host, path string) broker.Request {
	t.Helper()
	x := k.request(t, host, path)
	x.Identity = broker.Identify(k.agent, "default")
	return x
}

func (k *agentKit) ask(t *testing.T, host, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	k.Serve(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil), k.of(t, host, path))
	return w
}

// An agent that was granted some of a vault's services is refused wherever the
// vault would use another one, also where one of its own is wide enough.
func TestNarrowedAgentsAreRefusedElsewhere(t *testing.T) {
	k := newAgentKit(t, echo)
	for _, r := range []struct {
		services []string
		host     string
		path     string
		want     string // code
		message  string
	}{
		{nil, "other.example.com", "/", "", ""},
		{nil, "off.wide.example.org", "/", broker.CodeServiceDisabled, ""},
		{[]string{"api"}, "example.com", "/", "", ""},
		{[]string{"api"}, "example.com", "/part/1", broker.CodeForbidden, notGranted},
		{[]string{"part"}, "example.com", "/part/1", "", ""},
		{[]string{"part"}, "example.com", "/", broker.CodeForbidden, notGranted},
		{[]string{"api"}, "other.example.com", "/", broker.CodeForbidden, notGranted},
		{[]string{"api", "other"}, "other.example.com", "/", "", ""},
		{[]string{"api"}, "unknown.example.com", "/", broker.CodeForbidden, ""},
		{[]string{"wide"}, "z.wide.example.org", "/", broker.CodeUpstreamTLS, ""}, // let through, to an upstream of another name
		{[]string{"wide"}, "x.wide.example.org", "/", broker.CodeForbidden, notGranted},
		{[]string{"wide"}, "off.wide.example.org", "/", broker.CodeForbidden, notGranted},
		{[]string{"wide"}, "y.wide.example.org", "/", broker.CodeForbidden, notGranted},
		{[]string{"wide", "off"}, "off.wide.example.org", "/", broker.CodeServiceDisabled, ""},
		{[]string{"wide", "ruled"}, "y.wide.example.org", "/", broker.CodeMethodNotAllowed, ""},
		{[]string{}, "example.com", "/", broker.CodeForbidden, notGranted},
		{[]string{"no-such-service"}, "example.com", "/", broker.CodeForbidden, notGranted},
	} {
		k.grant(t, r.services)
		w := k.ask(t, r.host, r.path)
		got := code(t, w)
		if got != r.want || r.want == "" && !strings.HasSuffix(w.Body.String(), "Bearer "+stars()) || !strings.Contains(w.Body.String(), r.message) {
			t.Errorf("%v at %s%s: %d %s; want %q %s", r.services, r.host, r.path, w.Code, w.Body, r.want, r.message)
		}
		if r.message == "" && strings.Contains(w.Body.String(), notGranted) {
			t.Errorf("%v at %s%s: %s", r.services, r.host, r.path, w.Body)
		}
	}
	// A session of the vault is not narrowed with the agent.
	k.grant(t, []string{})
	if w := k.get(t, "other.example.com", "/"); w.Code != 200 {
		t.Errorf("a session: %d %s", w.Code, w.Body)
	}
}

// Narrowing cuts what is open under a service that is not granted any more, and
// only that.
func TestNarrowingCutsOpenStreams(t *testing.T) {
	for _, r := range []struct {
		name     string
		services []string
		change   func(*vault.Vault, *vault.Agent)
		want     string // code in the record; "" means that the stream goes on
	}{
		{"to its service", []string{"api"}, nil, ""},
		{"to its service and another", []string{"api", "other"}, nil, ""},
		{"to another", []string{"other"}, nil, broker.CodeForbidden},
		{"to none", []string{}, nil, broker.CodeForbidden},
		{"to one that takes its place", []string{"new"}, func(v *vault.Vault, _ *vault.Agent) {
			v.Services = append([]vault.Service{}, v.Services...)
			v.Services[0].Name = "new"
		}, broker.CodeUnavailable},
		{"the vault taken away", nil, func(_ *vault.Vault, a *vault.Agent) { a.Vaults = nil }, broker.CodeUnauthorized},
		{"the token replaced", nil, func(_ *vault.Vault, a *vault.Agent) { a.Digest = vault.DigestToken("another") }, broker.CodeUnauthorized},
	} {
		t.Run(r.name, func(t *testing.T) {
			more := make(chan struct{})
			k := newAgentKit(t, streaming(more))
			k.grant(t, nil)
			var changes []func(*vault.Vault, *vault.Agent)
			if r.change != nil {
				changes = append(changes, r.change)
			}
			k.changing(t, k.of(t, "example.com", "/"), more, r.want, func() { k.grant(t, r.services, changes...) })
		})
	}
}

// Hosts of services that an agent was not granted are no unmatched hosts: a
// tunnel to them is never blind, and what is sent in it is refused.
func TestNarrowedAgentsGetNoBlindTunnelToAService(t *testing.T) {
	k := newAgentKit(t, echo)
	open := func(v *vault.Vault, _ *vault.Agent) { v.UnmatchedHosts = vault.UnmatchedTunnel }
	for _, services := range [][]string{nil, {}, {"api"}, {"other"}} {
		k.grant(t, services, open)
		for host, blind := range map[string]bool{
			"example.com": false, "other.example.com": false, "x.wide.example.org": false, "z.wide.example.org": false, "off.wide.example.org": false,
			"blind.example.com": true, "192.0.2.1": false,
		} {
			target, f := broker.Pin("https", host)
			if f != nil {
				t.Fatal(f.Message)
			}
			tunnel, f := k.OpenTunnel(broker.Identify(k.agent, "default"), target)
			if f != nil {
				t.Errorf("%v at %s: %s", services, host, f.Message)
				continue
			}
			tunnel.Close()
			if tunnel.Blind != blind {
				t.Errorf("%v at %s: blind %t, want %t", services, host, tunnel.Blind, blind)
			}
		}
	}
	k.grant(t, []string{"api"}, open)
	if w := k.ask(t, "other.example.com", "/"); code(t, w) != broker.CodeForbidden {
		t.Errorf("inside such a tunnel: %d %s", w.Code, w.Body)
	}
}

// Narrowing leaves a blind tunnel, and a service for its host ends it, granted
// or not.
func TestNarrowingAndBlindTunnels(t *testing.T) {
	k := newAgentKit(t, echo)
	open := func(v *vault.Vault, _ *vault.Agent) { v.UnmatchedHosts = vault.UnmatchedTunnel }
	k.grant(t, nil, open)
	target, _ := broker.Pin("https", "blind.example.com")
	tunnel, f := k.OpenTunnel(broker.Identify(k.agent, "default"), target)
	if f != nil || !tunnel.Blind {
		t.Fatalf("%v %+v", f, tunnel)
	}
	defer tunnel.Close()
	agent, ours := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Splice(context.Background(), tunnel, ours)
	}()
	if _, err := io.ReadFull(agent, make([]byte, len(broker.ConnectEstablished))); err != nil {
		t.Fatal(err)
	}
	k.grant(t, []string{"api"}, open)
	select {
	case <-ended:
		t.Fatal("narrowing cut the tunnel")
	case <-time.After(10 * time.Millisecond):
	}
	k.grant(t, []string{"api"}, open, func(v *vault.Vault, _ *vault.Agent) {
		v.Services = append([]vault.Service{{Name: "new", Host: "blind.example.com", Enabled: true, Auth: v.Services[0].Auth}}, v.Services...)
	})
	<-ended
	k.wantOutcome(t, broker.CodeForbidden)
}

// An agent's token that has ended is refused by the clock, whether or not a
// View was built since; one that has no end goes on.
func TestExpiredAgents(t *testing.T) {
	k := newAgentKit(t, echo)
	start := k.clock.Now()
	until := func(ends time.Time) func(*vault.Vault, *vault.Agent) {
		return func(_ *vault.Vault, a *vault.Agent) { a.ExpiresAt = ends }
	}
	k.grant(t, nil, until(start.Add(time.Hour)))
	tries := func(when, want string) {
		t.Helper()
		if w := k.ask(t, "example.com", "/"); code(t, w) != want || want != "" && w.Code != 401 {
			t.Errorf("%s: %d %s, want %q", when, w.Code, w.Body, want)
		}
	}
	k.clock.advance(time.Hour - time.Millisecond)
	tries("just before its end", "")
	k.clock.advance(time.Millisecond)
	tries("at its end", broker.CodeUnauthorized)
	target, _ := broker.Pin("https", "example.com")
	if _, f := k.OpenTunnel(broker.Identify(k.agent, "default"), target); f == nil || f.Code != broker.CodeUnauthorized {
		t.Errorf("a tunnel: %v", f)
	}
	k.grant(t, nil, until(start.Add(time.Hour)))
	tries("in a View built since", broker.CodeUnauthorized)
	k.grant(t, nil, until(start.Add(2*time.Hour)))
	tries("prolonged", "")
	k.grant(t, nil)
	k.clock.advance(500 * time.Hour)
	tries("without end", "")
}
