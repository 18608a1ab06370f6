package vault

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"agentvault/policy"
	"agentvault/policy/inject"
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
	// What is refused, or pending already, does not take the one writer.
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
		return errors.Join(tx.PutProposal(p), r.note(tx, c, actPropose, &v, fmt.Sprintf("proposal %d:%s", p.Number, objectOf(p))))
	})
	if err != nil {
		return Proposed{}, err
	}
	return out, nil
}

// sound checks what is asked for, and finds the pending proposal that is the
// same; where there is none, there is room for one more.
func (r *Registry) sound(tx Tx, c Caller, vaultName string, n NewProposal) (v Vault, p Proposal, same *Proposed, err error) {
	if v, err = r.askersVault(tx, c, vaultName); err != nil {
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
func (r *Registry) askersVault(tx Tx, c Caller, vaultName string) (Vault, error) {
	if err := actPropose.admits(c); err != nil {
		return Vault{}, err
	}
	if c.IsAgent() {
		v, _, err := agentsVault(tx, c, vaultName)
		return v, err
	}
	if vaultName == "" {
		return Vault{}, refuse(CodeVaultRequired, "name the vault")
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

// checkProposal returns what is asked for in canonical form, or an error that
// names the field. It tries the change on the vault as it is.
func (r *Registry) checkProposal(v Vault, n NewProposal) (Proposal, error) {
	p := Proposal{Message: n.Message, UserMessage: n.UserMessage}
	switch {
	case len(n.Services) == 0 && len(n.Credentials) == 0:
		return p, badRequest("services: name at least one service or credential")
	case len(n.Services) > maxProposed:
		return p, badRequest("services: at most %d in one proposal", maxProposed)
	case len(n.Credentials) > maxProposed:
		return p, badRequest("credentials: at most %d in one proposal", maxProposed)
	case !isText(n.Message, maxMessage):
		return p, badRequest("message: at most %d characters of UTF-8 without control characters", maxMessage)
	case !isText(n.UserMessage, maxUserMessage):
		return p, badRequest("user_message: at most %d characters of UTF-8 without control characters", maxUserMessage)
	}
	p.Services, p.Credentials = slices.Clone(n.Services), slices.Clone(n.Credentials)
	for i := range p.Services {
		if err := r.checkServiceChange(v, &p.Services[i]); err != nil {
			return p, atIndex("services", i, err)
		}
	}
	seen := make(map[string]bool)
	for i := range p.Credentials {
		slot := &p.Credentials[i]
		value, given := n.Values[slot.Key]
		if err := checkSlot(v, slot, value, given); err != nil {
			return p, atIndex("credentials", i, err)
		}
		if seen[slot.Key] {
			return p, atIndex("credentials", i, badRequest("key: %s stands there twice", slot.Key))
		}
		seen[slot.Key] = true
	}
	after, err := r.merge(v, p)
	if err != nil {
		return p, err
	}
	if len(p.Credentials) == 0 && sameServices(v.Services, after) {
		return p, refuse(CodeConflict, "nothing would change: the vault has these services already")
	}
	return p, checkKeys(v, after, p)
}

// atIndex puts the place of an item before an error about it.
func atIndex(list string, i int, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Code: e.Code, Message: list + "[" + string(rune('0'+i)) + "]: " + e.Message, Err: e.Err} // i < maxProposed
	}
	return err
}

func (r *Registry) checkServiceChange(v Vault, s *ServiceChange) error {
	if s.Action != ActionSet && s.Action != ActionDelete {
		return badRequest("action: %q is neither set nor delete", shorten(s.Action))
	}
	if s.Host != "" {
		host, err := policy.CanonicalPattern(s.Host)
		if err != nil {
			return &Error{Code: CodeBadRequest, Message: "host: " + err.Error()}
		}
		s.Host = host
	}
	if err := nameByHost(v, s); err != nil {
		return err
	}
	if s.Action == ActionDelete {
		if s.Auth != nil || s.Rules != nil || s.Enabled != nil || s.Description != "" {
			return badRequest("a service that is deleted has a name or host, and nothing else")
		}
		at, err := v.mustHave(s.Name)
		if err == nil && s.Host != "" && s.Host != v.Services[at].Host {
			err = badRequest("host: the service %s has another one, %s", s.Name, v.Services[at].Host)
		}
		return err
	}
	if s.Host == "" {
		return badRequest("host: it is missing")
	}
	if _, err := netip.ParseAddr(policy.PatternHost(s.Host)); err == nil {
		return badRequest("host: an agent cannot propose an address; name a host")
	}
	if strings.HasSuffix(policy.PatternHost(s.Host), ".internal") && !r.development { // ICANN keeps it for private networks
		return badRequest("host: an agent cannot propose a host of a private network; a person can add it")
	}
	service := s.service()
	return r.checkService(&service)
}

// nameByHost fills in the name where the host says which service is meant.
func nameByHost(v Vault, s *ServiceChange) error {
	if s.Name != "" {
		return nil
	}
	if s.Host == "" {
		return badRequest("name: give a name or a host")
	}
	for _, old := range v.Services {
		if old.Host != s.Host {
			continue
		}
		if s.Name != "" {
			return badRequest("name: several services have the host %s; name one", s.Host)
		}
		s.Name = old.Name
	}
	if s.Name != "" {
		return nil
	}
	if s.Action == ActionDelete {
		return refuse(CodeNotFound, "there is no service with the host %s in the vault %s", s.Host, v.Name)
	}
	s.Name = NameFor(s.Host)
	if v.service(s.Name) >= 0 {
		return badRequest("name: give one; %s is taken", s.Name)
	}
	return nil
}

// NameFor makes a service's name of its host.
func NameFor(host string) string {
	name := strings.Trim(strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			return c
		}
		return '-'
	}, host), "-")
	return name[:min(len(name), 64)]
}

func checkSlot(v Vault, slot *CredentialSlot, value seal.Plaintext, given bool) error {
	slot.HasValue = given
	switch {
	case slot.Action != ActionSet && slot.Action != ActionDelete:
		return badRequest("action: %q is neither set nor delete", shorten(slot.Action))
	case !inject.ValidKey(slot.Key):
		return badRequest("key: it has A-Z, 0-9 and _, and begins with a letter") // it may be a value
	case !isText(slot.Description, maxDescription):
		return badRequest("description: at most %d characters of UTF-8 without control characters", maxDescription)
	case !isText(slot.ObtainInstructions, maxObtainInstructions):
		return badRequest("obtain_instructions: at most %d characters of UTF-8 without control characters", maxObtainInstructions)
	case !isObtain(slot.Obtain):
		return badRequest("obtain: an http or https URL of at most %d characters", maxObtain)
	case slot.Action == ActionDelete && given:
		return badRequest("value: a credential that is deleted has none")
	case slot.Action == ActionDelete:
		return v.mustHold(slot.Key)
	case given:
		return checkValue(slot.Key, value.Bytes())
	}
	return nil
}

func isObtain(s string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && isLine(s, maxObtain) && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// merge returns the vault's services as the proposal would make them.
func (r *Registry) merge(v Vault, p Proposal) ([]Service, error) {
	out := Vault{Name: v.Name, Services: slices.Clone(v.Services)}
	touched := make(map[string]bool)
	for i, change := range p.Services {
		if touched[change.Name] {
			return nil, badRequest("services[%d]: name: %s stands there twice", i, change.Name)
		}
		touched[change.Name] = true
		at := out.service(change.Name)
		switch {
		case change.Action == ActionDelete && at < 0:
			return nil, refuse(CodeNotFound, "services[%d]: there is no service %q in the vault %s", i, change.Name, v.Name)
		case change.Action == ActionDelete:
			out.Services = slices.Delete(out.Services, at, at+1)
		case at < 0:
			out.Services = append(out.Services, change.service())
		default:
			out.Services[at] = change.service()
		}
	}
	return r.checkServices(out.Services)
}

// checkKeys: every key that a proposed service refers to exists or is a slot,
// and no key that is deleted is still referred to.
func checkKeys(v Vault, after []Service, p Proposal) error {
	slots := make(map[string]string) // key → action
	for _, slot := range p.Credentials {
		slots[slot.Key] = slot.Action
	}
	proposed := make(map[string]bool)
	for _, s := range p.Services {
		proposed[s.Name] = true
	}
	for _, s := range after {
		in, err := inject.Parse(s.Auth)
		if err != nil {
			return err
		}
		for _, key := range in.Keys() {
			_, exists := v.Credentials[key]
			switch {
			case slots[key] == ActionDelete:
				return badRequest("credentials: %s cannot be deleted, the service %s uses it", key, s.Name)
			case proposed[s.Name] && !exists && slots[key] == "":
				return badRequest("services: %s refers to the credential %s, which the vault does not have; add it to credentials, so that a person can give its value", s.Name, key)
			}
		}
	}
	return nil
}
