package vault_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

var mainDiscovery = vault.Discovery{
	Vault: mainVault, ProxyURL: "http://127.0.0.1:14321/proxy",
	Services:             []vault.DiscoveredService{{Name: "stripe", Host: "api.stripe.com"}},
	AvailableCredentials: []string{"STRIPE_KEY"},
}

// withoutDummies takes what differs from instance to instance out of a discovery,
// and holds its keys against the credentials.
func withoutDummies(t *testing.T, d vault.Discovery) vault.Discovery {
	t.Helper()
	keys := slices.Sorted(maps.Keys(d.Dummies))
	if !slices.Equal(keys, d.AvailableCredentials) || d.Dummies == nil {
		t.Errorf("dummies of %q, want those of %q", keys, d.AvailableCredentials)
	}
	d.Dummies = nil
	return d
}

// A session's vault is part of it, whatever else is named.
func TestDiscoverOfASession(t *testing.T) {
	f := newFixture(t)
	_, err := f.CreateVault(t.Context(), f.owner, "other-vault")
	must(t, err)
	for _, named := range []string{"", mainVault, "other-vault", "no-vault", strings.Repeat("a", 1000)} {
		d, err := f.Discover(t.Context(), f.session, named)
		must(t, err)
		diff(t, "discovery with X-Vault "+named, mainDiscovery, withoutDummies(t, d))
	}
}

// An agent names its vault, which must be one of its own.
func TestDiscoverOfAnAgent(t *testing.T) {
	f := newFixture(t)
	_, err := f.CreateVault(t.Context(), f.owner, "other-vault")
	must(t, err)
	for named, want := range map[string]refusal{
		mainVault:     {},
		"":            {vault.CodeVaultRequired, "an agent token must name its vault in the X-Vault header"},
		"other-vault": {vault.CodeVaultForbidden, "this agent has no access to the vault other-vault; a person can grant it"},
		"no-vault":    {vault.CodeVaultNotFound, `there is no vault "no-vault"`},
		"Main-Vault":  {vault.CodeVaultNotFound, `there is no vault "Main-Vault"`},
		"a\r\nb":      {vault.CodeVaultNotFound, `there is no vault "a\r\nb"`},
	} {
		d, err := f.Discover(t.Context(), f.agent, named)
		if want.code == "" {
			must(t, err)
			diff(t, named, mainDiscovery, withoutDummies(t, d))
			continue
		}
		refused(t, named, want.code, want.message, err)
		diff(t, named+": what came back beside the refusal", vault.Discovery{}, d)
	}
}

func TestDiscoverIsTheSameForEveryRole(t *testing.T) {
	f := newFixture(t)
	for _, role := range []string{vault.VaultProxy, vault.VaultMember, vault.VaultAdmin} {
		token, _, err := f.CreateAgent(t.Context(), f.owner, newAgent("robot-"+role, mainVault, role))
		must(t, err)
		d, err := f.Discover(t.Context(), f.caller(t, token), mainVault)
		must(t, err)
		diff(t, role, mainDiscovery, withoutDummies(t, d))
	}
}

// Disabled services are not listed, services stand in the vault's order, keys
// are sorted, and no value is among what is shown.
func TestWhatDiscoverLists(t *testing.T) {
	f := newFixture(t)
	f.set(t, "A_KEY", "sk_live_other")
	_, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, `[
		{"name": "zeta", "host": "*.Example.com:8443", "description": "The last", "auth": {"type": "passthrough"}},
		{"name": "off", "host": "off.example.com", "enabled": false, "auth": {"type": "passthrough"}},
		{"name": "alpha", "host": "bücher.example/v1/*", "auth": {"type": "bearer", "token": "NOT_SET"}}]`))
	must(t, err)
	d, err := f.Discover(t.Context(), f.session, "")
	must(t, err)
	diff(t, "the dummies of "+mainVault, withoutDummies(t, d).AvailableCredentials, d.AvailableCredentials)
	d.Dummies = map[string]string{"A_KEY": "key_DUMMY"}
	got, err := json.Marshal(d)
	must(t, err)
	diff(t, "as JSON", `{"vault":"main-vault","proxy_url":"http://127.0.0.1:14321/proxy","services":[`+
		`{"name":"zeta","host":"*.example.com:8443","description":"The last"},`+
		`{"name":"alpha","host":"xn--bcher-kva.example/v1/*","description":""}],`+
		`"available_credentials":["A_KEY","STRIPE_KEY"],"dummies":{"A_KEY":"key_DUMMY"}}`, string(got))
}

// Arrays are [], never null.
func TestDiscoverOfWhatIsEmpty(t *testing.T) {
	f := newFixture(t)
	const empty = `{"vault":"main-vault","proxy_url":"http://127.0.0.1:14321/proxy","services":[],"available_credentials":[],"dummies":{}}`
	must(t, f.DeleteCredential(t.Context(), f.owner, mainVault, "STRIPE_KEY"))
	for _, list := range []string{`[]`, `[{"name": "off", "host": "off.example.com", "enabled": false, "auth": {"type": "passthrough"}}]`} {
		_, err := f.SetServices(t.Context(), f.owner, mainVault, services(t, list))
		must(t, err)
		d, err := f.Discover(t.Context(), f.session, "")
		must(t, err)
		got, err := json.Marshal(d)
		must(t, err)
		diff(t, list, empty, string(got))
	}
}

// The vault was deleted after its caller had been found out: a session has
// ended with it, and an agent has lost it.
func TestDiscoverOfADeletedVault(t *testing.T) {
	f := newFixture(t)
	must(t, f.DeleteVault(t.Context(), f.owner, mainVault))
	_, err := f.Discover(t.Context(), f.session, "")
	refused(t, "a session", vault.CodeUnauthorized, "the token is missing, unknown, expired or revoked", err)
	_, err = f.Discover(t.Context(), f.agent, mainVault)
	refused(t, "an agent", vault.CodeVaultNotFound, `there is no vault "main-vault"`, err)

	f.pass(time.Minute)
	_, err = f.CreateVault(t.Context(), f.owner, mainVault)
	must(t, err)
	_, err = f.Discover(t.Context(), f.session, "")
	wantCode(t, "a session, after another vault took the name", vault.CodeUnauthorized, err)
	_, err = f.Discover(t.Context(), f.agent, mainVault)
	wantCode(t, "an agent, after another vault took the name", vault.CodeVaultForbidden, err)
}
