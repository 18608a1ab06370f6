package api

import "time"

// SessionRequest is the body of POST /v1/sessions.
type SessionRequest struct {
	Vault      string `json:"vault"`
	TTLSeconds *int64 `json:"ttl_seconds,omitempty" minimum:"300" maximum:"604800" default:"86400" doc:"How long the session lasts, with or without a lease."`
	Label      string `json:"label,omitempty" doc:"At most 100 characters."`
	Lease      bool   `json:"lease,omitempty" doc:"The session ends unless its lease is renewed within lease_seconds, again and again."`
}

// SessionResponse is a new session, with its token.
type SessionResponse struct {
	Token        string    `json:"token"`
	ID           string    `json:"id"`
	ExpiresAt    time.Time `json:"expires_at"`
	Addr         string    `json:"av_addr"`
	ProxyURL     string    `json:"proxy_url" doc:"The path entrance."`
	MITMURL      string    `json:"mitm_url" doc:"The proxy entrance, without credentials."`
	LeaseToken   string    `json:"lease_token,omitempty" doc:"The token for POST /v1/sessions/renew, which is good for nothing else."`
	LeaseSeconds int64     `json:"lease_seconds,omitempty" doc:"How long the lease lasts without a renewal."`
}

// LeaseInfo is a lease that was renewed.
type LeaseInfo struct {
	EndsAt time.Time `json:"ends_at"`
}

// SessionInfo is a session as the API shows one: never its token.
type SessionInfo struct {
	ID        string    `json:"id"`
	Label     string    `json:"label"`
	CreatedBy string    `json:"created_by" doc:"The email of who minted it."`
	Leased    bool      `json:"leased" doc:"It ends when nobody renews its lease."`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// SessionList is the body of GET /v1/sessions.
type SessionList struct {
	Sessions []SessionInfo `json:"sessions"`
}

// AgentVault is what an agent may do in a vault.
type AgentVault struct {
	VaultName string   `json:"vault_name"`
	VaultRole string   `json:"vault_role" enum:"proxy,member,admin"`
	Services  []string `json:"services,omitzero" required:"false" doc:"Names of the only services that it may use; all when left out."`

	Ending []EndingGrant `json:"ending,omitzero" required:"false" doc:"Services that it may use for a while besides. They are granted one by one."`
}

// GrantRequest is the body of PUT /v1/agents/{name}/vaults/{vault}.
type GrantRequest struct {
	VaultRole string   `json:"vault_role,omitempty" enum:"proxy,member,admin" default:"proxy"`
	Services  []string `json:"services,omitzero" required:"false" doc:"Names of the only services that it may use; all when left out."`
}

// AgentRequest is the body of POST /v1/agents.
type AgentRequest struct {
	Name              string       `json:"name"`
	Vaults            []AgentVault `json:"vaults" required:"false"`
	SessionTTLSeconds *int64       `json:"session_ttl_seconds,omitempty" maximum:"31622400" doc:"How long the agent's token lasts: 300 at least. Left out or 0: until it is revoked."`
}

// AgentResponse is an agent's new token.
type AgentResponse struct {
	AgentName string `json:"agent_name"`
	Token     string `json:"av_agent_token"`
}

// AgentInfo is an agent as the API shows one: never its token.
type AgentInfo struct {
	Name      string       `json:"name"`
	Status    string       `json:"status" enum:"active,revoked,expired" doc:"Of its token."`
	Vaults    []AgentVault `json:"vaults"`
	CreatedAt time.Time    `json:"created_at"`
	ExpiresAt *time.Time   `json:"expires_at" doc:"When its token ends; null: it does not."`
}

// AgentList is the body of GET /v1/agents.
type AgentList struct {
	Agents []AgentInfo `json:"agents"`
}

// AgentInviteRequest is the body of POST /v1/agents/invites.
type AgentInviteRequest struct {
	Name              string       `json:"name"`
	TTLSeconds        *int64       `json:"ttl_seconds,omitempty" minimum:"60" maximum:"604800" default:"86400" doc:"Of the invite."`
	SessionTTLSeconds *int64       `json:"session_ttl_seconds,omitempty" maximum:"31622400" doc:"How long the agent's token lasts: 300 at least. Left out or 0: until it is revoked."`
	Vaults            []AgentVault `json:"vaults" required:"false"`
}

// AgentInviteResponse is a new invite of an agent, with its link.
type AgentInviteResponse struct {
	ID         string       `json:"id"`
	AgentName  string       `json:"agent_name"`
	ExpiresAt  time.Time    `json:"expires_at"`
	InviteLink string       `json:"invite_link"`
	Token      string       `json:"token"`
	Vaults     []AgentVault `json:"vaults"`
}

// RedeemResponse is what an agent gets for an invite.
type RedeemResponse struct {
	AgentName    string       `json:"agent_name"`
	Addr         string       `json:"av_addr"`
	Token        string       `json:"av_agent_token"`
	Instructions string       `json:"instructions"`
	ProxyURL     string       `json:"proxy_url" doc:"The path entrance."`
	MITMURL      string       `json:"mitm_url" doc:"The proxy entrance, without credentials."`
	Vaults       []AgentVault `json:"vaults"`
}
