package vault

import (
	"context"
	"errors"
	"time"
)

// A Caller is who gives a command. It is a person, a session or an agent; the
// zero Caller is nobody.
type Caller struct {
	user    *User
	login   *Login // of the user
	session *Session
	agent   *Agent
}

// User returns the person, or nil.
func (c Caller) User() *User { return c.user }

// Login returns the person's sign-in, or nil.
func (c Caller) Login() *Login { return c.login }

// IsAgent reports whether the caller holds an agent's token or a session.
func (c Caller) IsAgent() bool { return c.session != nil || c.agent != nil }

// id names the caller in what it makes.
func (c Caller) id() string {
	_, id, _ := c.identity()
	return id
}

// identity is how the record of changes names the caller.
func (c Caller) identity() (kind, id, name string) {
	switch {
	case c.user != nil:
		return "user", c.user.ID, c.user.Email
	case c.agent != nil:
		return "agent", c.agent.ID, c.agent.Name
	case c.session != nil:
		return "session", c.session.ID, c.session.Label
	}
	return "server", "", ""
}

// errUnknownToken does not say which of these it is.
var errUnknownToken = refuse(CodeUnauthorized, "the token is missing, unknown, expired or revoked")

// Authenticate finds out who holds a token.
func (r *Registry) Authenticate(ctx context.Context, token string) (Caller, error) {
	prefix, ok := CheckToken(token)
	if !ok {
		return Caller{}, errUnknownToken
	}
	digest, now := DigestToken(token), r.now()
	var c Caller
	err := r.store.Read(ctx, func(tx Tx) (err error) {
		c, err = holder(tx, prefix, digest, now)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return Caller{}, errUnknownToken
	}
	if err != nil {
		return Caller{}, err
	}
	if err := r.seen(ctx, c.login); err != nil {
		return Caller{}, err
	}
	return c, nil
}

// holder is who holds the token of that digest, or ErrNotFound.
func holder(tx Tx, prefix string, digest [32]byte, now time.Time) (c Caller, err error) {
	switch prefix {
	case PrefixLogin:
		l, err := tx.LoginByDigest(digest)
		if err != nil {
			return c, err
		}
		if l.ended(now) {
			return c, ErrNotFound
		}
		u, err := tx.UserByID(l.UserID)
		return Caller{user: &u, login: &l}, err
	case PrefixSession:
		s, err := tx.SessionByDigest(digest)
		if err == nil && s.ended(now) {
			err = ErrNotFound
		}
		return Caller{session: &s}, err
	case PrefixAgent:
		a, err := tx.AgentByDigest(digest)
		if err == nil && !a.knows(digest, now) {
			err = ErrNotFound
		}
		a.current(now)
		return Caller{agent: &a}, err
	}
	return c, ErrNotFound
}

// holderNow is the agent or the session that the caller is, as it stands in this
// transaction: the token may have been revoked, and a grant taken away, since
// it was looked at.
func (r *Registry) holderNow(tx Tx, c Caller) (now Caller, err error) {
	switch {
	case c.session != nil:
		now, err = holder(tx, PrefixSession, c.session.Digest, r.now())
	case c.agent != nil:
		now, err = holder(tx, PrefixAgent, c.agent.Digest, r.now())
	default:
		err = ErrNotFound
	}
	if errors.Is(err, ErrNotFound) {
		err = errUnknownToken
	}
	return now, err
}

// noteIn is note where only the vault's ID is known.
func (r *Registry) noteIn(tx Tx, c Caller, a *action, vaultID, object string) error {
	v, err := tx.VaultRefByID(vaultID)
	if err != nil {
		return err
	}
	return r.note(tx, c, a, &v, object)
}

// note records a change in the transaction that makes it. The object names
// what was changed, and holds no value.
func (r *Registry) note(tx Tx, c Caller, a *action, v *VaultRef, object string) error {
	e := Event{Time: r.now(), Action: a.name, Object: object}
	e.ActorKind, e.ActorID, e.ActorName = c.identity()
	if v != nil {
		e.VaultID, e.Vault = v.ID, v.Name
	}
	return tx.PutEvent(e)
}
