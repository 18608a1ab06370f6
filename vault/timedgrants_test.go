package vault_test

import (
	"slices"
	"testing"
	"time"

	"agentvault/vault"
)

// grantOf is what an agent may do in the main vault, as it is listed.
func (f *fixture) grantOf(t *testing.T, agent string) (vault.Grant, bool) {
	t.Helper()
	all, err := f.Agents(t.Context(), f.owner)
	must(t, err)
	at := slices.IndexFunc(all, func(a vault.Agent) bool { return a.Name == agent })
	if at < 0 {
		return vault.Grant{}, false
	}
	g, ok := all[at].Vaults[f.get(t, mainVault).ID]
	return g, ok
}

// An agent that has nothing in a vault has one service for an hour there, and then
// nothing.
func TestGrantServiceToAGuest(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	token, _, err := f.CreateAgent(ctx, f.owner, vault.NewAgent{Name: "guest-bot"})
	must(t, err)
	c := f.caller(t, token)
	_, err = f.Discover(ctx, c, mainVault)
	wantCode(t, "before", vault.CodeVaultForbidden, err)
	_, err = f.GrantService(ctx, f.owner, "guest-bot", mainVault, "stripe", time.Hour, 3)
	must(t, err)
	d, err := f.Discover(ctx, c, mainVault)
	must(t, err)
	if len(d.Services) != 1 || d.Services[0].Name != "stripe" || len(d.AvailableCredentials) != 1 {
		t.Errorf("it sees %+v", d)
	}
	g, _ := f.grantOf(t, "guest-bot")
	if g.Role != vault.VaultProxy || len(g.Ends.Grants) != 1 || g.Ends.Grants[0].Uses != 3 || g.Ends.Grants[0].ExpiresAt != f.now().Add(time.Hour).Truncate(time.Second) {
		t.Errorf("its grant is %+v", g)
	}
	before := g.Ends.Grants[0].ID
	_, err = f.GrantService(ctx, f.owner, "guest-bot", mainVault, "stripe", 2*time.Hour, 0)
	must(t, err)
	if g, _ = f.grantOf(t, "guest-bot"); len(g.Ends.Grants) != 1 || g.Ends.Grants[0].Uses != 0 || g.Ends.Grants[0].ID == before {
		t.Errorf("replaced: %+v", g)
	}
	f.pass(2 * time.Hour)
	f.refresh(t)
	_, err = f.Discover(ctx, c, mainVault)
	wantCode(t, "afterwards", vault.CodeVaultForbidden, err)
	if g, ok := f.grantOf(t, "guest-bot"); ok {
		t.Errorf("afterwards it is listed with %+v", g)
	}
	must(t, f.Sweep(ctx))
	if last := f.lastEvent(t); last.Object != "the grant of service stripe to agent guest-bot has ended" || last.ActorKind != "server" {
		t.Errorf("the record says %+v", last)
	}
	revision := f.snapshot(t).Revision
	must(t, f.Sweep(ctx))
	if again := f.snapshot(t).Revision; again != revision {
		t.Error("what was put away is put away again")
	}
}

// What an agent has for good stays when something else ends, or is taken away.
func TestGrantServiceBesides(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, err := f.GrantVault(ctx, f.owner, "robot", mainVault, vault.Grant{Role: vault.VaultMember, Services: []string{}})
	must(t, err)
	for _, c := range []struct {
		what, agent, service string
		lasts                time.Duration
		uses                 int64
		code, want           string
	}{
		{"no agent", "no-robot", "stripe", time.Hour, 0, vault.CodeNotFound, `there is no agent "no-robot"`},
		{"no service", "robot", "no-service", time.Hour, 0, vault.CodeNotFound, `there is no service "no-service" in the vault main-vault`},
		{"no time", "robot", "stripe", 0, 0, vault.CodeBadRequest, "lasts: from 1 second to 366 days"},
		{"too long", "robot", "stripe", vault.MaxLasts + 1, 0, vault.CodeBadRequest, "lasts: from 1 second to 366 days"},
		{"fewer than no uses", "robot", "stripe", time.Hour, -1, vault.CodeBadRequest, "uses: from 1 to 1000000, or 0 for as many as it likes"},
	} {
		_, err := f.GrantService(ctx, f.owner, c.agent, mainVault, c.service, c.lasts, c.uses)
		refused(t, c.what, c.code, c.want, err)
	}
	_, err = f.RevokeService(ctx, f.owner, "robot", mainVault, "stripe")
	refused(t, "none", vault.CodeNotFound, "the agent robot has no grant of the service stripe that ends", err)
	_, err = f.GrantService(ctx, f.owner, "robot", mainVault, "stripe", time.Hour, 1)
	must(t, err)
	_, err = f.RevokeService(ctx, f.owner, "robot", mainVault, "stripe")
	must(t, err)
	if g, ok := f.grantOf(t, "robot"); !ok || g.Role != vault.VaultMember || len(g.Ends.Grants) != 0 {
		t.Errorf("%+v %v", g, ok)
	}
	_, err = f.GrantVault(ctx, f.owner, "robot", mainVault, vault.Grant{Role: vault.VaultProxy, Services: []string{"stripe"}})
	must(t, err)
	_, err = f.GrantService(ctx, f.owner, "robot", mainVault, "stripe", time.Hour, 1)
	refused(t, "for good already", vault.CodeConflict, "the agent robot may use the service stripe for good; take that away first", err)
}

// A service that goes takes along what was granted of it.
func TestATimedGrantGoesWithItsService(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, _, err := f.CreateAgent(ctx, f.owner, vault.NewAgent{Name: "guest-bot"})
	must(t, err)
	_, err = f.GrantService(ctx, f.owner, "guest-bot", mainVault, "stripe", time.Hour, 3)
	must(t, err)
	must(t, f.RemoveService(ctx, f.owner, mainVault, "stripe"))
	if g, ok := f.grantOf(t, "guest-bot"); ok {
		t.Errorf("it is left with %+v", g)
	}
}

// A grant of a service that is for other agents would be of no use.
func TestGrantServiceForOthers(t *testing.T) {
	f := newFixture(t)
	_, err := f.SetServices(t.Context(), f.owner, mainVault, bearers(t, `, "agents": ["robot", "zorro"]`, ``))
	must(t, err)
	for _, name := range []string{"guest-bot", "zorro"} {
		_, _, err = f.CreateAgent(t.Context(), f.owner, vault.NewAgent{Name: name})
		must(t, err)
	}
	_, err = f.GrantService(t.Context(), f.owner, "guest-bot", mainVault, "s00", time.Hour, 0)
	refused(t, "for others", vault.CodeConflict, "the service s00 is for the agents robot, zorro only, whatever guest-bot is granted; add it to them first", err)
	_, err = f.GrantService(t.Context(), f.owner, "zorro", mainVault, "s00", time.Hour, 0)
	must(t, err)
	_, err = f.GrantService(t.Context(), f.owner, "guest-bot", mainVault, "s01", time.Hour, 0)
	must(t, err)
}

// A review that says of an agent's grants nothing new is of those that it has: once
// one that ends is over, allowing the proposal would give the service for good.
func TestAnApprovalDoesNotOutliveATimedGrant(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *fixture) error{
		"it has ended": func(t *testing.T, f *fixture) error { f.pass(time.Minute); return f.Sweep(t.Context()) },
		"it was revoked": func(t *testing.T, f *fixture) error {
			_, err := f.RevokeService(t.Context(), f.owner, "robot", mainVault, "stripe")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			ctx := t.Context()
			_, err := f.GrantVault(ctx, f.owner, "robot", mainVault, vault.Grant{Role: vault.VaultProxy, Services: []string{}})
			must(t, err)
			_, err = f.GrantService(ctx, f.owner, "robot", mainVault, "stripe", time.Minute, 0)
			must(t, err)
			f.propose(t, f.agent, newProposal(t, `[{"action": "set", "name": "stripe", "host": "api.stripe.com", "description": "mine", "auth": {"type": "bearer", "token": "STRIPE_KEY"}}]`, ""))
			shown := f.review(t, 1)
			must(t, end(t, f))
			_, err = f.Approve(ctx, f.owner, mainVault, 1, vault.Approval{Digest: shown.Digest})
			wantCode(t, "approving what was shown", vault.CodeProposalChanged, err)
			if g, _ := f.grantOf(t, "robot"); len(g.Services) > 0 {
				t.Errorf("it was granted %v", g.Services)
			}
			if again := f.review(t, 1).Warnings; !slices.Contains(again, "the agent robot may use some services only, and would be granted stripe too") {
				t.Errorf("then the review says %q", again)
			}
		})
	}
}
