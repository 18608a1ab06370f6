package vault_test

import (
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
