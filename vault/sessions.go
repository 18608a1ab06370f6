package vault

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Bounds of a session's life.
const (
	MinSessionTTL     = 5 * time.Minute
	MaxSessionTTL     = 7 * 24 * time.Hour
	DefaultSessionTTL = 24 * time.Hour
)

const maxLabel = 100 // characters

// MintSession makes a session of one vault and returns its token, which is
// shown this once. A ttl of 0 means DefaultSessionTTL.
func (r *Registry) MintSession(ctx context.Context, c Caller, vaultName string, ttl time.Duration, label string) (token string, s Session, err error) {
	if err := allow(c, mintSessions); err != nil {
		return "", Session{}, err
	}
	if ttl == 0 {
		ttl = DefaultSessionTTL
	}
	switch {
	case ttl < MinSessionTTL || ttl > MaxSessionTTL:
		return "", Session{}, badRequest("a session lives from %d to %d seconds", int(MinSessionTTL.Seconds()), int(MaxSessionTTL.Seconds()))
	case !isText(label, maxLabel):
		return "", Session{}, badRequest("label: at most %d characters of UTF-8 without control characters", maxLabel)
	}
	now := r.now()
	token = NewToken(PrefixSession)
	s = Session{ID: newID(), Digest: DigestToken(token), Label: label, CreatedBy: c.id(), CreatedAt: now, ExpiresAt: now.Add(ttl)}
	err = r.write(ctx, func(tx Tx) error {
		v, err := byName(tx, vaultName)
		if err != nil {
			return err
		}
		s.VaultID = v.ID
		return tx.PutSession(s)
	})
	if err != nil {
		return "", Session{}, err
	}
	return token, s, nil
}

// Sessions lists a vault's sessions that have not ended, newest first.
func (r *Registry) Sessions(ctx context.Context, c Caller, vaultName string) ([]Session, error) {
	if err := allow(c, readVault); err != nil {
		return nil, err
	}
	var live []Session
	err := r.store.Read(ctx, func(tx Tx) error {
		v, err := byName(tx, vaultName)
		if err != nil {
			return err
		}
		live, err = tx.ListSessions(v.ID)
		return err
	})
	now := r.now()
	return slices.DeleteFunc(live, func(s Session) bool { return !now.Before(s.ExpiresAt) }), err
}

// RevokeSession ends a session. What it has open is cut before this returns.
func (r *Registry) RevokeSession(ctx context.Context, c Caller, id string) error {
	if err := allow(c, mintSessions); err != nil {
		return err
	}
	err := r.write(ctx, func(tx Tx) error { return tx.DeleteSession(id) })
	if errors.Is(err, ErrNotFound) {
		return refuse(CodeNotFound, "there is no session %q", shorten(id))
	}
	return err
}

// RevokeOwnSession ends the session that the caller is, as `vault run` does
// when its child has ended.
func (r *Registry) RevokeOwnSession(ctx context.Context, c Caller) error {
	if c.session == nil {
		return badRequest("this is not a session's token")
	}
	err := r.write(ctx, func(tx Tx) error { return tx.DeleteSession(c.session.ID) })
	if errors.Is(err, ErrNotFound) {
		return nil // ended by somebody else in between
	}
	return err
}
