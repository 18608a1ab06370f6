package vault_test

import (
	"testing"
	"time"

	"agentvault/vault"
)

// An agent that was granted some of a vault's services discovers those and
// their keys, and nothing of the others.
func TestDiscoverOfANarrowedAgent(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, err := f.SetServices(ctx, f.owner, mainVault, services(t, `[
		{"name": "stripe", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}},
		{"name": "github", "host": "api.github.com", "auth": {"type": "basic", "username": "GITHUB_USER", "password": "GITHUB_TOKEN"}},
		{"name": "off", "host": "off.example.com", "enabled": false, "auth": {"type": "bearer", "token": "OFF_KEY"}},
		{"name": "open", "host": "open.example.com", "auth": {"type": "passthrough"}}]`))
	must(t, err)
	for _, key := range []string{"GITHUB_USER", "GITHUB_TOKEN", "OFF_KEY", "UNUSED_KEY"} {
		f.set(t, key, "some value")
	}
	for _, row := range []struct {
		name     string
		services []string
		hosts    []string
		keys     []string
	}{
		{"all", nil, []string{"api.stripe.com", "api.github.com", "open.example.com"}, []string{"GITHUB_TOKEN", "GITHUB_USER", "OFF_KEY", "STRIPE_KEY", "UNUSED_KEY"}},
		{"none", []string{}, nil, nil},
		{"one", []string{"stripe"}, []string{"api.stripe.com"}, []string{"STRIPE_KEY"}},
		{"two", []string{"open", "github"}, []string{"api.github.com", "open.example.com"}, []string{"GITHUB_TOKEN", "GITHUB_USER"}},
	} {
		_, err := f.GrantVault(ctx, f.owner, "robot", mainVault, vault.Grant{Role: vault.VaultAdmin, Services: row.services})
		must(t, err)
		d, err := f.Discover(ctx, f.caller(t, f.agentToken), mainVault)
		must(t, err)
		var hosts []string
		for _, s := range d.Services {
			hosts = append(hosts, s.Host)
		}
		diff(t, row.name+": hosts", row.hosts, hosts)
		diff(t, row.name+": keys", row.keys, d.AvailableCredentials)
		if d.Services == nil || d.AvailableCredentials == nil {
			t.Errorf("%s: a list is null", row.name)
		}
	}
	_, err = f.GrantVault(ctx, f.owner, "robot", mainVault, vault.Grant{Role: vault.VaultProxy, Services: []string{"stripe", "no-service"}})
	refused(t, "a service that there is not", vault.CodeNotFound, `there is no service "no-service" in the vault main-vault`, err)
	_, err = f.GrantVault(ctx, f.owner, "no-robot", mainVault, vault.Grant{Role: vault.VaultProxy})
	refused(t, "an agent that there is not", vault.CodeNotFound, `there is no agent "no-robot"`, err)
}

func TestGrantsComeAndGo(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	other, err := f.CreateVault(ctx, f.owner, "other-vault")
	must(t, err)
	main := f.get(t, mainVault)
	a, err := f.GrantVault(ctx, f.owner, "robot", "other-vault", vault.Grant{Role: vault.VaultMember})
	must(t, err)
	diff(t, "two", map[string]vault.Grant{main.ID: {Role: vault.VaultProxy}, other.ID: {Role: vault.VaultMember}}, a.Vaults)
	stale := f.caller(t, f.agentToken)
	a, err = f.RevokeVault(ctx, f.owner, "robot", mainVault)
	must(t, err)
	diff(t, "one", map[string]vault.Grant{other.ID: {Role: vault.VaultMember}}, a.Vaults)
	diff(t, "what is stored", a.Vaults, f.snapshot(t).Agents[0].Vaults)
	_, err = f.RevokeVault(ctx, f.owner, "robot", mainVault)
	refused(t, "again", vault.CodeNotFound, "the agent robot has no access to the vault main-vault", err)

	// What was looked up before the change gives nothing after it.
	_, err = f.Discover(ctx, stale, mainVault)
	wantCode(t, "an agent that lost the vault", vault.CodeVaultForbidden, err)
	_, err = f.Propose(ctx, stale, mainVault, githubProposal(t, ""))
	wantCode(t, "a proposal of it", vault.CodeVaultForbidden, err)
	must(t, f.RevokeAgent(ctx, f.owner, "robot"))
	_, err = f.Discover(ctx, stale, "other-vault")
	wantCode(t, "an agent whose token was revoked", vault.CodeUnauthorized, err)
	must(t, f.RevokeSession(ctx, f.owner, f.sessionID))
	_, err = f.Discover(ctx, f.session, "")
	wantCode(t, "a session that was revoked", vault.CodeUnauthorized, err)
}

// An agent of two vaults is changed as a whole by who is an admin of both.
func TestAgentsOfTwoVaults(t *testing.T) {
	f := newCast(t)
	ctx := t.Context()
	_, err := f.GrantVault(ctx, f.owner, "robot", "foreign-vault", vault.Grant{Role: vault.VaultProxy})
	must(t, err)
	for _, name := range []string{"vault-admin", "admin-of-another-vault"} {
		c := f.actor(t, name)
		_, err := f.RotateAgent(ctx, c, "robot", 0)
		wantCode(t, name+" rotates", vault.CodeVaultForbidden, err)
		if err := f.RevokeAgent(ctx, c, "robot"); err != nil { // which an admin of one of them may
			t.Errorf("%s revokes: %v", name, err)
		}
		wantCode(t, name+" deletes", vault.CodeVaultForbidden, f.DeleteAgent(ctx, c, "robot"))
		_, err = f.RenameAgent(ctx, c, "robot", "renamed")
		wantCode(t, name+" renames", vault.CodeVaultForbidden, err)
	}
	_, err = f.RevokeVault(ctx, f.actor(t, "vault-admin"), "robot", "foreign-vault")
	wantCode(t, "takes the other's vault", vault.CodeVaultForbidden, err)
	_, err = f.RevokeVault(ctx, f.actor(t, "vault-admin"), "robot", mainVault)
	must(t, err)
	_, err = f.RotateAgent(ctx, f.actor(t, "admin-of-another-vault"), "robot", 0)
	must(t, err)
}

// Revoking ends an agent's token and leaves the agent; a new token brings it
// back.
func TestRevokeAgent(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	must(t, f.RevokeAgent(ctx, f.owner, "robot"))
	f.lives(t, "revoked", f.agentToken, false)
	token, err := f.RotateAgent(ctx, f.owner, "robot", 0)
	must(t, err)
	d, err := f.Discover(ctx, f.caller(t, token), mainVault)
	must(t, err)
	diff(t, "with a new token", mainDiscovery, withoutDummies(t, d))
	a, err := f.RenameAgent(ctx, f.owner, "robot", "renamed")
	must(t, err)
	if a.Name != "renamed" || a.Digest != vault.DigestToken(token) {
		t.Errorf("renamed, it is %v", a)
	}
	f.lives(t, "renamed", token, true)
}

// A token that lasts for a time lasts as long again when it is rotated.
func TestAgentTokensEnd(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	token, _, err := f.CreateAgent(ctx, f.owner, vault.NewAgent{Name: "brief", TTL: 5 * time.Minute})
	must(t, err)
	f.pass(5*time.Minute - time.Millisecond)
	f.lives(t, "just before its end", token, true)
	f.pass(time.Millisecond)
	f.lives(t, "at its end", token, false)
	token, err = f.RotateAgent(ctx, f.owner, "brief", 0)
	must(t, err)
	f.pass(5*time.Minute - time.Millisecond)
	f.lives(t, "rotated", token, true)
	f.pass(time.Millisecond)
	f.lives(t, "rotated, at its end", token, false)
}
