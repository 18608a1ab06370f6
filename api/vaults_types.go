package api

import (
	"time"

	"agentvault/policy"
	"agentvault/vault"
)

// VaultChange is the body of PATCH /v1/vaults/{name}: one of its fields.
type VaultChange struct {
	Name           *string `json:"name,omitempty" doc:"The vault's next name."`
	UnmatchedHosts *string `json:"unmatched_hosts,omitempty" enum:"deny,tunnel" doc:"What becomes of hosts that no service names. Tunnel lets them through the proxy entrance, without credentials."`
}

// ServicePatch is the body of PATCH on a service: enabled, or some of the
// switches.
type ServicePatch struct {
	Enabled     *bool    `json:"enabled,omitempty" doc:"By itself."`
	Scrub       *string  `json:"scrub,omitempty" enum:"on,off" doc:"Whether answers are searched for credentials."`
	Undecodable *string  `json:"undecodable,omitempty" enum:"refuse,pass" doc:"What becomes of answers that cannot be searched."`
	Pins        []string `json:"pins,omitzero" required:"false" doc:"They replace all that there are; an empty list removes them."`
	Upgrades    []string `json:"upgrades,omitzero" required:"false" doc:"Likewise."`

	Limits []policy.Limit `json:"limits,omitzero" required:"false" doc:"Likewise."`

	LastsSeconds *int64 `json:"lasts_seconds,omitempty" minimum:"0" maximum:"31622400" doc:"How long the service lasts from now; 0 is for good. Then it is as if it were not there."`
}

// DummyInfo is the dummy of a credential.
type DummyInfo struct {
	Key   string `json:"key"`
	Dummy string `json:"dummy" doc:"The same for as long as the vault and the credential's name are, whatever its value."`
}

// VersionInfo is a value that was replaced.
type VersionInfo struct {
	Version   int64     `json:"version"`
	Short     bool      `json:"short,omitempty" doc:"It has less than 8 bytes: answers are not searched for it."`
	CreatedAt time.Time `json:"created_at"`
	RetiredAt time.Time `json:"retired_at"`
}

// VersionList lists a credential's earlier values, newest first.
type VersionList struct {
	Versions []VersionInfo `json:"versions"`
}

// RollBackRequest is the body of POST /v1/credentials/{key}/rollback.
type RollBackRequest struct {
	Vault   string `json:"vault"`
	Version int64  `json:"version,omitempty" doc:"Of the value to go back to; the one before when left out or 0."`
}

// CatalogSummary is an entry of the catalog in a list.
type CatalogSummary struct {
	Name     string   `json:"name"`
	Title    string   `json:"title"`
	Category string   `json:"category"`
	Hosts    []string `json:"hosts"`
	Tenant   string   `json:"tenant" doc:"What of the host is each customer's own; empty for nothing."`
}

// CatalogList is the body of GET /v1/catalog.
type CatalogList struct {
	Entries []CatalogSummary `json:"entries"`
}

// CatalogRequest is the body of POST /v1/vaults/{name}/catalog.
type CatalogRequest struct {
	Entry       string            `json:"entry"`
	Tenant      string            `json:"tenant,omitempty" doc:"One DNS label, for entries that ask for it."`
	Credentials map[string]string `json:"credentials,omitempty" doc:"Values by key, for keys of the entry."`
	AllowShort  bool              `json:"allow_short,omitempty" doc:"Take values of less than 8 bytes too. Answers are not searched for those."`
}

// VaultInfo is a vault as the API shows one: no values.
type VaultInfo struct {
	Name           string          `json:"name"`
	UnmatchedHosts string          `json:"unmatched_hosts" enum:"deny,tunnel"`
	Services       []vault.Service `json:"services"`
	Credentials    []string        `json:"credentials"`
	CreatedAt      time.Time       `json:"created_at"`
}

// VaultList is the body of GET /v1/vaults.
type VaultList struct {
	Vaults []VaultInfo `json:"vaults"`
}

// NameRequest is the body of POST /v1/vaults and PATCH /v1/agents/{name}.
type NameRequest struct {
	Name string `json:"name"`
}

// ServiceList is the body of a vault's services, in both directions.
type ServiceList struct {
	Services []vault.Service `json:"services"`
}

// AddServicesRequest is the body of POST /v1/vaults/{name}/services.
type AddServicesRequest struct {
	Services    []vault.Service   `json:"services"`
	Credentials map[string]string `json:"credentials,omitempty" doc:"Values by key, which are stored with them. They replace values that there are."`
	AllowShort  bool              `json:"allow_short,omitempty" doc:"Take values of less than 8 bytes too. Answers are not searched for those."`
}

// ServicesReview is what adding services would do, as far as a person should
// look at it.
type ServicesReview struct {
	Services []vault.Service `json:"services" doc:"As they would be stored."`
	Opened   []string        `json:"opened" doc:"Requests that they let through, in words."`
	Warnings []string        `json:"warnings" doc:"What one could overlook, in words."`
	Missing  []string        `json:"missing" doc:"Keys of credentials that they need and the vault has not."`
}

// ServiceState says whether agents can use a service.
type ServiceState struct {
	Name       string     `json:"name"`
	State      string     `json:"state" enum:"usable,credential_missing,disabled,expired"`
	Keys       []string   `json:"keys" doc:"Of the credentials that it injects."`
	Missing    []string   `json:"missing" doc:"Those of them without a value."`
	Connects   string     `json:"connects" doc:"That of them which a person obtains by signing in at an authorization server. Empty: none."`
	LastUsedAt *time.Time `json:"last_used_at" doc:"When a request last went out by it, and nothing was wrong. Null: never, as far as the request log knows."`
	ExpiresAt  *time.Time `json:"expires_at" doc:"When it ends, or ended. Null: never."`

	TokenFailedAt *time.Time `json:"token_failed_at" doc:"When a token could last not be obtained for it, unless a request went out by it since, or one of its credentials was set. Null: not so."`
}

// ServiceStateList is the body of GET /v1/vaults/{name}/state, in the order of
// the vault's services.
type ServiceStateList struct {
	Services []ServiceState `json:"services"`
}

// CredentialInfo is a credential as the API shows one: never its value.
type CredentialInfo struct {
	Key        string     `json:"key"`
	Version    int64      `json:"version"`
	Short      bool       `json:"short,omitempty" doc:"It has less than 8 bytes: answers are not searched for it."`
	CreatedAt  time.Time  `json:"created_at"`
	UpdatedAt  time.Time  `json:"updated_at"`
	LastUsedAt *time.Time `json:"last_used_at" doc:"Null: never, as far as the request log knows."`
}

// CredentialList is the body of GET /v1/credentials.
type CredentialList struct {
	Credentials []CredentialInfo `json:"credentials"`
}

// SetCredentialsRequest is the body of POST /v1/credentials.
type SetCredentialsRequest struct {
	Vault       string            `json:"vault"`
	Credentials map[string]string `json:"credentials" doc:"Values by key."`
	AllowShort  bool              `json:"allow_short,omitempty" doc:"Take values of less than 8 bytes too. Answers are not searched for those."`
}

// SetCredentialsResponse lists the keys that were set.
type SetCredentialsResponse struct {
	Set []string `json:"set"`
}

// ApplyRequest is the body of POST /v1/apply.
type ApplyRequest struct {
	Vaults     []ApplyVault `json:"vaults"`
	DryRun     bool         `json:"dry_run,omitempty" doc:"Say what would change, and change nothing."`
	AllowShort bool         `json:"allow_short,omitempty" doc:"Take values of less than 8 bytes too. Answers are not searched for those."`
}

// ApplyVault declares one vault, with its credentials' values.
type ApplyVault struct {
	Name           string            `json:"name"`
	UnmatchedHosts string            `json:"unmatched_hosts,omitempty" enum:"deny,tunnel" doc:"Leave it out to leave it as it is."`
	Services       []vault.Service   `json:"services" required:"false" doc:"They replace all that there are. Leave it out to leave them."`
	Credentials    map[string]string `json:"credentials,omitempty" doc:"Values by key. Others stay."`
}

// ApplyResponse lists what changed.
type ApplyResponse struct {
	Changes []vault.Change `json:"changes"`
}
