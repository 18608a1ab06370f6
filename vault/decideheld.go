package vault

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"time"
)

// A HeldReview is a held request as a person must see it to decide.
type HeldReview struct {
	Held
	Vault     string // name
	Digest    string // hex; it goes with the decision
	Content   HeldContent
	Forgotten bool // Content is gone: it is kept as long as it matters
}

// A HeldDecision is a person's yes or no to one request.
type HeldDecision struct {
	Digest string // of the HeldReview that they saw
	Allow  bool
	Note   string // for who asked, where it is no
}

// ListedHeld is a held request with the name of its vault.
type ListedHeld struct {
	Held
	Vault string
}

// HeldRequests lists a vault's held requests, newest first, before 0 from the
// newest. Who names no vault gets what is pending in all of theirs.
func (r *Registry) HeldRequests(ctx context.Context, c Caller, vaultName string, pending bool, before int64, limit int) ([]ListedHeld, error) {
	all := []ListedHeld{}
	err := r.readAs(ctx, c, actApprovals, func(tx Tx) error {
		vaults, err := r.heldVaults(tx, c, vaultName)
		if err != nil {
			return err
		}
		for _, v := range vaults {
			f := HeldFilter{VaultID: v.ID, Before: before, Limit: limit}
			if pending || vaultName == "" {
				f.Pending = r.now()
			}
			list, err := tx.ListHeld(f)
			if err != nil {
				return err
			}
			for _, h := range list {
				h.Status = h.StatusAt(r.now())
				all = append(all, ListedHeld{h, v.Name})
			}
		}
		return nil
	})
	return all, err
}

// A HeldWait is how long a list is waited for to be another one than that of a tag.
type HeldWait struct {
	Tag  string
	Wait time.Duration // at most MaxWait
	Stop <-chan struct{}
}

// WaitHeldRequests is HeldRequests, from the newest, once its HeldTag is another
// one, the time is over or Stop is closed. Of a caller who waits in many calls, or
// when many wait, the last are answered at once.
func (r *Registry) WaitHeldRequests(ctx context.Context, c Caller, vaultName string, pending bool, limit int, w HeldWait) ([]ListedHeld, error) {
	list, err := r.HeldRequests(ctx, c, vaultName, pending, 0, limit)
	if err != nil || w.Wait <= 0 || HeldTag(list) != w.Tag {
		return list, err
	}
	leave, ok := r.waits.enter(c.id())
	if !ok {
		return list, nil
	}
	defer leave()
	changed, unsubscribe := r.store.Changes()
	defer unsubscribe()
	look := time.NewTicker(time.Second) // what ends by itself, and commits that were not signalled
	defer look.Stop()
	end := time.NewTimer(min(w.Wait, MaxWait))
	defer end.Stop()
	for {
		if list, err = r.HeldRequests(ctx, c, vaultName, pending, 0, limit); err != nil || HeldTag(list) != w.Tag {
			return list, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-w.Stop:
			return list, nil
		case <-end.C:
			return list, nil
		case <-changed:
			pause(ctx, waitPause)
		case <-look.C:
		}
	}
}

// HeldTag tells lists apart that a person would see a difference between.
func HeldTag(list []ListedHeld) string {
	sum := sha256.New()
	for _, h := range list {
		writeCounted(sum, h.ID+" "+h.Status)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// heldVaults are the vault of that name or, without one, all in which the caller
// may decide.
func (r *Registry) heldVaults(tx Tx, c Caller, name string) ([]VaultRef, error) {
	if name != "" {
		v, err := r.inVault(tx, c, actApprovals, name)
		return []VaultRef{v}, err
	}
	if err := r.asNow(tx, &c, actApprovals); err != nil {
		return nil, err
	}
	all, err := tx.ListVaultRefs()
	theirs := []VaultRef{}
	for _, v := range all {
		if r.allow(c, actApprovals, &v) == nil {
			theirs = append(theirs, v)
		}
	}
	return theirs, err
}

// HeldRequest returns one held request of a vault.
func (r *Registry) HeldRequest(ctx context.Context, c Caller, vaultName string, number int64) (HeldReview, error) {
	var rv HeldReview
	err := r.readAs(ctx, c, actApprovals, func(tx Tx) (err error) {
		rv, err = r.heldReview(tx, c, vaultName, number)
		return err
	})
	return rv, err
}

func (r *Registry) heldReview(tx Tx, c Caller, vaultName string, number int64) (HeldReview, error) {
	v, err := r.inVault(tx, c, actApprovals, vaultName)
	if err != nil {
		return HeldReview{}, err
	}
	h, err := tx.HeldByNumber(v.ID, number)
	if errors.Is(err, ErrNotFound) {
		return HeldReview{}, refuse(CodeApprovalNotFound, "no request has the number %d in the vault %s", number, v.Name)
	}
	if err != nil {
		return HeldReview{}, err
	}
	rv := HeldReview{Held: h, Vault: v.Name, Digest: hex.EncodeToString(h.Digest[:])}
	rv.Status = h.StatusAt(r.now())
	err = openHeld(tx, r.key, h, boxRequest, &rv.Content)
	if errors.Is(err, ErrNotFound) {
		rv.Forgotten, err = true, nil
	}
	return rv, err
}

// DecideHeld lets a pending request go, once, or refuses it.
func (r *Registry) DecideHeld(ctx context.Context, c Caller, vaultName string, number int64, d HeldDecision) (HeldReview, error) {
	var rv HeldReview
	err := r.writeAs(ctx, c, actApprovals, func(tx Tx) (err error) {
		if rv, err = r.heldReview(tx, c, vaultName, number); err != nil {
			return err
		}
		switch {
		case rv.Status != HeldPending:
			return refuse(CodeApprovalClosed, "the request does not wait for a decision any more: it is %s", rv.Status)
		case subtle.ConstantTimeCompare([]byte(rv.Digest), []byte(d.Digest)) != 1:
			return refuse(CodeApprovalChanged, "this is not the request that you were shown; look at it again")
		case !isText(d.Note, maxHeldNote):
			return badRequest("note: at most %d characters of UTF-8 without control characters", maxHeldNote)
		}
		if err := r.askerThere(tx, rv.Held); err != nil {
			return err
		}
		rv.Status = HeldDenied
		if d.Allow {
			rv.Status = HeldApproved
		}
		rv.DecidedAt, rv.DecidedBy, rv.Note = r.now(), c.user.Email, d.Note
		rv.Until = rv.DecidedAt.Add(heldLife)
		return errors.Join(tx.PutHeld(rv.Held), r.note(tx, c, actApprovals, &VaultRef{rv.VaultID, rv.Vault}, rv.object(rv.Status)))
	})
	if err != nil {
		return HeldReview{}, err
	}
	return rv, nil
}

// askerThere refuses to decide what nobody can send any more.
func (r *Registry) askerThere(tx Tx, h Held) error {
	var ended bool
	var err error
	switch h.AskerKind {
	case KindSession:
		var s Session
		s, err = tx.SessionByID(h.AskerID)
		ended = s.ended(r.now())
	default:
		ended, err = agentEnded(tx, h.AskerID, r.now())
	}
	if errors.Is(err, ErrNotFound) || err == nil && ended {
		return refuse(CodeApprovalClosed, "the request does not wait for a decision any more: the %s that sent it has ended", h.AskerKind)
	}
	return err
}

func agentEnded(tx Tx, id string, now time.Time) (bool, error) {
	agents, err := tx.ListAgents()
	for _, a := range agents {
		if a.ID == id {
			return a.ended(now), err
		}
	}
	return true, err
}
