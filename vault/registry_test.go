package vault_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/vault"
	"agentvault/vault/seal"
)

func TestNewNamesTheMissingOption(t *testing.T) {
	db := newEmpty(t).db
	for _, row := range []struct {
		name    string
		options vault.Options
		want    string
	}{
		{"nothing", vault.Options{}, "vault: Options.Store is required"},
		{"no store", vault.Options{Key: seal.NewKey()}, "vault: Options.Store is required"},
		{"no key", vault.Options{Store: db}, "vault: Options.Key is required"},
	} {
		if r, err := vault.New(row.options); err == nil || err.Error() != row.want || r != nil {
			t.Errorf("%s: New = %v, %v; want the error %q", row.name, r, err, row.want)
		}
	}
}

// With nothing but what is required: the system's clock, whole milliseconds in
// UTC, no address to discover, nothing to wait for.
func TestNewWithRequiredOptionsOnly(t *testing.T) {
	f := newFixture(t)
	r, err := vault.New(vault.Options{Store: f.db, Key: f.key})
	must(t, err)
	before := time.Now().Truncate(time.Millisecond)
	v, err := r.CreateVault(t.Context(), f.owner, "new-vault")
	must(t, err)
	if at := v.CreatedAt; at.Before(before) || at.After(time.Now()) || at.Location() != time.UTC || at.Nanosecond()%1e6 != 0 {
		t.Errorf("made at %v, want now in UTC and whole milliseconds; it began at %v", at, before)
	}
	d, err := r.Discover(t.Context(), f.session, "")
	must(t, err)
	if d.ProxyURL != "" {
		t.Errorf("ProxyURL %q, want none", d.ProxyURL)
	}
}

func TestTimesAreWholeMillisecondsInUTC(t *testing.T) {
	f := newFixture(t, func(o *vault.Options) {
		o.Now = func() time.Time { return epoch.Add(1_999_999).In(time.FixedZone("there", 3600)) }
	})
	want := epoch.Add(time.Millisecond)
	v := f.get(t, mainVault)
	if v.CreatedAt != want || v.Credentials["STRIPE_KEY"].CreatedAt != want {
		t.Errorf("vault made at %v, credential at %v, want %v", v.CreatedAt, v.Credentials["STRIPE_KEY"].CreatedAt, want)
	}
}

// A command that changes something answers once this node decides on it, and
// what only reads does not wait.
func TestCommandsWaitForTheirRevision(t *testing.T) {
	eachCommand(t, func(t *testing.T, f *fixture, cmd command) {
		before := f.revision(t)
		var waited []int64
		f.published = func(_ context.Context, rev int64) error {
			waited = append(waited, rev)
			return nil
		}
		_, err := cmd.run(t.Context(), f, f.whoMay(cmd))
		must(t, err)
		want, after := []int64(nil), before
		switch cmd.effect {
		case stores:
			want = []int64{before}
		case changes:
			want, after = []int64{before + 1}, before+1
		}
		diff(t, "waited for revisions", want, waited)
		diff(t, "the revision after it", after, f.revision(t))
	})
}

// A change that turns out to be none waits for the revision that is current,
// which another command may have made a moment ago.
func TestAChangeThatIsNoneWaitsForTheCurrentRevision(t *testing.T) {
	f := newFixture(t)
	apply := f.command(t, "Apply")
	_, err := apply.run(t.Context(), f, f.owner)
	must(t, err)
	before := f.revision(t)
	waited := int64(0)
	f.published = func(_ context.Context, rev int64) error { waited = rev; return nil }
	_, err = apply.run(t.Context(), f, f.owner)
	must(t, err)
	if waited != before || f.revision(t) != before {
		t.Errorf("waited for revision %d, want %d; it is %d now", waited, before, f.revision(t))
	}
}

func TestAnErrorOfPublishedIsReturned(t *testing.T) {
	cause := errors.New("no view yet")
	const message = "the change is stored, but this node does not decide on it yet: no view yet"
	eachCommand(t, func(t *testing.T, f *fixture, cmd command) {
		if cmd.effect == reads {
			return
		}
		before := f.revision(t)
		f.published = func(context.Context, int64) error { return cause }
		results, err := cmd.run(t.Context(), f, f.whoMay(cmd))
		refused(t, cmd.name, vault.CodeUnavailable, message, err)
		if !errors.Is(err, cause) {
			t.Errorf("%v does not wrap its cause", err)
		}
		for _, r := range results {
			if token, ok := r.(string); ok && token != "" {
				t.Errorf("a token came back beside %v", err)
			}
		}
		if cmd.effect == changes {
			before++
		}
		if after := f.revision(t); after != before {
			t.Errorf("revision %d, want %d: the change is stored", after, before)
		}
	})
}

// The change is stored; that its caller hangs up does not keep this node from
// publishing it. Nor does anyone wait for ever.
func TestPublishingOutlivesTheCaller(t *testing.T) {
	type key struct{}
	f := newFixture(t)
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "kept"))
	asked := false
	f.published = func(wait context.Context, _ int64) error {
		asked = true
		cancel()
		deadline, ok := wait.Deadline()
		if wait.Err() != nil || !ok || time.Until(deadline) > 10*time.Second || wait.Value(key{}) != "kept" {
			t.Errorf("the context: err %v, deadline %v, value %v; want none, 10 s, the caller's", wait.Err(), deadline, wait.Value(key{}))
		}
		return wait.Err()
	}
	_, err := f.CreateVault(ctx, f.owner, "new-vault")
	if err != nil || !asked {
		t.Errorf("CreateVault: %v, published asked %t", err, asked)
	}
}

// Commands given at once are carried out one after the other: none is lost.
func TestCommandsAtOnce(t *testing.T) {
	f := newFixture(t)
	const n = 20
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values(fmt.Sprintf("KEY_%d", i), "some value", "SHARED", "some value"), false)
			if err != nil {
				t.Errorf("SetCredentials: %v", err)
			}
		})
	}
	all.Wait()
	v := f.get(t, mainVault)
	if len(v.Credentials) != n+2 || v.Credentials["SHARED"].Version != n {
		t.Errorf("%d credentials, the shared one at version %d; want %d and %d", len(v.Credentials), v.Credentials["SHARED"].Version, n+2, n)
	}
}

func TestErrorShowsItsCauseToTheLogOnly(t *testing.T) {
	cause := errors.New("the cause")
	for _, row := range []struct {
		err  *vault.Error
		want string
	}{
		{&vault.Error{Code: vault.CodeConflict, Message: "for the sender"}, "for the sender"},
		{&vault.Error{Code: vault.CodeConflict, Message: "for the sender", Err: cause}, "for the sender: the cause"},
	} {
		if row.err.Error() != row.want || row.err.Message != "for the sender" || errors.Is(row.err, cause) != (row.err.Err != nil) {
			t.Errorf("%#v: %q, want %q; wraps its cause: %t", row.err, row.err.Error(), row.want, errors.Is(row.err, cause))
		}
	}
}

// Nothing that a command was told in confidence, and no token, stands in the
// files of the store.
func TestTheStoreHoldsNothingInClear(t *testing.T) {
	f := newFixture(t)
	password := "correct horse battery"
	must(t, putPassword(t, f, "owner", password))
	signedIn, err := f.Login(t.Context(), "owner@example.com", []byte(password), "")
	must(t, err)
	login := signedIn.Token
	rotated, err := f.RotateAgent(t.Context(), f.owner, "robot", 0)
	must(t, err)
	_, err = f.Apply(t.Context(), f.owner, vault.Declaration{Vaults: []vault.VaultDeclaration{{Name: mainVault, Credentials: values("APPLIED", "sk_live_applied")}}})
	must(t, err)
	text := f.files(t)
	if !strings.Contains(text, "api.stripe.com") {
		t.Fatal("the files do not even hold a service's host: this test looks at the wrong ones")
	}
	for _, clear := range []string{"sk_live_first", "sk_live_applied", password, login, f.sessionToken, f.agentToken, rotated, "av_sess_", "av_agt_", "av_login_"} {
		if strings.Contains(text, clear) {
			t.Errorf("the files of the store hold %q", clear)
		}
	}
}
