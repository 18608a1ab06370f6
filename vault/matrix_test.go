package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/ca"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// A refusal is a code and a message; the zero refusal is none.
type refusal struct{ code, message string }

var (
	notSignedIn = refusal{vault.CodeUnauthorized, "sign in first: agent-vault auth login"}
	notForAgent = refusal{vault.CodeForbidden, "an agent's token may not do this; a person can"}
	notForHuman = refusal{vault.CodeForbidden, "this is for agents; send a session token"}
	notASession = refusal{vault.CodeBadRequest, "this is not a session's token"}
	noRole      = refusal{vault.CodeVaultForbidden, "you have no role in the vault main-vault; one of its admins can give you one"}
	tooOld      = refusal{vault.CodeLoginTooOld, "this needs a login that is not older than five minutes; give your password again"}
)

// An actor is one caller of each kind.
type actor struct {
	name   string
	caller vault.Caller
	role   string // of a person on the instance
	in     string // of a person in the main vault
	kind   kind
}

type kind int

const (
	nobody kind = iota
	person
	aSession
	anAgent
	theRobot // the agent whose proposal it is
)

var passwordHash = sync.OnceValues(func() (string, error) { return seal.HashPassword([]byte(password)) })

// newCast is a fixture in which everything is that commands are about, and
// everyone who may give them.
func newCast(t *testing.T, change ...func(*vault.Options)) *fixture {
	t.Helper()
	f := newFixture(t, change...)
	ctx := t.Context()
	_, err := f.CreateVault(ctx, f.owner, "foreign-vault")
	must(t, err)
	_, err = f.AddServices(ctx, f.owner, mainVault, services(t, mailService), nil, false)
	must(t, err)
	main, foreign := f.get(t, mainVault).ID, f.get(t, "foreign-vault").ID
	enlist := func(name, role, vaultID, in string) actor {
		f.person(t, name, role)
		_, err := f.db.Write(ctx, func(tx vault.Tx) error {
			u, err := tx.UserByID(name)
			must(t, err)
			if in != "" {
				u.Vaults[vaultID] = in
			}
			u.PasswordHash, err = passwordHash()
			return errors.Join(err, tx.PutUser(u))
		})
		must(t, err)
		c, _ := f.signedIn(t, name)
		if vaultID == foreign {
			in = ""
		}
		return actor{name, c, role, in, person}
	}
	enlist("guest", vault.RoleMember, main, vault.VaultProxy)
	part := newAgent("part-robot", mainVault, vault.VaultProxy)
	part.Vaults[mainVault] = vault.Grant{Role: vault.VaultProxy, Services: []string{}}
	_, _, err = f.CreateAgent(ctx, f.owner, part)
	must(t, err)
	_, err = f.GrantService(ctx, f.owner, "part-robot", mainVault, "stripe", time.Hour, 1)
	must(t, err)
	robot := func(role string) actor {
		token, _, err := f.CreateAgent(ctx, f.owner, newAgent("robot-"+role, mainVault, role))
		must(t, err)
		return actor{"agent with the role " + role, f.caller(t, token), "", "", anAgent}
	}
	f.cast = []actor{
		{name: "nobody"},
		enlist("owner", vault.RoleOwner, main, ""),
		enlist("member", vault.RoleMember, main, ""),
		enlist("no-access", vault.RoleNoAccess, main, vault.VaultAdmin), // a role in a vault is none without one on the instance
		enlist("vault-proxy", vault.RoleMember, main, vault.VaultProxy),
		enlist("vault-member", vault.RoleMember, main, vault.VaultMember),
		enlist("vault-admin", vault.RoleMember, main, vault.VaultAdmin),
		enlist("admin-of-another-vault", vault.RoleMember, foreign, vault.VaultAdmin),
		{"session", f.session, "", "", aSession},
		{"agent", f.agent, "", "", theRobot},
		robot(vault.VaultProxy), robot(vault.VaultMember), robot(vault.VaultAdmin),
	}
	f.cast[1].in = vault.VaultAdmin // owners are of every vault
	f.owner, f.member, f.noAccess = f.cast[1].caller, f.cast[2].caller, f.cast[3].caller
	f.set(t, "STRIPE_KEY", "sk_live_replaced")
	_, _, err = f.InviteUser(ctx, f.owner, "invited@example.com", vault.RoleMember, nil, 0)
	must(t, err)
	_, _, err = f.InviteAgent(ctx, f.owner, newAgent("invited-robot", mainVault, vault.VaultProxy), 0)
	must(t, err)
	for kind, id := range map[string]*string{vault.InviteUser: &f.userInvite, vault.InviteAgent: &f.agentInvite} {
		list, err := f.Invites(ctx, f.owner, kind)
		must(t, err)
		*id = list[0].ID
	}
	_, err = f.Propose(ctx, f.agent, mainVault, githubProposal(t, "ghp_proposed"))
	must(t, err)
	rv, err := f.Review(ctx, f.owner, mainVault, 1)
	must(t, err)
	f.digest = rv.Digest
	f.heldDigest = f.heldReview(t, f.hold(t, "/v1/charges").Number).Digest
	_, err = vault.OpenRoots(ctx, f.db, f.key, ca.Options{Now: f.now})
	must(t, err)
	must(t, f.RotateAuthority(ctx, f.owner, time.Millisecond)) // over by now: it can be ended, and another begun
	f.pass(time.Millisecond)
	f.states = make(map[string][]string)
	for _, a := range f.cast {
		for u := a.caller.User(); u != nil && len(f.states[u.ID]) < 25; { // more than a command asks the store
			f.states[u.ID] = append(f.states[u.ID], f.begin(t, a.caller))
		}
	}
	return f
}

// signedIn signs a person in who is there already.
func (f *fixture) signedIn(t *testing.T, id string) (vault.Caller, string) {
	t.Helper()
	token, now := vault.NewToken(vault.PrefixLogin), f.now()
	_, err := f.db.Write(t.Context(), func(tx vault.Tx) error {
		return tx.PutLogin(vault.Login{
			ID: token[len(vault.PrefixLogin):], Digest: vault.DigestToken(token), UserID: id,
			CreatedAt: now, AuthenticatedAt: now, SeenAt: now, ExpiresAt: now.Add(7 * 24 * time.Hour),
		})
	})
	must(t, err)
	return f.caller(t, token), token
}

var (
	instanceRank = map[string]int{vault.RoleNoAccess: 1, vault.RoleMember: 2, vault.RoleOwner: 3}
	vaultRank    = map[string]int{vault.VaultProxy: 1, vault.VaultMember: 2, vault.VaultAdmin: 3}
)

// early is what the actor is told before anything is looked at, that is for
// what kind of caller they are, or for their role on the instance.
func (m may) early(a actor) refusal {
	switch {
	case a.kind == nobody:
		return notSignedIn
	case a.kind == person && m.instance == "":
		return notForHuman
	case a.kind != person && !m.agents:
		return notForAgent
	case a.kind == anAgent && m.own, a.kind == theRobot && m.own:
		return notASession
	case a.kind == person && m.below.code != "" && a.role == vault.RoleMember:
		return m.below
	case a.kind == person && instanceRank[a.role] < instanceRank[m.instance]:
		return refusal{vault.CodeForbidden, "your role " + a.role + " on the instance does not allow this; it takes " + m.leastRole()}
	}
	return refusal{}
}

// tells is what an actor is told of a command that they gave right after they
// signed in.
func (m may) tells(a actor) refusal {
	if r := m.early(a); r.code != "" {
		return r
	}
	switch {
	case a.kind == theRobot:
		return refusal{}
	case a.kind != person:
		return m.notMine
	case vaultRank[a.in] >= vaultRank[m.vault]:
		return refusal{}
	case vaultRank[a.in] < vaultRank[vault.VaultMember] && m.hidden.code != "":
		return m.hidden
	case a.in == "":
		return noRole
	case m.notMine.code != "":
		return m.notMine
	}
	return refusal{vault.CodeForbidden, "your role " + a.in + " in the vault main-vault does not allow this; it takes " + m.vault}
}

// An undoing store undoes each transaction when it is over, so that a command
// is carried out to its end and leaves nothing.
type undoing struct {
	vault.Store
	on bool
}

var errUndo = errors.New("undo")

func (u *undoing) Write(ctx context.Context, f func(vault.Tx) error) (int64, error) {
	if !u.on {
		return u.Store.Write(ctx, f)
	}
	_, err := u.Store.Write(ctx, func(tx vault.Tx) error {
		if err := f(tx); err != nil {
			return err
		}
		return errUndo
	})
	if errors.Is(err, errUndo) {
		err = nil
	}
	return 0, err
}

func undoes(u *undoing) func(*vault.Options) {
	return func(o *vault.Options) { u.Store, o.Store = o.Store, u }
}

// The matrix: every command, by every kind of caller.
func TestWhoMayDoWhat(t *testing.T) {
	var u undoing
	f := newCast(t, undoes(&u))
	before := f.snapshot(t)
	u.on = true
	for _, cmd := range f.commands(t) {
		for _, a := range f.cast {
			what := fmt.Sprintf("%v by %s", cmd, a.name)
			want := cmd.may.tells(a)
			_, err := cmd.run(t.Context(), f, a.caller)
			if want.code != "" {
				refused(t, what, want.code, want.message, err)
			} else if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	diff(t, "the instance", before, f.snapshot(t))
}

// What widens somebody's reach needs a login of the last five minutes, and
// what narrows it does not.
func TestWideningNeedsAFreshLogin(t *testing.T) {
	var u undoing
	f := newCast(t, undoes(&u))
	token := ""
	f.owner, token = f.signedIn(t, "owner")
	try := func(when string, stale bool) {
		t.Helper()
		u.on = true
		defer func() { u.on = false }()
		for _, cmd := range f.commands(t) {
			if cmd.may.instance == "" {
				continue
			}
			want := refusal{}
			if stale && cmd.may.fresh {
				want = tooOld
			}
			if _, err := cmd.run(t.Context(), f, f.owner); codeOf(err) != want.code || err != nil && err.Error() != want.message {
				t.Errorf("%s %v: %v, want %q", when, cmd, err, want.message)
			}
		}
	}
	f.pass(5 * time.Minute)
	try("after five minutes", false)
	f.pass(time.Millisecond)
	try("a moment later", true)

	_, err := f.Reauthenticate(t.Context(), f.owner, []byte("another password"))
	refused(t, "a wrong password", vault.CodeWrongPassword, "the password is wrong", err)
	f.owner = f.caller(t, token)
	try("after a wrong password", true)

	l, err := f.Reauthenticate(t.Context(), f.owner, []byte(password))
	must(t, err)
	if l.AuthenticatedAt != f.now() || l.ExpiresAt != f.owner.Login().ExpiresAt {
		t.Errorf("the login is %v; want it authenticated at %v, and to end as before", l, f.now())
	}
	f.owner = f.caller(t, token)
	try("after the password was given again", false)
}

// A person whose login is too old and who may not anyway is refused one way or
// the other.
func TestAnOldLoginGivesNothing(t *testing.T) {
	var u undoing
	f := newCast(t, undoes(&u))
	u.on = true
	f.pass(time.Hour)
	for _, cmd := range f.commands(t) {
		for _, a := range f.cast {
			want := cmd.may.tells(a)
			if a.kind != person || want.code == "" && !cmd.may.fresh {
				continue
			}
			_, err := cmd.run(t.Context(), f, a.caller)
			if got := codeOf(err); got != want.code && got != tooOld.code {
				t.Errorf("%v by %s: %v, want %s or %s", cmd, a.name, err, want.code, tooOld.code)
			}
		}
	}
}

// Whatever role an agent has in a vault, it may look at what it may use,
// propose, and end its own session. Nothing that it gets back holds a value, or
// the box of one.
func TestWhatAgentsGet(t *testing.T) {
	var u undoing
	f := newCast(t, undoes(&u))
	u.on = true
	boxes := []string{"sk_live_", "ghp_proposed"}
	for _, c := range f.get(t, mainVault).Credentials {
		boxes = append(boxes, string(c.Box))
	}
	allowed := []string{"Discover", "Proposal", "Proposals", "Propose", "RevokeOwnSession", "WaitProposal"}
	for _, a := range f.cast {
		if !a.caller.IsAgent() {
			continue
		}
		for _, cmd := range f.commands(t) {
			results, err := cmd.run(t.Context(), f, a.caller)
			if err == nil && !slices.Contains(allowed, cmd.name) {
				t.Errorf("%s may %s", a.name, cmd.name)
			}
			asJSON, errJSON := json.Marshal(results)
			must(t, errJSON)
			for _, text := range []string{string(asJSON), fmt.Sprintf("%+v", results)} {
				for _, b := range boxes {
					if strings.Contains(text, b) {
						t.Errorf("%s gets %q from %s", a.name, b, cmd.name)
					}
				}
			}
		}
	}
}

// Who may not give a command learns nothing from it, not even whether what it
// names exists or is well formed: the refusal comes before the arguments and
// before the store.
func TestARefusalOfACallerLooksAtNothingElse(t *testing.T) {
	var s brokenStore
	f := newCast(t, breaking(&s))
	for _, cmd := range f.commands(t) {
		if cmd.name == "Invites" || cmd.name == "RevokeInvite" || cmd.name == "Events" {
			continue // whom they are for depends on an argument
		}
		for _, a := range f.cast {
			want := cmd.may.early(a)
			if want.code == "" || want == cmd.may.below {
				continue
			}
			s.count = 0
			results, err := cmd.runEmpty(t.Context(), f, a.caller)
			refused(t, cmd.name+" with empty arguments by "+a.name, want.code, want.message, err)
			if s.count != 0 {
				t.Errorf("%s by %s: the store was asked", cmd.name, a.name)
			}
			for _, r := range results {
				if v := reflect.ValueOf(r); !v.IsZero() && !(v.Kind() == reflect.Slice && v.Len() == 0) {
					t.Errorf("%s by %s returned %v beside its refusal", cmd.name, a.name, r)
				}
			}
		}
	}
}

// A role that this version does not know allows nothing.
func TestRolesThatAreNotKnown(t *testing.T) {
	var u undoing
	f := newCast(t, undoes(&u))
	for _, role := range []string{"", "Owner", "owner ", "admin", "root", "member"} {
		in := vault.VaultAdmin
		if role == "member" {
			in = "Admin"
		}
		f.person(t, "user "+role, role)
		_, err := f.db.Write(t.Context(), func(tx vault.Tx) error {
			u, err := tx.UserByID("user " + role)
			must(t, err)
			v, err := tx.VaultByName(mainVault)
			must(t, err)
			u.Vaults[v.ID] = in
			return tx.PutUser(u)
		})
		must(t, err)
		c, _ := f.signedIn(t, "user "+role)
		u.on = true
		for _, cmd := range f.commands(t) {
			if role == "member" && cmd.may.vault == "" {
				continue
			}
			if _, err := cmd.run(t.Context(), f, c); err == nil {
				t.Errorf("%v is allowed for the role %q, in the vault %q", cmd, role, in)
			}
		}
		u.on = false
	}
}
