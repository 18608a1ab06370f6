package broker_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/policy"
	"agentvault/vault"
)

// A change of a service reaches what is open under it (R14): a stream that
// would not be let in any more is cut, every other one goes on.
func TestChangesReachOpenStreams(t *testing.T) {
	for _, r := range []struct {
		name   string
		change func(v *vault.Vault)
		want   string // code in the record; "" means that the stream goes on
	}{
		{"nothing", func(*vault.Vault) {}, ""},
		{"another service", func(v *vault.Vault) { v.Services[1].Enabled = false }, ""},
		{"its description", func(v *vault.Vault) { v.Services[0].Description = "new words" }, ""},
		{"a rule that allows it", func(v *vault.Vault) { v.Services[0].Rules = []policy.Rule{{Methods: []string{"GET"}}} }, ""},
		{"disabled", func(v *vault.Vault) { v.Services[0].Enabled = false }, broker.CodeServiceDisabled},
		{"deleted", func(v *vault.Vault) { v.Services = v.Services[1:] }, broker.CodeForbidden},
		{"a rule against its method", func(v *vault.Vault) { v.Services[0].Rules = []policy.Rule{{Methods: []string{"POST"}}} }, broker.CodeMethodNotAllowed},
		{"a rule against its path", func(v *vault.Vault) { v.Services[0].Rules = []policy.Rule{{Paths: []string{"/other/*"}}} }, broker.CodePathNotAllowed},
		{"another credential", func(v *vault.Vault) { v.Services[0].Auth = v.Services[1].Auth }, broker.CodeUnavailable},
		{"another service in its place", func(v *vault.Vault) { v.Services[0].Name = "renamed" }, broker.CodeUnavailable},
		{"services that do not compile", func(v *vault.Vault) { v.Services[0].Host = "*" }, broker.CodeUnavailable},
	} {
		t.Run(r.name, func(t *testing.T) {
			more := make(chan struct{})
			k := newKit(t, streaming(more), nil)
			k.changing(t, k.request(t, "example.com", "/"), more, r.want, func() { k.changeVault(t, r.change) })
		})
	}
}

// streaming answers with a line, and with another once more is closed.
func streaming(more <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-more:
			io.WriteString(w, "last\n")
		case <-req.Context().Done():
		}
	})
}

// changing makes a change under a stream, which it must cut with the code want
// in the record, or, with "", let go on.
func (k *kit) changing(t *testing.T, x broker.Request, more chan<- struct{}, want string, change func()) {
	t.Helper()
	k.changingUnder(t, x, "", more, want, change)
}

// changingUnder is changing with a body of JSON; "" for none.
func (k *kit) changingUnder(t *testing.T, x broker.Request, body string, more chan<- struct{}, want string, change func()) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+k.listen(t, x)+"/stream", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, len("first\n"))); err != nil {
		t.Fatal(err)
	}
	change()
	if want == "" {
		close(more)
		if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "last\n" {
			t.Errorf("%q, %v: the stream was cut", rest, err)
		}
		return
	}
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%q: the stream ended as if it were whole", rest)
	}
	k.wantOutcome(t, want)
}

// What waits for an upstream's answer is told why it gets none.
func TestChangesReachWaitingExchanges(t *testing.T) {
	arrived := make(chan struct{}, 1)
	k := newKit(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	}), nil)
	addr := k.listen(t, k.request(t, "example.com", "/"))
	for _, r := range []struct {
		change func(*vault.Vault)
		status int
		code   string
	}{
		{func(v *vault.Vault) { v.Services[0].Enabled = false }, 403, broker.CodeServiceDisabled},
		{func(v *vault.Vault) { v.Services = v.Services[1:] }, 403, broker.CodeForbidden},
		{func(v *vault.Vault) { v.Services[0].Auth = v.Services[1].Auth }, 503, broker.CodeUnavailable},
	} {
		k.changeVault(t, func(*vault.Vault) {})
		type answer struct {
			status int
			body   string
			err    error
		}
		answered := make(chan answer, 1)
		go func() {
			resp, err := http.Get("http://" + addr + "/")
			if err != nil {
				answered <- answer{err: err}
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			answered <- answer{resp.StatusCode, string(body), err}
		}()
		<-arrived
		k.changeVault(t, r.change)
		a := <-answered
		if a.err != nil || a.status != r.status || !strings.Contains(a.body, `"error":"`+r.code+`"`) {
			t.Errorf("%d %s %v, want %d %s", a.status, a.body, a.err, r.status, r.code)
		}
		if r.code == broker.CodeForbidden && !strings.Contains(a.body, `"proposal_hint"`) {
			t.Errorf("%s has no proposal_hint", a.body)
		}
	}
}

// A blind tunnel ends when its host gets a service, or the vault lets no
// unmatched host through any more.
func TestChangesReachBlindTunnels(t *testing.T) {
	for name, change := range map[string]func(*vault.Vault){
		"unmatched hosts denied": func(v *vault.Vault) { v.UnmatchedHosts = vault.UnmatchedDeny },
		"covered by a service": func(v *vault.Vault) {
			v.Services = append(v.Services, vault.Service{Name: "new", Host: "blind.example.com", Enabled: true, Auth: v.Services[0].Auth})
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, echo, func(o *broker.Options) { o.Dialer.Hosts["blind.example.com"] = o.Dialer.Hosts["example.com"] })
			open := func(v *vault.Vault) { v.UnmatchedHosts = vault.UnmatchedTunnel }
			k.changeVault(t, open)
			target, _ := broker.Pin("https", "blind.example.com")
			tunnel, f := k.OpenTunnel(broker.Identify(k.token, ""), target)
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
			k.changeVault(t, func(v *vault.Vault) { open(v); v.Services[0].Description = "of no concern" })
			select {
			case <-ended:
				t.Fatal("a change elsewhere cut the tunnel")
			case <-time.After(10 * time.Millisecond):
			}
			k.changeVault(t, func(v *vault.Vault) { open(v); change(v) })
			<-ended
			k.wantOutcome(t, broker.CodeForbidden)
		})
	}
}

// changeVault publishes the kit's vault with a change to it.
func (k *kit) changeVault(t *testing.T, change func(*vault.Vault)) {
	t.Helper()
	snap := k.snapshot
	v := snap.Vaults[0]
	v.Services = append([]vault.Service{}, v.Services...)
	change(&v)
	snap.Vaults = []vault.Vault{v}
	k.source.set(snap, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}
