package api_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/api"
	"agentvault/vault"
)

func TestClient(t *testing.T) {
	ctx := t.Context()
	f := newEmpty(t)
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	c := &api.Client{Address: srv.URL + "/"} // the slash does not matter

	status, err := c.Status(ctx)
	if err != nil || status != (api.InstanceStatus{NeedsFirstUser: true}) {
		t.Fatalf("%+v, %v", status, err)
	}
	credentials := api.LoginRequest{Email: ownerEmail, Password: ownerPassword}
	if _, err := c.Register(ctx, credentials); err != nil {
		t.Fatal(err)
	}
	_, err = c.Register(ctx, credentials)
	wantRefused(t, err, 409, "conflict", "this instance has an owner already; sign in with: agent-vault auth login")
	_, err = c.Me(ctx)
	wantRefused(t, err, 401, "unauthorized", "the token is missing, unknown, expired or revoked")
	login, err := c.Login(ctx, credentials)
	if err != nil {
		t.Fatal(err)
	}
	c.Token = login.Token
	if me, err := c.Me(ctx); err != nil || me != login.User {
		t.Errorf("%+v, %v", me, err)
	}

	if v, err := c.CreateVault(ctx, "team-a"); err != nil || v.Name != "team-a" {
		t.Errorf("%+v, %v", v, err)
	}
	_, err = c.CreateVault(ctx, "team-a")
	var refused *api.ClientError
	if !errors.As(err, &refused) || refused.Status != 409 || refused.Error() != refused.Message {
		t.Errorf("%v", err)
	}
	applied, err := c.Apply(ctx, api.ApplyRequest{Vaults: []api.ApplyVault{{Name: "team-a", Credentials: map[string]string{"API_KEY": secretValue}}}})
	want := []vault.Change{
		{Vault: "team-a", Kind: "vault", Name: "team-a", Action: vault.Unchanged},
		{Vault: "team-a", Kind: "credential", Name: "API_KEY", Action: vault.Created},
	}
	if diff := cmp.Diff(want, applied.Changes); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	vaults, err := c.Vaults(ctx)
	if err != nil || len(vaults.Vaults) != 2 {
		t.Errorf("%+v, %v", vaults, err)
	}
	if pem, err := c.CAPEM(ctx); err != nil || string(pem) != caPEM {
		t.Errorf("%q, %v", pem, err)
	}

	first, err := c.MintSession(ctx, api.SessionRequest{Vault: "team-a"})
	if err != nil {
		t.Fatal(err)
	}
	agent := &api.Client{Address: srv.URL, Token: first.Token}
	if d, err := agent.Discover(ctx); err != nil || d.Vault != "team-a" || !cmp.Equal(d.AvailableCredentials, []string{"API_KEY"}) {
		t.Errorf("%+v, %v", d, err)
	}
	if err := agent.RevokeSelf(ctx); err != nil {
		t.Error(err)
	}
	wantRefused(t, agent.RevokeSelf(ctx), 401, "unauthorized", "the token is missing, unknown, expired or revoked")
	second, err := c.MintSession(ctx, api.SessionRequest{Vault: "team-a"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.RevokeSession(ctx, second.ID); err != nil {
		t.Error(err)
	}
	wantRefused(t, c.RevokeSession(ctx, "../vaults/team-a"), 404, "not_found", `there is no session "../vaults/team-a"`)
	if err := c.Logout(ctx); err != nil {
		t.Error(err)
	}
	wantRefused(t, c.Logout(ctx), 401, "unauthorized", "the token is missing, unknown, expired or revoked")
}

func wantRefused(t *testing.T, err error, status int, code, message string) {
	t.Helper()
	var refused *api.ClientError
	if !errors.As(err, &refused) {
		t.Fatalf("%v is no refusal", err)
	}
	if diff := cmp.Diff(&api.ClientError{Status: status, Code: code, Message: message}, refused); diff != "" {
		t.Error(diff)
	}
}

// TestClientErrors: each is one line that says what to do.
func TestClientErrors(t *testing.T) {
	answering := func(status int, body string) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if status == 0 { // breaks off
				w.Header().Set("Content-Length", "100")
				io.WriteString(w, body)
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			io.WriteString(w, body)
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	page, plain, moved, empty := answering(200, "<html>"), answering(502, "Bad Gateway"), answering(302, ""), answering(500, `{}`)
	broken := answering(0, "{")
	notAnAddress := func(s string) string {
		return `"` + s + `" is not the address of a server; it looks like http://127.0.0.1:14321`
	}
	for _, tt := range []struct{ name, address, want string }{
		{"nobody there", nobody, "no server at " + nobody},
		{"a web page", page, "the server's answer is not JSON; is it an Agent Vault?"},
		{"another server's error", plain, plain + " answered 502 Bad Gateway; is it an Agent Vault?"},
		{"a redirect is not followed", moved, moved + " answered 302 Found; is it an Agent Vault?"},
		{"an error without a code", empty, empty + " answered 500 Internal Server Error; is it an Agent Vault?"},
		{"breaks off", broken, "the server at " + broken + " broke off its answer: unexpected EOF"},
		{"no scheme", "127.0.0.1:14321", notAnAddress("127.0.0.1:14321")},
		{"a name for the scheme", "localhost:14321", notAnAddress("localhost:14321")},
		{"a name", "vault", notAnAddress("vault")},
		{"another scheme", "unix:///run/vault", notAnAddress("unix:///run/vault")},
		{"nothing", "", notAnAddress("")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := (&api.Client{Address: tt.address, Token: vault.NewToken(vault.PrefixLogin)}).Status(t.Context())
			if err == nil || err.Error() != tt.want || strings.Contains(err.Error(), "\n") {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&api.Client{Address: page}).Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestClientSendsNoTokenElsewhere: the token goes to the named server only,
// and not by way of the operator's proxy.
func TestClientSendsNoTokenElsewhere(t *testing.T) {
	asked := make(chan string, 8)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked <- r.Header.Get("Authorization") }))
	t.Cleanup(other.Close)
	srv := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	t.Cleanup(srv.Close)
	t.Setenv("HTTP_PROXY", other.URL)
	_, err := (&api.Client{Address: srv.URL, Token: "av_login_x"}).Me(t.Context())
	var refused *api.ClientError
	if !errors.As(err, &refused) || refused.Status != 307 {
		t.Errorf("%v", err)
	}
	select {
	case got := <-asked:
		t.Errorf("the other server was sent %q", got)
	default:
	}
}
