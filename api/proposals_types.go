package api

import (
	"time"

	"agentvault/vault"
)

// ProposedCredential is a key that a proposal sets or deletes, as an agent
// sends it.
type ProposedCredential struct {
	Action             string  `json:"action" enum:"set,delete"`
	Key                string  `json:"key"`
	Description        string  `json:"description,omitempty" doc:"At most 500 characters."`
	Obtain             string  `json:"obtain,omitempty" doc:"An http or https URL where people get the value, at most 500 characters."`
	ObtainInstructions string  `json:"obtain_instructions,omitempty" doc:"At most 1,000 characters."`
	Value              *string `json:"value,omitempty" doc:"Sealed on arrival, never shown again. At least 8 bytes."`
}

// ProposalRequest is the body of POST /v1/proposals.
type ProposalRequest struct {
	Services    []vault.ServiceChange `json:"services,omitempty" doc:"At most 10."`
	Credentials []ProposedCredential  `json:"credentials,omitempty" doc:"At most 10."`
	Message     string                `json:"message,omitempty" doc:"For developers, at most 2,000 characters."`
	UserMessage string                `json:"user_message,omitempty" doc:"For who approves, at most 5,000 characters."`
}

// ProposalCreated is what an agent gets for a proposal.
type ProposalCreated struct {
	ID          int64  `json:"id" doc:"Counts per vault, from 1."`
	Status      string `json:"status" enum:"pending"`
	Vault       string `json:"vault"`
	ApprovalURL string `json:"approval_url"`
	Message     string `json:"message"`
}

// ProposalInfo is a proposal as the API shows one: without values.
type ProposalInfo struct {
	ID          int64                  `json:"id" doc:"Counts per vault, from 1."`
	Vault       string                 `json:"vault,omitempty" doc:"Its name, in lists."`
	Status      string                 `json:"status" enum:"pending,applied,rejected,expired"`
	Message     string                 `json:"message"`
	UserMessage string                 `json:"user_message"`
	Services    []vault.ServiceChange  `json:"services"`
	Credentials []vault.CredentialSlot `json:"credentials"`
	AskedBy     string                 `json:"asked_by"`
	AskerKind   string                 `json:"asker_kind" enum:"session,agent,user"`
	ReviewNote  string                 `json:"review_note"`
	ReviewedBy  string                 `json:"reviewed_by,omitempty" doc:"Agents are not told."`
	ReviewedAt  *time.Time             `json:"reviewed_at" doc:"Null: not yet."`
	CreatedAt   time.Time              `json:"created_at"`
	ExpiresAt   time.Time              `json:"expires_at"`
}

// ProposalList is the body of GET /v1/proposals, newest first.
type ProposalList struct {
	Proposals []ProposalInfo `json:"proposals"`
	NextPage
}

// LinkedProposal is what GET /approve/{id} answers to those who accept JSON.
type LinkedProposal struct {
	ProposalInfo
	Vault string `json:"vault"`
}

// ProposalReview is a proposal with what it would change.
type ProposalReview struct {
	ProposalInfo
	Vault    string              `json:"vault"`
	Digest   string              `json:"digest" doc:"Of all that is shown here; send it with the approval."`
	Changes  []vault.ServiceDiff `json:"changes"`
	Values   []vault.ValueDiff   `json:"values"`
	Opened   []string            `json:"opened" doc:"Requests that would newly be let through, in words."`
	Warnings []string            `json:"warnings"`
}

// ApproveRequest is the body of POST /v1/proposals/{id}/approve.
type ApproveRequest struct {
	Digest      string            `json:"digest" doc:"The digest of the review that the person saw. If anything in it has changed since, the approval is refused."`
	Credentials map[string]string `json:"credentials,omitempty" doc:"Values by key, for those that the review says are needed."`
	AllowShort  bool              `json:"allow_short,omitempty" doc:"Take values of less than 8 bytes too. Answers are not searched for those."`
	Note        string            `json:"note,omitempty" doc:"At most 2,000 characters."`

	LastsSeconds *int64 `json:"lasts_seconds,omitempty" minimum:"0" maximum:"31622400" doc:"How long the services that are set last from now; 0 is for good. Left out: as the review shows. Needed where one of them has ended."`
}

// RejectRequest is the body of POST /v1/proposals/{id}/reject.
type RejectRequest struct {
	Note string `json:"note,omitempty" doc:"For who asked, at most 2,000 characters."`
}
