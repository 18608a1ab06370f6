package vault_test

import (
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

func TestCreateAgent(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.pass(time.Hour)
	f.refresh(t)
	other, err := f.CreateVault(ctx, f.owner, "other-vault")
	must(t, err)
	mine := f.get(t, mainVault)
	for _, row := range []struct {
		name   string
		grants map[string]vault.Grant
		ttl    time.Duration
		want   map[string]vault.Grant
	}{
		{"without-vaults", nil, 0, nil},
		{"with-one", map[string]vault.Grant{mainVault: {Role: vault.VaultProxy}}, 0, map[string]vault.Grant{mine.ID: {Role: vault.VaultProxy}}},
		{"with-two", map[string]vault.Grant{mainVault: {Role: vault.VaultMember}, "other-vault": {Role: vault.VaultAdmin}}, 5 * time.Minute,
			map[string]vault.Grant{mine.ID: {Role: vault.VaultMember}, other.ID: {Role: vault.VaultAdmin}}},
		{"narrowed", map[string]vault.Grant{mainVault: {Role: vault.VaultProxy, Services: []string{"stripe", "stripe"}}, "other-vault": {Role: vault.VaultProxy, Services: []string{}}}, 366 * 24 * time.Hour,
			map[string]vault.Grant{mine.ID: {Role: vault.VaultProxy, Services: []string{"stripe"}}, other.ID: {Role: vault.VaultProxy, Services: []string{}}}},
	} {
		token, a, err := f.CreateAgent(ctx, f.owner, vault.NewAgent{Name: row.name, Vaults: row.grants, TTL: row.ttl})
		must(t, err)
		want := vault.Agent{ID: a.ID, Name: row.name, Digest: vault.DigestToken(token), Vaults: row.want, CreatedAt: f.now(), TokenTTL: row.ttl}
		if row.ttl > 0 {
			want.ExpiresAt = f.now().Add(row.ttl)
		}
		if g := a.Vaults[other.ID]; row.name == "narrowed" && g.Services == nil {
			t.Error("an agent that was granted none of the services has all of them")
		}
		diff(t, row.name, want, a)
		must(t, f.db.Read(ctx, func(tx vault.Tx) error {
			stored, err := tx.AgentByName(row.name)
			diff(t, row.name+": what is stored", want, stored)
			return err
		}))
		if prefix, ok := vault.CheckToken(token); !ok || prefix != vault.PrefixAgent || len(a.ID) != 26 || !f.caller(t, token).IsAgent() {
			t.Errorf("%s: token %q, id %q", row.name, token, a.ID)
		}
	}
	list, err := f.Agents(ctx, f.owner)
	must(t, err)
	var names []string
	for _, a := range list {
		names = append(names, a.Name)
	}
	diff(t, "agents, by name", []string{"narrowed", "robot", "with-one", "with-two", "without-vaults"}, names)
}

func TestCreateAgentRefuses(t *testing.T) {
	const grammar = ": a name has 3 to 64 characters of a-z, 0-9 and -"
	f := newFixture(t)
	before := f.snapshot(t)
	for _, row := range []struct {
		name, agent string
		grants      map[string]vault.Grant
		want        refusal
	}{
		{"no name", "", nil, refusal{vault.CodeBadRequest, `agent ""` + grammar}},
		{"a short name", "ab", nil, refusal{vault.CodeBadRequest, `agent "ab"` + grammar}},
		{"a long name", strings.Repeat("a", 100), nil, refusal{vault.CodeBadRequest, `agent "` + strings.Repeat("a", 80) + `… (100 bytes)"` + grammar}},
		{"a name with capitals", "Robot", nil, refusal{vault.CodeBadRequest, `agent "Robot"` + grammar}},
		{"a name with a line break", "robot\n", nil, refusal{vault.CodeBadRequest, `agent "robot\n"` + grammar}},
		{"a name that is taken", "robot", nil, refusal{vault.CodeConflict, `there is an agent "robot" already`}},
		{"no role", "new-robot", grant(mainVault, ""), refusal{vault.CodeBadRequest, `vault_role: "" is none of proxy, member, admin`}},
		{"a person's role", "new-robot", grant(mainVault, "owner"), refusal{vault.CodeBadRequest, `vault_role: "owner" is none of proxy, member, admin`}},
		{"a role in capitals", "new-robot", grant(mainVault, "Proxy"), refusal{vault.CodeBadRequest, `vault_role: "Proxy" is none of proxy, member, admin`}},
		{"a long role", "new-robot", grant(mainVault, strings.Repeat("a", 100)), refusal{vault.CodeBadRequest, `vault_role: "` + strings.Repeat("a", 80) + `… (100 bytes)" is none of proxy, member, admin`}},
		{"an unknown service", "new-robot", grant(mainVault, vault.VaultProxy, "stripe", "github"), refusal{vault.CodeNotFound, `there is no service "github" in the vault main-vault`}},
		{"an unknown vault", "new-robot", map[string]vault.Grant{mainVault: {Role: vault.VaultProxy}, "no-vault": {Role: vault.VaultProxy}}, refusal{vault.CodeVaultNotFound, `there is no vault "no-vault"`}},
		{"a vault by its id", "new-robot", grant(f.get(t, mainVault).ID, vault.VaultProxy), refusal{vault.CodeVaultNotFound, `there is no vault "` + f.get(t, mainVault).ID + `"`}},
	} {
		token, a, err := f.CreateAgent(t.Context(), f.owner, vault.NewAgent{Name: row.agent, Vaults: row.grants})
		refused(t, row.name, row.want.code, row.want.message, err)
		if token != "" || a.ID != "" || a.Vaults != nil {
			t.Errorf("%s: %q and %v came back beside the refusal", row.name, token, a)
		}
	}
	diff(t, "the instance", before, f.snapshot(t))
}

// Rotating gives a new token and ends the old one; the agent stays who it is.
func TestRotateAgent(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	before := f.snapshot(t).Agents[0]
	tokens := []string{f.agentToken}
	for range 2 {
		f.pass(time.Hour)
		f.refresh(t)
		token, err := f.RotateAgent(ctx, f.owner, "robot", 0)
		must(t, err)
		for _, old := range tokens {
			_, err := f.Authenticate(ctx, old)
			wantCode(t, "an old token", vault.CodeUnauthorized, err)
		}
		d, err := f.Discover(ctx, f.caller(t, token), mainVault)
		if err != nil || d.Vault != mainVault {
			t.Errorf("with the new token: %v, %v", d, err)
		}
		after := before
		after.Digest = vault.DigestToken(token)
		diff(t, "the agent", []vault.Agent{after}, f.snapshot(t).Agents)
		tokens = append(tokens, token)
	}
}

func TestDeleteAgent(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	otherToken, other, err := f.CreateAgent(ctx, f.owner, vault.NewAgent{Name: "other-robot"})
	must(t, err)
	must(t, f.DeleteAgent(ctx, f.owner, "robot"))
	_, err = f.Authenticate(ctx, f.agentToken)
	wantCode(t, "its token", vault.CodeUnauthorized, err)
	diff(t, "agents", []vault.Agent{other}, f.snapshot(t).Agents)
	f.caller(t, otherToken)

	// Its name may be taken again, by an agent that gets nothing of it.
	_, again, err := f.CreateAgent(ctx, f.owner, vault.NewAgent{Name: "robot"})
	must(t, err)
	if len(again.Vaults) != 0 {
		t.Errorf("the new agent has the vaults %v", again.Vaults)
	}
	_, err = f.Authenticate(ctx, f.agentToken)
	wantCode(t, "the old token", vault.CodeUnauthorized, err)
}

func TestCommandsOnAnAgentThatThereIsNot(t *testing.T) {
	f := newFixture(t)
	before := f.snapshot(t)
	for name, quoted := range map[string]string{
		"no-robot": `"no-robot"`, "": `""`, "ROBOT": `"ROBOT"`, "rob%": `"rob%"`,
		strings.Repeat("a", 1000): `"` + strings.Repeat("a", 80) + `… (1000 bytes)"`,
	} {
		want := "there is no agent " + quoted
		token, err := f.RotateAgent(t.Context(), f.owner, name, 0)
		refused(t, "RotateAgent", vault.CodeNotFound, want, err)
		if token != "" {
			t.Errorf("RotateAgent(%q) returned the token %q beside its refusal", name, token)
		}
		refused(t, "DeleteAgent", vault.CodeNotFound, want, f.DeleteAgent(t.Context(), f.owner, name))
	}
	diff(t, "the instance", before, f.snapshot(t))
}

// grant is one vault's grant.
func grant(vaultName, role string, services ...string) map[string]vault.Grant {
	return newAgent("", vaultName, role, services...).Vaults
}

// How long an agent's token lasts has bounds.
func TestBoundsOfAnAgentsToken(t *testing.T) {
	f := newFixture(t)
	for _, ttl := range []time.Duration{-time.Hour, time.Millisecond, 5*time.Minute - time.Millisecond, 366*24*time.Hour + time.Millisecond, 1<<63 - 1, -1 << 63} {
		_, _, err := f.CreateAgent(t.Context(), f.owner, vault.NewAgent{Name: "new-robot", TTL: ttl})
		refused(t, ttl.String(), vault.CodeBadRequest, "session_ttl_seconds: an agent's token lasts from 300 to 31622400 seconds, or, with 0, until it is revoked", err)
	}
}
