package vault_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
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
	db  *store.DB
	key seal.Key

	owner, member, session, agent, nobody vault.Caller

	sessionID  string
	loginToken string

	elapsed   atomic.Int64                               // of the clock, since epoch
	published func(ctx context.Context, rev int64) error // nil: at once
}

func newFixture(t *testing.T, change ...func(*vault.Options)) *fixture {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "data", "vault.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	f := &fixture{db: db, key: seal.NewKey()}
	o := vault.Options{
		Store: db, Key: f.key,
		Now:      func() time.Time { return epoch.Add(time.Duration(f.elapsed.Load())) },
		ProxyURL: func() string { return "http://127.0.0.1:14321" },
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

	// People are put there without a password: hashing one takes its time.
	ctx := t.Context()
	person := func(id, role string) vault.Caller {
		token := vault.NewToken(vault.PrefixLogin)
		_, err := db.Write(ctx, func(tx vault.Tx) error {
			return errors.Join(
				tx.PutUser(vault.User{ID: id, Email: id + "@example.com", PasswordHash: "none", Role: role, CreatedAt: epoch}),
				tx.PutLogin(vault.Login{Digest: vault.DigestToken(token), UserID: id, CreatedAt: epoch, ExpiresAt: epoch.Add(time.Hour)}))
		})
		must(t, err)
		f.loginToken = token
		return f.caller(t, token)
	}
	f.member, f.owner = person("member", vault.RoleMember), person("owner", vault.RoleOwner)
	_, err = f.CreateVault(ctx, f.owner, mainVault)
	must(t, err)
	_, err = f.SetServices(ctx, f.owner, mainVault, services(t, `[{"name": "stripe", "host": "api.stripe.com", "auth": {"type": "bearer", "token": "STRIPE_KEY"}}]`))
	must(t, err)
	f.set(t, "STRIPE_KEY", "sk_live_first")
	token, s, err := f.MintSession(ctx, f.owner, mainVault, time.Hour, "a label")
	must(t, err)
	f.session, f.sessionID = f.caller(t, token), s.ID
	token, _, err = f.CreateAgent(ctx, f.owner, "robot", map[string]string{mainVault: vault.VaultProxy})
	must(t, err)
	f.agent = f.caller(t, token)
	return f
}

func (f *fixture) caller(t *testing.T, token string) vault.Caller {
	t.Helper()
	c, err := f.Authenticate(t.Context(), token)
	must(t, err)
	return c
}

func (f *fixture) set(t *testing.T, key, value string) {
	t.Helper()
	_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values(key, value))
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
