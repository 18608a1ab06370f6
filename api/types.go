package api

import (
	"time"

	"agentvault/vault"
)

// Status is the body of /health and /ready.
type Status struct {
	Status string `json:"status"`
}

// InstanceStatus is the body of /v1/status.
type InstanceStatus struct {
	Initialized    bool `json:"initialized"`
	NeedsFirstUser bool `json:"needs_first_user"`
}

// LoginRequest is the body of register and login.
type LoginRequest struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// UserInfo is a person as the API shows one.
type UserInfo struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	Role  string `json:"role"`
}

// LoginResponse is what register and login answer.
type LoginResponse struct {
	User      UserInfo  `json:"user"`
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expires_at"`
}

type registered struct{ LoginResponse }

func (registered) isCreated() {}

// VaultInfo is a vault as the API shows one: no values.
type VaultInfo struct {
	Name           string          `json:"name"`
	UnmatchedHosts string          `json:"unmatched_hosts"`
	Services       []vault.Service `json:"services"`
	Credentials    []string        `json:"credentials"`
	CreatedAt      time.Time       `json:"created_at"`
}

type createdVault struct{ VaultInfo }

func (createdVault) isCreated() {}

// VaultList is the body of GET /v1/vaults.
type VaultList struct {
	Vaults []VaultInfo `json:"vaults"`
}

// NameRequest is the body of POST /v1/vaults.
type NameRequest struct {
	Name string `json:"name"`
}

// ServiceList is the body of a vault's services, in both directions.
type ServiceList struct {
	Services []vault.Service `json:"services"`
}

// CredentialInfo is a credential as the API shows one: never its value.
type CredentialInfo struct {
	Key       string    `json:"key"`
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// CredentialList is the body of GET /v1/credentials.
type CredentialList struct {
	Credentials []CredentialInfo `json:"credentials"`
}

// SetCredentialsRequest is the body of POST /v1/credentials.
type SetCredentialsRequest struct {
	Vault       string            `json:"vault"`
	Credentials map[string]string `json:"credentials"`
}

// SetCredentialsResponse lists the keys that were set.
type SetCredentialsResponse struct {
	Set []string `json:"set"`
}

// ApplyRequest is the body of POST /v1/apply.
type ApplyRequest struct {
	Vaults []ApplyVault `json:"vaults"`
}

// ApplyVault declares one vault, with its credentials' values.
type ApplyVault struct {
	Name           string            `json:"name"`
	UnmatchedHosts string            `json:"unmatched_hosts,omitempty"`
	Services       []vault.Service   `json:"services"` // null leaves them
	Credentials    map[string]string `json:"credentials,omitempty"`
}

// ApplyResponse lists what changed.
type ApplyResponse struct {
	Changes []vault.Change `json:"changes"`
}

// SessionRequest is the body of POST /v1/sessions.
type SessionRequest struct {
	Vault      string `json:"vault"`
	TTLSeconds *int64 `json:"ttl_seconds,omitempty"` // 300 to 604800; default 86400
	Label      string `json:"label,omitempty"`
}

// SessionResponse is a new session, with its token.
type SessionResponse struct {
	Token     string    `json:"token"`
	ID        string    `json:"id"`
	ExpiresAt time.Time `json:"expires_at"`
	Addr      string    `json:"av_addr"`
	ProxyURL  string    `json:"proxy_url"` // path entrance
	MITMURL   string    `json:"mitm_url"`  // proxy entrance, without credentials
}

// SessionInfo is a session as the API shows one: never its token.
type SessionInfo struct {
	ID        string    `json:"id"`
	Label     string    `json:"label"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// SessionList is the body of GET /v1/sessions.
type SessionList struct {
	Sessions []SessionInfo `json:"sessions"`
}

// AgentVault is an agent's role in a vault.
type AgentVault struct {
	VaultName string `json:"vault_name"`
	VaultRole string `json:"vault_role"`
}

// AgentRequest is the body of POST /v1/agents.
type AgentRequest struct {
	Name   string       `json:"name"`
	Vaults []AgentVault `json:"vaults"`
}

// AgentResponse is an agent's new token.
type AgentResponse struct {
	AgentName string `json:"agent_name"`
	Token     string `json:"av_agent_token"`
}

type createdAgent struct{ AgentResponse }

func (createdAgent) isCreated() {}

// AgentInfo is an agent as the API shows one: never its token.
type AgentInfo struct {
	Name      string       `json:"name"`
	Vaults    []AgentVault `json:"vaults"`
	CreatedAt time.Time    `json:"created_at"`
}

// AgentList is the body of GET /v1/agents.
type AgentList struct {
	Agents []AgentInfo `json:"agents"`
}

// Done is the body of answers that have nothing to say.
type Done struct {
	Done bool `json:"done"`
}
