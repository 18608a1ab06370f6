package web_test

import (
	"slices"
	"strings"
	"testing"

	"agentvault/api"
)

// Two clicks and a value: an entry of the catalog, and its form.
func TestCatalog(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	all := b.get("/vaults/default/catalog").status(200).says("GitHub", "Stripe", "Describe it yourself")
	if !strings.Contains(all.body, `href="/vaults/default/catalog/github"`) || strings.Contains(all.text(), "in this vault") {
		t.Error(all.text())
	}
	b.get("/vaults/default/catalog?search=stripe").status(200).says("Stripe").saysNot("catalog/github")
	b.get("/vaults/default/catalog?search=%3Cb%3Ex").status(200).says("nothing like that").saysNot("<b>x")

	const at = "/vaults/default/catalog/github"
	p := b.get(at).status(200).says("Add GitHub", "api.github.com", "GITHUB_TOKEN: GitHub personal access token", "github.com/settings/personal-access-tokens/new", "A fine-grained token",
		"every method on every path of https://api.github.com, with GITHUB_TOKEN").saysNot("Look twice")
	b.post(at, with(p.typed(at), "value.GITHUB_TOKEN", "gh")...).status(400).says("shorter than 8 bytes", "Take a value").saysNot(`value="gh"`)
	b.post(at, with(p.typed(at), "value.OTHER", token)...).status(400).says("no use for that key").saysNot(token)
	if to := b.post(at, with(p.typed(at), "value.GITHUB_TOKEN", token)...).status(303).Get("Location"); to != "/vaults/default/start" {
		t.Error(to)
	}
	b.get("/vaults/default").says("github usable").saysNot(token)
	b.get("/vaults/default/catalog").says("in this vault")
	b.get(at).status(200).says(`There is a service "github" already`)
	b.post(at).status(409).says(`There is a service "github" already`)
	b.get("/vaults/default/catalog/githib").status(404).says("did you mean github")
	b.get("/vaults/none/catalog/github").status(404)
	b.post("/vaults/none/catalog/github").status(404)
}

func TestTenant(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	const at = "/vaults/default/catalog/atlassian"
	p := b.get(at).status(200).says("Tenant: your Atlassian site, as in acme", "ATLASSIAN_API_TOKEN")
	b.post(at, p.typed(at)...).status(400).says("It needs your Atlassian site, as in acme")
	wrong := b.post(at, with(p.typed(at), "tenant", "a.b")...).status(400).says("only the part that is yours")
	if !slices.Contains(wrong.typed(at), "a.b") {
		t.Error("what was typed is lost")
	}
	b.post(at, with(p.typed(at), "tenant", "acme", "value.ATLASSIAN_EMAIL", "me@example.test")...).status(303)
	b.get("/vaults/default/start").status(200).says("Without a value: ATLASSIAN_API_TOKEN.")
}

// A credential that would go to another host is added to it only when the person
// has seen that, by the catalog and without.
func TestLookTwice(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	if _, err := f.owner.SetCredentials(t.Context(), api.SetCredentialsRequest{Vault: "default", Credentials: map[string]string{"GITHUB_TOKEN": token}}); err != nil {
		t.Fatal(err)
	}
	const warning = "credential GITHUB_TOKEN exists, and would go to a host it never went to: api."
	sure := func(p page) string {
		t.Helper()
		for _, n := range p.nodes() {
			if n.Data == "input" && attr(n, "name") == "sure" {
				return attr(n, "value")
			}
		}
		t.Fatalf("no field in\n%s", p.body)
		return ""
	}
	const entry = "/vaults/default/catalog/github"
	p := b.get(entry).status(200).says("Look twice", warning+"github.com", "It has a value already", "I mean it")
	b.post(entry, p.typed(entry)...).status(409).says("Look at what is said below", warning)
	b.post(entry, with(p.typed(entry), "sure", sure(p))...).status(303)

	const own = "/vaults/default/services"
	form := []string{"host", "api.githnb.com", "auth", "bearer", "key", "GITHUB_TOKEN"}
	p = b.post(own, form...).status(409).says("Look twice", warning+"githnb.com", "looks like api.github.com")
	if typed := p.typed(own); !slices.Contains(typed, "api.githnb.com") || !slices.Contains(typed, "GITHUB_TOKEN") {
		t.Errorf("what was typed is lost: %q", typed)
	}
	other := slices.Clone(form)
	other[1] = "api.githmb.com"
	b.post(own, with(other, "sure", sure(p))...).status(409) // the word was for another host
	b.post(own, with(form, "sure", sure(p))...).status(303)
}

func TestOwnService(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	const at = "/vaults/default/services"
	if typed := b.get(at + "?host=api.example.com&key=GITHUB_TOKEN").status(200).typed(at); !slices.Contains(typed, "api.example.com") || slices.Contains(typed, "GITHUB_TOKEN") {
		t.Errorf("%q", typed)
	}
	for _, tt := range []struct {
		form []string
		says string
	}{
		{[]string{"host", "a_b", "auth", "passthrough"}, "does not belong into a host name"},
		{[]string{"host", "a.example.com", "auth", ""}, "type"},
		{[]string{"host", "a.example.com", "auth", "bearer", "key", "sk-live-typed-here", "value.key", "sk-live-value"}, "token"},
		{[]string{"host", "a.example.com", "auth", "bearer", "key", "", "value.key", "sk-live-value"}, "token"},
		{[]string{"host", "a.example.com", "auth", "query", "key", "A_KEY", "value.key", "sk-live-value"}, "parameter"},
		{[]string{"host", "a.example.com", "auth", "passthrough", "rules", "GET /v1"}, "does not begin with allow, ask or deny"},
		{[]string{"host", "a.example.com", "auth", "passthrough", "rules", "deny DELETE"}, "nothing is allowed"},
		{[]string{"host", "a.example.com", "auth", "passthrough", "rules", "allow GET /v1 POST"}, "methods come first"},
		{[]string{"host", "a.example.com", "auth", "passthrough", "name", "No"}, "name"},
		{[]string{"host", "a.example.com", "auth", "passthrough", "scheme", "http"}, "port"},
		{[]string{"host", "a.example.com", "auth", "bearer", "key", "A_KEY", "value.key", "short"}, "shorter than 8 bytes"},
	} {
		p := b.post(at, tt.form...).status(400).says(tt.says).saysNot("sk-live", `value="short"`)
		if tt.form[1] != "" && !slices.Contains(p.typed(at), tt.form[1]) {
			t.Errorf("%q: the host is lost", tt.form)
		}
	}
	for _, form := range [][]string{
		{"host", "api.bearer.test", "auth", "bearer", "key", "A_KEY", "value.key", "long enough", "value.username", "not this one", "rules", "deny DELETE\nallow get,HEAD /v1/* /v2\nallow *"},
		{"host", "api.basic.test", "auth", "basic", "username", "A_USER", "key", "A_WORD", "value.username", "somebody here", "value.key", "long enough"},
		{"host", "api.header.test", "auth", "api-key", "key", "B_KEY", "place", "X-Key", "prefix", "Token ", "name", "by-header", "description", "A <b>"},
		{"host", "api.query.test", "auth", "query", "key", "C_KEY", "place", "api_key"},
		{"host", "10.1.2.3:8080", "scheme", "http", "auth", "passthrough", "key", "D_KEY", "value.key", "not this one"},
	} {
		b.post(at, form...).status(303)
	}
	b.get("/vaults/default").says("api-bearer-test usable", "api-basic-test usable", "by-header credential missing", "api-query-test credential missing", "10-1-2-3-8080 usable", "http, in clear").
		saysNot("D_KEY", "not this one")
	b.get("/vaults/default/services/api-bearer-test").says("deny DELETE on every path", "allow GET, HEAD on /v1/*, /v2", "allow every method on every path", "token: A_KEY")
	b.get("/vaults/default/services/by-header").says("header: X-Key", "prefix: Token", "A <b>").saysNot("A <b>")
	b.post(at, "host", "api.bearer.test", "auth", "passthrough").status(409).says("already")
}
