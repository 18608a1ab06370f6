package vault

import (
	"context"
	"errors"
	"net/mail"
	"strings"
	"time"
	"unicode/utf8"

	"agentvault/vault/seal"
)

// loginLife is how long a sign-in lasts.
const loginLife = 12 * time.Hour

// Bounds of a password, in bytes.
const (
	minPassword = 12
	maxPassword = 1024
)

// maxEmail is in bytes: RFC 5321 §4.5.3.1.3, less the angle brackets.
const maxEmail = 254

// DefaultVault is made together with the first user.
const DefaultVault = "default"

// Register makes the first user, who becomes the owner, and the vault
// "default". Later calls are refused. It returns a login token.
func (r *Registry) Register(ctx context.Context, email string, password []byte) (User, string, time.Time, error) {
	email, err := checkEmail(email)
	if err != nil {
		return User{}, "", time.Time{}, err
	}
	if len(password) < minPassword || len(password) > maxPassword || !utf8.Valid(password) {
		return User{}, "", time.Time{}, badRequest("a password has %d to %d bytes", minPassword, maxPassword)
	}
	owned, err := r.Initialized(ctx)
	if err != nil {
		return User{}, "", time.Time{}, err
	}
	if owned { // before the costly hash; the transaction asks again
		return User{}, "", time.Time{}, errOwned
	}
	hash, err := hashed(seal.HashPassword(password))
	if err != nil {
		return User{}, "", time.Time{}, err
	}
	now := r.now()
	user := User{ID: newID(), Email: email, PasswordHash: hash, Role: RoleOwner, CreatedAt: now}
	token, login := newLogin(user, now)
	err = r.write(ctx, func(tx Tx) error {
		users, err := tx.ListUsers()
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return errOwned
		}
		if err := tx.PutUser(user); err != nil {
			return err
		}
		if err := tx.PutLogin(login); err != nil {
			return err
		}
		_, err = tx.VaultByName(DefaultVault)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		return tx.PutVault(Vault{ID: newID(), Name: DefaultVault, UnmatchedHosts: UnmatchedDeny, CreatedAt: now})
	})
	if err != nil {
		return User{}, "", time.Time{}, err
	}
	return user, token, login.ExpiresAt, nil
}

var errOwned = refuse(CodeConflict, "this instance has an owner already; sign in with: agent-vault auth login")

// checkEmail returns the address in the one spelling that is stored.
func checkEmail(email string) (string, error) {
	if len(email) > maxEmail {
		return "", badRequest("an email address has at most %d bytes", maxEmail)
	}
	a, err := mail.ParseAddress(email)
	if err != nil || a.Address != email {
		return "", badRequest("%q is not an email address", shorten(email))
	}
	return strings.ToLower(email), nil
}

// hashed turns the refusal of a busy hasher into one of ours.
func hashed[T any](v T, err error) (T, error) {
	if errors.Is(err, seal.ErrBusy) {
		return v, &Error{Code: CodeRateLimited, Message: "too many passwords are being checked; try again in a moment", Err: err}
	}
	return v, err
}

func newLogin(u User, now time.Time) (token string, l Login) {
	token = NewToken(PrefixLogin)
	return token, Login{Digest: DigestToken(token), UserID: u.ID, CreatedAt: now, ExpiresAt: now.Add(loginLife)}
}

// Login checks a password and returns a login token. An unknown email takes as
// long as a wrong password.
func (r *Registry) Login(ctx context.Context, email string, password []byte) (User, string, time.Time, error) {
	user, err := r.verify(ctx, email, password)
	if err != nil {
		return User{}, "", time.Time{}, err
	}
	token, login := newLogin(user, r.now())
	if err := r.write(ctx, func(tx Tx) error { return tx.PutLogin(login) }); err != nil {
		return User{}, "", time.Time{}, err
	}
	return user, token, login.ExpiresAt, nil
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

// Logout ends the login that the token is of. An unknown token is no error.
func (r *Registry) Logout(ctx context.Context, token string) error {
	err := r.write(ctx, func(tx Tx) error { return tx.DeleteLogin(DigestToken(token)) })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
