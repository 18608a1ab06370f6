package vault

import (
	"time"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// States of a proposal. The only transitions are from pending to another.
const (
	ProposalPending  = "pending"
	ProposalApplied  = "applied"
	ProposalRejected = "rejected"
	ProposalExpired  = "expired"
)

// What a proposal does with a service or a credential.
const (
	ActionSet    = "set"
	ActionDelete = "delete"
)

// Lives of a proposal, and of the link that shows it.
const (
	proposalLife = 7 * 24 * time.Hour
	linkLife     = 24 * time.Hour
)

// Limits of a proposal. Texts are in characters.
const (
	maxPending            = 20 // of one vault
	maxProposed           = 10 // services, and credentials
	maxMessage            = 2_000
	maxUserMessage        = 5_000
	maxObtain             = 500
	maxObtainInstructions = 1_000
	maxReviewNote         = 2_000
)

// fieldProposed is the seal.Context field of a value that came with a
// proposal; the proposal's ID follows.
const fieldProposed = "proposed value "

// A Proposal is what an agent asks for. What it asks never changes; what
// becomes of it is decided once, by a person.
type Proposal struct {
	ID          string
	VaultID     string
	Number      int64 // per vault, from 1
	Status      string
	Services    []ServiceChange
	Credentials []CredentialSlot
	Message     string // for developers
	UserMessage string // for who decides

	AskerKind string   // session, agent or user
	AskerName string   // as it was then
	Askers    []string // IDs of all who asked the same; the first asked first

	LinkDigest [32]byte // of the token that shows it
	CreatedAt  time.Time
	ExpiresAt  time.Time
	ReviewedAt time.Time // zero: not yet
	ReviewedBy string    // email
	ReviewNote string
}

// statusAt is the status at a time: a pending one that nobody decided in time
// has expired, stored or not.
func (p *Proposal) statusAt(now time.Time) string {
	if p.Status == ProposalPending && !now.Before(p.ExpiresAt) {
		return ProposalExpired
	}
	return p.Status
}

// A ServiceChange is what a proposal does with one service.
type ServiceChange struct {
	Action      string        `json:"action"` // set or delete
	Name        string        `json:"name"`   // may be left out when the host names the service uniquely
	Host        string        `json:"host,omitempty"`
	Description string        `json:"description,omitempty"`
	Enabled     *bool         `json:"enabled,omitempty"` // true when left out
	Auth        *inject.Auth  `json:"auth,omitempty"`
	Rules       []policy.Rule `json:"rules,omitempty"`

	Substitutions []inject.Substitution `json:"substitutions,omitempty"`
	Placeholder   string                `json:"placeholder,omitempty"`
}

// service is what the change makes of the service.
func (c ServiceChange) service() Service {
	s := Service{Name: c.Name, Host: c.Host, Description: c.Description, Enabled: c.Enabled == nil || *c.Enabled, Rules: c.Rules, Substitutions: c.Substitutions, Placeholder: c.Placeholder}
	if c.Auth != nil {
		s.Auth = *c.Auth
	}
	return s
}

// A CredentialSlot is a key that a proposal sets or deletes. Its value is given
// by who approves, unless the agent gave one.
type CredentialSlot struct {
	Action             string `json:"action"` // set or delete
	Key                string `json:"key"`
	Description        string `json:"description,omitempty"`
	Obtain             string `json:"obtain,omitempty"` // http(s) URL
	ObtainInstructions string `json:"obtain_instructions,omitempty"`
	HasValue           bool   `json:"has_value"`
	Box                []byte `json:"-"` // the value, sealed; nil for none
}

// A NewProposal is what an agent sends.
type NewProposal struct {
	Services    []ServiceChange
	Credentials []CredentialSlot
	Values      map[string]seal.Plaintext // of the slots that came with one
	Message     string
	UserMessage string
}

// A Review is a proposal as a person must see it to decide: what would change,
// and a digest that binds the decision to it.
type Review struct {
	Proposal
	Vault    string // name
	Digest   string // of the proposal and of all that it would change
	Changes  []ServiceDiff
	Values   []ValueDiff
	Opened   []string // requests that would newly be let through, in words
	Warnings []string
}

// A ServiceDiff is a service before and after.
type ServiceDiff struct {
	Name   string   `json:"name"`
	Before *Service `json:"before"` // null: it is new
	After  *Service `json:"after"`  // null: it goes
}

// A ValueDiff is what happens to a credential, and what a person must give.
type ValueDiff struct {
	CredentialSlot
	Exists bool `json:"exists"` // the vault has a value of this key
	Needed bool `json:"needed"` // a value must be given to approve
}
