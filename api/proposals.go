package api

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"agentvault/vault"
	"agentvault/vault/seal"
)

type (
	// ofVault is which vault is meant. A session's vault is part of it; agents
	// say it in X-Vault, people in either.
	ofVault struct {
		Header string `header:"X-Vault" doc:"The vault's name. A session's vault is part of it."`
		Query  string `query:"vault" doc:"The vault's name, instead of X-Vault."`
	}
	proposeIn struct {
		ofVault
		Body ProposalRequest
	}
	proposalsIn struct {
		ofVault
		Status string `query:"status" enum:"pending,applied,rejected,expired" doc:"Only of this status."`
		Page
	}
	proposalIn struct {
		Number int64 `path:"id" minimum:"1" maximum:"9007199254740991"`
		ofVault
	}
	waitIn struct {
		proposalIn
		Wait time.Duration `query:"wait" minimum:"0" maximum:"60" doc:"Seconds to wait for a decision."`
	}
	approveIn struct {
		proposalIn
		Body ApproveRequest
	}
	rejectIn struct {
		proposalIn
		Body RejectRequest
	}
)

func (o ofVault) name() string { return cmp.Or(o.Query, o.Header) }

func (s *server) propose(ctx context.Context, c call[proposeIn]) (ProposalCreated, error) {
	n := vault.NewProposal{
		Services: c.in.Body.Services, Message: c.in.Body.Message, UserMessage: c.in.Body.UserMessage,
		Values: make(map[string]seal.Plaintext),
	}
	for _, slot := range c.in.Body.Credentials {
		n.Credentials = append(n.Credentials, vault.CredentialSlot{
			Action: slot.Action, Key: slot.Key, Description: slot.Description, Obtain: slot.Obtain, ObtainInstructions: slot.ObtainInstructions,
		})
		if slot.Value != nil {
			n.Values[slot.Key] = seal.NewPlaintext([]byte(*slot.Value))
		}
	}
	p, err := s.Registry.Propose(ctx, c.caller, c.in.name(), n)
	if err != nil {
		return ProposalCreated{}, err
	}
	message := "a person must decide: give them approval_url, then wait with GET /v1/proposals/" + strconv.FormatInt(p.Number, 10) + "?wait=30"
	if p.Folded {
		message = "the same is pending already; " + message
	}
	return ProposalCreated{p.Number, p.Status, p.Vault, s.link(fmt.Sprintf("/approve/%d?token=%s", p.Number, p.LinkToken)), message}, nil
}

func proposalInfo(p vault.Proposal) ProposalInfo {
	info := ProposalInfo{
		ID: p.Number, Status: p.Status, Message: p.Message, UserMessage: p.UserMessage,
		Services: p.Services, Credentials: p.Credentials,
		AskedBy: p.AskerName, AskerKind: p.AskerKind, ReviewNote: p.ReviewNote, ReviewedBy: p.ReviewedBy,
		CreatedAt: p.CreatedAt, ExpiresAt: p.ExpiresAt,
	}
	if info.Services == nil {
		info.Services = []vault.ServiceChange{}
	}
	if info.Credentials == nil {
		info.Credentials = []vault.CredentialSlot{}
	}
	if !p.ReviewedAt.IsZero() {
		info.ReviewedAt = &p.ReviewedAt
	}
	return info
}

// shownTo leaves out for agents who decided.
func shownTo(c vault.Caller, p vault.Proposal) ProposalInfo {
	info := proposalInfo(p)
	if c.IsAgent() {
		info.ReviewedBy = ""
	}
	return info
}

func (s *server) listProposals(ctx context.Context, c call[proposalsIn]) (ProposalList, error) {
	before, err := c.in.number()
	if err != nil {
		return ProposalList{}, err
	}
	list, err := s.Registry.Proposals(ctx, c.caller, c.in.name(), c.in.Status, before, c.in.Limit)
	out := ProposalList{Proposals: []ProposalInfo{}}
	for _, p := range list {
		info := shownTo(c.caller, p.Proposal)
		info.Vault = p.Vault
		out.Proposals = append(out.Proposals, info)
		out.NextCursor = fmt.Sprint(p.Number)
	}
	if len(list) < c.in.Limit || c.in.name() == "" && !c.caller.IsAgent() {
		out.NextCursor = ""
	}
	return out, err
}

func (s *server) getProposal(ctx context.Context, c call[waitIn]) (ProposalInfo, error) {
	p, err := s.Registry.WaitProposal(ctx, c.caller, c.in.name(), c.in.Number, c.in.Wait, s.Stopping)
	return shownTo(c.caller, p), err
}

func reviewInfo(rv vault.Review) ProposalReview {
	return ProposalReview{
		ProposalInfo: proposalInfo(rv.Proposal), Vault: rv.Vault, Digest: rv.Digest,
		Changes: rv.Changes, Values: rv.Values, Opened: rv.Opened, Warnings: rv.Warnings,
	}
}

func (s *server) reviewProposal(ctx context.Context, c call[proposalIn]) (ProposalReview, error) {
	rv, err := s.Registry.Review(ctx, c.caller, c.in.name(), c.in.Number)
	return reviewInfo(rv), err
}

func (s *server) approve(ctx context.Context, c call[approveIn]) (ProposalInfo, error) {
	rv, err := s.Registry.Approve(ctx, c.caller, c.in.name(), c.in.Number, vault.Approval{
		Digest: c.in.Body.Digest, Values: plaintexts(c.in.Body.Credentials),
		AllowShort: c.in.Body.AllowShort, Note: c.in.Body.Note, Lasts: lasting(c.in.Body.LastsSeconds),
	})
	return proposalInfo(rv.Proposal), err
}

func (s *server) reject(ctx context.Context, c call[rejectIn]) (ProposalInfo, error) {
	rv, err := s.Registry.Reject(ctx, c.caller, c.in.name(), c.in.Number, c.in.Body.Note)
	return proposalInfo(rv.Proposal), err
}
