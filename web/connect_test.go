package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"agentvault/api"
	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/seal"
)

const (
	mailServices = `{"services": [{"name": "mail", "host": "mail.example.com", "auth": {"type": "oauth2", "grant": "refresh_token", "token_url": "https://login.example.com/token",
		"authorization_url": "https://login.example.com/authorize?access_type=offline", "client_id_literal": "app", "refresh_token": "MAIL_REFRESH"}}]}`
	mailPath = "/vaults/default/services/mail"
	backPath = "/connect/callback/login.example.com"
)

// exchange stands for the authorization server.
func (f *fixture) exchange(_ context.Context, x vault.CodeExchange) (inject.Token, error) {
	f.codes = append(f.codes, x)
	if x.Code == "refused" {
		return inject.Token{}, &vault.Error{Code: vault.CodeConnectFailed, Message: "the authorization server does not take the code"}
	}
	return inject.Token{Value: seal.NewPlaintext([]byte("access-token")), Rotated: map[string]seal.Plaintext{"MAIL_REFRESH": seal.NewPlaintext([]byte("refresh-for-" + x.Code))}}, nil
}

// leading is an API's answer of where a person signs in.
func leading(at, back string) *http.Response {
	b, _ := json.Marshal(api.Connection{URL: at, RedirectURI: back}) // of strings
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(b))}
}

func newConnecting(t *testing.T) *fixture {
	t.Helper()
	f := newOwned(t)
	f.base = "https://" + host
	var r api.AddServicesRequest
	if err := json.Unmarshal([]byte(mailServices), &r); err != nil {
		t.Fatal(err)
	}
	if _, err := f.owner.AddServices(t.Context(), "default", r); err != nil {
		t.Fatal(err)
	}
	return f
}

// leads presses the button, and returns what the link asks the authorization server.
func (b *browser) leads() url.Values {
	b.f.t.Helper()
	for _, n := range b.post(mailPath + "/connect").status(200).nodes() {
		if at, q, ok := strings.Cut(attr(n, "href"), "?"); ok && at == "https://login.example.com/authorize" && n.Data == "a" {
			values, err := url.ParseQuery(q)
			if err != nil {
				b.f.t.Fatal(err)
			}
			return values
		}
	}
	b.f.t.Fatal("no link leads there")
	return nil
}

// A person is led away and comes back: without their cookie, then with it.
func TestConnect(t *testing.T) {
	f := newConnecting(t)
	b := f.signedIn()
	b.get(mailPath).status(200).says("Connect an account", "MAIL_REFRESH has no value")
	b.get("/vaults/default").status(200)
	asked := b.leads()
	if asked.Get("redirect_uri") != f.base+backPath || asked.Get("code_challenge_method") != "S256" || asked.Get("access_type") != "offline" {
		t.Errorf("asked %v", asked)
	}
	query := "?" + url.Values{"state": {asked.Get("state")}, "code": {"the-code"}}.Encode()
	back := f.browser() // no cookie goes along
	r := back.request("GET", backPath+query, "")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	p := back.send(r).status(200).says("login.example.com", "Finish")
	if len(f.codes) > 0 {
		t.Error("the code was traded unasked")
	}
	done := b.post(backPath, p.typed(backPath)...).status(200).says("Connected", "mail", "MAIL_REFRESH").saysNot("the-code", "refresh-for", "access-token")
	if len(f.codes) != 1 || f.codes[0].SignIn.Redirect != f.base+backPath || done.Get("Referrer-Policy") != "same-origin" {
		t.Errorf("traded %+v", f.codes)
	}
	b.get(mailPath).status(200).saysNot("has no value")
	b.post(backPath, p.typed(backPath)...).status(404).says("Not connected", "begin again")
	if len(f.codes) != 1 {
		t.Error("the code was traded twice")
	}
}

// What did not come from who was asked, or to who asked, is not traded.
func TestConnectIsRefused(t *testing.T) {
	f := newConnecting(t)
	b := f.signedIn()
	state := func() string { return b.leads().Get("state") }
	f.join("proxy@example.test", "member", "proxy").get(mailPath).saysNot("Connect an account")
	f.join("ann@example.test", "member", "member").post(backPath, "state", state(), "code", "another-persons").status(404)
	b.post("/connect/callback/evil.example.com", "state", state(), "code", "mixed-up").status(400).says("Not connected", "nothing was stored")
	b.post(backPath, "state", "unknown", "code", "a").status(404)
	if len(f.codes) > 0 {
		t.Errorf("traded %+v", f.codes)
	}
	b.post(backPath, "state", state(), "code", "refused").status(502).says("Not connected", "does not take the code")

	// Who is signed in no more goes on with their password.
	kept := state()
	p := f.browser().post(backPath, "state", kept, "code", "kept").status(401).says("Your sign-in has ended.")
	if form := p.typed(backPath); !slices.Contains(form, kept) || !slices.Contains(form, "kept") {
		t.Errorf("the form keeps %q", form)
	}
	f.browser().post(backPath, "state", kept, "code", "kept", "login.email", ownerEmail, "login.password", ownerPassword).status(200).says("Connected")

	b.post("/vaults/default/services/none/connect").status(404)
	f.base = "http://" + host // and codes would travel in clear
	f.signedIn().post(mailPath+"/connect").status(400).says("codes do not travel in clear", "agent-vault credential connect")
}

func TestCallback(t *testing.T) {
	b := newConnecting(t).browser()
	for _, query := range []string{"", "?state=a", "?code=a", "?state=a&code=", "?state=a&code=b&code=c", "?state=a&state=a&code=b", "?state=a%0a&code=b", "?state=a&code=%ff", "?state=%zz&code=b", "?error=a&error=b"} {
		b.get(backPath + query).status(400).says("not the answer of an authorization server")
	}
	b.get(backPath+"?error=access_denied&error_description=%3Cb%3Eno%3C/b%3E%E2%80%AE&state=a").status(200).
		says("Not connected", "in the words of who led you here", `access_denied`, `<b>no</b>\u202e`).saysNot("<b>no", "Finish")
	b.get(backPath + "?error=&state=a").status(200).says("no reason")
}
