package vault_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

func TestNamesOfVaults(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"abc", "a-1", "default", "123", "---", strings.Repeat("a", 64)} {
		v, err := f.CreateVault(t.Context(), f.owner, name)
		if err != nil || v.Name != name {
			t.Errorf("CreateVault(%q) = %v, %v", name, v, err)
			continue
		}
		diff(t, "what is stored", v, f.get(t, name))
	}
	const grammar = ": a name has 3 to 64 characters of a-z, 0-9 and -"
	before := f.revision(t)
	for name, quoted := range map[string]string{
		"":                        `""`,
		"ab":                      `"ab"`,
		strings.Repeat("a", 65):   `"` + strings.Repeat("a", 65) + `"`,
		strings.Repeat("a", 1000): `"` + strings.Repeat("a", 80) + `… (1000 bytes)"`,
		"Abc":                     `"Abc"`,
		"a_b":                     `"a_b"`,
		"a.b":                     `"a.b"`,
		"a/b":                     `"a/b"`,
		"a b":                     `"a b"`,
		" abc":                    `" abc"`,
		"abc\n":                   `"abc\n"`,
		"abc\x00":                 `"abc\x00"`,
		"äbc":                     `"äbc"`,
		"abc\u202e":               `"abc\u202e"`,
	} {
		_, err := f.CreateVault(t.Context(), f.owner, name)
		refused(t, quoted, vault.CodeBadRequest, "vault "+quoted+grammar, err)
	}
	if after := f.revision(t); after != before {
		t.Errorf("revision %d after refusals, want %d", after, before)
	}
}

func TestANewVaultIsEmptyAndDenies(t *testing.T) {
	f := newFixture(t)
	f.pass(time.Hour)
	v, err := f.CreateVault(t.Context(), f.owner, "new-vault")
	must(t, err)
	if len(v.ID) != 26 {
		t.Errorf("id %q, want 26 characters", v.ID)
	}
	want := vault.Vault{ID: v.ID, Name: "new-vault", UnmatchedHosts: vault.UnmatchedDeny, CreatedAt: f.now()}
	diff(t, "the vault", want, v)
	diff(t, "what is stored", want, f.get(t, "new-vault"))
}

func TestTwoVaultsCannotHaveOneName(t *testing.T) {
	f := newFixture(t)
	was := f.get(t, mainVault)
	_, err := f.CreateVault(t.Context(), f.owner, mainVault)
	refused(t, "a second", vault.CodeConflict, `there is a vault "main-vault" already`, err)
	diff(t, "the first", was, f.get(t, mainVault))
}

func TestVaultsAreListedByName(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"zzz", "aaa"} {
		_, err := f.CreateVault(t.Context(), f.owner, name)
		must(t, err)
	}
	list, err := f.Vaults(t.Context(), f.owner)
	must(t, err)
	diff(t, "vaults", []vault.Vault{f.get(t, "aaa"), f.get(t, mainVault), f.get(t, "zzz")}, list)
}

// Every command that names a vault says in the same words that there is none.
func TestCommandsOnAVaultThatThereIsNot(t *testing.T) {
	f := newCast(t)
	before := f.snapshot(t)
	for given, quoted := range map[string]string{
		"no-vault":                `"no-vault"`,
		"":                        `""`,
		"MAIN-VAULT":              `"MAIN-VAULT"`,
		"main_vault":              `"main_vault"`, // _ is no wildcard
		"main%":                   `"main%"`,
		"a\nb":                    `"a\nb"`,
		strings.Repeat("b", 1000): `"` + strings.Repeat("b", 80) + `… (1000 bytes)"`,
	} {
		for _, cmd := range f.commands(t) {
			at := slices.Index(cmd.args, any(mainVault)) // where the command names its vault
			switch {
			case cmd.name == "MintSession":
				cmd.args[0] = vault.NewSession{Vault: given}
			case at < 0 || given == "" && (cmd.may.agents || cmd.name == "Events" || strings.HasSuffix(cmd.name, "HeldRequests")):
				continue // the last are "vault_required", and those of the whole instance, and of all one's vaults
			default:
				cmd.args[at] = given
			}
			caller := f.owner
			if cmd.may.instance == "" {
				caller = f.agent
			}
			_, err := cmd.run(t.Context(), f, caller)
			refused(t, cmd.name+" of "+quoted, vault.CodeVaultNotFound, "there is no vault "+quoted, err)
		}
	}
	diff(t, "the instance", before, f.snapshot(t))
}

// With a vault goes all that is in it and every way into it. Nothing of that
// comes back with another vault of its name.
func TestDeleteVaultTakesAllAlong(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, err := f.CreateVault(ctx, f.owner, "other-vault")
	must(t, err)
	otherToken := f.mint(t, "other-vault").Token
	bothToken, _, err := f.CreateAgent(ctx, f.owner, vault.NewAgent{Name: "both", Vaults: map[string]vault.Grant{
		mainVault: {Role: vault.VaultAdmin}, "other-vault": {Role: vault.VaultProxy},
	}})
	must(t, err)
	was, other := f.get(t, mainVault), f.get(t, "other-vault")

	must(t, f.DeleteVault(ctx, f.owner, mainVault))
	s := f.snapshot(t)
	diff(t, "vaults", []vault.Vault{other}, s.Vaults)
	if len(s.Sessions) != 1 || s.Sessions[0].VaultID != other.ID {
		t.Errorf("sessions %v, want the other vault's one", s.Sessions)
	}
	grants := make(map[string]map[string]vault.Grant)
	for _, a := range s.Agents {
		grants[a.Name] = a.Vaults
	}
	diff(t, "agents' vaults", map[string]map[string]vault.Grant{"robot": {}, "both": {other.ID: {Role: vault.VaultProxy}}}, grants)
	_, err = f.Authenticate(ctx, f.sessionToken)
	wantCode(t, "the token of a session of it", vault.CodeUnauthorized, err)
	f.caller(t, otherToken)

	again, err := f.CreateVault(ctx, f.owner, mainVault)
	must(t, err)
	if again.ID == was.ID {
		t.Errorf("the new vault has the old one's id %s", again.ID)
	}
	diff(t, "the new vault", vault.Vault{ID: again.ID, Name: mainVault, UnmatchedHosts: vault.UnmatchedDeny, CreatedAt: f.now()}, f.get(t, mainVault))
	for _, token := range []string{f.agentToken, bothToken} {
		_, err := f.Discover(ctx, f.caller(t, token), mainVault)
		wantCode(t, "an agent that had the old vault", vault.CodeVaultForbidden, err)
	}
	_, err = f.Authenticate(ctx, f.sessionToken)
	wantCode(t, "the old session's token", vault.CodeUnauthorized, err)
}

func TestAVaultIsDeletedOnce(t *testing.T) {
	f := newFixture(t)
	must(t, f.DeleteVault(t.Context(), f.owner, mainVault))
	refused(t, "again", vault.CodeVaultNotFound, `there is no vault "main-vault"`, f.DeleteVault(t.Context(), f.owner, mainVault))
}
