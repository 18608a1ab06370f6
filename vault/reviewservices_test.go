package vault_test

import (
	"strings"
	"testing"

	"agentvault/vault"
)

// Who adds services is told what who decides a proposal is told.
func TestReviewServices(t *testing.T) {
	f := newFixture(t, func(o *vault.Options) { o.KnownHosts = []string{"api.github.com"} })
	added := services(t, `[
		{"name": "one", "host": "API.githnb.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}, "rules": [{"methods": ["GET"], "paths": ["/v1/*"]}]},
		{"name": "two", "host": "*.example.com", "auth": {"type": "basic", "username": "NEW_USER", "password": "NEW_KEY"}}
	]`)
	before := f.revision(t)
	rv, err := f.ReviewServices(t.Context(), f.owner, mainVault, added)
	must(t, err)
	diff(t, "opened", []string{
		"GET on /v1/* of https://api.githnb.com, with STRIPE_KEY",
		"every method on every path of https://*.example.com, with NEW_USER and NEW_KEY",
	}, rv.Opened)
	diff(t, "warnings", []string{
		"credential STRIPE_KEY exists, and would go to a host it never went to: api.githnb.com",
		"service two is for every host directly below example.com",
		"service one is for api.githnb.com, which looks like api.github.com, and is another's",
	}, rv.Warnings)
	diff(t, "missing", []string{"NEW_USER", "NEW_KEY"}, rv.Missing)
	if rv.Services[0].Host != "api.githnb.com" || f.revision(t) != before {
		t.Errorf("%+v, revision %d, before %d", rv.Services, f.revision(t), before)
	}
	for body, want := range map[string]refusal{
		`[]`: {vault.CodeBadRequest, "services: none given"},
		`[{"name": "stripe", "host": "a.example.com", "auth": {"type": "passthrough"}}]`: {vault.CodeConflict, `there is a service "stripe" already; remove it first, or give another name`},
		`[{"name": "new", "host": "a_b", "auth": {"type": "passthrough"}}]`:              {vault.CodeBadRequest, `service "new": host "a_b": '_' does not belong into a host name`},
	} {
		_, err := f.ReviewServices(t.Context(), f.owner, mainVault, services(t, body))
		refused(t, body, want.code, want.message, err)
	}
}

// Whoever reviews sees every host that stored credentials would go to.
func TestReviewNamesTokenEndpoints(t *testing.T) {
	f := newFixture(t)
	added := services(t, `[{"name": "crm", "host": "api.example.com", "auth": {"type": "oauth2", "grant": "client_credentials",
		"token_url": "https://login.githnb.com:8443/token", "client_id_literal": "app", "client_secret": "STRIPE_KEY"}}]`)
	rv, err := f.ReviewServices(t.Context(), f.owner, mainVault, added)
	must(t, err)
	diff(t, "warnings", []string{
		"service crm asks login.githnb.com:8443 for tokens, and sends it what STRIPE_KEY holds",
		"credential STRIPE_KEY exists, and would go to a host it never went to: api.example.com",
		"credential STRIPE_KEY exists, and would go to a host it never went to: login.githnb.com:8443",
	}, rv.Warnings)
	_, err = f.AddServices(t.Context(), f.owner, mainVault, added, nil, false)
	must(t, err)
	added[0].Name, added[0].Host = "crm-again", "api.example.com/v2/*"
	rv, err = f.ReviewServices(t.Context(), f.owner, mainVault, added)
	must(t, err)
	if w := rv.Warnings; len(w) != 2 {
		t.Errorf("warnings: %q", w)
	}
}

// Whoever reviews is told when the same credentials are used in another way, by
// whatever field of the auth: what they are good for may be more.
func TestReviewSaysThatAnAuthIsAnother(t *testing.T) {
	const githubApp = `{"type": "github-app", "app_id": "1", "private_key": "STRIPE_KEY", "installation_id": "2"`
	const oauth2 = `{"type": "oauth2", "grant": "client_credentials", "token_url": "https://login.example.com/token", "client_id_literal": "app", "client_secret": "STRIPE_KEY"`
	const jwt = `{"type": "jwt", "algorithm": "EdDSA", "private_key": "STRIPE_KEY"`
	for _, tt := range []struct{ name, before, after, says string }{
		{"repositories", githubApp + `, "repositories": ["docs"]}`, githubApp + `}`, "another auth"},
		{"permissions", githubApp + `, "permissions": {"contents": "read"}}`, githubApp + `, "permissions": {"contents": "write"}}`, "another auth"},
		{"scopes", oauth2 + `, "scopes": ["read"]}`, oauth2 + `, "scopes": ["read", "admin"]}`, "another auth"},
		{"the endpoint of another tenant", oauth2 + `}`, strings.Replace(oauth2, "/token", "/other/token", 1) + `}`, "another auth"},
		{"claims", jwt + `, "claims": {"sub": "reader"}}`, jwt + `, "claims": {"sub": "root"}}`, "another auth"},
		{"another place", `{"type": "bearer", "token": "STRIPE_KEY"}`, `{"type": "query", "parameter": "q", "key": "STRIPE_KEY"}`, "another auth"},
		{"the same", jwt + `, "claims": {"sub": "reader"}}`, jwt + `, "claims": {"sub": "reader"}}`, ""},
	} {
		f := newFixture(t)
		service := func(auth, more string) string {
			return `[{` + more + `"name": "one", "host": "api.example.com", "auth": ` + auth + `}]`
		}
		_, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, service(tt.before, "")))
		must(t, err)
		f.propose(t, f.agent, newProposal(t, service(tt.after, `"action": "set", "description": "mine", `), ""))
		got := strings.Join(f.review(t, 1).Warnings, "|")
		if tt.says == "" && got != "" || !strings.Contains(got, tt.says) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.says)
		}
	}
}

// Whoever reviews sees where people would sign in, and that a host of tokens looks
// like another.
func TestReviewNamesWherePeopleSignIn(t *testing.T) {
	f := newFixture(t, func(o *vault.Options) { o.KnownHosts = []string{"api.github.com"} })
	added := services(t, `[{"name": "crm", "host": "api.example.com", "auth": {"type": "oauth2", "grant": "refresh_token", "authorization_url": "https://login.str1pe.com:8443/authorize",
		"token_url": "https://login.githnb.com/token", "client_id_literal": "app", "refresh_token": "NEW_KEY"}}]`)
	rv, err := f.ReviewServices(t.Context(), f.owner, mainVault, added)
	must(t, err)
	want := []string{
		"service crm asks login.githnb.com for tokens, and sends it what NEW_KEY holds",
		"whoever connects an account of service crm signs in at login.str1pe.com:8443",
		"service crm asks for tokens at login.githnb.com, which looks like api.github.com, and is another's",
		"service crm has people sign in at login.str1pe.com, which looks like api.stripe.com, and is another's",
	}
	diff(t, "warnings", want, rv.Warnings)
	_, err = f.AddServices(t.Context(), f.owner, mainVault, added, nil, false)
	must(t, err)
	change := func(authorizer string) vault.NewProposal {
		return newProposal(t, `[{"action": "set", "name": "crm", "host": "api.example.com", "description": "mine", "auth": {"type": "oauth2", "grant": "refresh_token", "authorization_url": "`+authorizer+`",
			"token_url": "https://login.githnb.com/token", "client_id_literal": "app", "refresh_token": "NEW_KEY"}}]`, `[{"action": "set", "key": "NEW_KEY"}]`)
	}
	f.propose(t, f.agent, change("https://login.str1pe.com:8443/authorize"))
	diff(t, "warnings about the same hosts", []string{}, f.review(t, 1).Warnings)
	f.propose(t, f.agent, change("https://login.example.com/authorize"))
	if got := strings.Join(f.review(t, 2).Warnings, "|"); !strings.Contains(got, "signs in at login.example.com") {
		t.Errorf("warnings about another: %q", got)
	}
}
