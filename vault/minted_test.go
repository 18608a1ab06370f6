package vault_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/policy/inject"
	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// question asks for a token of a service that has REFRESH and STRIPE_KEY.
func (f *fixture) question(t *testing.T, after int64) vault.MintQuestion {
	t.Helper()
	return vault.MintQuestion{
		MintID: vault.MintID{VaultID: f.get(t, mainVault).ID, Auth: vault.DigestToken("auth")},
		Keys:   []string{"REFRESH", "STRIPE_KEY"}, After: after,
	}
}

func (f *fixture) take(t *testing.T, after int64) vault.MintTurn {
	t.Helper()
	turn, err := f.TakeMint(t.Context(), f.question(t, after))
	must(t, err)
	return turn
}

func token(value string, expires time.Time, rotated ...string) inject.Token {
	out := inject.Token{Value: seal.NewPlaintext([]byte(value)), Expires: expires}
	if rotated != nil {
		out.Rotated = values(rotated...)
	}
	return out
}

func TestMintedTokens(t *testing.T) {
	f := newFixture(t)
	f.set(t, "REFRESH", "refresh-one")
	turn := f.take(t, 0)
	if turn.Claim == "" || turn.Token != nil || len(turn.Credentials) != 2 {
		t.Fatalf("the first gets no turn: %+v", turn)
	}
	if other := f.take(t, 0); other.Claim != "" || other.Token != nil {
		t.Fatalf("the second gets one too: %+v", other)
	}
	before := f.revision(t)
	kept, err := f.KeepMint(t.Context(), turn, token("access-one", f.now().Add(time.Hour)))
	must(t, err)
	if f.revision(t) != before || kept.Serial != 1 {
		t.Errorf("serial %d, revision from %d to %d", kept.Serial, before, f.revision(t))
	}
	got := f.take(t, 0)
	if got.Token == nil || got.Claim != "" {
		t.Fatalf("the token is not handed out: %+v", got)
	}
	opened, err := f.key.ForVault(kept.VaultID).Open(got.Token.SealContext(), got.Token.Box)
	must(t, err)
	if string(opened.Bytes()) != "access-one" {
		t.Errorf("it is %q", opened.Bytes())
	}
	for name, step := range map[string]struct {
		after int64
		pass  time.Duration
		do    func()
	}{
		"that token is not wanted": {after: 1},
		"it has ended":             {pass: time.Hour},
		"a credential was set":     {do: func() { f.set(t, "STRIPE_KEY", "sk_live_second") }},
	} {
		if step.do != nil {
			step.do()
		}
		f.pass(step.pass)
		turn := f.take(t, step.after)
		if turn.Claim == "" {
			t.Fatalf("%s: no turn: %+v", name, turn)
		}
		must(t, f.DropMint(t.Context(), turn))
		f.pass(-step.pass)
	}
}

// A node that was killed holds the turn for ClaimTTL only, and can drop no other
// one's.
func TestMintTurnsEnd(t *testing.T) {
	f := newFixture(t)
	f.set(t, "REFRESH", "refresh-one")
	killed := f.take(t, 0)
	f.pass(vault.ClaimTTL - time.Millisecond)
	if turn := f.take(t, 0); turn.Claim != "" {
		t.Fatal("the turn ended early")
	}
	f.pass(time.Millisecond)
	next := f.take(t, 0)
	if next.Claim == "" {
		t.Fatal("the turn does not end")
	}
	must(t, f.DropMint(t.Context(), killed))
	if turn := f.take(t, 0); turn.Claim != "" {
		t.Fatal("the turn of another node was dropped")
	}
	// It was slow, not killed: what the endpoint replaced is stored all the same.
	_, err := f.KeepMint(t.Context(), killed, token("access-one", time.Time{}, "REFRESH", "refresh-two"))
	must(t, err)
	if got := f.open(t, f.get(t, mainVault), "REFRESH"); got != "refresh-two" {
		t.Errorf("the rotation is lost: %q", got)
	}
	if turn := f.take(t, 1); turn.Claim != "" {
		t.Error("the turn of the other node went with it")
	}
	_, err = f.KeepMint(t.Context(), next, token("access-two", time.Time{}, "REFRESH", "refresh-late"))
	must(t, err)
	if got := f.open(t, f.get(t, mainVault), "REFRESH"); got != "refresh-two" {
		t.Errorf("a rotation of an older value took its place: %q", got)
	}
}

func TestRotatedCredentials(t *testing.T) {
	f := newFixture(t)
	f.set(t, "REFRESH", "refresh-one")
	turn := f.take(t, 0)
	before := f.revision(t)
	kept, err := f.KeepMint(t.Context(), turn, token("access-one", time.Time{}, "REFRESH", "refresh-two"))
	must(t, err)
	v := f.get(t, mainVault)
	if got := f.open(t, v, "REFRESH"); got != "refresh-two" || kept.Versions["REFRESH"] != v.Credentials["REFRESH"].Version {
		t.Errorf("it is %q at version %d, the token's versions are %v", got, v.Credentials["REFRESH"].Version, kept.Versions)
	}
	if f.revision(t) == before {
		t.Error("no node learns of it")
	}
	if got := f.take(t, 0); got.Token == nil {
		t.Errorf("the token that came with it is not handed out: %+v", got)
	}
	events, err := f.Events(t.Context(), f.owner, mainVault, 0, 1)
	must(t, err)
	if e := events[0]; e.ActorKind != "server" || e.Action != "credential.change" || e.Object != "rotate REFRESH" {
		t.Errorf("recorded as %+v", e)
	}

	// A person was faster.
	turn = f.take(t, 1)
	f.set(t, "REFRESH", "of-a-person")
	_, err = f.KeepMint(t.Context(), turn, token("access-two", time.Time{}, "REFRESH", "refresh-three"))
	must(t, err)
	if got := f.open(t, f.get(t, mainVault), "REFRESH"); got != "of-a-person" {
		t.Errorf("a person's value was replaced by %q", got)
	}
	if got := f.take(t, 1); got.Token != nil {
		t.Error("a token of the value before is handed out")
	}
	if raw := f.files(t); strings.Contains(raw, "access-two") || strings.Contains(raw, "refresh-three") {
		t.Error("a token stands in the files in clear")
	}
}

// Two registries on two handles of one file stand for two processes.
func TestOneTurnAmongNodes(t *testing.T) {
	f := newFixture(t)
	f.set(t, "REFRESH", "refresh-one")
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(f.dir, "vault.db")})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	other, err := vault.New(vault.Options{Store: db, Key: f.key, Now: f.now})
	must(t, err)
	q := f.question(t, 0)
	var mu sync.Mutex
	turns := 0
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			r := f.Registry
			if i%2 == 1 {
				r = other
			}
			turn, err := r.TakeMint(t.Context(), q)
			if err != nil {
				t.Error(err)
			}
			if turn.Claim != "" {
				mu.Lock()
				turns++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if turns != 1 {
		t.Errorf("%d got a turn, want 1", turns)
	}
}
