package vault_test

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/vault"
	"agentvault/vault/seal"
)

const (
	email    = "owner@example.com"
	password = "correct horse battery"
)

var wrongLogin = refusal{vault.CodeUnauthorized, "email or password is wrong"}

// putPassword gives a person of a fixture a password.
func putPassword(t *testing.T, f *fixture, id, password string) error {
	t.Helper()
	hash, err := seal.HashPassword([]byte(password))
	must(t, err)
	_, err = f.db.Write(t.Context(), func(tx vault.Tx) error {
		u, err := tx.UserByID(id)
		u.PasswordHash = hash
		return errors.Join(err, tx.PutUser(u))
	})
	return err
}

func TestTheFirstUserBecomesTheOwner(t *testing.T) {
	f := newEmpty(t)
	f.pass(3 * time.Hour)
	if owned, err := f.Initialized(t.Context()); owned || err != nil {
		t.Fatalf("Initialized = %t, %v before anybody registered", owned, err)
	}
	s, err := f.Register(t.Context(), "Owner@Example.COM", []byte(password), "a test")
	must(t, err)
	user, token := s.User, s.Token
	diff(t, "the user", vault.User{ID: user.ID, Email: email, PasswordHash: user.PasswordHash, Role: vault.RoleOwner, CreatedAt: f.now()}, user)
	if !strings.HasPrefix(user.PasswordHash, "$argon2id$v=19$m=65536,t=3,p=4$") || len(user.ID) != 26 {
		t.Errorf("hash %q, id %q; want Argon2id with the default cost, and 26 characters", user.PasswordHash, user.ID)
	}
	diff(t, "the login", vault.Login{
		ID: s.Login.ID, Digest: vault.DigestToken(token), UserID: user.ID, Client: "a test",
		CreatedAt: f.now(), AuthenticatedAt: f.now(), SeenAt: f.now(), ExpiresAt: f.now().Add(7 * 24 * time.Hour),
	}, s.Login)
	if want := f.now().Add(12 * time.Hour); s.Login.EndsAt() != want || len(s.Login.ID) != 26 {
		t.Errorf("the login %q ends %v, want %v", s.Login.ID, s.Login.EndsAt(), want)
	}
	diff(t, "who holds the token", &user, f.caller(t, token).User())
	diff(t, "by which login", &s.Login, f.caller(t, token).Login())
	if owned, err := f.Initialized(t.Context()); !owned || err != nil {
		t.Errorf("Initialized = %t, %v afterwards", owned, err)
	}
	list, err := f.Vaults(t.Context(), f.caller(t, token))
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("vaults %v, want one", list)
	}
	diff(t, "its vault", vault.Vault{ID: list[0].ID, Name: vault.DefaultVault, UnmatchedHosts: vault.UnmatchedDeny, CreatedAt: f.now()}, list[0])
}

func TestRegisterLeavesADefaultVaultThatIsThere(t *testing.T) {
	f := newEmpty(t)
	was := vault.Vault{ID: "its-id", Name: vault.DefaultVault, UnmatchedHosts: vault.UnmatchedTunnel, CreatedAt: epoch}
	_, err := f.db.Write(t.Context(), func(tx vault.Tx) error { return tx.PutVault(was) })
	must(t, err)
	_, err = f.Register(t.Context(), email, []byte(password), "")
	must(t, err)
	diff(t, "vaults", []vault.Vault{was}, f.snapshot(t).Vaults)
}

func TestLaterUsersCannotRegister(t *testing.T) {
	f := newEmpty(t)
	s, err := f.Register(t.Context(), email, []byte(password), "")
	must(t, err)
	first := s.User
	before := f.revision(t)
	for _, who := range []string{email, "another@example.com"} {
		s, err := f.Register(t.Context(), who, []byte(password), "")
		refused(t, who, vault.CodeConflict, "this instance has an owner already; sign in with: agent-vault auth login", err)
		diff(t, who+": what came back beside the refusal", vault.SignIn{}, s)
	}
	must(t, f.db.Read(t.Context(), func(tx vault.Tx) error {
		list, err := tx.ListUsers()
		diff(t, "users", []vault.User{first}, list)
		return err
	}))
	if after := f.revision(t); after != before {
		t.Errorf("revision %d, want %d", after, before)
	}
}

// Of two who register at once, both of whom found nobody, one becomes the owner.
func TestRegisterAtOnce(t *testing.T) {
	f := newEmpty(t)
	var all sync.WaitGroup
	errs := make([]error, 2)
	for i, who := range []string{"one@example.com", "two@example.com"} {
		all.Go(func() { _, errs[i] = f.Register(t.Context(), who, []byte(password), "") })
	}
	all.Wait()
	if a, b := codeOf(errs[0]), codeOf(errs[1]); a+b != vault.CodeConflict {
		t.Errorf("codes %q and %q, want one conflict", a, b)
	}
}

func TestRegisterRefuses(t *testing.T) {
	const size = "password: it has 12 to 1024 bytes"
	label := strings.Repeat("a", 60)
	for _, row := range []struct{ name, email, password, want string }{
		{"no email", "", password, `email: "" is not an email address`},
		{"no address", "owner", password, `email: "owner" is not an email address`},
		{"no domain", "owner@", password, `email: "owner@" is not an email address`},
		{"a display name", "Me <owner@example.com>", password, `email: "Me <owner@example.com>" is not an email address`},
		{"angle brackets", "<owner@example.com>", password, `email: "<owner@example.com>" is not an email address`},
		{"a space before", " owner@example.com", password, `email: " owner@example.com" is not an email address`},
		{"a line break after", "owner@example.com\n", password, `email: "owner@example.com\n" is not an email address`},
		{"two addresses", "a@example.com,b@example.com", password, `email: "a@example.com,b@example.com" is not an email address`},
		{"a comment", "owner@example.com (me)", password, `email: "owner@example.com (me)" is not an email address`},
		{"a long one that is none", strings.Repeat("a", 100), password, `email: "` + strings.Repeat("a", 80) + `… (100 bytes)" is not an email address`},
		{"255 bytes", label + "@" + strings.Repeat(label+".", 3) + "example.com", password, "email: an address has at most 254 bytes"},
		{"no password", email, "", size},
		{"11 bytes", email, strings.Repeat("a", 11), size},
		{"cut within a character", email, strings.Repeat("é", 11)[:21], size},
		{"1025 bytes", email, strings.Repeat("a", 1025), size},
		{"not UTF-8", email, "correct horse \xff", size},
	} {
		f := newEmpty(t)
		s, err := f.Register(t.Context(), row.email, []byte(row.password), "")
		refused(t, row.name, vault.CodeBadRequest, row.want, err)
		if owned, err := f.Initialized(t.Context()); owned || err != nil || s.Token != "" || s.User.ID != "" {
			t.Errorf("%s: owned %t, %v; signed in %v", row.name, owned, err, s)
		}
	}
}

func TestRegisterTakesWhatIsJustWithinBounds(t *testing.T) {
	label := strings.Repeat("a", 60)
	longest := label + "@" + label + "." + label + "." + label + ".aaaaaa.org"
	longest = "aa"[:254-len(longest)] + longest
	for _, row := range []struct{ name, email, password string }{
		{"12 bytes", email, strings.Repeat("a", 12)},
		{"1024 bytes of a longest address", longest, strings.Repeat("a", 1024)},
		{"12 bytes in 6 characters", email, strings.Repeat("é", 6)},
	} {
		f := newEmpty(t)
		_, err := f.Register(t.Context(), row.email, []byte(row.password), "")
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		if _, err := f.Login(t.Context(), row.email, []byte(row.password), ""); err != nil {
			t.Errorf("%s: cannot sign in: %v", row.name, err)
		}
	}
}

func TestLogin(t *testing.T) {
	f := newFixture(t) // whose member has no password that could be right
	must(t, putPassword(t, f, "owner", password))
	for _, row := range []struct {
		name, email, password string
		want                  refusal
	}{
		{"right", email, password, refusal{}},
		{"email in another case", "OWNER@example.com", password, refusal{}},
		{"wrong password", email, "correct horse batterx", wrongLogin},
		{"password in another case", email, strings.ToUpper(password), wrongLogin},
		{"password with a space after", email, password + " ", wrongLogin},
		{"no password", email, "", wrongLogin},
		{"too long a password", email, strings.Repeat("a", 1025), wrongLogin},
		{"unknown email", "nobody@example.com", password, wrongLogin},
		{"another's password", "member@example.com", password, wrongLogin},
		{"the stored hash for a password", "member@example.com", "none", wrongLogin},
		{"no email", "", password, wrongLogin},
		{"no address", "owner", password, wrongLogin},
		{"an address that is written otherwise", "<owner@example.com>", password, wrongLogin},
	} {
		f.pass(time.Minute)
		s, err := f.Login(t.Context(), row.email, []byte(row.password), "")
		if row.want.code != "" {
			refused(t, row.name, row.want.code, row.want.message, err)
			diff(t, row.name+": what came back beside the refusal", vault.SignIn{}, s)
			continue
		}
		must(t, err)
		if s.User.ID != "owner" || f.caller(t, s.Token).User().ID != "owner" || s.Login.EndsAt() != f.now().Add(12*time.Hour) {
			t.Errorf("%s: user %v until %v, token of %v", row.name, s.User.ID, s.Login.EndsAt(), f.caller(t, s.Token).User())
		}
	}
}

// The hash is the cost that can be measured from outside. It is paid for an
// unknown email as for a wrong password, and not by whom it cannot help.
func TestWhoPaysForAHash(t *testing.T) {
	f := newFixture(t)
	must(t, putPassword(t, f, "owner", password))
	const hash = 64 << 20 // bytes that one hash takes
	for _, row := range []struct {
		name string
		pays bool
		do   func() error
	}{
		{"login with a wrong password", true, func() error { _, err := f.Login(t.Context(), email, []byte("another one"), ""); return err }},
		{"login with an unknown email", true, func() error {
			_, err := f.Login(t.Context(), "nobody@example.com", []byte("another one"), "")
			return err
		}},
		{"login with what is no email", false, func() error { _, err := f.Login(t.Context(), "nobody", []byte("another one"), ""); return err }},
		{"login with too long a password", false, func() error { _, err := f.Login(t.Context(), email, make([]byte, 1025), ""); return err }},
		{"register where there is an owner", false, func() error {
			_, err := f.Register(t.Context(), "another@example.com", []byte(password), "")
			return err
		}},
		{"register with too short a password", false, func() error { _, err := f.Register(t.Context(), email, []byte("short"), ""); return err }},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := row.do()
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: it is allowed", row.name)
		}
		if took := after.TotalAlloc - before.TotalAlloc; (took >= hash) != row.pays || took > 2*hash {
			t.Errorf("%s: it took %d bytes; one hash takes %d, wanted: %t", row.name, took, hash, row.pays)
		}
	}
}

// Passwords are hashed a few at a time; who does not fit in is told to come
// back, and nothing about the password.
func TestTooManyPasswordsAtOnce(t *testing.T) {
	f := newFixture(t)
	for range 20 {
		var all sync.WaitGroup
		errs := make([]error, 12)
		for i := range errs {
			all.Go(func() { _, errs[i] = f.Login(t.Context(), "nobody@example.com", []byte(password), "") })
		}
		all.Wait()
		busy := false
		for _, err := range errs {
			if !errors.Is(err, seal.ErrBusy) {
				refused(t, "a login that was looked at", wrongLogin.code, wrongLogin.message, err)
				continue
			}
			busy = true
			refused(t, "a login too many", vault.CodeRateLimited,
				"too many passwords are being checked; try again in a moment: too many passwords wait to be hashed", err)
		}
		if busy {
			return
		}
	}
	t.Error("20 times 12 logins at once were all looked at")
}

func TestLogoutEndsThatLoginOnly(t *testing.T) {
	f := newFixture(t)
	must(t, putPassword(t, f, "owner", password))
	s, err := f.Login(t.Context(), email, []byte(password), "")
	must(t, err)
	other := s.Token
	c := f.caller(t, other)
	for _, again := range []string{"the login", "again"} {
		if err := f.Logout(t.Context(), c); err != nil {
			t.Errorf("%s: Logout: %v", again, err)
		}
	}
	_, err = f.Authenticate(t.Context(), other)
	wantCode(t, "the login that was ended", vault.CodeUnauthorized, err)
	for _, token := range []string{f.loginToken, f.sessionToken, f.agentToken} {
		if _, err := f.Authenticate(t.Context(), token); err != nil {
			t.Errorf("%.8s…: it was ended too: %v", token, err)
		}
	}
}
