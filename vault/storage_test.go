package vault_test

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

var errBroken = errors.New("the disk is gone")

// A brokenStore is a real store of which one call fails: the at-th since count
// was 0, where the beginning of a transaction is a call too. At 0 none fails.
type brokenStore struct {
	vault.Store
	at, count int
}

// breaking puts a brokenStore in front of a fixture's store.
func breaking(s *brokenStore) func(*vault.Options) {
	return func(o *vault.Options) { s.Store, o.Store = o.Store, s }
}

func (s *brokenStore) call() error {
	if s.count++; s.count == s.at {
		return errBroken
	}
	return nil
}

func (s *brokenStore) Read(ctx context.Context, f func(vault.Tx) error) error {
	if err := s.call(); err != nil {
		return err
	}
	return s.Store.Read(ctx, func(tx vault.Tx) error { return f(brokenTx{tx, s}) })
}

func (s *brokenStore) Browse(ctx context.Context, f func(vault.Tx) error) error {
	if err := s.call(); err != nil {
		return err
	}
	return s.Store.Browse(ctx, func(tx vault.Tx) error { return f(brokenTx{tx, s}) })
}

func (s *brokenStore) Write(ctx context.Context, f func(vault.Tx) error) (int64, error) {
	if err := s.call(); err != nil {
		return 0, err
	}
	return s.Store.Write(ctx, func(tx vault.Tx) error { return f(brokenTx{tx, s}) })
}

type brokenTx struct {
	vault.Tx
	s *brokenStore
}

func get[K, V any](s *brokenStore, f func(K) (V, error), k K) (V, error) {
	if err := s.call(); err != nil {
		var none V
		return none, err
	}
	return f(k)
}

func list[V any](s *brokenStore, f func() ([]V, error)) ([]V, error) {
	if err := s.call(); err != nil {
		return nil, err
	}
	return f()
}

func put[V any](s *brokenStore, f func(V) error, v V) error {
	if err := s.call(); err != nil {
		return err
	}
	return f(v)
}

func (t brokenTx) VaultByName(n string) (vault.Vault, error) { return get(t.s, t.Tx.VaultByName, n) }
func (t brokenTx) VaultByID(id string) (vault.Vault, error)  { return get(t.s, t.Tx.VaultByID, id) }
func (t brokenTx) ListVaults() ([]vault.Vault, error)        { return list(t.s, t.Tx.ListVaults) }
func (t brokenTx) VaultRefByName(n string) (vault.VaultRef, error) {
	return get(t.s, t.Tx.VaultRefByName, n)
}
func (t brokenTx) VaultRefByID(id string) (vault.VaultRef, error) {
	return get(t.s, t.Tx.VaultRefByID, id)
}
func (t brokenTx) ListVaultRefs() ([]vault.VaultRef, error) { return list(t.s, t.Tx.ListVaultRefs) }
func (t brokenTx) PutVault(v vault.Vault) error             { return put(t.s, t.Tx.PutVault, v) }
func (t brokenTx) DeleteVault(id string) error              { return put(t.s, t.Tx.DeleteVault, id) }

func (t brokenTx) UserByEmail(e string) (vault.User, error) { return get(t.s, t.Tx.UserByEmail, e) }
func (t brokenTx) UserByID(id string) (vault.User, error)   { return get(t.s, t.Tx.UserByID, id) }
func (t brokenTx) ListUsers() ([]vault.User, error)         { return list(t.s, t.Tx.ListUsers) }
func (t brokenTx) PutUser(u vault.User) error               { return put(t.s, t.Tx.PutUser, u) }
func (t brokenTx) DeleteUser(id string) error               { return put(t.s, t.Tx.DeleteUser, id) }

func (t brokenTx) LoginByDigest(d [32]byte) (vault.Login, error) {
	return get(t.s, t.Tx.LoginByDigest, d)
}
func (t brokenTx) ListLogins(id string) ([]vault.Login, error) {
	return get(t.s, t.Tx.ListLogins, id)
}
func (t brokenTx) PutLogin(l vault.Login) error { return put(t.s, t.Tx.PutLogin, l) }
func (t brokenTx) DeleteLogin(d [32]byte) error { return put(t.s, t.Tx.DeleteLogin, d) }

func (t brokenTx) SessionByDigest(d [32]byte) (vault.Session, error) {
	return get(t.s, t.Tx.SessionByDigest, d)
}
func (t brokenTx) SessionByID(id string) (vault.Session, error) {
	return get(t.s, t.Tx.SessionByID, id)
}
func (t brokenTx) ListSessions(id string) ([]vault.Session, error) {
	return get(t.s, t.Tx.ListSessions, id)
}
func (t brokenTx) PutSession(s vault.Session) error { return put(t.s, t.Tx.PutSession, s) }
func (t brokenTx) DeleteSession(id string) error    { return put(t.s, t.Tx.DeleteSession, id) }

func (t brokenTx) AgentByDigest(d [32]byte) (vault.Agent, error) {
	return get(t.s, t.Tx.AgentByDigest, d)
}
func (t brokenTx) AgentByName(n string) (vault.Agent, error) { return get(t.s, t.Tx.AgentByName, n) }
func (t brokenTx) ListAgents() ([]vault.Agent, error)        { return list(t.s, t.Tx.ListAgents) }
func (t brokenTx) PutAgent(a vault.Agent) error              { return put(t.s, t.Tx.PutAgent, a) }
func (t brokenTx) DeleteAgent(id string) error               { return put(t.s, t.Tx.DeleteAgent, id) }

func (t brokenTx) Authority() (vault.Authority, error) {
	return get(t.s, func(struct{}) (vault.Authority, error) { return t.Tx.Authority() }, struct{}{})
}
func (t brokenTx) PutAuthority(a vault.Authority) error { return put(t.s, t.Tx.PutAuthority, a) }

func (t brokenTx) NextVersion(id, key string) (n int64, err error) {
	return get(t.s, func(key string) (int64, error) { return t.Tx.NextVersion(id, key) }, key)
}
func (t brokenTx) ListVersions(id, key string) ([]vault.CredentialVersion, error) {
	return list(t.s, func() ([]vault.CredentialVersion, error) { return t.Tx.ListVersions(id, key) })
}
func (t brokenTx) PutVersion(id string, v vault.CredentialVersion) error {
	return put(t.s, func(v vault.CredentialVersion) error { return t.Tx.PutVersion(id, v) }, v)
}
func (t brokenTx) Spent(id, service string, now time.Time, windows map[string]time.Duration) ([]vault.Spent, error) {
	return get(t.s, func(now time.Time) ([]vault.Spent, error) { return t.Tx.Spent(id, service, now, windows) }, now)
}
func (t brokenTx) ForgetSpent(id, service string) error {
	return put(t.s, func(service string) error { return t.Tx.ForgetSpent(id, service) }, service)
}
func (t brokenTx) DeleteVersions(id, key string, keep int) error {
	return put(t.s, func(keep int) error { return t.Tx.DeleteVersions(id, key, keep) }, keep)
}

func (t brokenTx) SessionByLease(d [32]byte) (vault.Session, error) {
	return get(t.s, t.Tx.SessionByLease, d)
}
func (t brokenTx) CountSessions(vaultID, by string, now time.Time) (int, error) {
	return get(t.s, func(now time.Time) (int, error) { return t.Tx.CountSessions(vaultID, by, now) }, now)
}
func (t brokenTx) ListLeased() ([]vault.Session, error) { return list(t.s, t.Tx.ListLeased) }

func (t brokenTx) InviteByDigest(d [32]byte) (vault.Invite, error) {
	return get(t.s, t.Tx.InviteByDigest, d)
}
func (t brokenTx) ListInvites(k string) ([]vault.Invite, error) { return get(t.s, t.Tx.ListInvites, k) }
func (t brokenTx) PutInvite(i vault.Invite) error               { return put(t.s, t.Tx.PutInvite, i) }

func (t brokenTx) NextProposal(id string) (int64, error) { return get(t.s, t.Tx.NextProposal, id) }
func (t brokenTx) ProposalByNumber(id string, n int64) (vault.Proposal, error) {
	return get(t.s, func(n int64) (vault.Proposal, error) { return t.Tx.ProposalByNumber(id, n) }, n)
}
func (t brokenTx) ProposalByLink(d [32]byte) (vault.Proposal, error) {
	return get(t.s, t.Tx.ProposalByLink, d)
}
func (t brokenTx) ListProposals(f vault.ProposalFilter) ([]vault.Proposal, error) {
	return get(t.s, t.Tx.ListProposals, f)
}
func (t brokenTx) PutProposal(p vault.Proposal) error { return put(t.s, t.Tx.PutProposal, p) }

func (t brokenTx) NextHeld(id string) (int64, error)      { return get(t.s, t.Tx.NextHeld, id) }
func (t brokenTx) HeldByID(id string) (vault.Held, error) { return get(t.s, t.Tx.HeldByID, id) }
func (t brokenTx) HeldByNumber(id string, n int64) (vault.Held, error) {
	return get(t.s, func(n int64) (vault.Held, error) { return t.Tx.HeldByNumber(id, n) }, n)
}
func (t brokenTx) HeldByDigest(id string, d [32]byte) (vault.Held, error) {
	return get(t.s, func(d [32]byte) (vault.Held, error) { return t.Tx.HeldByDigest(id, d) }, d)
}
func (t brokenTx) ListHeld(f vault.HeldFilter) ([]vault.Held, error) {
	return get(t.s, t.Tx.ListHeld, f)
}
func (t brokenTx) PutHeld(h vault.Held) error { return put(t.s, t.Tx.PutHeld, h) }
func (t brokenTx) HeldBox(id, what string) ([]byte, error) {
	return get(t.s, func(what string) ([]byte, error) { return t.Tx.HeldBox(id, what) }, what)
}
func (t brokenTx) PutHeldBox(id, what string, box []byte) error {
	return put(t.s, func(box []byte) error { return t.Tx.PutHeldBox(id, what, box) }, box)
}
func (t brokenTx) ForgetHeld(boxes, rows time.Time) error {
	return put(t.s, func(rows time.Time) error { return t.Tx.ForgetHeld(boxes, rows) }, rows)
}
func (t brokenTx) HeldToForget(boxes, rows time.Time) (bool, error) {
	return get(t.s, func(rows time.Time) (bool, error) { return t.Tx.HeldToForget(boxes, rows) }, rows)
}

func (t brokenTx) PutEvent(e vault.Event) error { return put(t.s, t.Tx.PutEvent, e) }
func (t brokenTx) ListEvents(id string, before int64, limit int) ([]vault.Event, error) {
	return get(t.s, func(limit int) ([]vault.Event, error) { return t.Tx.ListEvents(id, before, limit) }, limit)
}

func (t brokenTx) ListRequests(q vault.RequestQuery) ([]vault.Request, error) {
	return get(t.s, t.Tx.ListRequests, q)
}
func (t brokenTx) LastChange() (int64, error) {
	return get(t.s, func(struct{}) (int64, error) { return t.Tx.LastChange() }, struct{}{})
}
func (t brokenTx) RefusedHosts(q vault.RequestQuery) ([]vault.RefusedHost, error) {
	return get(t.s, t.Tx.RefusedHosts, q)
}
func (t brokenTx) RequestSeries(q vault.RequestQuery, points int, refusals []string) (vault.RequestSeries, error) {
	return get(t.s, func(q vault.RequestQuery) (vault.RequestSeries, error) {
		return t.Tx.RequestSeries(q, points, refusals)
	}, q)
}
func (t brokenTx) RequestShapes(q vault.RequestQuery, f func(vault.RequestShape) error) error {
	return put(t.s, func(q vault.RequestQuery) error { return t.Tx.RequestShapes(q, f) }, q)
}
func (t brokenTx) CredentialUses(id string) (map[string]time.Time, error) {
	return get(t.s, t.Tx.CredentialUses, id)
}
func (t brokenTx) ServiceUses(id string) (map[string]time.Time, error) {
	return get(t.s, t.Tx.ServiceUses, id)
}
func (t brokenTx) MintedToken(id vault.MintID) (vault.MintedToken, error) {
	return get(t.s, t.Tx.MintedToken, id)
}
func (t brokenTx) PutMintedToken(m vault.MintedToken) error {
	return put(t.s, t.Tx.PutMintedToken, m)
}

// A call of the store that a brokenTx does not know cannot fail, and what
// depends on it goes untested.
func TestABrokenStoreKnowsEveryCall(t *testing.T) {
	for m := range reflect.TypeFor[vault.Tx]().Methods() {
		method, _ := reflect.TypeFor[brokenTx]().MethodByName(m.Name)
		at := method.Func.Pointer()
		if file, _ := runtime.FuncForPC(at).FileLine(at); !strings.HasSuffix(file, "storage_test.go") {
			t.Errorf("%s is the store's own", m.Name)
		}
	}
}

// Whichever call of the store fails, the command returns that error rather than
// a refusal, and no token; and nothing of it is stored.
func TestACommandWhoseStoreFailsStoresNothing(t *testing.T) {
	var s brokenStore
	eachCommand(t, func(t *testing.T, f *fixture, cmd command) {
		before := f.snapshot(t)
		for at := 1; ; at++ {
			s.at, s.count = at, 0
			results, err := cmd.run(t.Context(), f, f.whoMay(cmd))
			if s.count < at {
				must(t, err)
				if at <= 2 {
					t.Errorf("only %d calls of the store could fail", at-1)
				}
				s.at = 0
				return
			}
			if !errors.Is(err, errBroken) || codeOf(err) != "not a *vault.Error: "+err.Error() {
				t.Errorf("call %d: %v, want the store's error", at, err)
			}
			for _, r := range results {
				if token, ok := r.(string); ok && token != "" {
					t.Errorf("call %d: a token came back beside the error %v", at, err)
				}
			}
			diff(t, "the instance", before, f.snapshot(t))
		}
	}, breaking(&s))
}

// The same for what is done without a caller.
func TestSigningInReturnsTheStoresErrors(t *testing.T) {
	password := []byte("correct horse battery")
	var s brokenStore
	f := newEmpty(t, breaking(&s))
	ctx := t.Context()
	var login string
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"Initialized", func() error { _, err := f.Initialized(ctx); return err }},
		{"Register", func() error { _, err := f.Register(ctx, "owner@example.com", password, ""); return err }},
		{"Login", func() (err error) {
			s, err := f.Login(ctx, "owner@example.com", password, "")
			login = s.Token
			return err
		}},
		{"Authenticate", func() error { _, err := f.Authenticate(ctx, login); return err }},
	} {
		for at := 1; ; at++ {
			s.at, s.count = at, 0
			err := step.do()
			if s.count < at {
				must(t, err)
				break
			}
			if !errors.Is(err, errBroken) {
				t.Errorf("%s, call %d: %v, want the store's error", step.name, at, err)
			}
			s.at = 0
			if owned, err := f.Initialized(ctx); owned && step.name == "Register" || err != nil {
				t.Errorf("%s, call %d: owned %t, %v", step.name, at, owned, err)
			}
		}
	}
}

func TestACancelledCommandStoresNothing(t *testing.T) {
	f := newCast(t)
	before := f.snapshot(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, cmd := range f.commands(t) {
		if _, err := cmd.run(ctx, f, f.whoMay(cmd)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", cmd.name, err)
		}
	}
	diff(t, "the instance", before, f.snapshot(t))
}
