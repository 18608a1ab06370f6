package vault

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"agentvault/vault/seal"
)

// An Approval is a person's yes.
type Approval struct {
	Digest     string                    // of the Review that they saw
	Values     map[string]seal.Plaintext // of the slots
	AllowShort bool                      // take values that are shorter than MinValue
	Note       string

	// Lasts is how long the services that the proposal sets last: 0 for good. Nil
	// leaves their ends as the person was shown them.
	Lasts *time.Duration
}

// MaxLasts bounds how long a service is given.
const MaxLasts = 366 * 24 * time.Hour

// Approve applies a proposal: services, credentials and the record of it in
// one transaction.
func (r *Registry) Approve(ctx context.Context, c Caller, vaultName string, number int64, a Approval) (Review, error) {
	return r.decide(ctx, c, actDecide, vaultName, number, a.Note, func(tx Tx, v *Vault, p *Proposal) error {
		narrow, err := narrowAgents(tx, v.ID)
		if err != nil {
			return err
		}
		before := v.Services
		digest, err := digestOf(*v, *p, narrow)
		if err != nil {
			return err
		}
		if subtle.ConstantTimeCompare([]byte(digest), []byte(a.Digest)) != 1 {
			return refuse(CodeProposalChanged, "the vault or the proposal is not what you were shown; look at the proposal again")
		}
		if v.Services, err = r.merge(*v, *p); err != nil {
			return err
		}
		if err := r.applyLasts(v, *p, a.Lasts); err != nil {
			return err
		}
		if err := checkKeys(*v, v.Services, *p); err != nil {
			return err
		}
		if err := errors.Join(r.applySlots(tx, v, p, a), grantProposed(tx, *p, narrow)); err != nil {
			return err
		}
		p.Status = ProposalApplied
		return r.putVault(tx, *v, before)
	})
}

// applyLasts gives the services of a proposal their ends. One that has ended is
// not made to last by a person who did not say for how long.
func (r *Registry) applyLasts(v *Vault, p Proposal, lasts *time.Duration) error {
	if lasts != nil {
		if err := checkLasts(*lasts); err != nil {
			return err
		}
	}
	for _, change := range p.Services {
		at := v.service(change.Name)
		switch {
		case change.Action != ActionSet || at < 0:
		case lasts == nil && v.Services[at].Expired(r.now()):
			return badRequest("lasts: the service %s has ended; say how long it lasts now", change.Name)
		case lasts == nil:
		default:
			v.Services[at].ExpiresAt = r.endOf(*lasts)
		}
	}
	return nil
}

func checkLasts(lasts time.Duration) error {
	if lasts < 0 || lasts > MaxLasts {
		return badRequest("lasts: between 0, for good, and %d days", MaxLasts/(24*time.Hour))
	}
	return nil
}

// endOf is when what lasts so long from now ends.
func (r *Registry) endOf(lasts time.Duration) time.Time {
	if lasts == 0 {
		return time.Time{}
	}
	return r.now().UTC().Add(lasts).Truncate(time.Second)
}

// grantProposed lets agents that may use some services only use those that they
// asked for.
func grantProposed(tx Tx, p Proposal, narrow []Agent) error {
	for _, a := range narrow {
		if !slices.Contains(p.Askers, a.ID) {
			continue
		}
		g := a.Vaults[p.VaultID]
		more := g.lacks(p)
		if len(more) == 0 {
			continue
		}
		g.Services = slices.Sorted(slices.Values(append(slices.Clone(g.Services), more...)))
		g.Ends.Guest = false
		a.Vaults[p.VaultID] = g
		if err := tx.PutAgent(a); err != nil {
			return err
		}
	}
	return nil
}

// applySlots sets and deletes the credentials of a proposal. What the person
// gives comes before what the agent gave.
func (r *Registry) applySlots(tx Tx, v *Vault, p *Proposal, a Approval) error {
	values := a.Values
	if err := checkValues(values); err != nil {
		return err
	}
	slots := make(map[string]bool)
	for _, slot := range p.Credentials {
		slots[slot.Key] = slot.Action == ActionSet
		value, given := values[slot.Key]
		_, exists := v.Credentials[slot.Key]
		switch {
		case slot.Action == ActionDelete:
			if err := v.mustHold(slot.Key); err != nil {
				return err
			}
			delete(v.Credentials, slot.Key)
			if err := tx.DeleteVersions(v.ID, slot.Key, 0); err != nil {
				return err
			}
			continue
		case given:
		case slot.Box != nil:
			var err error
			if value, err = r.key.ForVault(v.ID).Open(p.sealContext(slot.Key), slot.Box); err != nil {
				return err
			}
			defer value.Clear()
		case exists:
			continue // the value that is there stays
		default:
			return badRequest("credentials: the value of %s is needed", slot.Key)
		}
		if err := r.setCredential(tx, v, slot.Key, value, a.AllowShort); err != nil {
			return err
		}
	}
	for key := range values {
		if !slots[key] {
			return badRequest("credentials: the proposal does not set %s", key)
		}
	}
	return nil
}

// Reject refuses a proposal. The note is for who asked.
func (r *Registry) Reject(ctx context.Context, c Caller, vaultName string, number int64, note string) (Review, error) {
	return r.decide(ctx, c, actReject, vaultName, number, note, func(_ Tx, _ *Vault, p *Proposal) error {
		p.Status = ProposalRejected
		return nil
	})
}

// decide is the one way out of pending by a person's hand.
func (r *Registry) decide(ctx context.Context, c Caller, act *action, vaultName string, number int64, note string, f func(Tx, *Vault, *Proposal) error) (Review, error) {
	var rv Review
	err := r.writeAs(ctx, c, act, func(tx Tx) error {
		v, err := r.wholeVault(tx, c, act, vaultName)
		if err != nil {
			return err
		}
		if !isText(note, maxReviewNote) {
			return badRequest("note: at most %d characters of UTF-8 without control characters", maxReviewNote)
		}
		p, err := tx.ProposalByNumber(v.ID, number)
		if errors.Is(err, ErrNotFound) {
			return refuse(CodeProposalNotFound, "there is no proposal %d in the vault %s", number, v.Name)
		}
		if err != nil {
			return err
		}
		if status := p.statusAt(r.now()); status != ProposalPending {
			return refuse(CodeProposalClosed, "the proposal is not pending any more: it is %s", status)
		}
		if err := f(tx, &v, &p); err != nil {
			return err
		}
		p.close(r.now(), c.user.Email, note)
		rv, err = r.review(tx, v, p)
		return errors.Join(err, tx.PutProposal(p), r.note(tx, c, act, v.ref(), fmt.Sprintf("%s %d:%s", p.Status, p.Number, objectOf(p))))
	})
	if err != nil {
		return Review{}, err
	}
	return rv, nil
}

// close ends a proposal's life: values that came with it go.
func (p *Proposal) close(now time.Time, by, note string) {
	p.ReviewedAt, p.ReviewedBy, p.ReviewNote = now, by, note
	p.Credentials = slices.Clone(p.Credentials)
	for i := range p.Credentials {
		p.Credentials[i].Box = nil
	}
}

// expireProposals stores that nobody decided in time, which is so for everyone
// from the moment that the time is over.
func (r *Registry) expireProposals(ctx context.Context) error {
	overdue := ProposalFilter{Overdue: true, Now: r.now()}
	found := false
	err := r.store.Read(ctx, func(tx Tx) error {
		expired, err := tx.ListProposals(overdue)
		found = len(expired) > 0
		return err
	})
	if err != nil || !found {
		return err
	}
	return r.write(ctx, func(tx Tx) error {
		expired, err := tx.ListProposals(overdue)
		if err != nil {
			return err
		}
		for _, p := range expired {
			p.Status = ProposalExpired
			p.close(time.Time{}, "", "")
			if err := errors.Join(tx.PutProposal(p), r.noteIn(tx, Caller{}, actReject, p.VaultID, fmt.Sprintf("expired %d", p.Number))); err != nil {
				return err
			}
		}
		return nil
	})
}
