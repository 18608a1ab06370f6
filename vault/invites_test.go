package vault_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/vault"
)

// inviteRobot invites an agent to the main vault, by the owner.
func (f *fixture) inviteRobot(t *testing.T, name string) (token string, i vault.Invite) {
	t.Helper()
	token, i, err := f.InviteAgent(t.Context(), f.owner, newAgent(name, mainVault, vault.VaultProxy), 0)
	must(t, err)
	return token, i
}

func (f *fixture) redeem(t *testing.T, token string) error {
	t.Helper()
	got, a, vaults, err := f.RedeemAgent(t.Context(), token)
	if err != nil && (got != "" || a.ID != "" || vaults != nil) {
		t.Errorf("%q, %v and %v came back beside %v", got, a, vaults, err)
	}
	return err
}

func TestInviteAgent(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	token, i, err := f.InviteAgent(ctx, f.owner, vault.NewAgent{
		Name: "new-robot", Vaults: grant(mainVault, vault.VaultMember, "stripe"), TTL: time.Hour,
	}, 10*time.Minute)
	must(t, err)
	id := f.get(t, mainVault).ID
	want := vault.Invite{
		ID: i.ID, Kind: vault.InviteAgent, Digest: vault.DigestToken(token), Name: "new-robot",
		Vaults: grant(id, vault.VaultMember, "stripe"), TokenTTL: time.Hour,
		CreatedBy: "owner", CreatedAt: f.now(), ExpiresAt: f.now().Add(10 * time.Minute),
	}
	diff(t, "the invite", want, i)
	if prefix, ok := vault.CheckToken(token); !ok || prefix != vault.PrefixInvite {
		t.Errorf("token %q", token)
	}
	_, err = f.Authenticate(ctx, token)
	wantCode(t, "the invite's token as a caller's", vault.CodeUnauthorized, err)

	f.pass(time.Minute)
	agentToken, a, vaults, err := f.RedeemAgent(ctx, token)
	must(t, err)
	diff(t, "the agent", vault.Agent{
		ID: a.ID, Name: "new-robot", Digest: vault.DigestToken(agentToken), Vaults: want.Vaults,
		CreatedAt: f.now(), TokenTTL: time.Hour, ExpiresAt: f.now().Add(time.Hour),
	}, a)
	diff(t, "its vaults by name", grant(mainVault, vault.VaultMember, "stripe"), vaults)
	d, err := f.Discover(ctx, f.caller(t, agentToken), mainVault)
	must(t, err)
	diff(t, "what it discovers", mainDiscovery, withoutDummies(t, d))
	want.RedeemedAt = f.now()
	list, err := f.Invites(ctx, f.owner, vault.InviteAgent)
	must(t, err)
	diff(t, "the invites", []vault.Invite{want}, list)
	refused(t, "a second time", vault.CodeInviteRedeemed, "this invite has been redeemed; ask for a new one", f.redeem(t, token))
	f.pass(time.Hour)
	_, err = f.Authenticate(ctx, agentToken)
	wantCode(t, "the agent's token at its end", vault.CodeUnauthorized, err)
}

// Of 64 who redeem one invite at once, one gets the agent.
func TestAnInviteIsRedeemedOnce(t *testing.T) {
	f := newFixture(t)
	token, _ := f.inviteRobot(t, "new-robot")
	before := f.revision(t)
	errs := atOnce(64, func(int) error { return f.redeem(t, token) })
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		refused(t, "who came later", vault.CodeInviteRedeemed, "this invite has been redeemed; ask for a new one", err)
	}
	if agents := len(f.snapshot(t).Agents); won != 1 || agents != 2 || f.revision(t) != before+1 {
		t.Errorf("%d won, there are %d agents, revision %d; want 1, 2, %d", won, agents, f.revision(t), before+1)
	}
}

// atOnce calls f n times at once, and returns the errors.
func atOnce(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	all.Wait()
	return errs
}

func TestInvitesThatCannotBeRedeemed(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	expired, _ := f.inviteRobot(t, "expired-robot")
	f.pass(24 * time.Hour)
	f.refresh(t)
	revoked, i := f.inviteRobot(t, "revoked-robot")
	must(t, f.RevokeInvite(ctx, f.owner, vault.InviteAgent, i.ID))
	join, _, err := f.InviteUser(ctx, f.owner, "new@example.com", vault.RoleMember, nil, 0)
	must(t, err)
	gone := refusal{vault.CodeInviteNotFound, "there is no such invite; ask for a new one"}
	for _, row := range []struct {
		name, token string
		want        refusal
	}{
		{"revoked", revoked, refusal{vault.CodeInviteRevoked, "this invite has been revoked; ask for a new one"}},
		{"expired", expired, refusal{vault.CodeInviteExpired, "this invite has expired; ask for a new one"}},
		{"unknown", vault.NewToken(vault.PrefixInvite), gone},
		{"a user's", join, gone},
		{"nothing", "", gone},
		{"an agent's token", f.agentToken, gone},
	} {
		refused(t, row.name, row.want.code, row.want.message, f.redeem(t, row.token))
	}
	for _, token := range []string{revoked, expired} {
		_, err := f.Join(ctx, token, []byte(password), "")
		refused(t, "an agent's invite for a user", gone.code, gone.message, err)
	}
	if agents := len(f.snapshot(t).Agents); agents != 1 {
		t.Errorf("there are %d agents, want 1", agents)
	}
	refused(t, "revoking a second time", vault.CodeConflict, "the invite is not pending any more: it is revoked",
		f.RevokeInvite(ctx, f.owner, vault.InviteAgent, i.ID))
	refused(t, "revoking none", vault.CodeInviteNotFound, `there is no invite "x"`, f.RevokeInvite(ctx, f.owner, vault.InviteAgent, "x"))
	refused(t, "revoking one of the other kind", vault.CodeInviteNotFound, `there is no invite "`+i.ID+`"`,
		f.RevokeInvite(ctx, f.owner, vault.InviteUser, i.ID))
}

// Fifty of a kind may be pending. Those that are over, for whatever reason, do
// not count.
func TestFiftyInvitesMayBePending(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	var tokens []string
	var ids []string
	for n := range 50 {
		token, i := f.inviteRobot(t, fmt.Sprintf("robot-%d", n))
		tokens, ids = append(tokens, token), append(ids, i.ID)
	}
	_, _, err := f.InviteUser(ctx, f.owner, "new@example.com", vault.RoleMember, nil, 0)
	must(t, err) // of another kind
	invited := 0
	invite := func() error {
		invited++
		_, _, err := f.InviteAgent(ctx, f.owner, newAgent(fmt.Sprintf("one-more-%d", invited), mainVault, vault.VaultProxy), time.Minute)
		return err
	}
	full := func(when string) {
		t.Helper()
		err := invite()
		refused(t, when, vault.CodeTooManyInvites, "50 invites are pending; revoke some, or wait until they are redeemed or expire", err)
		if e, ok := err.(*vault.Error); !ok || e.RetryAfter() != time.Minute {
			t.Errorf("%s: it says nothing of when to try again", when)
		}
	}
	full("the 51st")
	must(t, f.RevokeInvite(ctx, f.owner, vault.InviteAgent, ids[0]))
	must(t, invite())
	full("after one was revoked")
	f.pass(time.Minute) // which ends that one
	must(t, f.redeem(t, tokens[1]))
	_, _, err = f.InviteAgent(ctx, f.owner, newAgent("another", mainVault, vault.VaultProxy), 0)
	must(t, err)
	must(t, invite())
	full("after one has ended and one was redeemed")
}

func TestInviteAgentRefuses(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	f.inviteRobot(t, "invited")
	const bounds = "ttl_seconds: an invite lasts from 60 to 604800 seconds"
	for _, row := range []struct {
		name string
		give vault.NewAgent
		ttl  time.Duration
		want refusal
	}{
		{"an agent's name", newAgent("robot", mainVault, vault.VaultProxy), 0, refusal{vault.CodeConflict, `there is an agent "robot" already`}},
		{"an invited agent's name", newAgent("invited", mainVault, vault.VaultProxy), 0, refusal{vault.CodeConflict, `there is an invite for the agent "invited" already`}},
		{"a bad name", newAgent("Robot", mainVault, vault.VaultProxy), 0, refusal{vault.CodeBadRequest, `agent "Robot": a name has 3 to 64 characters of a-z, 0-9 and -`}},
		{"too short", newAgent("new-robot", mainVault, vault.VaultProxy), time.Minute - 1, refusal{vault.CodeBadRequest, bounds}},
		{"too long", newAgent("new-robot", mainVault, vault.VaultProxy), 7*24*time.Hour + 1, refusal{vault.CodeBadRequest, bounds}},
		{"negative", newAgent("new-robot", mainVault, vault.VaultProxy), -time.Hour, refusal{vault.CodeBadRequest, bounds}},
	} {
		token, i, err := f.InviteAgent(ctx, f.owner, row.give, row.ttl)
		refused(t, row.name, row.want.code, row.want.message, err)
		if token != "" || i.ID != "" {
			t.Errorf("%s: %q and %v came back beside the refusal", row.name, token, i)
		}
	}
	_, _, err := f.CreateAgent(ctx, f.owner, vault.NewAgent{Name: "invited"})
	refused(t, "making an agent of an invited one's name", vault.CodeConflict, `there is an invite for the agent "invited" already`, err)
	_, err = f.RenameAgent(ctx, f.owner, "robot", "invited")
	refused(t, "renaming an agent to it", vault.CodeConflict, `there is an invite for the agent "invited" already`, err)
}

// What an invite was for may have gone before it is redeemed.
func TestInvitesOutliveVaults(t *testing.T) {
	f := newCast(t)
	ctx := t.Context()
	_, err := f.CreateVault(ctx, f.owner, "other-vault")
	must(t, err)
	agent := newAgent("new-robot", mainVault, vault.VaultProxy)
	agent.Vaults["other-vault"] = vault.Grant{Role: vault.VaultAdmin}
	token, i, err := f.InviteAgent(ctx, f.owner, agent, 0)
	must(t, err)
	join, _, err := f.InviteUser(ctx, f.owner, "new@example.com", vault.RoleMember, map[string]string{mainVault: vault.VaultProxy, "other-vault": vault.VaultAdmin}, 0)
	must(t, err)
	must(t, f.DeleteVault(ctx, f.owner, "other-vault"))

	_, a, vaults, err := f.RedeemAgent(ctx, token)
	must(t, err)
	diff(t, "the agent's vaults", grant(f.get(t, mainVault).ID, vault.VaultProxy), a.Vaults)
	diff(t, "by name", grant(mainVault, vault.VaultProxy), vaults)
	s, err := f.Join(ctx, join, []byte(password), "")
	must(t, err)
	diff(t, "the user's vaults", map[string]string{f.get(t, mainVault).ID: vault.VaultProxy}, s.User.Vaults)

	// An admin of what is left of an invite's vaults may still revoke it.
	_, err = f.CreateVault(ctx, f.owner, "other-vault")
	must(t, err)
	agent.Name = "another-robot"
	_, i, err = f.InviteAgent(ctx, f.owner, agent, 0)
	must(t, err)
	must(t, f.DeleteVault(ctx, f.owner, "other-vault"))
	must(t, f.RevokeInvite(ctx, f.actor(t, "vault-admin"), vault.InviteAgent, i.ID))
}

// actor is a caller of a cast.
func (f *fixture) actor(t *testing.T, name string) vault.Caller {
	t.Helper()
	for _, a := range f.cast {
		if a.name == name {
			return a.caller
		}
	}
	t.Fatalf("the cast has no %s", name)
	return vault.Caller{}
}

// An invite gives what its maker could give when it is redeemed: who was
// removed, or lost the role for it, left no way in behind.
func TestInvitesEndWithTheirMakersRights(t *testing.T) {
	revoked := refusal{vault.CodeInviteRevoked, "this invite has been revoked; ask for a new one"}
	for _, row := range []struct {
		name   string
		change func(f *fixture) error
		agents bool // the agent's invite still holds
		users  bool
	}{
		{"nothing", func(*fixture) error { return nil }, true, true},
		{"removed", func(f *fixture) error { return f.RemoveUser(t.Context(), f.owner, "maker@example.com") }, false, false},
		{"a member of the instance without the vault", func(f *fixture) error {
			_, err := f.SetUserRole(t.Context(), f.owner, "maker@example.com", vault.RoleMember)
			return err
		}, false, false},
		{"a member of the instance, and the vault's admin", func(f *fixture) error {
			_, err := f.SetUserRole(t.Context(), f.owner, "maker@example.com", vault.RoleMember)
			must(t, err)
			return f.SetMember(t.Context(), f.owner, mainVault, "maker@example.com", vault.VaultAdmin)
		}, true, false},
		{"a member of the vault", func(f *fixture) error {
			_, err := f.SetUserRole(t.Context(), f.owner, "maker@example.com", vault.RoleMember)
			must(t, err)
			return f.SetMember(t.Context(), f.owner, mainVault, "maker@example.com", vault.VaultMember)
		}, false, false},
	} {
		f := newFixture(t)
		maker, _ := f.person(t, "maker", vault.RoleOwner)
		invite, _, err := f.InviteAgent(t.Context(), maker, newAgent("new-robot", mainVault, vault.VaultProxy), 0)
		must(t, err)
		join, _, err := f.InviteUser(t.Context(), maker, "new@example.com", vault.RoleOwner, nil, 0)
		must(t, err)
		must(t, row.change(f))
		if err := f.redeem(t, invite); !row.agents {
			refused(t, row.name+": an agent", revoked.code, revoked.message, err)
		} else if err != nil {
			t.Errorf("%s: an agent: %v", row.name, err)
		}
		if _, err := f.Join(t.Context(), join, []byte(password), ""); !row.users {
			refused(t, row.name+": a user", revoked.code, revoked.message, err)
		} else if err != nil {
			t.Errorf("%s: a user: %v", row.name, err)
		}
	}
}

func TestInviteUserAndJoin(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	token, i, err := f.InviteUser(ctx, f.owner, "New@Example.com", vault.RoleMember, map[string]string{mainVault: vault.VaultMember}, time.Hour)
	must(t, err)
	id := f.get(t, mainVault).ID
	diff(t, "the invite", vault.Invite{
		ID: i.ID, Kind: vault.InviteUser, Digest: vault.DigestToken(token), Name: "new@example.com", Role: vault.RoleMember,
		Vaults: grant(id, vault.VaultMember), CreatedBy: "owner", CreatedAt: f.now(), ExpiresAt: f.now().Add(time.Hour),
	}, i)
	if prefix, ok := vault.CheckToken(token); !ok || prefix != vault.PrefixJoin {
		t.Errorf("token %q", token)
	}
	_, err = f.Join(ctx, token, []byte("short"), "")
	refused(t, "a short password", vault.CodeBadRequest, "password: it has 12 to 1024 bytes", err)
	f.pass(time.Minute)
	s, err := f.Join(ctx, token, []byte(password), "a browser")
	must(t, err)
	diff(t, "the user", vault.User{
		ID: s.User.ID, Email: "new@example.com", PasswordHash: s.User.PasswordHash, Role: vault.RoleMember,
		Vaults: map[string]string{id: vault.VaultMember}, CreatedAt: f.now(),
	}, s.User)
	if c := f.caller(t, s.Token); c.User().ID != s.User.ID || c.Login().Client != "a browser" {
		t.Errorf("the token is of %v by %v", c.User(), c.Login())
	}
	_, err = f.Login(ctx, "new@example.com", []byte(password), "")
	must(t, err)
	_, err = f.Join(ctx, token, []byte(password), "")
	refused(t, "a second time", vault.CodeInviteRedeemed, "this invite has been redeemed; ask for a new one", err)
}

func TestInviteUserRefuses(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, _, err := f.InviteUser(ctx, f.owner, "invited@example.com", vault.RoleMember, nil, 0)
	must(t, err)
	for _, row := range []struct {
		name, email, role string
		vaults            map[string]string
		want              refusal
	}{
		{"a user's address", "Member@example.com", vault.RoleMember, nil, refusal{vault.CodeConflict, "there is a user member@example.com already"}},
		{"an invited one's", "INVITED@example.com", vault.RoleMember, nil, refusal{vault.CodeConflict, "there is an invite for invited@example.com already; revoke it first"}},
		{"no address", "new", vault.RoleMember, nil, refusal{vault.CodeBadRequest, `email: "new" is not an email address`}},
		{"no role", "new@example.com", "", nil, refusal{vault.CodeBadRequest, `role: "" is none of owner, member, no-access`}},
		{"a vault's role", "new@example.com", vault.VaultAdmin, nil, refusal{vault.CodeBadRequest, `role: "admin" is none of owner, member, no-access`}},
		{"no role in a vault", "new@example.com", vault.RoleMember, map[string]string{mainVault: ""}, refusal{vault.CodeBadRequest, `vault_role: "" is none of proxy, member, admin`}},
		{"an unknown vault", "new@example.com", vault.RoleMember, map[string]string{"no-vault": vault.VaultProxy}, refusal{vault.CodeVaultNotFound, `there is no vault "no-vault"`}},
	} {
		token, _, err := f.InviteUser(ctx, f.owner, row.email, row.role, row.vaults, 0)
		refused(t, row.name, row.want.code, row.want.message, err)
		if token != "" {
			t.Errorf("%s: a token came back beside the refusal", row.name)
		}
	}
}

// An invite to a vault is seen by its members, and nobody else.
func TestWhoSeesInvites(t *testing.T) {
	f := newCast(t)
	for _, a := range f.cast {
		list, err := f.Invites(t.Context(), a.caller, vault.InviteAgent)
		if a.kind != person || a.role == vault.RoleNoAccess {
			continue // the matrix
		}
		must(t, err)
		if want := vaultRank[a.in] >= vaultRank[vault.VaultMember]; (len(list) == 1) != want {
			t.Errorf("%s sees %d invites, sees any: %t", a.name, len(list), want)
		}
	}
	if text := fmt.Sprint(f.files(t)); strings.Contains(text, vault.PrefixInvite) || strings.Contains(text, vault.PrefixJoin) {
		t.Error("the token of an invite stands in the files of the store")
	}
}
