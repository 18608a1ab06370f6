package vault_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/seal"
)

const (
	mailService = `[{"name": "mail", "host": "mail.example.com", "auth": {"type": "oauth2", "grant": "refresh_token", "token_url": "https://login.example.com/token",
		"authorization_url": "https://login.example.com/authorize?access_type=offline", "client_id_literal": "app", "refresh_token": "MAIL_REFRESH", "scopes": ["read", "send"]}}]`
	loopback = "http://127.0.0.1:49152/callback"
)

// exchange stands for the authorization server: the code says what comes back.
func (f *fixture) exchange(_ context.Context, x vault.CodeExchange) (inject.Token, error) {
	f.exchanged = append(f.exchanged, x)
	if x.Code == "refused" {
		return inject.Token{}, &vault.Error{Code: vault.CodeConnectFailed, Message: "the code is not taken"}
	}
	return inject.Token{Value: seal.NewPlaintext([]byte("access-token")), Rotated: values("MAIL_REFRESH", "refresh-for-"+x.Code)}, nil
}

// begin is the state of a connection that somebody begins, "" of who may not.
func (f *fixture) begin(t *testing.T, c vault.Caller) string {
	n, err := f.BeginConnection(t.Context(), c, mainVault, "mail", loopback)
	if err != nil {
		return ""
	}
	return n.State
}

// begun is the next state that whoever asks of a cast has begun.
func (f *fixture) begun(c vault.Caller) any {
	if c.User() == nil || len(f.states[c.User().ID]) == 0 {
		return ""
	}
	states := f.states[c.User().ID]
	f.states[c.User().ID] = states[1:]
	return states[0]
}

func newConnecting(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	_, err := f.AddServices(t.Context(), f.owner, mainVault, services(t, mailService), nil, false)
	must(t, err)
	return f
}

func TestConnecting(t *testing.T) {
	f := newConnecting(t)
	n, err := f.BeginConnection(t.Context(), f.owner, mainVault, "mail", loopback)
	must(t, err)
	u, err := url.Parse(n.URL)
	must(t, err)
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) < 32 || q.Get("state") != n.State {
		t.Errorf("%s", n.URL)
	}
	for name, want := range map[string]string{"response_type": "code", "client_id": "app", "redirect_uri": loopback + "/login.example.com", "scope": "read send", "access_type": "offline"} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want)
		}
	}
	if u.Host+u.Path != "login.example.com/authorize" || !n.ExpiresAt.Equal(f.now().Add(vault.ConnectTTL)) {
		t.Errorf("%+v", n)
	}
	done, err := f.FinishConnection(t.Context(), f.owner, n.State, "one", "")
	must(t, err)
	diff(t, "done", vault.Connected{Vault: mainVault, Service: "mail", Credential: "MAIL_REFRESH"}, done)
	if got := f.open(t, f.get(t, mainVault), "MAIL_REFRESH"); got != "refresh-for-one" {
		t.Errorf("stored %q", got)
	}
	x := f.exchanged[0]
	if x.SignIn.Redirect != loopback+"/login.example.com" || x.SignIn.Verifier == "" || strings.Contains(n.URL, x.SignIn.Verifier) || x.User == "" {
		t.Errorf("exchanged %+v", x)
	}
	events, err := f.Events(t.Context(), f.owner, mainVault, 0, 1)
	must(t, err)
	if e := events[0]; e.Action != "credential.change" || e.Object != "connect MAIL_REFRESH of the service mail" {
		t.Errorf("recorded as %+v", e)
	}
	_, err = f.FinishConnection(t.Context(), f.owner, n.State, "one", "")
	wantCode(t, "a second time", vault.CodeNotFound, err)
}

func TestConnectingIsRefused(t *testing.T) {
	f := newConnecting(t)
	for _, redirect := range []string{"https://evil.example.com/callback", "http://localhost:80/callback", "http://127.0.0.1/callback", "http://127.0.0.1:0/callback", "https://127.0.0.1:1/callback",
		"http://10.0.0.1:1/callback", "http://127.0.0.1:1", "http://u@127.0.0.1:1/c", "http://127.0.0.1:1/c?a=b", "http://127.0.0.1:1/c#f"} {
		_, err := f.BeginConnection(t.Context(), f.owner, mainVault, "mail", redirect)
		wantCode(t, redirect, vault.CodeBadRequest, err)
	}
	_, err := f.BeginConnection(t.Context(), f.owner, mainVault, "mail", "http://[::1]:1/c")
	must(t, err)
	_, err = f.BeginConnection(t.Context(), f.owner, mainVault, "stripe", loopback)
	wantCode(t, "a service without an account", vault.CodeBadRequest, err)
	_, err = f.BeginConnection(t.Context(), f.session, mainVault, "mail", loopback)
	wantCode(t, "a session", vault.CodeForbidden, err)

	begin := func() string { return f.begin(t, f.owner) }
	_, err = f.FinishConnection(t.Context(), f.owner, begin(), "refused", "")
	wantCode(t, "a bad code", vault.CodeConnectFailed, err)
	_, err = f.FinishConnection(t.Context(), f.member, begin(), "code", "")
	wantCode(t, "another person", vault.CodeNotFound, err)
	late := begin()
	f.pass(vault.ConnectTTL)
	f.refresh(t)
	_, err = f.FinishConnection(t.Context(), f.owner, late, "code", "")
	wantCode(t, "late", vault.CodeNotFound, err)
	state := begin()
	_, err = f.SetServices(t.Context(), f.owner, mainVault, services(t, strings.Replace(mailService, "login.example.com/token", "evil.example.com/token", 1)))
	must(t, err)
	_, err = f.FinishConnection(t.Context(), f.owner, state, "code", "")
	wantCode(t, "the service is another", vault.CodeConflict, err)
	if _, there := f.get(t, mainVault).Credentials["MAIL_REFRESH"]; there {
		t.Error("something was stored")
	}
}

// Who comes back to a page of this server comes back to the one of the authorization
// server that was asked, and not in clear.
func TestConnectingByPage(t *testing.T) {
	f := newConnecting(t)
	for page, want := range map[string]string{
		"https://vault.example.com/connect/": "https://vault.example.com/connect/login.example.com", "http://127.0.0.1:14321/connect/": "http://127.0.0.1:14321/connect/login.example.com",
		"http://[::1]:14321/connect/": "http://[::1]:14321/connect/login.example.com", "": "", "http://vault.example.com/connect/": "", "http://localhost:14321/connect/": "",
	} {
		f.callback = page
		n, err := f.BeginConnection(t.Context(), f.owner, mainVault, "mail", "")
		if want == "" {
			wantCode(t, page, vault.CodeBadRequest, err)
			continue
		}
		must(t, err)
		u, err := url.Parse(n.URL)
		must(t, err)
		if n.Redirect != want || u.Query().Get("redirect_uri") != want {
			t.Errorf("%+v, want %s", n, want)
		}
		_, err = f.FinishConnection(t.Context(), f.owner, n.State, "one", want)
		must(t, err)
	}
	f.callback = "https://vault.example.com/connect/"
	for _, page := range []string{"", "https://vault.example.com/connect/evil.example.com", "https://vault.example.com/connect/login.example.com/"} {
		n, err := f.BeginConnection(t.Context(), f.owner, mainVault, "mail", "")
		must(t, err)
		_, err = f.FinishConnection(t.Context(), f.owner, n.State, "mixed-up", page)
		wantCode(t, page, vault.CodeBadRequest, err)
		_, err = f.FinishConnection(t.Context(), f.owner, n.State, "mixed-up", n.Redirect)
		wantCode(t, "a second time", vault.CodeNotFound, err)
	}
	_, err := f.FinishConnection(t.Context(), f.owner, f.begin(t, f.owner), "mixed-up", f.callback+"login.example.com")
	wantCode(t, "begun for loopback", vault.CodeBadRequest, err)
	for _, x := range f.exchanged {
		if x.Code == "mixed-up" {
			t.Errorf("a code went where it was not to go: %+v", x)
		}
	}
}
