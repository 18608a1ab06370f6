package vault

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// ClaimTTL is how long a node may take to mint a token before another one tries.
const ClaimTTL = 30 * time.Second

// usableFor is how long a stored token must still be good for to be handed out.
const usableFor = 5 * time.Second

// A MintID names what tokens are obtained by: a service's auth, in a vault. Two
// services that say the same share a token.
type MintID struct {
	VaultID string
	Auth    [32]byte // SHA-256 of the auth as it is stored
}

// A MintedToken is a token that was obtained with stored credentials, and which
// node obtains the next one.
type MintedToken struct {
	MintID
	Serial    int64            // grows with each token; 0: there was none yet
	Versions  map[string]int64 // of the credentials that it was obtained with, or left in their place
	Box       []byte           // sealed under SealContext; empty: there is none
	MintedAt  time.Time
	ExpiresAt time.Time // zero: it was not said
	Holder    string    // who is to obtain the next one; "": nobody
	HeldUntil time.Time
}

// SealContext is what the Box is bound to. No credential's key looks like that.
func (m MintedToken) SealContext() seal.Context {
	return seal.Context{Vault: m.VaultID, Credential: "mint:" + hex.EncodeToString(m.Auth[:]), Field: "token", Version: m.Serial}
}

// MintedTokens are tokens that nodes share.
type MintedTokens interface {
	MintedToken(MintID) (MintedToken, error)
	PutMintedToken(MintedToken) error
}

// A MintQuestion asks for a token.
type MintQuestion struct {
	MintID
	Keys  []string // of the credentials that it is obtained with
	After int64    // a token with this Serial or a lower one is not wanted
}

// A MintTurn is what there is to do. Of Token and Claim one is set, or none where
// another node is at it: then ask again.
type MintTurn struct {
	MintQuestion
	Token       *MintedToken
	Claim       string                // whoever asked is to mint, and to say how it ended, before ClaimTTL is over
	Credentials map[string]Credential // with a Claim: those of Keys that there are, as they are stored now
}

// TakeMint gives the token that is stored, or the turn to mint one to one node of
// all.
func (r *Registry) TakeMint(ctx context.Context, q MintQuestion) (MintTurn, error) {
	turn := MintTurn{MintQuestion: q}
	look := func(tx Tx) (free bool, m MintedToken, v Vault, err error) {
		turn.Token, turn.Claim = nil, ""
		if m, err = tx.MintedToken(q.MintID); err != nil && !errors.Is(err, ErrNotFound) {
			return false, m, v, err
		}
		if v, err = tx.VaultByID(q.VaultID); err != nil {
			return false, m, v, err
		}
		now := r.now()
		if m.Serial > q.After && len(m.Box) > 0 && maps.Equal(m.Versions, v.versions(q.Keys)) && (m.ExpiresAt.IsZero() || now.Add(usableFor).Before(m.ExpiresAt)) {
			turn.Token = &m
			return false, m, v, nil
		}
		return m.Holder == "" || !now.Before(m.HeldUntil), m, v, nil
	}
	free := false
	if err := r.store.Read(ctx, func(tx Tx) (err error) {
		free, _, _, err = look(tx)
		return err
	}); err != nil || !free {
		return turn, err
	}
	_, err := r.store.Write(ctx, func(tx Tx) error {
		free, m, v, err := look(tx)
		if err != nil || !free {
			return err
		}
		m.MintID, m.Holder, m.HeldUntil = q.MintID, newID(), r.now().Add(ClaimTTL)
		if m.MintedAt.IsZero() {
			m.MintedAt = r.now()
		}
		turn.Claim, turn.Credentials = m.Holder, make(map[string]Credential, len(q.Keys))
		for _, key := range q.Keys {
			if c, ok := v.Credentials[key]; ok {
				turn.Credentials[key] = c
			}
		}
		return tx.PutMintedToken(m)
	})
	return turn, err
}

// versions are those of the credentials that there are.
func (v *Vault) versions(keys []string) map[string]int64 {
	at := make(map[string]int64, len(keys))
	for _, key := range keys {
		if c, ok := v.Credentials[key]; ok {
			at[key] = c.Version
		}
	}
	return at
}

// KeepMint stores the token that was minted in a turn, and the credentials that
// were replaced with it, in one transaction. A credential that a person has set
// meanwhile stays as they set it. What was replaced is stored even if the turn has
// passed to another node: the value before it is worth nothing any more.
func (r *Registry) KeepMint(ctx context.Context, turn MintTurn, t inject.Token) (MintedToken, error) {
	var kept MintedToken
	revision, err := r.store.Write(ctx, func(tx Tx) error {
		v, err := tx.VaultByID(turn.VaultID)
		if err != nil {
			return err
		}
		before, err := tx.MintedToken(turn.MintID)
		if err != nil {
			return err
		}
		versions := make(map[string]int64, len(turn.Credentials))
		for key, c := range turn.Credentials {
			versions[key] = c.Version
		}
		replaced, err := r.replaceMinted(tx, &v, turn, t.Rotated, versions)
		if err != nil {
			return err
		}
		kept = MintedToken{MintID: turn.MintID, Serial: before.Serial + 1, Versions: versions, MintedAt: r.now(), ExpiresAt: t.Expires.UTC().Truncate(time.Millisecond)}
		if t.Expires.IsZero() {
			kept.ExpiresAt = time.Time{}
		}
		if before.Holder != turn.Claim { // another node's turn, which goes on
			kept.Holder, kept.HeldUntil = before.Holder, before.HeldUntil
		}
		if kept.Box, err = r.key.ForVault(v.ID).Seal(kept.SealContext(), t.Value); err != nil {
			return err
		}
		if len(replaced) > 0 {
			err = errors.Join(tx.PutVault(v), r.note(tx, Caller{}, actCredentials, v.ref(), "rotate "+strings.Join(replaced, " ")))
		}
		return errors.Join(err, tx.PutMintedToken(kept))
	})
	if err != nil || len(t.Rotated) == 0 {
		return kept, err
	}
	// It is stored; that this node does not decide on it yet is mended by its next
	// look at the revision.
	if err := r.published(ctx, revision); err != nil {
		r.log.Warn("a credential was rotated, and this node does not decide on it yet", "err", err)
	}
	return kept, nil
}

// replaceMinted puts rotated values in the place of those that the turn began
// with, and says so in versions.
func (r *Registry) replaceMinted(tx Tx, v *Vault, turn MintTurn, rotated map[string]seal.Plaintext, versions map[string]int64) (replaced []string, err error) {
	for _, key := range slices.Sorted(maps.Keys(rotated)) {
		began, asked := turn.Credentials[key]
		now, there := v.Credentials[key]
		if !asked || !there || now.Version != began.Version {
			r.log.Warn("a credential was rotated while a person changed it; the person's value stays", "vault", v.Name, "credential", key)
			continue
		}
		if err := checkValue(key, rotated[key].Bytes()); err != nil {
			return nil, err
		}
		if err := r.setCredential(tx, v, key, rotated[key], true); err != nil {
			return nil, err
		}
		versions[key] = v.Credentials[key].Version
		replaced = append(replaced, key)
	}
	return replaced, nil
}

// DropMint ends a turn without a token.
func (r *Registry) DropMint(ctx context.Context, turn MintTurn) error {
	_, err := r.store.Write(ctx, func(tx Tx) error {
		m, err := tx.MintedToken(turn.MintID)
		if errors.Is(err, ErrNotFound) || err == nil && m.Holder != turn.Claim {
			return nil
		}
		if err != nil {
			return err
		}
		m.Holder, m.HeldUntil = "", time.Time{}
		return tx.PutMintedToken(m)
	})
	return err
}
