package vault

import (
	"context"
	"errors"
)

// A Caller is who gives a command. Exactly one of its fields is set; the zero
// Caller is nobody.
type Caller struct {
	user    *User
	session *Session
	agent   *Agent
}

// User returns the person, or nil.
func (c Caller) User() *User { return c.user }

// IsAgent reports whether the caller holds an agent's token or a session.
func (c Caller) IsAgent() bool { return c.session != nil || c.agent != nil }

// id names the caller in what it makes.
func (c Caller) id() string {
	switch {
	case c.user != nil:
		return c.user.ID
	case c.agent != nil:
		return c.agent.ID
	case c.session != nil:
		return c.session.ID
	}
	return ""
}

// An action is what a caller wants to do, as the table of permissions knows it.
type action uint8

const (
	readVault    action = iota // see services and credential keys
	changeVault                // services, credentials, settings
	mintSessions               //
	runInstance                // vaults and agents themselves
	discover                   // what agents may do
)

// allow is the one place that says who may do what. Vault roles of people come
// with invitations; until then the owner does everything that people do, and
// agents only look.
func allow(c Caller, a action) error {
	switch {
	case c.user != nil && c.user.Role == RoleOwner && a != discover:
		return nil
	case c.IsAgent() && a == discover:
		return nil
	case c.user == nil && !c.IsAgent():
		return refuse(CodeUnauthorized, "sign in first: agent-vault auth login")
	case c.IsAgent():
		return refuse(CodeForbidden, "an agent's token may not do this; a person can")
	case a == discover:
		return refuse(CodeForbidden, "this is for agents; send a session token")
	}
	return refuse(CodeForbidden, "your role %s does not allow this", c.user.Role)
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
	err := r.store.Read(ctx, func(tx Tx) error {
		switch prefix {
		case PrefixLogin:
			l, err := tx.LoginByDigest(digest)
			if err != nil {
				return err
			}
			if !now.Before(l.ExpiresAt) {
				return ErrNotFound
			}
			u, err := tx.UserByID(l.UserID)
			c.user = &u
			return err
		case PrefixSession:
			s, err := tx.SessionByDigest(digest)
			if err != nil {
				return err
			}
			if !now.Before(s.ExpiresAt) {
				return ErrNotFound
			}
			c.session = &s
		case PrefixAgent:
			a, err := tx.AgentByDigest(digest)
			c.agent = &a
			return err
		}
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return Caller{}, errUnknownToken
	}
	if err != nil {
		return Caller{}, err
	}
	return c, nil
}
