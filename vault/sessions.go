package vault

import (
	"context"
	"errors"
	"time"
)

// Bounds of a session's life.
const (
	MinSessionTTL     = 5 * time.Minute
	MaxSessionTTL     = 7 * 24 * time.Hour
	DefaultSessionTTL = 24 * time.Hour
)

const maxLabel = 100 // characters

// A NewSession says what a session will be.
type NewSession struct {
	Vault string        // name
	TTL   time.Duration // 0 means DefaultSessionTTL
	Label string
	Lease bool // the session ends unless its lease is renewed every LeaseTTL
}

// A Minted is a new session with its tokens, which are shown this once.
type Minted struct {
	Session
	Token      string
	LeaseToken string // "" without a lease
}

// MintSession makes a session of one vault.
func (r *Registry) MintSession(ctx context.Context, c Caller, n NewSession) (Minted, error) {
	if err := actMint.admits(c); err != nil {
		return Minted{}, err
	}
	if n.TTL == 0 {
		n.TTL = DefaultSessionTTL
	}
	switch {
	case n.TTL < MinSessionTTL || n.TTL > MaxSessionTTL:
		return Minted{}, badRequest("ttl_seconds: a session lives from %d to %d seconds", int(MinSessionTTL.Seconds()), int(MaxSessionTTL.Seconds()))
	case !isLine(n.Label, maxLabel):
		return Minted{}, badRequest("label: at most %d characters on one line", maxLabel)
	}
	now := r.now()
	m := Minted{Token: NewToken(PrefixSession)}
	m.Session = Session{ID: newID(), Digest: DigestToken(m.Token), Label: n.Label, CreatedBy: c.id(), CreatedAt: now, ExpiresAt: now.Add(n.TTL)}
	if n.Lease {
		m.LeaseToken = NewToken(PrefixLease)
		m.LeaseDigest = DigestToken(m.LeaseToken)
		r.leases.renew(m.ID, now) // before the session is there, so that no sweep finds it without
	}
	err := r.write(ctx, func(tx Tx) error {
		v, err := r.inVault(tx, c, actMint, n.Vault)
		if err != nil {
			return err
		}
		if err := r.roomForSession(tx, c, v); err != nil {
			return err
		}
		m.VaultID = v.ID
		return errors.Join(tx.PutSession(m.Session), r.note(tx, c, actMint, &v, "mint "+m.ID))
	})
	if err != nil {
		r.leases.drop(m.ID)
		return Minted{}, err
	}
	return m, nil
}

// maxSessions is how many sessions of one vault a person may have alive.
const maxSessions = 1_000

func (r *Registry) roomForSession(tx Tx, c Caller, v VaultRef) error {
	alive, err := tx.CountSessions(v.ID, c.id(), r.now())
	if err == nil && alive >= maxSessions {
		err = &Error{Code: CodeRateLimited, Message: "you have 1,000 sessions of this vault; revoke some, or give them less time", Wait: time.Minute}
	}
	return err
}

// A ListedSession is a session with the email of who minted it.
type ListedSession struct {
	Session
	By string
}

// Sessions lists a vault's sessions that have not ended, newest first: of who
// is no member, only those that they minted.
func (r *Registry) Sessions(ctx context.Context, c Caller, vaultName string) ([]ListedSession, error) {
	live := []ListedSession{}
	err := r.readAs(ctx, c, actMint, func(tx Tx) error {
		v, err := r.inVault(tx, c, actMint, vaultName)
		if err != nil {
			return err
		}
		all, err := tx.ListSessions(v.ID)
		if err != nil {
			return err
		}
		users, err := tx.ListUsers()
		if err != nil {
			return err
		}
		emails := make(map[string]string, len(users))
		for _, u := range users {
			emails[u.ID] = u.Email
		}
		everybodys := r.allow(c, actSeeSessions, &v) == nil
		for _, s := range all {
			if !s.ended(r.now()) && (everybodys || s.CreatedBy == c.id()) {
				live = append(live, ListedSession{s, emails[s.CreatedBy]})
			}
		}
		return nil
	})
	return live, err
}

// RevokeSession ends a session. What it has open is cut before this returns.
func (r *Registry) RevokeSession(ctx context.Context, c Caller, id string) error {
	return r.writeAsNow(ctx, c, actMint, func(tx Tx, c Caller) error {
		s, err := tx.SessionByID(id)
		if errors.Is(err, ErrNotFound) {
			return noSession(id)
		}
		if err != nil {
			return err
		}
		v, err := tx.VaultRefByID(s.VaultID)
		if err != nil {
			return err
		}
		if s.CreatedBy != c.id() && r.allow(c, actSeeSessions, &v) != nil {
			return noSession(id)
		}
		return errors.Join(tx.DeleteSession(id), r.note(tx, c, actMint, &v, "revoke "+id))
	})
}

func noSession(id string) error { return refuse(CodeNotFound, "there is no session %q", shorten(id)) }

// RevokeOwnSession ends the session that the caller is, as `vault run` does
// when its child has ended.
func (r *Registry) RevokeOwnSession(ctx context.Context, c Caller) error {
	if err := actOwnEnd.admits(c); err != nil {
		return err
	}
	if c.session == nil {
		return badRequest("this is not a session's token")
	}
	err := r.write(ctx, func(tx Tx) error {
		return errors.Join(tx.DeleteSession(c.session.ID), r.noteIn(tx, c, actOwnEnd, c.session.VaultID, "end "+c.session.ID))
	})
	if errors.Is(err, ErrNotFound) {
		return nil // ended by somebody else in between
	}
	return err
}
