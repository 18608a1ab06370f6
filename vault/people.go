package vault

import (
	"context"
	"errors"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"agentvault/vault/seal"
)

// Ends of a login: when it was not used for so long, and in any case.
const (
	loginIdle = 12 * time.Hour
	loginLife = 7 * 24 * time.Hour
)

// seenEvery is how exactly a login's last use is stored.
const seenEvery = time.Minute

// Bounds of a password, in bytes.
const (
	minPassword = 12
	maxPassword = 1024
)

// maxEmail is in bytes: RFC 5321 §4.5.3.1.3, less the angle brackets.
const maxEmail = 254

// maxClient is in characters.
const maxClient = 100

// DefaultVault is made together with the first user.
const DefaultVault = "default"

// A SignIn is a login that was just made, with its token, which is shown this
// once.
type SignIn struct {
	User  User
	Login Login
	Token string
}

// ended reports whether the login is over.
func (l Login) ended(now time.Time) bool { return !now.Before(l.EndsAt()) }

// EndsAt is when the login ends if it is not used any more.
func (l Login) EndsAt() time.Time {
	if idle := l.SeenAt.Add(loginIdle); idle.Before(l.ExpiresAt) {
		return idle
	}
	return l.ExpiresAt
}

// seen stores that a login is in use, once a minute at most.
func (r *Registry) seen(ctx context.Context, l *Login) error {
	if l == nil || r.now().Sub(l.SeenAt) < seenEvery {
		return nil
	}
	l.SeenAt = r.now()
	return r.write(ctx, func(tx Tx) error {
		now, err := tx.LoginByDigest(l.Digest)
		if errors.Is(err, ErrNotFound) { // ended in between
			return errUnknownToken
		}
		if err != nil {
			return err
		}
		now.SeenAt = l.SeenAt
		return tx.PutLogin(now)
	})
}

// Register makes the first user, who becomes the owner, and the vault
// "default". Later calls are refused. client says what signs in.
func (r *Registry) Register(ctx context.Context, email string, password []byte, client string) (SignIn, error) {
	email, err := checkEmail(email)
	if err != nil {
		return SignIn{}, err
	}
	if err := checkPassword(password); err != nil {
		return SignIn{}, err
	}
	owned, err := r.Initialized(ctx)
	if err != nil {
		return SignIn{}, err
	}
	if owned { // before the costly hash; the transaction asks again
		return SignIn{}, errOwned
	}
	hash, err := hashed(seal.HashPassword(password))
	if err != nil {
		return SignIn{}, err
	}
	now := r.now()
	s := newSignIn(User{ID: newID(), Email: email, PasswordHash: hash, Role: RoleOwner, CreatedAt: now}, client, now)
	err = r.write(ctx, func(tx Tx) error {
		users, err := tx.ListUsers()
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return errOwned
		}
		if err := errors.Join(tx.PutUser(s.User), tx.PutLogin(s.Login)); err != nil {
			return err
		}
		if err := r.note(tx, Caller{user: &s.User}, actWidenUser, nil, s.User.Email); err != nil {
			return err
		}
		_, err = tx.VaultRefByName(DefaultVault)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		return tx.PutVault(Vault{ID: newID(), Name: DefaultVault, UnmatchedHosts: UnmatchedDeny, CreatedAt: now})
	})
	if err != nil {
		return SignIn{}, err
	}
	return s, nil
}

var errOwned = refuse(CodeConflict, "this instance has an owner already; sign in with: agent-vault auth login")

// checkEmail returns the address in the one spelling that is stored.
func checkEmail(email string) (string, error) {
	if len(email) > maxEmail {
		return "", badRequest("email: an address has at most %d bytes", maxEmail)
	}
	a, err := mail.ParseAddress(email)
	if err != nil || a.Address != email {
		return "", badRequest("email: %q is not an email address", shorten(email))
	}
	return strings.ToLower(email), nil
}

func checkPassword(password []byte) error {
	if len(password) < minPassword || len(password) > maxPassword || !utf8.Valid(password) {
		return badRequest("password: it has %d to %d bytes", minPassword, maxPassword)
	}
	return nil
}

// hashed turns the refusal of a busy hasher into one of ours.
func hashed[T any](v T, err error) (T, error) {
	if errors.Is(err, seal.ErrBusy) {
		return v, &Error{Code: CodeRateLimited, Message: "too many passwords are being checked; try again in a moment", Err: err}
	}
	return v, err
}

func newSignIn(u User, client string, now time.Time) SignIn {
	token := NewToken(PrefixLogin)
	return SignIn{User: u, Token: token, Login: Login{
		ID: newID(), Digest: DigestToken(token), UserID: u.ID, Client: clientText(client),
		CreatedAt: now, AuthenticatedAt: now, SeenAt: now, ExpiresAt: now.Add(loginLife),
	}}
}

// clientText bounds what a client says of itself, and takes out what would
// change how a list of logins is shown.
func clientText(s string) string {
	s = strings.Map(func(c rune) rune {
		if c == utf8.RuneError || unicode.IsControl(c) || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp) {
			return -1
		}
		return c
	}, s)
	if runes := []rune(s); len(runes) > maxClient {
		s = string(runes[:maxClient])
	}
	return s
}

// Login checks a password and signs in. An unknown email takes as long as a
// wrong password.
func (r *Registry) Login(ctx context.Context, email string, password []byte, client string) (SignIn, error) {
	user, err := r.verify(ctx, email, password)
	if err != nil {
		return SignIn{}, err
	}
	s := newSignIn(user, client, r.now())
	if err := r.write(ctx, func(tx Tx) error { return tx.PutLogin(s.Login) }); err != nil {
		return SignIn{}, err
	}
	return s, nil
}

// verify finds the user whose email and password these are.
func (r *Registry) verify(ctx context.Context, email string, password []byte) (User, error) {
	wrong := refuse(CodeUnauthorized, "email or password is wrong")
	email, err := checkEmail(email)
	if err != nil || len(password) > maxPassword { // nobody's: it could not be registered
		return User{}, wrong
	}
	var user User
	err = r.store.Read(ctx, func(tx Tx) (err error) {
		user, err = tx.UserByEmail(email)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		if _, err := hashed(seal.HashPassword(password)); err != nil {
			return User{}, err
		}
		return User{}, wrong
	}
	if err != nil {
		return User{}, err
	}
	ok, err := hashed(seal.VerifyPassword(user.PasswordHash, password))
	if err != nil {
		return User{}, err
	}
	if !ok {
		return User{}, wrong
	}
	return user, nil
}

// Reauthenticate makes the caller's login fresh: the password was given again.
func (r *Registry) Reauthenticate(ctx context.Context, c Caller, password []byte) (Login, error) {
	if err := r.allow(c, actSelf, nil); err != nil {
		return Login{}, err
	}
	if err := r.isPassword(c, password); err != nil {
		return Login{}, err
	}
	l := *c.login
	err := r.write(ctx, func(tx Tx) (err error) {
		if l, err = tx.LoginByDigest(l.Digest); err != nil {
			return err
		}
		l.AuthenticatedAt, l.SeenAt = r.now(), r.now()
		return tx.PutLogin(l)
	})
	if errors.Is(err, ErrNotFound) {
		err = errUnknownToken
	}
	return l, err
}

// isPassword checks that the password is the caller's own.
func (r *Registry) isPassword(c Caller, password []byte) error {
	if len(password) > maxPassword {
		return refuse(CodeWrongPassword, "the password is wrong")
	}
	ok, err := hashed(seal.VerifyPassword(c.user.PasswordHash, password))
	if err == nil && !ok {
		err = refuse(CodeWrongPassword, "the password is wrong")
	}
	return err
}

// ChangePassword replaces the caller's password. Their other logins end.
func (r *Registry) ChangePassword(ctx context.Context, c Caller, old, next []byte) error {
	if err := r.allow(c, actSelf, nil); err != nil {
		return err
	}
	if err := checkPassword(next); err != nil {
		return err
	}
	if err := r.isPassword(c, old); err != nil {
		return err
	}
	hash, err := hashed(seal.HashPassword(next))
	if err != nil {
		return err
	}
	checked := c.user.PasswordHash
	return r.writeAsNow(ctx, c, actSelf, func(tx Tx, c Caller) error {
		u := *c.user
		if u.PasswordHash != checked {
			return refuse(CodeConflict, "the password was changed meanwhile; sign in with the new one")
		}
		u.PasswordHash = hash
		if err := tx.PutUser(u); err != nil {
			return err
		}
		if err := endLogins(tx, u.ID, c.login.ID); err != nil {
			return err
		}
		return r.note(tx, c, actSelf, nil, "password")
	})
}

// ResetPassword replaces a user's password and ends all of their logins. It asks
// no caller: it is for who runs the server and holds its data, when nobody can
// sign in any more.
func (r *Registry) ResetPassword(ctx context.Context, email string, next []byte) error {
	email, err := checkEmail(email)
	if err != nil {
		return err
	}
	if err := checkPassword(next); err != nil {
		return err
	}
	hash, err := hashed(seal.HashPassword(next))
	if err != nil {
		return err
	}
	return r.write(ctx, func(tx Tx) error {
		u, err := userByEmail(tx, email)
		if err != nil {
			return err
		}
		u.PasswordHash = hash
		return errors.Join(tx.PutUser(u), endLogins(tx, u.ID, ""), r.note(tx, Caller{}, actSelf, nil, "password of "+u.Email))
	})
}

// endLogins ends a user's logins, but for the one to keep.
func endLogins(tx Tx, userID, keep string) error {
	logins, err := tx.ListLogins(userID)
	if err != nil {
		return err
	}
	for _, l := range logins {
		if l.ID == keep {
			continue
		}
		if err := tx.DeleteLogin(l.Digest); err != nil {
			return err
		}
	}
	return nil
}

// Logins lists the caller's own sign-ins that have not ended, newest first.
func (r *Registry) Logins(ctx context.Context, c Caller) ([]Login, error) {
	if err := r.allow(c, actSelf, nil); err != nil {
		return nil, err
	}
	live := []Login{}
	err := r.store.Read(ctx, func(tx Tx) error {
		all, err := tx.ListLogins(c.user.ID)
		for _, l := range all {
			if !l.ended(r.now()) {
				live = append(live, l)
			}
		}
		return err
	})
	return live, err
}

// RevokeLogin ends one of the caller's own sign-ins.
func (r *Registry) RevokeLogin(ctx context.Context, c Caller, id string) error {
	return r.writeAsNow(ctx, c, actSelf, func(tx Tx, c Caller) error {
		logins, err := tx.ListLogins(c.user.ID)
		if err != nil {
			return err
		}
		for _, l := range logins {
			if l.ID == id {
				return errors.Join(tx.DeleteLogin(l.Digest), r.note(tx, c, actSelf, nil, "login "+id))
			}
		}
		return refuse(CodeNotFound, "you have no login %q", shorten(id))
	})
}

// Logout ends the sign-in that the caller is.
func (r *Registry) Logout(ctx context.Context, c Caller) error {
	err := r.writeAs(ctx, c, actSelf, func(tx Tx) error { return tx.DeleteLogin(c.login.Digest) })
	if errors.Is(err, ErrNotFound) {
		return nil // ended by somebody else in between
	}
	return err
}
