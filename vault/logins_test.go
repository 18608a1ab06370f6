package vault_test

import (
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

// A login ends twelve hours after its last use, which is stored once a minute,
// and seven days after it began.
func TestLoginsEnd(t *testing.T) {
	f := newFixture(t)
	must(t, putPassword(t, f, "owner", password))
	start := func() string {
		t.Helper()
		s, err := f.Login(t.Context(), email, []byte(password), "")
		must(t, err)
		return s.Token
	}
	ended := func(when, token string) {
		t.Helper()
		_, err := f.Authenticate(t.Context(), token)
		refused(t, when, vault.CodeUnauthorized, "the token is missing, unknown, expired or revoked", err)
	}
	idle := start()
	f.pass(12*time.Hour - time.Millisecond)
	f.caller(t, idle) // which is a use
	f.pass(12*time.Hour - time.Millisecond)
	f.caller(t, idle)
	f.pass(12 * time.Hour)
	ended("not used for twelve hours", idle)

	busy := start()
	began := f.now()
	for f.now().Sub(began) < 7*24*time.Hour-11*time.Hour {
		f.pass(11 * time.Hour)
		f.caller(t, busy)
	}
	f.pass(began.Add(7*24*time.Hour - time.Millisecond).Sub(f.now()))
	if ends := f.caller(t, busy).Login().EndsAt(); ends != began.Add(7*24*time.Hour) {
		t.Errorf("it ends %v, want seven days after %v", ends, began)
	}
	f.pass(time.Millisecond)
	ended("seven days old", busy)
}

func TestALoginIsSeenOnceAMinute(t *testing.T) {
	f := newFixture(t)
	seen := func() time.Time {
		t.Helper()
		f.caller(t, f.loginToken)
		var at time.Time
		must(t, f.db.Read(t.Context(), func(tx vault.Tx) error {
			l, err := tx.LoginByDigest(vault.DigestToken(f.loginToken))
			at = l.SeenAt
			return err
		}))
		return at
	}
	for _, step := range []struct{ pass, want time.Duration }{
		{0, 0},
		{time.Minute - time.Millisecond, 0},
		{time.Millisecond, time.Minute},
		{59 * time.Second, time.Minute},
		{time.Second, 2 * time.Minute},
	} {
		f.pass(step.pass)
		if got, want := seen(), epoch.Add(step.want); got != want {
			t.Errorf("%v after it was made it was seen at %v, want %v", f.now().Sub(epoch), got, want)
		}
	}
}

// Being seen makes a login no fresher.
func TestSeeingALoginDoesNotAuthenticateIt(t *testing.T) {
	f := newFixture(t)
	f.pass(6 * time.Minute)
	_, _, err := f.CreateAgent(t.Context(), f.caller(t, f.loginToken), vault.NewAgent{Name: "new-robot"})
	refused(t, "a widening act", tooOld.code, tooOld.message, err)
}

func TestLoginsAreListedAndRevoked(t *testing.T) {
	f := newFixture(t)
	must(t, putPassword(t, f, "owner", password))
	ctx := t.Context()
	f.pass(50 * time.Minute)
	first, err := f.Login(ctx, email, []byte(password), "Firefox\x1b[31m\u009b\u202e on\n Linux"+strings.Repeat("ü", 100))
	must(t, err)
	want := "Firefox[31m on Linux" + strings.Repeat("ü", 80)
	if first.Login.Client != want {
		t.Errorf("client %q, want %q", first.Login.Client, want)
	}
	f.pass(10 * time.Minute) // ends the fixture's own
	second, err := f.Login(ctx, email, []byte(password), "")
	must(t, err)
	other, _ := f.signedIn(t, "member")
	me := f.caller(t, second.Token)
	first.Login.SeenAt = first.Login.CreatedAt
	listed := func(want ...vault.Login) {
		t.Helper()
		list, err := f.Logins(ctx, me)
		must(t, err)
		diff(t, "logins, newest first", want, list)
	}
	listed(second.Login, first.Login)
	for _, id := range []string{"", "x", first.Token, other.Login().ID} {
		err := f.RevokeLogin(ctx, me, id)
		wantCode(t, "revoking "+id, vault.CodeNotFound, err)
	}
	must(t, f.RevokeLogin(ctx, me, first.Login.ID))
	_, err = f.Authenticate(ctx, first.Token)
	wantCode(t, "the revoked one", vault.CodeUnauthorized, err)
	listed(second.Login)
	_, err = f.Reauthenticate(ctx, me, []byte(password))
	must(t, err)
	must(t, f.RevokeLogin(ctx, me, second.Login.ID)) // oneself
	_, err = f.Reauthenticate(ctx, me, []byte(password))
	wantCode(t, "a login that was revoked meanwhile", vault.CodeUnauthorized, err)
}

// The others may be whoever learned the old password.
func TestAChangedPasswordEndsTheOtherLogins(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	must(t, putPassword(t, f, "owner", password))
	other, err := f.Login(ctx, email, []byte(password), "")
	must(t, err)
	me := f.caller(t, f.loginToken)
	const next = "another battery"
	for _, row := range []struct {
		name, old, next string
		want            refusal
	}{
		{"a wrong old one", "correct horse batterx", next, refusal{vault.CodeWrongPassword, "the password is wrong"}},
		{"too long an old one", strings.Repeat("a", 1025), next, refusal{vault.CodeWrongPassword, "the password is wrong"}},
		{"a short new one", password, "short", refusal{vault.CodeBadRequest, "password: it has 12 to 1024 bytes"}},
	} {
		refused(t, row.name, row.want.code, row.want.message, f.ChangePassword(ctx, me, []byte(row.old), []byte(row.next)))
	}
	f.caller(t, other.Token)
	must(t, f.ChangePassword(ctx, me, []byte(password), []byte(next)))
	f.caller(t, f.loginToken) // the one that did it
	f.caller(t, f.sessionToken)
	_, err = f.Authenticate(ctx, other.Token)
	wantCode(t, "the other login", vault.CodeUnauthorized, err)
	_, err = f.Login(ctx, email, []byte(password), "")
	refused(t, "the old password", wrongLogin.code, wrongLogin.message, err)
	_, err = f.Login(ctx, email, []byte(next), "")
	must(t, err)
	refused(t, "who did not see the change", vault.CodeConflict, "the password was changed meanwhile; sign in with the new one",
		f.ChangePassword(ctx, me, []byte(password), []byte("third battery")))
}

// A login that ends while its holder is looked up comes back as nobody.
func TestAuthenticateReturnsNobodyBesideAnError(t *testing.T) {
	var s brokenStore
	f := newFixture(t, breaking(&s))
	f.pass(time.Minute)
	for at := 1; at <= 6; at++ {
		s.at, s.count = at, 0
		c, err := f.Authenticate(t.Context(), f.loginToken)
		if err == nil {
			t.Errorf("call %d: no error", at)
		}
		if whoIs(c) != "nobody" {
			t.Errorf("call %d: %s came back beside %v", at, whoIs(c), err)
		}
	}
}
