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
	other, err := f.CreateVault(ctx, f.owner, "other-vault")
	must(t, err)
	mine := f.get(t, mainVault)
	for _, row := range []struct {
		name  string
		roles map[string]string
		want  map[string]string
	}{
		{"without-vaults", nil, nil},
		{"with-one", map[string]string{mainVault: vault.VaultProxy}, map[string]string{mine.ID: vault.VaultProxy}},
		{"with-two", map[string]string{mainVault: vault.VaultMember, "other-vault": vault.VaultAdmin}, map[string]string{mine.ID: vault.VaultMember, other.ID: vault.VaultAdmin}},
	} {
		token, a, err := f.CreateAgent(ctx, f.owner, row.name, row.roles)
		must(t, err)
		want := vault.Agent{ID: a.ID, Name: row.name, Digest: vault.DigestToken(token), Vaults: row.want, CreatedAt: f.now()}
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
	diff(t, "agents, by name", []string{"robot", "with-one", "with-two", "without-vaults"}, names)
}

func TestCreateAgentRefuses(t *testing.T) {
	const grammar = ": a name has 3 to 64 characters of a-z, 0-9 and -"
	f := newFixture(t)
	before := f.snapshot(t)
	for _, row := range []struct {
		name, agent string
		roles       map[string]string
		want        refusal
	}{
		{"no name", "", nil, refusal{vault.CodeBadRequest, `agent ""` + grammar}},
		{"a short name", "ab", nil, refusal{vault.CodeBadRequest, `agent "ab"` + grammar}},
		{"a long name", strings.Repeat("a", 100), nil, refusal{vault.CodeBadRequest, `agent "` + strings.Repeat("a", 80) + `… (100 bytes)"` + grammar}},
		{"a name with capitals", "Robot", nil, refusal{vault.CodeBadRequest, `agent "Robot"` + grammar}},
		{"a name with a line break", "robot\n", nil, refusal{vault.CodeBadRequest, `agent "robot\n"` + grammar}},
		{"a name that is taken", "robot", nil, refusal{vault.CodeConflict, `there is an agent "robot" already`}},
		{"no role", "new-robot", map[string]string{mainVault: ""}, refusal{vault.CodeBadRequest, `vault_role "" is none of proxy, member, admin`}},
		{"a person's role", "new-robot", map[string]string{mainVault: "owner"}, refusal{vault.CodeBadRequest, `vault_role "owner" is none of proxy, member, admin`}},
		{"a role in capitals", "new-robot", map[string]string{mainVault: "Proxy"}, refusal{vault.CodeBadRequest, `vault_role "Proxy" is none of proxy, member, admin`}},
		{"a long role", "new-robot", map[string]string{mainVault: strings.Repeat("a", 100)}, refusal{vault.CodeBadRequest, `vault_role "` + strings.Repeat("a", 80) + `… (100 bytes)" is none of proxy, member, admin`}},
		{"an unknown vault", "new-robot", map[string]string{mainVault: vault.VaultProxy, "no-vault": vault.VaultProxy}, refusal{vault.CodeVaultNotFound, `there is no vault "no-vault"`}},
		{"a vault by its id", "new-robot", map[string]string{f.get(t, mainVault).ID: vault.VaultProxy}, refusal{vault.CodeVaultNotFound, `there is no vault "` + f.get(t, mainVault).ID + `"`}},
	} {
		token, a, err := f.CreateAgent(t.Context(), f.owner, row.agent, row.roles)
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
		token, err := f.RotateAgent(ctx, f.owner, "robot")
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
	otherToken, other, err := f.CreateAgent(ctx, f.owner, "other-robot", nil)
	must(t, err)
	must(t, f.DeleteAgent(ctx, f.owner, "robot"))
	_, err = f.Authenticate(ctx, f.agentToken)
	wantCode(t, "its token", vault.CodeUnauthorized, err)
	diff(t, "agents", []vault.Agent{other}, f.snapshot(t).Agents)
	f.caller(t, otherToken)

	// Its name may be taken again, by an agent that gets nothing of it.
	_, again, err := f.CreateAgent(ctx, f.owner, "robot", nil)
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
		token, err := f.RotateAgent(t.Context(), f.owner, name)
		refused(t, "RotateAgent", vault.CodeNotFound, want, err)
		if token != "" {
			t.Errorf("RotateAgent(%q) returned the token %q beside its refusal", name, token)
		}
		refused(t, "DeleteAgent", vault.CodeNotFound, want, f.DeleteAgent(t.Context(), f.owner, name))
	}
	diff(t, "the instance", before, f.snapshot(t))
}
