package vault

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentvault/vault/seal"
)

// A Proposed is a proposal that was made, with the token of the link that
// shows it.
type Proposed struct {
	Proposal
	Vault     string // name
	LinkToken string
	Folded    bool // the same was pending already, and this is that one
}

// Propose stores what an agent asks for. The same again, while it is pending,
// is the same proposal.
func (r *Registry) Propose(ctx context.Context, c Caller, vaultName string, n NewProposal) (Proposed, error) {
	// What is refused, or pending already, does not take the one writer. The
	// transaction asks again, since the vault and what is pending may have changed.
	asked := false
	var out Proposed
	err := r.readAs(ctx, c, actPropose, func(tx Tx) error {
		_, _, same, err := r.sound(tx, c, vaultName, n)
		if asked = same != nil && slices.Contains(same.Askers, c.id()); asked {
			out = *same
		}
		return err
	})
	if err != nil || asked {
		return out, err
	}
	err = r.writeAs(ctx, c, actPropose, func(tx Tx) error {
		v, p, same, err := r.sound(tx, c, vaultName, n)
		if err != nil {
			return err
		}
		if same != nil {
			out = *same
			out.Askers = append(slices.Clone(same.Askers), c.id())
			return tx.PutProposal(out.Proposal)
		}
		if err := r.fillProposal(tx, c, v, &p, n.Values); err != nil {
			return err
		}
		out = Proposed{Proposal: p, Vault: v.Name, LinkToken: r.linkToken(p.ID)}
		return errors.Join(tx.PutProposal(p), r.note(tx, c, actPropose, v.ref(), fmt.Sprintf("proposal %d:%s", p.Number, objectOf(p))))
	})
	if err != nil {
		return Proposed{}, err
	}
	return out, nil
}

// sound checks what is asked for, and finds the pending proposal that is the
// same; where there is none, there is room for one more.
func (r *Registry) sound(tx Tx, c Caller, vaultName string, n NewProposal) (v Vault, p Proposal, same *Proposed, err error) {
	ref, err := r.askersVault(tx, c, vaultName)
	if err != nil {
		return v, p, nil, err
	}
	if v, err = tx.VaultByID(ref.ID); err != nil {
		return v, p, nil, err
	}
	if p, err = r.checkProposal(v, n); err != nil {
		return v, p, nil, err
	}
	pending, err := tx.ListProposals(ProposalFilter{VaultID: v.ID, Status: ProposalPending, Now: r.now()})
	if err != nil {
		return v, p, nil, err
	}
	found, err := r.findSame(c, v, pending, p, n.Values)
	switch {
	case err != nil:
		return v, p, nil, err
	case found != nil:
		return v, p, &Proposed{Proposal: *found, Vault: v.Name, LinkToken: r.linkToken(found.ID), Folded: true}, nil
	case len(pending) >= maxPending:
		return v, p, nil, tooMany(pending, r.now())
	}
	return v, p, nil, nil
}

// askersVault is the vault that a proposal is about: an agent's own, or one in
// which a person has a role.
func (r *Registry) askersVault(tx Tx, c Caller, vaultName string) (VaultRef, error) {
	if err := actPropose.admits(c); err != nil {
		return VaultRef{}, err
	}
	if c.IsAgent() {
		v, _, err := r.agentsVault(tx, c, vaultName)
		return v, err
	}
	if vaultName == "" {
		return VaultRef{}, refuse(CodeVaultRequired, "name the vault")
	}
	return r.inVault(tx, c, actPropose, vaultName)
}

func tooMany(pending []Proposal, now time.Time) error {
	first := pending[0].ExpiresAt
	for _, p := range pending {
		if p.ExpiresAt.Before(first) {
			first = p.ExpiresAt
		}
	}
	return &Error{
		Code:    CodeTooManyProposals,
		Message: "20 proposals are pending in this vault; wait until a person has decided some",
		Wait:    min(max(first.Sub(now), time.Second), time.Minute), // a person may decide any time
	}
}

// linkToken is derived, so that who asks the same again gets the same link.
func (r *Registry) linkToken(proposalID string) string {
	return spellToken(PrefixApprove, r.key.MAC("approval link", proposalID))
}

// fillProposal gives a checked proposal what the instance adds.
func (r *Registry) fillProposal(tx Tx, c Caller, v Vault, p *Proposal, values map[string]seal.Plaintext) (err error) {
	now := r.now()
	p.ID, p.VaultID, p.Status = newID(), v.ID, ProposalPending
	p.CreatedAt, p.ExpiresAt = now, now.Add(proposalLife)
	p.LinkDigest = DigestToken(r.linkToken(p.ID))
	kind, id, name := c.identity()
	p.AskerKind, p.AskerName, p.Askers = kind, name, []string{id}
	for i := range p.Credentials {
		slot := &p.Credentials[i]
		if value, ok := values[slot.Key]; ok {
			if slot.Box, err = r.key.ForVault(v.ID).Seal(p.sealContext(slot.Key), value); err != nil {
				return err
			}
		}
	}
	p.Number, err = tx.NextProposal(v.ID)
	return err
}

func (p *Proposal) sealContext(key string) seal.Context {
	return seal.Context{Vault: p.VaultID, Credential: key, Field: fieldProposed + p.ID, Version: 1}
}

// findSame returns the pending proposal that asks for exactly the same. One that
// came with values is the same for who asked it only: nobody else is to find out
// that they have guessed them.
func (r *Registry) findSame(c Caller, v Vault, pending []Proposal, p Proposal, values map[string]seal.Plaintext) (*Proposal, error) {
	asked, err := content(p)
	if err != nil {
		return nil, err
	}
	for i := range pending {
		other, err := content(pending[i])
		if err != nil {
			return nil, err
		}
		if len(values) > 0 && !slices.Contains(pending[i].Askers, c.id()) {
			continue
		}
		if bytes.Equal(asked, other) && r.sameValues(v, pending[i], values) {
			return &pending[i], nil
		}
	}
	return nil, nil
}

// sameValues compares the values that came with two proposals of the same
// content, so with values for the same keys.
func (r *Registry) sameValues(v Vault, p Proposal, values map[string]seal.Plaintext) bool {
	for _, slot := range p.Credentials {
		if slot.Box == nil {
			continue
		}
		was, err := r.key.ForVault(v.ID).Open(p.sealContext(slot.Key), slot.Box)
		if err != nil {
			return false
		}
		same := subtle.ConstantTimeCompare(was.Bytes(), values[slot.Key].Bytes()) == 1
		was.Clear()
		if !same {
			return false
		}
	}
	return true
}

// content is what a proposal asks for, in one spelling.
func content(p Proposal) ([]byte, error) {
	return json.Marshal(struct {
		Services             []ServiceChange
		Credentials          []CredentialSlot
		Message, UserMessage string
	}{p.Services, p.Credentials, p.Message, p.UserMessage})
}

// objectOf says in the record of changes what a proposal asks for.
func objectOf(p Proposal) string {
	var b strings.Builder
	for _, s := range p.Services {
		b.WriteString(" " + s.Action + " " + s.Name)
	}
	for _, s := range p.Credentials {
		b.WriteString(" " + s.Action + " " + s.Key)
	}
	return b.String()
}
