package api

import (
	"context"
	"net/url"
	"strconv"
	"time"
)

// RenewLease renews the lease that the client's token is of.
func (c *Client) RenewLease(ctx context.Context) (LeaseInfo, error) {
	return send[LeaseInfo](ctx, c, "POST", "/v1/sessions/renew", nil)
}

// RevokeAgent ends an agent's token. The agent stays.
func (c *Client) RevokeAgent(ctx context.Context, name string) error {
	_, err := c.do(ctx, "POST", at("agents", name, "revoke"), nil)
	return err
}

// RenameAgent renames an agent.
func (c *Client) RenameAgent(ctx context.Context, name, next string) (AgentInfo, error) {
	return send[AgentInfo](ctx, c, "PATCH", at("agents", name), NameRequest{next})
}

// GrantVault lets an agent use a vault.
func (c *Client) GrantVault(ctx context.Context, name, vaultName string, r GrantRequest) (AgentInfo, error) {
	return send[AgentInfo](ctx, c, "PUT", at("agents", name, "vaults", vaultName), r)
}

// RevokeVault takes a vault away from an agent.
func (c *Client) RevokeVault(ctx context.Context, name, vaultName string) (AgentInfo, error) {
	return send[AgentInfo](ctx, c, "DELETE", at("agents", name, "vaults", vaultName), nil)
}

// InviteAgent makes a link that makes one agent.
func (c *Client) InviteAgent(ctx context.Context, r AgentInviteRequest) (AgentInviteResponse, error) {
	return send[AgentInviteResponse](ctx, c, "POST", "/v1/agents/invites", r)
}

// AgentInvites lists the invites of agents.
func (c *Client) AgentInvites(ctx context.Context) (InviteList, error) {
	return send[InviteList](ctx, c, "GET", "/v1/agents/invites", nil)
}

// RevokeAgentInvite revokes an agent's invite.
func (c *Client) RevokeAgentInvite(ctx context.Context, id string) error {
	_, err := c.do(ctx, "DELETE", at("agents", "invites", id), nil)
	return err
}

// RedeemAgent makes an agent of an invite.
func (c *Client) RedeemAgent(ctx context.Context, token string) (RedeemResponse, error) {
	return send[RedeemResponse](ctx, c, "POST", "/invite/"+url.PathEscape(token), struct{}{})
}

// Propose asks for services and credentials. A session's vault is part of it,
// and vaultName may be "".
func (c *Client) Propose(ctx context.Context, vaultName string, r ProposalRequest) (ProposalCreated, error) {
	return send[ProposalCreated](ctx, c, "POST", "/v1/proposals"+query("vault", vaultName), r)
}

// Proposals lists a vault's proposals, newest first. status "" means all. With
// vaultName "" a person gets what is pending in all of their vaults.
func (c *Client) Proposals(ctx context.Context, vaultName, status, cursor string, limit int) (ProposalList, error) {
	return send[ProposalList](ctx, c, "GET", "/v1/proposals"+query("vault", vaultName, "status", status, "cursor", cursor, "limit", positive(limit)), nil)
}

func proposalPath(number int64) string { return at("proposals", strconv.FormatInt(number, 10)) }

// Proposal returns a proposal, at once or when it is decided, after wait at
// the latest. A minute is the longest.
func (c *Client) Proposal(ctx context.Context, vaultName string, number int64, wait time.Duration) (ProposalInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime+wait)
	defer cancel()
	return send[ProposalInfo](ctx, c, "GET", proposalPath(number)+query("vault", vaultName, "wait", positive(int(wait/time.Second))), nil)
}

// LinkedProposal returns what the link of a proposal shows to whoever has it.
func (c *Client) LinkedProposal(ctx context.Context, number int64, token string) (LinkedProposal, error) {
	return send[LinkedProposal](ctx, c, "GET", "/approve/"+strconv.FormatInt(number, 10)+query("token", token), nil)
}

// ReviewProposal returns a proposal with what it would change.
func (c *Client) ReviewProposal(ctx context.Context, vaultName string, number int64) (ProposalReview, error) {
	return send[ProposalReview](ctx, c, "GET", proposalPath(number)+"/review"+query("vault", vaultName), nil)
}

// ApproveProposal applies a proposal.
func (c *Client) ApproveProposal(ctx context.Context, vaultName string, number int64, r ApproveRequest) (ProposalInfo, error) {
	return send[ProposalInfo](ctx, c, "POST", proposalPath(number)+"/approve"+query("vault", vaultName), r)
}

// RejectProposal rejects a proposal.
func (c *Client) RejectProposal(ctx context.Context, vaultName string, number int64, note string) (ProposalInfo, error) {
	return send[ProposalInfo](ctx, c, "POST", proposalPath(number)+"/reject"+query("vault", vaultName), RejectRequest{note})
}

// MintSession makes a session.
func (c *Client) MintSession(ctx context.Context, r SessionRequest) (SessionResponse, error) {
	return send[SessionResponse](ctx, c, "POST", "/v1/sessions", r)
}

// Sessions lists a vault's sessions that have not ended.
func (c *Client) Sessions(ctx context.Context, vaultName string) (SessionList, error) {
	return send[SessionList](ctx, c, "GET", "/v1/sessions"+query("vault", vaultName), nil)
}

// RevokeSession ends a session.
func (c *Client) RevokeSession(ctx context.Context, id string) error {
	_, err := c.do(ctx, "DELETE", at("sessions", id), nil)
	return err
}

// RevokeSelf ends the session that the client's token is of.
func (c *Client) RevokeSelf(ctx context.Context) error {
	_, err := c.do(ctx, "DELETE", "/v1/sessions/self", nil)
	return err
}

// CreateAgent makes an agent with a token of its own.
func (c *Client) CreateAgent(ctx context.Context, r AgentRequest) (AgentResponse, error) {
	return send[AgentResponse](ctx, c, "POST", "/v1/agents", r)
}

// Agents lists the agents.
func (c *Client) Agents(ctx context.Context) (AgentList, error) {
	return send[AgentList](ctx, c, "GET", "/v1/agents", nil)
}

// RotateAgent gives an agent a new token. The old one no longer works.
func (c *Client) RotateAgent(ctx context.Context, name string) (AgentResponse, error) {
	return send[AgentResponse](ctx, c, "POST", at("agents", name, "rotate"), nil)
}

// RotateAgentOver is RotateAgent with an overlap, in whole seconds, in which the
// old token works too.
func (c *Client) RotateAgentOver(ctx context.Context, name string, overlap time.Duration) (AgentResponse, error) {
	return send[AgentResponse](ctx, c, "POST", at("agents", name, "rotate")+"?overlap="+strconv.FormatInt(int64(overlap/time.Second), 10), nil)
}

// DeleteAgent removes an agent.
func (c *Client) DeleteAgent(ctx context.Context, name string) error {
	_, err := c.do(ctx, "DELETE", at("agents", name), nil)
	return err
}
