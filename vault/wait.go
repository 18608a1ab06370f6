package vault

import (
	"context"
	"errors"
	"time"
)

// Times of waiting for a proposal.
const (
	MaxWait   = time.Minute
	waitPause = 100 * time.Millisecond // between two looks, however much is committed
)

// WaitProposal is Proposal, once a person has decided, the time is over or stop
// is closed. Of a caller who waits in many calls, or when many wait, the last
// are answered at once.
func (r *Registry) WaitProposal(ctx context.Context, c Caller, vaultName string, number int64, wait time.Duration, stop <-chan struct{}) (Proposal, error) {
	p, err := r.Proposal(ctx, c, vaultName, number)
	if err != nil || wait <= 0 || p.Status != ProposalPending {
		return p, err
	}
	leave, ok := r.waits.enter(c.id())
	if !ok {
		return p, nil
	}
	defer leave()
	changed, unsubscribe := r.store.Changes()
	defer unsubscribe()
	look := time.NewTicker(time.Second) // expiry, and commits that were not signalled
	defer look.Stop()
	end := time.NewTimer(min(wait, MaxWait))
	defer end.Stop()
	for {
		// First again: it may have been decided before the signals began.
		if p, err = r.lookAgain(ctx, c, p); err != nil || p.Status != ProposalPending {
			return p, err
		}
		select {
		case <-ctx.Done():
			return Proposal{}, ctx.Err()
		case <-stop:
			return p, nil
		case <-end.C:
			return p, nil
		case <-changed:
			pause(ctx, waitPause)
		case <-look.C:
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// lookAgain reads a proposal that the caller has seen. It asks whether they
// still may without loading the vault, since many may do so at every commit.
func (r *Registry) lookAgain(ctx context.Context, c Caller, p Proposal) (Proposal, error) {
	var next Proposal
	err := r.store.Read(ctx, func(tx Tx) (err error) {
		if err := r.stillReaches(tx, c, p.VaultID); err != nil {
			return err
		}
		next, err = tx.ProposalByNumber(p.VaultID, p.Number)
		if errors.Is(err, ErrNotFound) { // with its vault
			return refuse(CodeProposalNotFound, "there is no proposal %d any more", p.Number)
		}
		next.Status = next.statusAt(r.now())
		return err
	})
	if err != nil {
		return Proposal{}, err
	}
	return next, nil
}

// stillReaches reports whether the caller's token, role or grant is still good
// for a vault in which it was good before.
func (r *Registry) stillReaches(tx Tx, c Caller, vaultID string) error {
	if c.user != nil {
		u, err := tx.UserByID(c.user.ID)
		if errors.Is(err, ErrNotFound) || err == nil && u.roleIn(vaultID) == "" {
			return errUnknownToken
		}
		return err
	}
	c, err := r.holderNow(tx, c)
	if err != nil || c.agent == nil {
		return err
	}
	if _, ok := c.agent.Vaults[vaultID]; !ok {
		return refuse(CodeVaultForbidden, "this agent has no access to the vault any more")
	}
	return nil
}
