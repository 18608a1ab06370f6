package vault_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

// A command is a method of the Registry that takes its caller, with arguments
// that are sound in a cast.
type command struct {
	name   string
	may    may
	effect effect
	args   []any // one that is a func(vault.Caller) any depends on the caller
}

// An effect is what a command does to the store when all goes well.
type effect int

const (
	reads   effect = iota
	stores         // what decisions do not depend on
	changes        // what they do
)

// A may is who may give a command.
type may struct {
	instance string // least role of a person; "": no person may
	vault    string // least role in the main vault; "": it takes none
	fresh    bool   // with a login of the last five minutes
	agents   bool   // an agent or a session may too
	own      bool   // of agents' tokens only the session's

	// What people are told in place of "you have no role" and "your role does not
	// allow this": that what they named is not there.
	below   refusal // to members of the instance, of what is for owners
	hidden  refusal // to those without a role, and with the role proxy
	notMine refusal // to those with the role proxy, and to other agents
}

// leastRole is the role on the instance that a refusal names.
func (m may) leastRole() string {
	if m.below.code != "" {
		return vault.RoleMember
	}
	return m.instance
}

var (
	anyone       = may{instance: vault.RoleNoAccess}
	members      = may{instance: vault.RoleMember}
	freshMembers = may{instance: vault.RoleMember, fresh: true}
	owners       = may{instance: vault.RoleOwner}
	freshOwners  = may{instance: vault.RoleOwner, fresh: true}
	vaultProxies = may{instance: vault.RoleMember, vault: vault.VaultProxy}
	vaultMembers = may{instance: vault.RoleMember, vault: vault.VaultMember}
	freshVault   = may{instance: vault.RoleMember, vault: vault.VaultMember, fresh: true}
	vaultAdmins  = may{instance: vault.RoleMember, vault: vault.VaultAdmin}
	freshAdmins  = may{instance: vault.RoleMember, vault: vault.VaultAdmin, fresh: true}

	noRobot       = refusal{vault.CodeNotFound, `there is no agent "robot"`}
	robotAdmins   = may{instance: vault.RoleMember, vault: vault.VaultAdmin, hidden: noRobot}
	freshRobot    = may{instance: vault.RoleMember, vault: vault.VaultAdmin, fresh: true, hidden: noRobot}
	onlyAgents    = may{agents: true}
	onlyASession  = may{agents: true, own: true}
	alsoAgents    = may{instance: vault.RoleMember, vault: vault.VaultProxy, agents: true}
	noProposal    = refusal{vault.CodeProposalNotFound, "there is no proposal 1 of yours in the vault main-vault"}
	robotOrMember = may{instance: vault.RoleMember, vault: vault.VaultMember, agents: true, notMine: noProposal}
)

func (f *fixture) commands(t *testing.T) []command {
	proposal := vault.NewProposal{Credentials: []vault.CredentialSlot{{Action: vault.ActionSet, Key: "ANOTHER_KEY"}}}
	declare := func(name string) vault.Declaration {
		return vault.Declaration{Vaults: []vault.VaultDeclaration{{Name: name, Credentials: values("A_KEY", "some value")}}}
	}
	other := services(t, `[{"name": "other", "host": "api.example.com", "auth": {"type": "passthrough"}}]`)
	whole := declare("declared-vault")
	whole.Vaults[0].Services, whole.Vaults[0].UnmatchedHosts = other, vault.UnmatchedTunnel
	hiddenSession := vaultMembers
	hiddenSession.hidden = refusal{vault.CodeNotFound, `there is no session "` + f.sessionID + `"`}
	hiddenInvite := vaultAdmins
	hiddenInvite.hidden = refusal{vault.CodeInviteNotFound, `there is no invite "` + f.agentInvite + `"`}
	hiddenConnection := vaultMembers
	hiddenConnection.hidden = refusal{vault.CodeNotFound, "this connection is not known: it has ended, was finished before, or was begun by another person or before the server was started; begin again"}
	without := freshOwners
	without.below = refusal{vault.CodeBadRequest, "vaults: name at least one of which you are an admin"}
	return []command{
		{"AddServices", freshVault, changes, []any{mainVault, other, values(), false}},
		{"Agents", members, reads, nil},
		{"Apply", freshMembers, changes, []any{whole}},
		{"Apply", vaultMembers, changes, []any{declare(mainVault)}},
		{"Approve", freshVault, changes, []any{mainVault, int64(1), vault.Approval{Digest: f.digest}}},
		{"BeginConnection", vaultMembers, reads, []any{mainVault, "mail", loopback}},
		{"ChangePassword", anyone, changes, []any{[]byte(password), []byte("another battery")}},
		{"CheckPolicy", vaultProxies, reads, []any{vault.PolicyQuestion{Vault: mainVault, Method: "GET", URL: "https://api.stripe.com/v1/charges"}}},
		{"CreateAgent", freshAdmins, changes, []any{newAgent("other-robot", mainVault, vault.VaultMember)}},
		{"CreateAgent", without, changes, []any{vault.NewAgent{Name: "other-robot"}}},
		{"CreateVault", members, changes, []any{"other-vault"}},
		{"CredentialUses", vaultProxies, reads, []any{mainVault}},
		{"CredentialVersions", vaultProxies, reads, []any{mainVault, "STRIPE_KEY"}},
		{"DecideHeld", vaultMembers, stores, []any{mainVault, int64(1), vault.HeldDecision{Digest: f.heldDigest}}},
		{"DeleteAgent", robotAdmins, changes, []any{"robot"}},
		{"DeleteCredential", vaultMembers, changes, []any{mainVault, "STRIPE_KEY"}},
		{"DeleteVault", vaultAdmins, changes, []any{mainVault}},
		{"Discover", onlyAgents, reads, []any{mainVault}},
		{"Dummy", vaultProxies, reads, []any{mainVault, "STRIPE_KEY"}},
		{"EnableService", freshVault, changes, []any{mainVault, "stripe", true}},
		{"EnableService", vaultMembers, changes, []any{mainVault, "stripe", false}},
		{"Events", vaultMembers, reads, []any{mainVault, int64(0), 10}},
		{"Events", owners, reads, []any{"", int64(0), 10}},
		{"FinishAuthority", freshOwners, stores, nil},
		{"FinishConnection", hiddenConnection, changes, []any{f.begun, "the-code", ""}},
		{"FollowRequests", vaultMembers, reads, []any{vault.RequestFilter{Vault: mainVault, After: "0"}, time.Duration(0), (<-chan struct{})(nil)}},
		{"GrantService", freshAdmins, changes, []any{"part-robot", mainVault, "stripe", time.Hour, int64(5)}},
		{"GrantVault", freshAdmins, changes, []any{"robot", mainVault, vault.Grant{Role: vault.VaultProxy, Services: []string{"stripe"}}}},
		{"HeldRequest", vaultMembers, reads, []any{mainVault, int64(1)}},
		{"HeldRequests", vaultMembers, reads, []any{mainVault, false, int64(0), 10}},
		{"InviteAgent", freshAdmins, stores, []any{newAgent("other-robot", mainVault, vault.VaultProxy), time.Hour}},
		{"InviteUser", freshOwners, stores, []any{"new@example.com", vault.RoleMember, map[string]string{mainVault: vault.VaultAdmin}, time.Hour}},
		{"Invites", members, reads, []any{vault.InviteAgent}},
		{"Invites", owners, reads, []any{vault.InviteUser}},
		{"Logins", anyone, reads, nil},
		{"Logout", anyone, stores, nil},
		{"Members", vaultMembers, reads, []any{mainVault}},
		{"MintSession", vaultProxies, changes, []any{vault.NewSession{Vault: mainVault, Lease: true}}},
		{"Proposal", robotOrMember, reads, []any{mainVault, int64(1)}},
		{"Proposals", alsoAgents, reads, []any{mainVault, "", int64(0), 10}},
		{"Propose", alsoAgents, stores, []any{mainVault, proposal}},
		{"Reauthenticate", anyone, stores, []any{[]byte(password)}},
		{"RefusedHosts", vaultMembers, reads, []any{vault.RequestFilter{Vault: mainVault}}},
		{"Reject", vaultMembers, stores, []any{mainVault, int64(1), "no"}},
		{"RemoveMember", vaultAdmins, changes, []any{mainVault, "guest@example.com"}},
		{"RemoveService", freshVault, changes, []any{mainVault, "stripe"}},
		{"RemoveUser", owners, changes, []any{"guest@example.com"}},
		{"RenameAgent", robotAdmins, changes, []any{"robot", "renamed-robot"}},
		{"RenameVault", vaultAdmins, changes, []any{mainVault, "renamed-vault"}},
		{"ReplayPolicy", vaultMembers, reads, []any{mainVault, time.Time{}, other}},
		{"RequestSeries", vaultMembers, reads, []any{vault.RequestFilter{Vault: mainVault}, 60}},
		{"Requests", vaultMembers, reads, []any{vault.RequestFilter{Vault: mainVault}}},
		{"Review", vaultMembers, reads, []any{mainVault, int64(1)}},
		{"ReviewServices", vaultProxies, reads, []any{mainVault, other}},
		{"RevokeAgent", robotAdmins, changes, []any{"robot"}},
		{"RevokeInvite", hiddenInvite, stores, []any{vault.InviteAgent, f.agentInvite}},
		{"RevokeInvite", owners, stores, []any{vault.InviteUser, f.userInvite}},
		{"RevokeLogin", anyone, stores, []any{loginOf}},
		{"RevokeOwnSession", onlyASession, changes, nil},
		{"RevokeService", vaultAdmins, changes, []any{"part-robot", mainVault, "stripe"}},
		{"RevokeSession", hiddenSession, changes, []any{f.sessionID}},
		{"RevokeVault", vaultAdmins, changes, []any{"robot", mainVault}},
		{"RollBackCredential", vaultMembers, changes, []any{mainVault, "STRIPE_KEY", int64(0)}},
		{"RotateAgent", freshRobot, changes, []any{"robot", time.Minute}},
		{"RotateAuthority", freshOwners, stores, []any{time.Hour}},
		{"SeeServer", owners, reads, nil},
		{"ServiceLimits", vaultProxies, reads, []any{mainVault, "stripe"}},
		{"ServiceStates", vaultProxies, reads, []any{mainVault}},
		{"Sessions", vaultProxies, reads, []any{mainVault}},
		{"SetCredentials", vaultMembers, changes, []any{mainVault, values("STRIPE_KEY", "sk_live_second"), false}},
		{"SetMember", freshAdmins, changes, []any{mainVault, "guest@example.com", vault.VaultAdmin}},
		{"SetServices", freshVault, changes, []any{mainVault, other}},
		{"SetSwitches", freshVault, changes, []any{mainVault, "stripe", vault.SwitchChange{Pins: []string{vault.PinOf(nil)}}}},
		{"SetUnmatchedHosts", freshAdmins, changes, []any{mainVault, vault.UnmatchedTunnel}},
		{"SetUserRole", freshOwners, changes, []any{"guest@example.com", vault.RoleOwner}},
		{"Users", owners, reads, nil},
		{"Vault", vaultProxies, reads, []any{mainVault}},
		{"Vaults", members, reads, nil},
		{"WaitHeldRequests", vaultMembers, reads, []any{mainVault, false, 10, vault.HeldWait{}}},
		{"WaitProposal", robotOrMember, reads, []any{mainVault, int64(1), time.Duration(0), (<-chan struct{})(nil)}},
	}
}

// String names the row of the table.
func (c command) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s (%s %s)", c.name, c.may.instance, c.may.vault))
}

func loginOf(c vault.Caller) any {
	if l := c.Login(); l != nil {
		return l.ID
	}
	return ""
}

// run gives the command, and returns what came back beside the error.
func (c command) run(ctx context.Context, f *fixture, from vault.Caller) (results []any, err error) {
	in := []reflect.Value{reflect.ValueOf(ctx), reflect.ValueOf(from)}
	for _, a := range c.args {
		if of, ok := a.(func(vault.Caller) any); ok {
			a = of(from)
		}
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

// command is the first of that name.
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

// eachCommand calls test for each row of the table, on a cast of its own.
func eachCommand(t *testing.T, test func(t *testing.T, f *fixture, cmd command), change ...func(*vault.Options)) {
	var none fixture
	for i, c := range none.commands(t) {
		t.Run(c.name, func(t *testing.T) {
			f := newCast(t, change...)
			test(t, f, f.commands(t)[i])
		})
	}
}

// whoMay is a caller who may give the command.
func (f *fixture) whoMay(c command) vault.Caller {
	if c.may.instance != "" {
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
	diff(t, "commands, and the table of this test", commandNames(), slices.Compact(have))
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
		"AgentStatus",    // of an agent that the caller has got, by the clock
		"Authenticate",   // finds out who the caller is
		"DropMint",       // the broker's
		"Initialized",    // says only whether there is an owner
		"InviteStatus",   // of an invite that the caller has got, by the clock
		"Join",           // takes an invite's token, and a password
		"KeepMint",       // the broker's: what a token endpoint gave
		"Login",          // takes a password
		"ProposalByLink", // takes the link's token
		"RedeemAgent",    // takes an invite's token
		"Register",       // for the first user only
		"RenewLease",     // takes the lease's token
		"ResetPassword",  // for who runs the server
		"Run",            // the server's own
		"Sweep",          // the server's own
		"TakeMint",       // the broker's
	}
	diff(t, "methods without a Caller", want, have)
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
		if email != row.user || row.caller.IsAgent() != row.isAgent || (row.caller.Login() != nil) != (row.user != "") {
			t.Errorf("%s: user %q, agent %t, login %v; want %q, %t", row.name, email, row.caller.IsAgent(), row.caller.Login(), row.user, row.isAgent)
		}
	}
}
