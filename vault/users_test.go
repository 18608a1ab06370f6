package vault_test

import (
	"testing"
	"time"

	"agentvault/vault"
)

func TestTheLastOwnerStays(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	const last = "owner@example.com is the last owner; make another user an owner first"
	for _, role := range []string{vault.RoleMember, vault.RoleNoAccess} {
		_, err := f.SetUserRole(ctx, f.owner, "owner@example.com", role)
		refused(t, role, vault.CodeConflict, last, err)
	}
	_, err := f.SetUserRole(ctx, f.owner, "owner@example.com", vault.RoleOwner)
	must(t, err)
	refused(t, "removed", vault.CodeConflict, last, f.RemoveUser(ctx, f.owner, "owner@example.com"))

	u, err := f.SetUserRole(ctx, f.owner, "Member@Example.com", vault.RoleOwner) // in any spelling
	must(t, err)
	if u.Role != vault.RoleOwner || u.ID != "member" {
		t.Errorf("the user is %v", u)
	}
	must(t, f.RemoveUser(ctx, f.owner, "owner@example.com")) // oneself, then
	_, err = f.Authenticate(ctx, f.loginToken)
	wantCode(t, "the token of who is gone", vault.CodeUnauthorized, err)
	second := f.caller(t, f.tokenOf(t, "member"))
	refused(t, "the other one", vault.CodeConflict, "member@example.com is the last owner; make another user an owner first",
		f.RemoveUser(ctx, second, "member@example.com"))
}

func (f *fixture) tokenOf(t *testing.T, id string) string {
	t.Helper()
	_, token := f.signedIn(t, id)
	return token
}

// Of two owners who demote each other at once, one stays.
func TestOwnersDemoteEachOther(t *testing.T) {
	for range 5 {
		f := newFixture(t)
		other, _ := f.person(t, "other", vault.RoleOwner)
		errs := atOnce(2, func(i int) error {
			if i == 0 {
				_, err := f.SetUserRole(t.Context(), f.owner, "other@example.com", vault.RoleMember)
				return err
			}
			return f.RemoveUser(t.Context(), other, "owner@example.com")
		})
		if errs[0] == nil && errs[1] == nil {
			t.Error("both did")
		}
		must(t, f.db.Read(t.Context(), func(tx vault.Tx) error {
			owners := 0
			list, err := tx.ListUsers()
			for _, u := range list {
				if u.Role == vault.RoleOwner {
					owners++
				}
			}
			if owners == 0 {
				t.Errorf("nobody owns the instance: %v", errs)
			}
			return err
		}))
	}
}

func TestSetUserRoleRefuses(t *testing.T) {
	f := newFixture(t)
	for _, role := range []string{"", "admin", "Owner", "root"} {
		_, err := f.SetUserRole(t.Context(), f.owner, "member@example.com", role)
		refused(t, role, vault.CodeBadRequest, `role: "`+role+`" is none of owner, member, no-access`, err)
	}
	const unknown = `there is no user "x@example.com"`
	_, err := f.SetUserRole(t.Context(), f.owner, "x@example.com", vault.RoleMember)
	refused(t, "SetUserRole", vault.CodeNotFound, unknown, err)
	refused(t, "RemoveUser", vault.CodeNotFound, unknown, f.RemoveUser(t.Context(), f.owner, "x@example.com"))
	refused(t, "SetMember", vault.CodeNotFound, unknown, f.SetMember(t.Context(), f.owner, mainVault, "x@example.com", vault.VaultProxy))
	refused(t, "RemoveMember", vault.CodeNotFound, unknown, f.RemoveMember(t.Context(), f.owner, mainVault, "x@example.com"))
	refused(t, "RemoveMember of none", vault.CodeNotFound, "member@example.com has no role in the vault main-vault",
		f.RemoveMember(t.Context(), f.owner, mainVault, "member@example.com"))
	refused(t, "a role that there is not", vault.CodeBadRequest, `vault_role: "owner" is none of proxy, member, admin`,
		f.SetMember(t.Context(), f.owner, mainVault, "member@example.com", vault.RoleOwner))
}

// What a person minted ends when they lose the vault, whichever way; what they
// minted elsewhere, and what others minted, goes on.
func TestSessionsEndWithTheirMintersReach(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(f *fixture) error
		main   bool // the session of the main vault goes on
		other  bool
		login  bool
	}{
		{"nothing", func(*fixture) error { return nil }, true, true, true},
		{"a lower role in the vault", func(f *fixture) error {
			return f.SetMember(t.Context(), f.owner, mainVault, "guest@example.com", vault.VaultProxy)
		}, true, true, true},
		{"no role in the vault", func(f *fixture) error {
			return f.RemoveMember(t.Context(), f.owner, mainVault, "guest@example.com")
		}, false, true, true},
		{"no access", func(f *fixture) error {
			_, err := f.SetUserRole(t.Context(), f.owner, "guest@example.com", vault.RoleNoAccess)
			return err
		}, false, false, true},
		{"an owner", func(f *fixture) error {
			_, err := f.SetUserRole(t.Context(), f.owner, "guest@example.com", vault.RoleOwner)
			return err
		}, true, true, true},
		{"removed", func(f *fixture) error { return f.RemoveUser(t.Context(), f.owner, "guest@example.com") }, false, false, false},
	} {
		f := newFixture(t)
		ctx := t.Context()
		_, err := f.CreateVault(ctx, f.owner, "other-vault")
		must(t, err)
		f.person(t, "guest", vault.RoleMember)
		for _, v := range []string{mainVault, "other-vault"} {
			must(t, f.SetMember(ctx, f.owner, v, "guest@example.com", vault.VaultMember))
		}
		guest, login := f.signedIn(t, "guest")
		tokens := map[string]bool{f.sessionToken: true, login: row.login}
		for v, goesOn := range map[string]bool{mainVault: row.main, "other-vault": row.other} {
			m, err := f.MintSession(ctx, guest, vault.NewSession{Vault: v})
			must(t, err)
			tokens[m.Token] = goesOn
		}
		must(t, row.change(f))
		for token, goesOn := range tokens {
			if _, err := f.Authenticate(ctx, token); (err == nil) != goesOn {
				t.Errorf("%s: %.8s… goes on: %t, want %t", row.name, token, err == nil, goesOn)
			}
		}
	}
}

// What changes something asks for roles in its own transaction: what a caller
// was when their token was looked at is worth nothing.
func TestLostRolesChangeNothing(t *testing.T) {
	var u undoing
	f := newCast(t, undoes(&u))
	stale := func(id string, lose func() error) vault.Caller {
		t.Helper()
		f.person(t, id, vault.RoleOwner)
		c, _ := f.signedIn(t, id)
		must(t, lose())
		return c
	}
	demoted := stale("demoted", func() error {
		_, err := f.SetUserRole(t.Context(), f.owner, "demoted@example.com", vault.RoleMember)
		return err
	})
	shutOut := stale("shut-out", func() error {
		_, err := f.SetUserRole(t.Context(), f.owner, "shut-out@example.com", vault.RoleNoAccess)
		return err
	})
	removed := stale("removed", func() error { return f.RemoveUser(t.Context(), f.owner, "removed@example.com") })
	u.on = true
	for _, cmd := range f.commands(t) {
		if cmd.effect == reads || cmd.may.instance == "" || cmd.name == "Reauthenticate" || cmd.name == "ChangePassword" || cmd.name == "Logout" {
			continue // the last ones need no role: TestLoginsAreListedAndRevoked, TestAChangedPasswordEndsTheOtherLogins
		}
		for _, row := range []struct {
			by   vault.Caller
			want refusal
		}{
			{demoted, cmd.may.tells(actor{role: vault.RoleMember, kind: person})},
			{shutOut, cmd.may.early(actor{role: vault.RoleNoAccess, kind: person})},
			{removed, refusal{vault.CodeUnauthorized, "the token is missing, unknown, expired or revoked"}},
		} {
			what := cmd.String() + " by " + row.by.User().ID
			if _, err := cmd.run(t.Context(), f, row.by); row.want.code != "" {
				refused(t, what, row.want.code, row.want.message, err)
			} else if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

func TestRolesCountAsTheyAre(t *testing.T) {
	f := newCast(t)
	admin := f.actor(t, "vault-admin")
	must(t, f.RemoveMember(t.Context(), f.owner, mainVault, "vault-admin@example.com"))
	_, err := f.SetCredentials(t.Context(), admin, mainVault, values("A_KEY", "some value"), false)
	refused(t, "an admin who is none any more", noRole.code, noRole.message, err)
	must(t, f.RemoveUser(t.Context(), f.owner, "vault-member@example.com"))
	_, err = f.SetCredentials(t.Context(), f.actor(t, "vault-member"), mainVault, values("A_KEY", "some value"), false)
	wantCode(t, "a member who was removed", vault.CodeUnauthorized, err)
}

func TestMembers(t *testing.T) {
	f := newCast(t)
	list, err := f.Members(t.Context(), f.owner, mainVault)
	must(t, err)
	diff(t, "members, by email, without owners", []vault.Member{
		{Email: "guest@example.com", Role: vault.VaultProxy}, {Email: "no-access@example.com", Role: vault.VaultAdmin},
		{Email: "vault-admin@example.com", Role: vault.VaultAdmin}, {Email: "vault-member@example.com", Role: vault.VaultMember},
		{Email: "vault-proxy@example.com", Role: vault.VaultProxy},
	}, list)
	// A change of one role leaves the others.
	_, err = f.CreateVault(t.Context(), f.actor(t, "vault-proxy"), "own-vault")
	must(t, err)
	must(t, f.SetMember(t.Context(), f.owner, mainVault, "vault-proxy@example.com", vault.VaultMember))
	must(t, f.SetMember(t.Context(), f.owner, "foreign-vault", "vault-proxy@example.com", vault.VaultProxy))
	must(t, f.RemoveMember(t.Context(), f.owner, mainVault, "vault-proxy@example.com"))
	visible, err := f.Vaults(t.Context(), f.caller(t, f.tokenOf(t, "vault-proxy")))
	must(t, err)
	var names []string
	for _, v := range visible {
		names = append(names, v.Name)
	}
	diff(t, "their vaults", []string{"foreign-vault", "own-vault"}, names)
	must(t, f.DeleteVault(t.Context(), f.caller(t, f.tokenOf(t, "vault-proxy")), "own-vault")) // its admin
}

// Who is no member sees the sessions that they minted, and ends those only.
func TestSessionsOfAProxy(t *testing.T) {
	f := newCast(t)
	ctx := t.Context()
	proxy := f.actor(t, "vault-proxy")
	f.pass(time.Second)
	own, err := f.MintSession(ctx, proxy, vault.NewSession{Vault: mainVault})
	must(t, err)
	seen := func(c vault.Caller, want ...string) {
		t.Helper()
		list, err := f.Sessions(ctx, c, mainVault)
		must(t, err)
		ids := []string{}
		for _, s := range list {
			ids = append(ids, s.ID)
		}
		diff(t, "sessions", want, ids)
	}
	seen(proxy, own.ID)
	seen(f.actor(t, "vault-member"), own.ID, f.sessionID)
	// All at once: one ends it, and it is ended once.
	errs := atOnce(8, func(int) error { return f.RevokeSession(ctx, proxy, own.ID) })
	ended := 0
	for _, err := range errs {
		if err == nil {
			ended++
		} else {
			wantCode(t, "who came later", vault.CodeNotFound, err)
		}
	}
	if ended != 1 {
		t.Errorf("it was ended %d times", ended)
	}
	seen(proxy)
}
