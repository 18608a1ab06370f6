package vault_test

import (
	"strings"
	"testing"

	"agentvault/vault"
)

// A grant of a service ends with the service, whichever way it goes: another one
// of the same name is not granted by it, nor by an invite that waits.
func TestGrantsEndWithTheirServices(t *testing.T) {
	ctx := t.Context()
	again := `[{"name": "stripe", "host": "api.other.com", "auth": {"type": "passthrough"}}]`
	for name, remove := range map[string]func(*fixture) error{
		"removed": func(f *fixture) error { return f.RemoveService(ctx, f.owner, mainVault, "stripe") },
		"all replaced": func(f *fixture) error {
			_, err := f.SetServices(ctx, f.owner, mainVault, nil)
			return err
		},
		"declared away": func(f *fixture) error {
			_, err := f.Apply(ctx, f.owner, vault.Declaration{Vaults: []vault.VaultDeclaration{{Name: mainVault, Services: []vault.Service{}}}})
			return err
		},
		"by a proposal": func(f *fixture) error {
			f.propose(t, f.session, newProposal(t, `[{"action": "delete", "name": "stripe"}]`, `[]`))
			_, err := f.approve(t, 1, nil)
			return err
		},
	} {
		f := newFixture(t)
		narrow := vault.Grant{Role: vault.VaultProxy, Services: []string{"stripe"}}
		_, err := f.GrantVault(ctx, f.owner, "robot", mainVault, narrow)
		must(t, err)
		invite, _, err := f.InviteAgent(ctx, f.owner, vault.NewAgent{Name: "invited", Vaults: map[string]vault.Grant{mainVault: narrow}}, 0)
		must(t, err)
		must(t, remove(f))
		_, err = f.AddServices(ctx, f.owner, mainVault, services(t, again), nil, false)
		must(t, err)
		token, _, _, err := f.RedeemAgent(ctx, invite)
		must(t, err)
		for who, c := range map[string]vault.Caller{"the agent": f.agent, "who was invited": f.caller(t, token)} {
			d, err := f.Discover(ctx, c, mainVault)
			must(t, err)
			if len(d.Services) != 0 {
				t.Errorf("%s: %s may use %v", name, who, d.Services)
			}
		}
	}
}

// Who approves is told what another service would open, and whom a service
// takes along.
func TestReviewWarnsOfWhatOpens(t *testing.T) {
	ctx := t.Context()
	f := newFixture(t)
	_, err := f.SetServices(ctx, f.owner, mainVault, services(t, `[
		{"name": "wide", "host": "*.corp.example.org", "auth": {"type": "bearer", "token": "STRIPE_KEY"}},
		{"name": "closed", "host": "admin.corp.example.org", "enabled": false, "auth": {"type": "passthrough"}},
		{"name": "ruled", "host": "api.corp.example.org", "auth": {"type": "passthrough"}, "rules": [{"methods": ["GET"]}]}]`))
	must(t, err)
	_, err = f.GrantVault(ctx, f.owner, "robot", mainVault, vault.Grant{Role: vault.VaultProxy, Services: []string{"ruled"}})
	must(t, err)
	number := int64(0)
	for asked, want := range map[string]string{
		`[{"action": "delete", "name": "closed"}]`:                                                                                         "service closed goes: wide, by *.corp.example.org, would decide about admin.corp.example.org, which it kept closed",
		`[{"action": "set", "name": "ruled", "host": "api.elsewhere.org", "auth": {"type": "passthrough"}}]`:                               "service ruled moves: wide, by *.corp.example.org, would decide about api.corp.example.org, which it kept to its rules",
		`[{"action": "set", "name": "ruled", "host": "b.elsewhere.org", "auth": {"type": "passthrough"}, "rules": [{"action": "allow"}]}]`: "service ruled loses its rules: every method and path would be allowed",
		`[{"action": "set", "name": "ruled", "host": "c.elsewhere.org", "auth": {"type": "passthrough"}}]`:                                 "the agent robot may use the service ruled, and would reach c.elsewhere.org by it",
	} {
		number = f.propose(t, f.session, newProposal(t, asked, `[]`)).Number
		if got := strings.Join(f.review(t, number).Warnings, "\n"); !strings.Contains(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", asked, got, want)
		}
	}
}

func TestLimitsOfOneMaker(t *testing.T) {
	ctx := t.Context()
	f := newCast(t)
	admin := f.actor(t, "vault-admin")
	invite := func(c vault.Caller, name string) error {
		_, _, err := f.InviteAgent(ctx, c, newAgent(name, mainVault, vault.VaultProxy), 0)
		return err
	}
	for n := range 10 {
		must(t, invite(admin, "robot-a"+string(rune('a'+n))))
	}
	wantCode(t, "an admin's eleventh invite", vault.CodeTooManyInvites, invite(admin, "robot-more"))
	must(t, invite(f.owner, "robot-more"))
}
