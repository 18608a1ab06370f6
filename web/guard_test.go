package web_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"strings"
	"testing"
)

// policy is what the pages may do; no script or style of a page's own is in it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// paths spells a path for each pattern of the table.
func (f *fixture) path(pattern string) string {
	return strings.NewReplacer("/{$}", "/", "/static/{hash}/{name}", f.pages.Asset("app.css"), "{id}", "1", "{token}", "av_join_x",
		"{vault}", "default", "{entry}", "github", "{service}", "github", "{key}", "GITHUB_TOKEN", "{file}", "agent-vault-ca.der", "{server}", "login.test").Replace(pattern)
}

// Every route has the headers, whatever it answers and whoever asks.
func TestHeaders(t *testing.T) {
	f := newOwned(t)
	in := f.signedIn()
	for _, rt := range f.pages.Routes() {
		for name, b := range map[string]*browser{"signed in": in, "signed out": f.browser()} {
			r := b.request(rt[0], f.path(rt[1]), "")
			if !f.pages.Serves(r) {
				t.Errorf("%s %s is not served", rt[0], rt[1])
			}
			checkHeaders(t, rt[0]+" "+rt[1]+" "+name, b.send(r), strings.HasPrefix(rt[1], "/static/"))
		}
	}
	b := f.browser()
	checkHeaders(t, "no such page", b.get("/sign-in/x").status(404), false)
	for path, want := range map[string]string{"/vaults/": "/vaults", "/sign-in//": "/sign-in", "/approve/1/?token=x": "/approve/1?token=x"} {
		if p := b.get(path); p.code != http.StatusPermanentRedirect || p.Get("Location") != want {
			t.Errorf("%s: %d to %q", path, p.code, p.Get("Location"))
		}
	}
	b.get("//evil.example/").status(404)
	checkHeaders(t, "no such method", b.send(b.request("DELETE", "/vaults", "")).status(403), false)
	foreign := b.request("GET", "/sign-in", "")
	foreign.Host = "evil.example"
	checkHeaders(t, "no such host", b.send(foreign).status(421), false)
}

func checkHeaders(t *testing.T, what string, p page, cached bool) {
	t.Helper()
	want := map[string]string{
		"Cache-Control": "no-store", "Content-Security-Policy": policy, "Cross-Origin-Opener-Policy": "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
		"X-Frame-Options": "DENY", "Access-Control-Allow-Origin": "",
	}
	if cached {
		want["Cache-Control"] = "public, max-age=31536000, immutable"
	}
	for name, value := range want {
		if got := strings.Join(p.Values(name), "|"); got != value {
			t.Errorf("%s: %s: %q, want %q", what, name, got, value)
		}
	}
	if p.code != http.StatusSeeOther && p.Get("Content-Type") == "" {
		t.Errorf("%s: no Content-Type", what)
	}
}

// No page has a script, style or handler in itself, which its policy forbids.
func TestNothingInline(t *testing.T) {
	f := stocked(t)
	b := f.signedIn()
	for _, rt := range f.pages.Routes() {
		if rt[0] != "GET" || strings.HasPrefix(rt[1], "/static/") {
			continue
		}
		for _, n := range b.get(f.path(rt[1])).nodes() {
			if n.Data == "style" || n.Data == "script" && (attr(n, "src") == "" || n.FirstChild != nil) {
				t.Errorf("%s has an inline %s", rt[1], n.Data)
			}
			for _, a := range n.Attr {
				if a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.HasPrefix(a.Key, "hx-on") {
					t.Errorf("%s has %s=%q", rt[1], a.Key, a.Val)
				}
			}
		}
	}
}

// Every form of every route is refused that another site's page sent, and does
// nothing.
func TestCrossOrigin(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	for _, rt := range f.pages.Routes() {
		if rt[0] != "POST" {
			continue
		}
		for name, change := range map[string]func(*http.Request){
			"another site's": func(r *http.Request) {
				r.Header.Set("Origin", "http://evil.example")
				r.Header.Set("Sec-Fetch-Site", "cross-site")
			},
			"another port's": func(r *http.Request) {
				r.Header.Set("Origin", "http://vault.example.test:9")
				r.Header.Set("Sec-Fetch-Site", "same-site")
			},
			"an old browser's":   func(r *http.Request) { r.Header.Set("Origin", "http://evil.example"); r.Header.Del("Sec-Fetch-Site") },
			"no page's":          func(r *http.Request) { r.Header.Del("Origin"); r.Header.Del("Sec-Fetch-Site") },
			"a sandbox's":        func(r *http.Request) { r.Header.Set("Origin", "null") },
			"another scheme's":   func(r *http.Request) { r.Header.Set("Origin", "https://"+host) },
			"a liar's":           func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
			"an address's":       func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:14321") },
			"a user's of a name": func(r *http.Request) { r.Header.Set("Origin", "http://x@"+host) },
		} {
			r := b.request("POST", f.path(rt[1]), "")
			change(r)
			p := b.send(r)
			if p.code != http.StatusForbidden || len(p.Values("Set-Cookie")) > 0 {
				t.Errorf("POST %s, %s: %d %v", rt[1], name, p.code, p.Values("Set-Cookie"))
			}
		}
	}
	b.get("/vaults").status(200)
}

// A name that was rebound to this server's address gets nothing, from no route.
func TestRebinding(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	for _, rt := range f.pages.Routes() {
		for _, name := range []string{"evil.example", "evil.example:14321", "localhost.evil.example", "vault.example.test.evil.example:14321", "", "127.0.0.1.evil.example", "vault.example.test@evil.example"} {
			r := b.request(rt[0], f.path(rt[1]), "")
			r.Host = name
			r.Header.Set("Origin", "http://"+name)
			if p := b.send(r); p.code != http.StatusMisdirectedRequest {
				t.Errorf("%s %s of %q: %d", rt[0], rt[1], name, p.code)
			}
		}
	}
	for _, name := range []string{"127.0.0.1:14321", "[::1]:14321", "localhost:14321", "VAULT.example.test:14321"} {
		r := b.request("GET", "/sign-in", "")
		if r.Host = name; b.send(r).code != http.StatusSeeOther {
			t.Errorf("%q is refused", name)
		}
	}
}

func TestForms(t *testing.T) {
	b := newOwned(t).browser()
	for form, want := range map[string]int{
		"next=/&unknown=1":              400,
		"next=/&next=/":                 400,
		"next=%ff":                      400,
		"next=%zz":                      400,
		"NEXT=/":                        400,
		strings.Repeat("n", 300<<10):    413,
		"next=/":                        401,
		"login.email=a&login.email=b":   400,
		"login.password=" + ownerEmail:  401,
		"login.email=&login.password=x": 401,
	} {
		if p := b.send(b.request("POST", "/sign-in", form)); p.code != want {
			t.Errorf("%.40q: %d, want %d", form, p.code, want)
		}
	}
	r := b.request("POST", "/sign-in", "next=/")
	r.Header.Set("Content-Type", "text/plain")
	b.send(r).status(415)
}

// What is not a page is the API's, byte for byte.
func TestNotServed(t *testing.T) {
	f := newOwned(t)
	b := f.browser()
	for _, path := range []string{"/v1/vaults", "/health", "/discover", "/metrics", "/proxy/x", "/invite/x", "/nothing", "//", "//sign-in", "/%2e", "/sign-inn", "/.", "/./sign-in", "/%73ign-in/../x"} {
		if r := b.request("GET", path, ""); f.pages.Serves(r) && path != "/%73ign-in/../x" {
			t.Errorf("%s is served", path)
		}
	}
	for accept, want := range map[string]bool{"": false, "*/*": false, "application/json": false, "application/json, text/html": false, "text/html": true} {
		r := b.request("GET", "/join/av_join_x", "")
		r.Header.Set("Accept", accept)
		if f.pages.Serves(r) != want {
			t.Errorf("%q: served is %t", accept, !want)
		}
	}
}

// The files that others wrote are those of their packages.
func TestVendored(t *testing.T) {
	for name, want := range map[string]string{
		"htmx-2.0.11.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
		"htmx-LICENSE.txt":   "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
	} {
		content, err := os.ReadFile("static/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s: %x", name, sum)
		}
	}
}
