package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"agentvault/policy/inject"
	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// epoch is when the clock of a fixture begins: after any run of these tests, so
// that nothing is over unless the clock says so.
var epoch = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// mainVault is the vault that a fixture has, with the service "stripe" and the
// credential STRIPE_KEY.
const mainVault = "main-vault"

// A fixture is an instance on a real store, with one caller of each kind.
type fixture struct {
	*vault.Registry
	db     *store.DB
	dir    string // of the database's files
	key    seal.Key
	holder *vault.Holder

	owner, member, noAccess, session, agent, nobody vault.Caller

	cast                                       []actor // everyone, of a newCast
	sessionID, agentInvite, userInvite, digest string  // of a newCast: invites, and the digest of its proposal
	heldDigest                                 string  // of a newCast: the digest of its held request

	exchanged []vault.CodeExchange // of accounts that were connected
	callback  string               // Options.CallbackURL
	states    map[string][]string  // of a newCast: of connections that were begun, by the user's id

	loginToken, sessionToken, agentToken string // the owner's, the session's, the agent's

	elapsed   atomic.Int64                               // of the clock, since epoch
	published func(ctx context.Context, rev int64) error // nil: at once
}

// newEmpty is an instance that nobody owns.
func newEmpty(t *testing.T, change ...func(*vault.Options)) *fixture {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "vault.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	f := &fixture{db: db, dir: dir, key: seal.NewKey()}
	o := vault.Options{
		Store: db, Key: f.key, Now: f.now, Exchange: f.exchange, CallbackURL: func() string { return f.callback },
		ProxyURL: func() string { return "http://127.0.0.1:14321/proxy" },
		Published: func(ctx context.Context, rev int64) error {
			if f.published == nil {
				return nil
			}
			return f.published(ctx, rev)
		},
	}
	for _, c := range change {
		c(&o)
	}
	if f.Registry, err = vault.New(o); err != nil {
		t.Fatal(err)
	}
	f.holder = vault.NewHolder(o.Store, f.key, f.now)
	return f
}

func newFixture(t *testing.T, change ...func(*vault.Options)) *fixture {
	t.Helper()
	f := newEmpty(t, change...)
	ctx := t.Context()
	f.owner, f.loginToken = f.person(t, "owner", vault.RoleOwner)
	f.member, _ = f.person(t, "member", vault.RoleMember)
	f.noAccess, _ = f.person(t, "no-access", vault.RoleNoAccess)
	_, err := f.CreateVault(ctx, f.owner, mainVault)
	must(t, err)
	_, err = f.SetServices(ctx, f.owner, mainVault, services(t, `[{"name": "stripe", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}}]`))
	must(t, err)
	f.set(t, "STRIPE_KEY", "sk_live_first")
	s, err := f.MintSession(ctx, f.owner, vault.NewSession{Vault: mainVault, TTL: time.Hour, Label: "a label"})
	must(t, err)
	f.sessionToken, f.sessionID = s.Token, s.ID
	f.session = f.caller(t, f.sessionToken)
	f.agentToken, _, err = f.CreateAgent(ctx, f.owner, newAgent("robot", mainVault, vault.VaultProxy))
	must(t, err)
	f.agent = f.caller(t, f.agentToken)
	return f
}

func (f *fixture) now() time.Time { return epoch.Add(time.Duration(f.elapsed.Load())) }

// pass moves the clock.
func (f *fixture) pass(d time.Duration) { f.elapsed.Add(int64(d)) }

// person puts a person there who has signed in, without a password: hashing
// one takes its time.
func (f *fixture) person(t *testing.T, id, role string) (c vault.Caller, token string) {
	t.Helper()
	token = vault.NewToken(vault.PrefixLogin)
	now := f.now()
	_, err := f.db.Write(t.Context(), func(tx vault.Tx) error {
		return errors.Join(
			tx.PutUser(vault.User{ID: id, Email: id + "@example.com", PasswordHash: "none", Role: role, CreatedAt: epoch}),
			tx.PutLogin(vault.Login{
				ID: token[len(vault.PrefixLogin):], Digest: vault.DigestToken(token), UserID: id,
				CreatedAt: now, AuthenticatedAt: now, SeenAt: now, ExpiresAt: now.Add(time.Hour),
			}))
	})
	must(t, err)
	return f.caller(t, token), token
}

// refresh signs the owner in anew, as what widens somebody's reach demands
// when the clock has moved.
func (f *fixture) refresh(t *testing.T) {
	t.Helper()
	f.owner, _ = f.signedIn(t, "owner")
}

// newAgent is an agent-to-be with one vault.
func newAgent(name, vaultName, role string, services ...string) vault.NewAgent {
	return vault.NewAgent{Name: name, Vaults: map[string]vault.Grant{vaultName: {Role: role, Services: services}}}
}

// mint mints a session of a vault for an hour.
func (f *fixture) mint(t *testing.T, vaultName string) vault.Minted {
	t.Helper()
	m, err := f.MintSession(t.Context(), f.owner, vault.NewSession{Vault: vaultName, TTL: time.Hour})
	must(t, err)
	return m
}

func (f *fixture) caller(t *testing.T, token string) vault.Caller {
	t.Helper()
	c, err := f.Authenticate(t.Context(), token)
	must(t, err)
	return c
}

func (f *fixture) set(t *testing.T, key, value string) {
	t.Helper()
	_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values(key, value), false)
	must(t, err)
}

func (f *fixture) get(t *testing.T, name string) vault.Vault {
	t.Helper()
	v, err := f.Vault(t.Context(), f.owner, name)
	must(t, err)
	return v
}

func (f *fixture) revision(t *testing.T) int64 {
	t.Helper()
	n, err := f.db.Revision(t.Context())
	must(t, err)
	return n
}

func (f *fixture) snapshot(t *testing.T) vault.Snapshot {
	t.Helper()
	s, err := f.db.Snapshot(t.Context())
	must(t, err)
	return s
}

func values(pairs ...string) map[string]seal.Plaintext {
	m := make(map[string]seal.Plaintext)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = seal.NewPlaintext([]byte(pairs[i+1]))
	}
	return m
}

func services(t *testing.T, text string) []vault.Service {
	t.Helper()
	var list []vault.Service
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return list
}

// refused checks that nothing but a refusal of this code and message came back.
func refused(t *testing.T, what, code, message string, err error) {
	t.Helper()
	if codeOf(err) != code || err.Error() != message {
		t.Errorf("%s:\n got %s: %v\nwant %s: %s", what, codeOf(err), err, code, message)
	}
}

// codeOf is the code of a refusal, "" of none. Any other error is no code.
func codeOf(err error) string {
	var e *vault.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	}
	return "not a *vault.Error: " + err.Error()
}

func wantCode(t *testing.T, what, want string, err error) {
	t.Helper()
	if got := codeOf(err); got != want {
		t.Errorf("%s: code %q (%v), want %q", what, got, err, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var alike = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b inject.Auth) bool {
		x, errA := json.Marshal(a)
		y, errB := json.Marshal(b)
		return errA == nil && errB == nil && string(x) == string(y)
	}),
}

func diff(t *testing.T, what string, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got, alike); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

// files are the bytes of the database and of what SQLite keeps beside it.
func (f *fixture) files(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	entries, err := os.ReadDir(f.dir)
	must(t, err)
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(f.dir, e.Name()))
		must(t, err)
		all.Write(b)
	}
	return all.String()
}
