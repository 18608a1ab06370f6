package vault_test

import (
	"fmt"
	"testing"
	"time"

	"agentvault/vault"
)

func TestServiceStates(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, err := f.AddServices(ctx, f.owner, mainVault, services(t, `[
		{"name": "lacking", "host": "a.example.com", "auth": {"type": "basic", "username": "STRIPE_KEY", "password": "NO_KEY"}},
		{"name": "off", "host": "b.example.com", "enabled": false, "auth": {"type": "bearer", "token": "NO_KEY"}},
		{"name": "ended", "host": "d.example.com", "expires_at": "2001-02-03T04:05:06Z", "auth": {"type": "passthrough"}},
		{"name": "open", "host": "c.example.com", "auth": {"type": "passthrough"}}]`), nil, false)
	must(t, err)
	_, err = f.AddServices(ctx, f.owner, mainVault, services(t, mailService), nil, false)
	must(t, err)
	const minting = `[{"name": "%s", "host": "%s.example.com", "auth": {"type": "oauth2", "grant": "client_credentials", "token_url": "https://login.example.org/token", "client_id_literal": "app", "client_secret": "%s"}}]`
	for _, s := range [][2]string{{"minting", "STRIPE_KEY"}, {"mended", "LATER_KEY"}} {
		_, err = f.AddServices(ctx, f.owner, mainVault, services(t, fmt.Sprintf(minting, s[0], s[0], s[1])), nil, false)
		must(t, err)
	}
	used := f.request("b", f.sessionID, "GET", "https://api.stripe.com:443", "/", 200, "")
	used.VaultID, used.Service = f.get(t, mainVault).ID, "stripe"
	f.log(t, vault.RequestBatch{Requests: []vault.Request{used}})
	for _, s := range []string{"minting", "mended"} {
		failed := f.request("f"+s, f.sessionID, "GET", "https://api.example.org:443", "/", 502, "credential_refresh_failed")
		failed.VaultID, failed.Service = used.VaultID, s
		f.log(t, vault.RequestBatch{Requests: []vault.Request{failed}})
	}
	f.pass(6 * hour)
	f.set(t, "LATER_KEY", "set when it had failed")
	got, err := f.ServiceStates(ctx, f.owner, mainVault)
	must(t, err)
	diff(t, "states", []vault.ServiceState{
		{Name: "stripe", State: vault.StateUsable, Keys: []string{"STRIPE_KEY"}, LastUsedAt: epoch.Add(hour)},
		{Name: "lacking", State: vault.StateCredentialMissing, Keys: []string{"STRIPE_KEY", "NO_KEY"}, Missing: []string{"NO_KEY"}},
		{Name: "off", State: vault.StateDisabled, Keys: []string{"NO_KEY"}, Missing: []string{"NO_KEY"}},
		{Name: "ended", State: vault.StateExpired, ExpiresAt: time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)},
		{Name: "open", State: vault.StateUsable},
		{Name: "mail", State: vault.StateCredentialMissing, Keys: []string{"MAIL_REFRESH"}, Missing: []string{"MAIL_REFRESH"}, Connects: "MAIL_REFRESH"},
		{Name: "minting", State: vault.StateUsable, Keys: []string{"STRIPE_KEY"}, TokenFailedAt: epoch.Add(5 * hour)},
		{Name: "mended", State: vault.StateUsable, Keys: []string{"LATER_KEY"}},
	}, got)
}
