package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Proposal returns one proposal of a vault. An agent sees its own only.
func (r *Registry) Proposal(ctx context.Context, c Caller, vaultName string, number int64) (Proposal, error) {
	var p Proposal
	err := r.readAs(ctx, c, actPropose, func(tx Tx) error {
		v, err := r.askersVault(tx, c, vaultName)
		if err != nil {
			return err
		}
		p, err = r.visible(tx, c, v, number)
		p.Status = p.statusAt(r.now())
		return err
	})
	if err != nil {
		return Proposal{}, err
	}
	return p, nil
}

// Review returns a proposal as a person must see it to decide.
func (r *Registry) Review(ctx context.Context, c Caller, vaultName string, number int64) (Review, error) {
	var rv Review
	err := r.readAs(ctx, c, actReject, func(tx Tx) error {
		v, err := r.wholeVault(tx, c, actReject, vaultName)
		if err != nil {
			return err
		}
		p, err := r.visible(tx, c, *v.ref(), number)
		if err != nil {
			return err
		}
		if c.IsAgent() { // what the vault holds beside is not for it
			p.Status = p.statusAt(r.now())
			rv = Review{Proposal: p, Vault: v.Name}
			return nil
		}
		rv, err = r.review(tx, v, p)
		return err
	})
	if err != nil {
		return Review{}, err
	}
	return rv, nil
}

// visible finds a proposal that the caller may see.
func (r *Registry) visible(tx Tx, c Caller, v VaultRef, number int64) (Proposal, error) {
	p, err := tx.ProposalByNumber(v.ID, number)
	if errors.Is(err, ErrNotFound) || err == nil && !slices.Contains(p.Askers, c.id()) && r.allow(c, actReject, &v) != nil {
		return Proposal{}, refuse(CodeProposalNotFound, "there is no proposal %d of yours in the vault %s", number, v.Name)
	}
	return p, err
}

// ProposalByLink returns the proposal that a link shows, for a day: what was
// asked, and nothing of the vault, since the agent has the link too.
func (r *Registry) ProposalByLink(ctx context.Context, number int64, token string) (Review, error) {
	unknown := refuse(CodeProposalNotFound, "there is no such proposal, or its link is older than a day; sign in to see it")
	if prefix, ok := CheckToken(token); !ok || prefix != PrefixApprove {
		return Review{}, unknown
	}
	var rv Review
	err := r.store.Read(ctx, func(tx Tx) error {
		p, err := tx.ProposalByLink(DigestToken(token))
		if err != nil {
			return err
		}
		if p.Number != number || !r.now().Before(p.CreatedAt.Add(linkLife)) {
			return ErrNotFound
		}
		v, err := tx.VaultRefByID(p.VaultID)
		if err != nil {
			return err
		}
		p.Status = p.statusAt(r.now())
		rv = Review{Proposal: p, Vault: v.Name}
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		err = unknown
	}
	if err != nil {
		return Review{}, err
	}
	return rv, nil
}

// A ListedProposal is a proposal with the name of its vault.
type ListedProposal struct {
	Proposal
	Vault string
}

// Proposals lists a vault's proposals, newest first: of who is no member, only
// their own. status "" means all, before 0 from the newest. A person who names
// no vault gets what is pending in all of theirs.
func (r *Registry) Proposals(ctx context.Context, c Caller, vaultName, status string, before int64, limit int) ([]ListedProposal, error) {
	switch status {
	case "", ProposalPending, ProposalApplied, ProposalRejected, ProposalExpired:
	default:
		return nil, badRequest("status: %q is none of pending, applied, rejected, expired", shorten(status))
	}
	list := []ListedProposal{}
	err := r.readAs(ctx, c, actPropose, func(tx Tx) error {
		if vaultName == "" && !c.IsAgent() {
			if status != "" && status != ProposalPending {
				return refuse(CodeVaultRequired, "name the vault; without one only what is pending is listed")
			}
			vaults, err := tx.ListVaultRefs()
			if err != nil {
				return err
			}
			for _, v := range vaults {
				if r.allow(c, actPropose, &v) != nil {
					continue
				}
				if err := r.listProposals(tx, c, v, ProposalFilter{Status: ProposalPending}, &list); err != nil {
					return err
				}
			}
			slices.SortStableFunc(list, func(a, b ListedProposal) int { return b.CreatedAt.Compare(a.CreatedAt) })
			return nil
		}
		v, err := r.askersVault(tx, c, vaultName)
		if err != nil {
			return err
		}
		return r.listProposals(tx, c, v, ProposalFilter{Status: status, Before: before, Limit: limit}, &list)
	})
	return list, err
}

// listProposals adds a vault's proposals that the caller may see.
func (r *Registry) listProposals(tx Tx, c Caller, v VaultRef, f ProposalFilter, list *[]ListedProposal) error {
	f.VaultID, f.Now = v.ID, r.now()
	if r.allow(c, actReject, &v) != nil {
		f.Asker = c.id()
	}
	found, err := tx.ListProposals(f)
	for _, p := range found {
		p.Status = p.statusAt(r.now())
		*list = append(*list, ListedProposal{p, v.Name})
	}
	return err
}

// review works out what a proposal would change in the vault as it is. One that
// is not pending changes nothing any more.
func (r *Registry) review(tx Tx, v Vault, p Proposal) (Review, error) {
	p.Status = p.statusAt(r.now())
	rv := Review{Proposal: p, Vault: v.Name, Changes: []ServiceDiff{}, Values: []ValueDiff{}, Opened: []string{}, Warnings: []string{}}
	if p.Status != ProposalPending {
		return rv, nil
	}
	for _, change := range p.Services {
		d := ServiceDiff{Name: change.Name}
		if at := v.service(change.Name); at >= 0 {
			d.Before = &v.Services[at]
		}
		if change.Action == ActionSet {
			after := v.proposed(change)
			d.After = &after
		}
		rv.Changes = append(rv.Changes, d)
	}
	for _, slot := range p.Credentials {
		_, exists := v.Credentials[slot.Key]
		rv.Values = append(rv.Values, ValueDiff{slot, exists, slot.Action == ActionSet && !slot.HasValue && !exists})
	}
	rv.Opened = opened(rv.Changes, r.now())
	rv.Warnings = append(warnings(v, rv.Changes), r.resemblances(v, rv)...)
	rv.Warnings = append(rv.Warnings, r.endings(rv.Changes)...)
	if after, err := r.merge(v, p); err == nil { // what cannot be merged any more cannot be approved either
		rv.Warnings = append(rv.Warnings, openings(v, after, rv.Changes)...)
	}
	narrow, err := narrowAgents(tx, v.ID)
	if err != nil {
		return rv, err
	}
	rv.Warnings = append(rv.Warnings, followers(v, p, narrow, rv.Changes)...)
	rv.Digest, err = digestOf(v, p, narrow)
	return rv, err
}

// endings are services that have ended, and would begin again.
func (r *Registry) endings(changes []ServiceDiff) (out []string) {
	for _, d := range changes {
		if d.After != nil && d.After.Expired(r.now()) {
			out = append(out, fmt.Sprintf("service %s ended at %s: allowing it lets requests through again, for as long as you say", d.Name, d.After.ExpiresAt.Format("2006-01-02 15:04 UTC")))
		}
	}
	return out
}

// digestOf binds a decision to what the person was shown: the proposal, the
// vault's services as they are, what it does with hosts without one, the
// versions of the credentials that it would replace, and the grants of agents
// that would get more.
func digestOf(v Vault, p Proposal, narrow []Agent) (string, error) {
	asked, err := content(p)
	if err != nil {
		return "", err
	}
	versions := make(map[string]int64)
	for _, slot := range p.Credentials {
		versions[slot.Key] = v.Credentials[slot.Key].Version
	}
	boxes := sha256.New()
	for _, slot := range p.Credentials {
		fmt.Fprintf(boxes, "%s %d ", slot.Key, len(slot.Box))
		boxes.Write(slot.Box)
	}
	grants := make(map[string][2][]string)
	for _, a := range narrow {
		g := a.Vaults[v.ID]
		grants[a.ID] = [2][]string{g.Services, g.lacks(p)} // a grant that ends may have ended
	}
	b, err := json.Marshal(struct {
		Proposal string
		Number   int64
		Vault    string
		Asked    []byte
		Boxes    []byte
		Services []Service
		Hosts    string
		Versions map[string]int64
		Grants   map[string][2][]string
	}{p.ID, p.Number, v.ID, asked, boxes.Sum(nil), v.Services, v.UnmatchedHosts, versions, grants})
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), err
}
