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
