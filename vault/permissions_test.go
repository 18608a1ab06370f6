package vault_test

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"time"

	"agentvault/vault"
)

// A command is a method of the Registry that takes its caller, with arguments
// that are sound in a fixture.
type command struct {
	name    string
	who     who
	changes bool // what decisions depend on
	args    []any
}

// A who is the kind of caller that a command is for.
type who int

const (
	people   who = iota // today: the owner
	agents              // holders of a session or an agent's token
	aSession            // a session, about itself
)

func (f *fixture) commands(t *testing.T) []command {
	declaration := vault.Declaration{Vaults: []vault.VaultDeclaration{{Name: "declared-vault", Credentials: values("A_KEY", "a value")}}}
	list := services(t, `[{"name": "other", "host": "api.example.com", "auth": {"type": "passthrough"}}]`)
	return []command{
		{"Agents", people, false, nil},
		{"Apply", people, true, []any{declaration}},
		{"CreateAgent", people, true, []any{"other-robot", map[string]string{mainVault: vault.VaultMember}}},
		{"CreateVault", people, true, []any{"other-vault"}},
		{"DeleteAgent", people, true, []any{"robot"}},
		{"DeleteCredential", people, true, []any{mainVault, "STRIPE_KEY"}},
		{"DeleteVault", people, true, []any{mainVault}},
		{"Discover", agents, false, []any{mainVault}},
		{"MintSession", people, true, []any{mainVault, time.Hour, "another label"}},
		{"RevokeOwnSession", aSession, true, nil},
		{"RevokeSession", people, true, []any{f.sessionID}},
		{"RotateAgent", people, true, []any{"robot"}},
		{"Sessions", people, false, []any{mainVault}},
		{"SetCredentials", people, true, []any{mainVault, values("STRIPE_KEY", "sk_live_second")}},
		{"SetServices", people, true, []any{mainVault, list}},
		{"Vault", people, false, []any{mainVault}},
		{"Vaults", people, false, nil},
	}
}

// run gives the command, and returns what came back beside the error.
func (c command) run(ctx context.Context, f *fixture, from vault.Caller) (results []any, err error) {
	in := []reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(from)}
	for _, a := range c.args {
		in = append(in, reflect.ValueOf(a))
	}
	return answers(reflect.ValueOf(f.Registry).MethodByName(c.name).Call(in))
}

// runEmpty gives the command with zero arguments.
func (c command) runEmpty(ctx context.Context, f *fixture, from vault.Caller) (results []any, err error) {
	method := reflect.ValueOf(f.Registry).MethodByName(c.name)
	in := []reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(from)}
	for i := len(in); i < method.Type().NumIn(); i++ {
		in = append(in, reflect.Zero(method.Type().In(i)))
	}
	return answers(method.Call(in))
}

func answers(out []reflect.Value) (results []any, err error) {
	last := len(out) - 1
	for _, o := range out[:last] {
		results = append(results, o.Interface())
	}
	err, _ = out[last].Interface().(error)
	return results, err
}

func (f *fixture) command(t *testing.T, name string) command {
	t.Helper()
	for _, c := range f.commands(t) {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("the table has no command %s", name)
	return command{}
}

// whoMay is a caller who may give the command.
func (f *fixture) whoMay(c command) vault.Caller {
	if c.who == people {
		return f.owner
	}
	return f.session
}

var (
	callerType = reflect.TypeFor[vault.Caller]()
	registry   = reflect.TypeFor[*vault.Registry]()
)

// commandNames are the exported methods of the Registry that take a Caller.
func commandNames() (names []string) {
	for m := range registry.Methods() {
		for in := range m.Type.Ins() {
			if in == callerType {
				names = append(names, m.Name)
			}
		}
	}
	return names
}

func TestEveryCommandStandsInTheTable(t *testing.T) {
	var f fixture
	var have []string
	for _, c := range f.commands(t) {
		have = append(have, c.name)
	}
	diff(t, "commands, and the table of this test", commandNames(), have)
}

// Whoever adds a method without a Caller has to say here why it needs none.
func TestWhatNeedsNoCaller(t *testing.T) {
	var have []string
	for m := range registry.Methods() {
		if !slices.Contains(commandNames(), m.Name) {
			have = append(have, m.Name)
		}
	}
	want := []string{
		"Authenticate", // finds out who the caller is
		"Initialized",  // says only whether there is an owner
		"Login",        // takes a password
		"Logout",       // takes the token that it ends
		"Register",     // for the first user only
	}
	diff(t, "methods without a Caller", want, have)
}

// A refusal is a code and a message; the zero refusal is none.
type refusal struct{ code, message string }

var (
	notSignedIn = refusal{vault.CodeUnauthorized, "sign in first: agent-vault auth login"}
	notForAgent = refusal{vault.CodeForbidden, "an agent's token may not do this; a person can"}
	notForHuman = refusal{vault.CodeForbidden, "this is for agents; send a session token"}
	notMember   = refusal{vault.CodeForbidden, "your role member does not allow this"}
	notNoAccess = refusal{vault.CodeForbidden, "your role no-access does not allow this"}
	notASession = refusal{vault.CodeBadRequest, "this is not a session's token"}
)

// answersOf is the table of permissions: what each caller is told.
var answersOf = map[who]struct{ nobody, owner, member, noAccess, session, agent refusal }{
	people:   {nobody: notSignedIn, member: notMember, noAccess: notNoAccess, session: notForAgent, agent: notForAgent},
	agents:   {nobody: notSignedIn, owner: notForHuman, member: notForHuman, noAccess: notForHuman},
	aSession: {nobody: notASession, owner: notASession, member: notASession, noAccess: notASession, agent: notASession},
}

type askedBy struct {
	name   string
	caller vault.Caller
	want   refusal
}

func (f *fixture) askers(w who) []askedBy {
	a := answersOf[w]
	return []askedBy{
		{"nobody", f.nobody, a.nobody}, {"owner", f.owner, a.owner}, {"member", f.member, a.member},
		{"no-access", f.noAccess, a.noAccess}, {"session", f.session, a.session}, {"agent", f.agent, a.agent},
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	shared := newFixture(t) // refusals leave it as it is
	before := shared.snapshot(t)
	for _, name := range commandNames() {
		for i, by := range shared.askers(shared.command(t, name).who) {
			what := name + " by " + by.name
			if by.want.code != "" {
				_, err := shared.command(t, name).run(t.Context(), shared, by.caller)
				refused(t, what, by.want.code, by.want.message, err)
				continue
			}
			f := newFixture(t)
			cmd := f.command(t, name)
			if _, err := cmd.run(t.Context(), f, f.askers(cmd.who)[i].caller); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	diff(t, "the instance after refusals", before, shared.snapshot(t))
}

// Who may not give a command learns nothing from it, not even whether what it
// names exists or is well formed: the refusal comes before the arguments and
// before the store.
func TestARefusalOfACallerLooksAtNothingElse(t *testing.T) {
	var s brokenStore
	f := newFixture(t, breaking(&s))
	for _, cmd := range f.commands(t) {
		for _, by := range f.askers(cmd.who) {
			if by.want.code == "" {
				continue
			}
			s.count = 0
			results, err := cmd.runEmpty(t.Context(), f, by.caller)
			refused(t, cmd.name+" with empty arguments by "+by.name, by.want.code, by.want.message, err)
			if s.count != 0 {
				t.Errorf("%s by %s: the store was asked", cmd.name, by.name)
			}
			for _, r := range results {
				if !reflect.ValueOf(r).IsZero() {
					t.Errorf("%s by %s returned %v beside its refusal", cmd.name, by.name, r)
				}
			}
		}
	}
}

// A role that this version does not know allows nothing.
func TestRolesThatAreNotKnown(t *testing.T) {
	f := newFixture(t)
	for _, role := range []string{"", "Owner", "owner ", "admin", "root"} {
		c, _ := f.person(t, "user "+role, role)
		for _, cmd := range f.commands(t) {
			if _, err := cmd.run(t.Context(), f, c); err == nil {
				t.Errorf("%s is allowed for the role %q", cmd.name, role)
			}
		}
	}
}

func TestCallerSaysWhoItIs(t *testing.T) {
	f := newFixture(t)
	for _, row := range []struct {
		name    string
		caller  vault.Caller
		user    string
		isAgent bool
	}{
		{"nobody", f.nobody, "", false},
		{"owner", f.owner, "owner@example.com", false},
		{"member", f.member, "member@example.com", false},
		{"session", f.session, "", true},
		{"agent", f.agent, "", true},
	} {
		email := ""
		if u := row.caller.User(); u != nil {
			email = u.Email
		}
		if email != row.user || row.caller.IsAgent() != row.isAgent {
			t.Errorf("%s: user %q, agent %t; want %q, %t", row.name, email, row.caller.IsAgent(), row.user, row.isAgent)
		}
	}
}
