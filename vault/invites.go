package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"agentvault/vault/seal"
)

// Bounds of an invite's life.
const (
	MinInviteTTL     = time.Minute
	MaxInviteTTL     = 7 * 24 * time.Hour
	DefaultInviteTTL = 24 * time.Hour
)

// How many invites of one kind may be pending, and how many of them one maker
// who is no owner may have made.
const (
	maxInvites    = 50
	maxInvitesOne = 10
)

// pending reports whether the invite can be redeemed.
func (i Invite) pending(now time.Time) bool {
	return i.RedeemedAt.IsZero() && i.RevokedAt.IsZero() && now.Before(i.ExpiresAt)
}

// Status is pending, redeemed, revoked or expired.
func (i Invite) Status(now time.Time) string {
	switch {
	case !i.RedeemedAt.IsZero():
		return "redeemed"
	case !i.RevokedAt.IsZero():
		return "revoked"
	case !now.Before(i.ExpiresAt):
		return "expired"
	}
	return "pending"
}

// invite stores a new invite and returns its token, which is shown this once.
func (r *Registry) invite(tx Tx, c Caller, a *action, prefix string, ttl time.Duration, i *Invite) (token string, err error) {
	if ttl == 0 {
		ttl = DefaultInviteTTL
	}
	if ttl < MinInviteTTL || ttl > MaxInviteTTL {
		return "", badRequest("ttl_seconds: an invite lasts from %d to %d seconds", int(MinInviteTTL.Seconds()), int(MaxInviteTTL.Seconds()))
	}
	others, err := tx.ListInvites(i.Kind)
	if err != nil {
		return "", err
	}
	now, pending, own := r.now(), 0, 0
	for _, o := range others {
		if !o.pending(now) {
			continue
		}
		if o.Name == i.Name {
			return "", refuse(CodeConflict, "there is an invite for %s already; revoke it first", i.Name)
		}
		pending++
		if o.CreatedBy == c.id() {
			own++
		}
	}
	if own >= maxInvitesOne && c.user.Role != RoleOwner {
		return "", &Error{Code: CodeTooManyInvites, Message: "10 invites of yours are pending; revoke some, or wait until they are redeemed or expire", Wait: time.Minute}
	}
	if pending >= maxInvites {
		return "", &Error{Code: CodeTooManyInvites, Message: "50 invites are pending; revoke some, or wait until they are redeemed or expire", Wait: time.Minute}
	}
	token = NewToken(prefix)
	i.ID, i.Digest, i.CreatedBy, i.CreatedAt, i.ExpiresAt = newID(), DigestToken(token), c.id(), now, now.Add(ttl)
	return token, errors.Join(tx.PutInvite(*i), r.note(tx, c, a, nil, i.Kind+" invite "+i.Name))
}

// redeemable asks without writing, so that strangers with made-up tokens keep
// nobody from writing. The transaction that redeems asks again.
func (r *Registry) redeemable(ctx context.Context, kind, token string) error {
	return r.store.Read(ctx, func(tx Tx) error {
		_, err := r.inviteOf(tx, kind, token)
		return err
	})
}

// redeem marks the invite that a token is of. Exactly one caller gets it.
func (r *Registry) redeem(tx Tx, kind, token string) (Invite, error) {
	i, err := r.inviteOf(tx, kind, token)
	if err != nil {
		return Invite{}, err
	}
	i.RedeemedAt = r.now()
	return i, tx.PutInvite(i)
}

// inviteOf finds the invite that a token is of, if it can be redeemed.
func (r *Registry) inviteOf(tx Tx, kind, token string) (Invite, error) {
	i, err := tx.InviteByDigest(DigestToken(token))
	if errors.Is(err, ErrNotFound) || err == nil && i.Kind != kind {
		return Invite{}, refuse(CodeInviteNotFound, "there is no such invite; ask for a new one")
	}
	if err != nil {
		return Invite{}, err
	}
	switch i.Status(r.now()) {
	case "redeemed":
		return Invite{}, refuse(CodeInviteRedeemed, "this invite has been redeemed; ask for a new one")
	case "revoked":
		return Invite{}, refuse(CodeInviteRevoked, "this invite has been revoked; ask for a new one")
	case "expired":
		return Invite{}, refuse(CodeInviteExpired, "this invite has expired; ask for a new one")
	}
	switch may, err := makerStillMay(tx, i); {
	case err != nil:
		return Invite{}, err
	case !may:
		return Invite{}, refuse(CodeInviteRevoked, "this invite has been revoked; ask for a new one")
	}
	return i, nil
}

// makerStillMay reports whether who made the invite could make it now. Who was
// removed, or lost the role for it, leaves no way in behind.
func makerStillMay(tx Tx, i Invite) (bool, error) {
	maker, err := tx.UserByID(i.CreatedBy)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil || maker.Role == RoleOwner {
		return true, err
	}
	if i.Kind != InviteAgent || len(i.Vaults) == 0 {
		return false, nil
	}
	for id := range i.Vaults {
		if maker.roleIn(id) == VaultAdmin {
			continue
		}
		if _, err := tx.VaultRefByID(id); !errors.Is(err, ErrNotFound) { // a deleted one is left out
			return false, err
		}
	}
	return true, nil
}

// Invites lists invites of one kind that the caller may see, newest first.
func (r *Registry) Invites(ctx context.Context, c Caller, kind string) ([]Invite, error) {
	a := actSeeUsers
	if kind == InviteAgent {
		a = actSeeAgents
	}
	if err := r.allow(c, a, nil); err != nil {
		return nil, err
	}
	visible := []Invite{}
	err := r.store.Read(ctx, func(tx Tx) error {
		all, err := tx.ListInvites(kind)
		for _, i := range all {
			if kind == InviteUser || c.user.sees(i.Vaults) {
				visible = append(visible, i)
			}
		}
		return err
	})
	return visible, err
}

// RevokeInvite ends a pending invite.
func (r *Registry) RevokeInvite(ctx context.Context, c Caller, kind, id string) error {
	a := actRemoveUser
	if kind == InviteAgent {
		a = actNarrowAgent
	}
	return r.writeAsNow(ctx, c, a, func(tx Tx, c Caller) error {
		all, err := tx.ListInvites(kind)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(i Invite) bool { return i.ID == id })
		if at < 0 || kind == InviteAgent && !c.user.sees(all[at].Vaults) {
			return refuse(CodeInviteNotFound, "there is no invite %q", shorten(id))
		}
		i := all[at]
		if kind == InviteAgent {
			if err := r.overAll(tx, c, a, i.Vaults); err != nil {
				return err
			}
		}
		if !i.pending(r.now()) {
			return refuse(CodeConflict, "the invite is not pending any more: it is %s", i.Status(r.now()))
		}
		i.RevokedAt = r.now()
		return errors.Join(tx.PutInvite(i), r.note(tx, c, a, nil, kind+" invite "+i.Name))
	})
}

// InviteUser makes a link that makes one user, of that role on the instance and
// with those roles in vaults, by name.
func (r *Registry) InviteUser(ctx context.Context, c Caller, email, role string, vaults map[string]string, ttl time.Duration) (token string, i Invite, err error) {
	if err := r.allow(c, actWidenUser, nil); err != nil {
		return "", Invite{}, err
	}
	if email, err = checkEmail(email); err != nil {
		return "", Invite{}, err
	}
	if err := checkInstanceRole(role); err != nil {
		return "", Invite{}, err
	}
	i = Invite{Kind: InviteUser, Name: email, Role: role, Vaults: make(map[string]Grant, len(vaults))}
	err = r.writeAsNow(ctx, c, actWidenUser, func(tx Tx, c Caller) error {
		if err := emailIsFree(tx, email); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(vaults)) {
			v, err := byName(tx, name)
			if err != nil {
				return err
			}
			if err := checkVaultRole(vaults[name]); err != nil {
				return err
			}
			i.Vaults[v.ID] = Grant{Role: vaults[name]}
		}
		token, err = r.invite(tx, c, actWidenUser, PrefixJoin, ttl, &i)
		return err
	})
	if err != nil {
		return "", Invite{}, err
	}
	return token, i, nil
}

func emailIsFree(tx Tx, email string) error {
	switch _, err := tx.UserByEmail(email); {
	case err == nil:
		return refuse(CodeConflict, "there is a user %s already", email)
	case !errors.Is(err, ErrNotFound):
		return err
	}
	return nil
}

// Join redeems a user's invite: it makes the user, with that password, and
// signs in.
func (r *Registry) Join(ctx context.Context, token string, password []byte, client string) (SignIn, error) {
	if err := checkPassword(password); err != nil {
		return SignIn{}, err
	}
	if err := r.redeemable(ctx, InviteUser, token); err != nil { // before the costly hash
		return SignIn{}, err
	}
	hash, err := hashed(seal.HashPassword(password))
	if err != nil {
		return SignIn{}, err
	}
	var s SignIn
	err = r.write(ctx, func(tx Tx) error {
		i, err := r.redeem(tx, InviteUser, token)
		if err != nil {
			return err
		}
		if err := emailIsFree(tx, i.Name); err != nil {
			return err
		}
		u := User{ID: newID(), Email: i.Name, PasswordHash: hash, Role: i.Role, Vaults: make(map[string]string), CreatedAt: r.now()}
		for id, g := range i.Vaults {
			switch _, err := tx.VaultRefByID(id); {
			case err == nil:
				u.Vaults[id] = g.Role
			case !errors.Is(err, ErrNotFound): // a vault that was deleted meanwhile is left out
				return err
			}
		}
		s = newSignIn(u, client, r.now())
		return errors.Join(tx.PutUser(u), tx.PutLogin(s.Login), r.note(tx, Caller{user: &u}, actWidenUser, nil, u.Email))
	})
	if err != nil {
		return SignIn{}, err
	}
	return s, nil
}

// InviteStatus is the invite's status by this instance's clock.
func (r *Registry) InviteStatus(i Invite) string { return i.Status(r.now()) }
