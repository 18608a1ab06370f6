package web_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/vault"
	"agentvault/web"
)

func TestSignIn(t *testing.T) {
	f := newOwned(t)
	b := f.browser()
	first := b.get("/vaults?x=y").status(401).says("Sign in")
	typed := first.typed("/sign-in")
	for i := range typed {
		switch typed[i] {
		case "login.email":
			typed[i+1] = ownerEmail
		case "login.password":
			typed[i+1] = "not this one"
		}
	}
	wrong := b.post("/sign-in", typed...).status(401).says("wrong").saysNot("not this one")
	again := wrong.typed("/sign-in")
	if !strings.Contains(strings.Join(again, " "), "/vaults?x=y") || !strings.Contains(strings.Join(again, " "), ownerEmail) {
		t.Errorf("the page that was asked for or the email is lost: %q", again)
	}
	for i := range again {
		if again[i] == "login.password" {
			again[i+1] = ownerPassword
		}
	}
	if to := b.post("/sign-in", again...).status(303).Get("Location"); to != "/vaults?x=y" {
		t.Errorf("it goes on to %q", to)
	}
	b.get("/vaults?x=y").status(200).says(ownerEmail, "Nothing is waiting")
	b.get("/sign-in?next=/vaults").status(303)
	old := b.cookie
	b.post("/sign-out").status(303)
	if b.cookie != "" {
		t.Errorf("the cookie stays: %s", b.cookie)
	}
	b.cookie = old
	b.get("/vaults").status(401)
}

func TestCookie(t *testing.T) {
	f := newOwned(t)
	form := []string{"login.email", ownerEmail, "login.password", ownerPassword}
	plain := f.browser().post("/sign-in", form...).status(303).Get("Set-Cookie")
	f.base = "https://" + host
	secure := f.browser().post("/sign-in", form...).status(303).Get("Set-Cookie")
	for _, c := range []struct {
		line, name string
		secure     bool
	}{{plain, "agent_vault_login=av_", false}, {secure, "__Host-agent_vault_login=av_", true}} {
		got, err := http.ParseSetCookie(c.line)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(c.line, c.name) || !got.HttpOnly || got.SameSite != http.SameSiteStrictMode || got.Path != "/" || got.Domain != "" || got.Secure != c.secure || got.Expires.IsZero() {
			t.Errorf("%s", c.line)
		}
	}
}

// The cookie of clear text does not sign in on TLS: another server on the name
// could have set it.
func TestCookieNames(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	f.base = "https://" + host
	b.get("/vaults").status(401)
}

// Guesses are counted by the browser's address, and nothing that it sends
// changes that.
func TestThrottled(t *testing.T) {
	f := newOwned(t)
	b := f.browser()
	guess := func(i int, path, form string) page {
		b.addr = "192.0.2.9:" + strconv.Itoa(1000+i)
		r := b.request("POST", path, form)
		r.Header.Set("X-Forwarded-For", "198.51.100."+strconv.Itoa(i))
		r.Header.Set("Forwarded", "for=198.51.100."+strconv.Itoa(i))
		return b.send(r)
	}
	for i := range 20 { // guessing invites is counted as well, and takes no time
		guess(i, "/join/"+vault.NewToken(vault.PrefixJoin), "password=wrong+wrong+wrong").status(404)
	}
	last := guess(20, "/sign-in", "login.email=a%40example.test&login.password=wrong+wrong+wrong").status(429).says("Too many wrong attempts", "Sign in")
	if last.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	other := f.browser()
	other.addr = "192.0.2.10:1"
	other.post("/sign-in", "login.email", ownerEmail, "login.password", ownerPassword).status(303)
}

// What was typed outlives a sign-in that ended meanwhile.
func TestTypedIsKept(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	f.clock.move(13 * time.Hour)
	p := b.post("/sign-in", "next", "/vaults?a=b").status(401)
	typed := p.typed("/sign-in")
	b.post("/sign-in", append(typed[:2:2], "login.email", ownerEmail, "login.password", ownerPassword)...).status(303)
	b.get("/vaults").status(200)
}

func TestAgentsTokenIsNoCookie(t *testing.T) {
	f := newOwned(t)
	s, err := f.owner.MintSession(t.Context(), api.SessionRequest{Vault: "default"})
	if err != nil {
		t.Fatal(err)
	}
	b := f.browser()
	b.cookie = "agent_vault_login=" + s.Token
	b.get("/vaults").status(401)
}

func TestOpenRedirect(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	for _, next := range []string{
		"https://evil.example/", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "http:evil.example", "javascript:alert(1)",
		"evil.example", "", "/\t/evil.example", "/\n//evil.example", " //evil.example", "/%zz", "/x#y", "//", "/\u202e", "http://" + host + "/", "/x\\y",
	} {
		if got := web.Local(next); got != "/vaults" {
			t.Errorf("%q leads to %q", next, got)
		}
		if to := b.post("/sign-in", "next", next).status(303).Get("Location"); to != "/vaults" {
			t.Errorf("%q leads to %q", next, to)
		}
	}
	for _, next := range []string{"/", "/approve/1?token=av_appr_x", "/vaults/a%2fb?next=//evil.example"} {
		if got := web.Local(next); got != next {
			t.Errorf("%q leads to %q", next, got)
		}
	}
}

// A link on another site comes without the cookie; the page is loaded anew from
// here, once.
func TestFromElsewhere(t *testing.T) {
	f := newOwned(t)
	b := f.browser()
	r := b.request("GET", "/vaults", "")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if p := b.send(r).status(200); p.Get("Refresh") != "0" {
		t.Errorf("Refresh: %q", p.Get("Refresh"))
	}
	again, err := http.ParseSetCookie(b.send(r).Get("Set-Cookie"))
	if err != nil || again.Path != "/vaults" || again.MaxAge != 10 {
		t.Fatalf("%+v %v", again, err)
	}
	r.AddCookie(again) // whatever the browser says of where it comes from now
	if p := b.send(r).status(401); p.Get("Refresh") != "" {
		t.Error("it is loaded again and again")
	}
}

func TestFirstPassword(t *testing.T) {
	f := newEmpty(t)
	b := f.browser()
	b.get("/sign-in").status(200).says("Nobody owns this instance yet")
	b.post("/register", "email", ownerEmail, "password", "short").status(400).says("Nobody owns").saysNot(`value="short"`)
	b.post("/register", "email", ownerEmail, "password", ownerPassword).status(303)
	b.get("/vaults").status(200).says(ownerEmail)
	f.browser().post("/register", "email", "b@example.test", "password", ownerPassword).status(409)

	f.owner = f.clientOf(strings.TrimPrefix(b.cookie, "agent_vault_login="))
	invite, err := f.owner.InviteUser(t.Context(), api.UserInviteRequest{Email: "ann@example.test"})
	if err != nil {
		t.Fatal(err)
	}
	ann := f.browser()
	path := strings.TrimPrefix(invite.InviteLink, f.base)
	ann.get(path).status(200).says("You are invited")
	ann.post(path, "password", "short").status(400).says("You are invited")
	ann.post(path, "password", ownerPassword).status(303)
	ann.get("/vaults").status(200).says("ann@example.test", "no vault")
	ann.post(path, "password", ownerPassword).status(410)
}

// Wherever a page sends a browser on, it stays on this server.
func FuzzLocal(f *testing.F) {
	for _, next := range []string{"/", "//evil.example", "/\\evil.example", "https://evil.example", "/x?y=//z", "/%2f/evil.example", "/\t/evil.example"} {
		f.Add(next)
	}
	base, err := url.Parse("http://" + host + "/sign-in?next=x")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := web.Local(next)
		// Browsers take a backslash for a slash, and leave out tabs and line breaks (URL §4.4).
		as, err := url.Parse(strings.NewReplacer("\\", "/", "\t", "", "\n", "", "\r", "").Replace(got))
		if err != nil || base.ResolveReference(as).Host != host || base.ResolveReference(as).Scheme != "http" {
			t.Errorf("%q leads to %q: %v", next, got, err)
		}
	})
}
