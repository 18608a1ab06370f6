package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"agentvault/policy"
	"agentvault/policy/inject"
)

// What a vault does with hosts that no service names.
const (
	UnmatchedDeny   = "deny"
	UnmatchedTunnel = "tunnel" // on the proxy entrance: a blind tunnel
)

// FieldValue is the seal.Context field of a credential's value.
const FieldValue = "value"

// A Vault holds services and the credentials that they use.
type Vault struct {
	ID             string // never reused, unlike the name
	Name           string // 3–64 of a-z 0-9 -
	UnmatchedHosts string // UnmatchedDeny or UnmatchedTunnel
	Services       []Service
	Credentials    map[string]Credential // by key
	CreatedAt      time.Time
}

// A Service is a host pattern with its auth and its rules, in the shape that
// people and agents write.
type Service struct {
	Name        string        `json:"name"` // 3–64 of a-z 0-9 -, unique in the vault
	Host        string        `json:"host"` // canonical once saved
	Scheme      string        `json:"scheme,omitempty"`
	Description string        `json:"description,omitempty"`
	Enabled     bool          `json:"enabled"` // true when left out
	Auth        inject.Auth   `json:"auth"`
	Rules       []policy.Rule `json:"rules,omitempty"`
}

// UnmarshalJSON refuses unknown fields, and takes a missing "enabled" as true.
func (s *Service) UnmarshalJSON(b []byte) error {
	type plain Service // without this method
	p := plain{Enabled: true}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return fmt.Errorf("service %q: it has no field %s", p.Name, name)
		}
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return fmt.Errorf("service %q: %s: a %s does not fit", p.Name, wrong.Field, wrong.Value)
		}
		return fmt.Errorf("service %q: %w", p.Name, err)
	}
	*s = Service(p)
	return nil
}

// Policy is the part of the service that a decision looks at.
func (s Service) Policy() policy.Service {
	return policy.Service{Name: s.Name, Scheme: s.Scheme, Host: s.Host, Enabled: s.Enabled, Rules: s.Rules}
}

// A Credential is a sealed value. Its clear value is known to nobody here.
type Credential struct {
	Key       string // ^[A-Z][A-Z0-9_]*$
	Version   int64  // grows with each value
	Box       []byte // seal.Context{Vault: the vault's ID, Credential: Key, Field: FieldValue, Version: Version}
	CreatedAt time.Time
	UpdatedAt time.Time
}

// A User is a person who may sign in.
type User struct {
	ID           string
	Email        string // lower case
	PasswordHash string // Argon2id, PHC format
	Role         string // RoleOwner, RoleMember or RoleNoAccess
	CreatedAt    time.Time
}

// Instance roles.
const (
	RoleOwner    = "owner"
	RoleMember   = "member"
	RoleNoAccess = "no-access"
)

// Vault roles.
const (
	VaultAdmin  = "admin"
	VaultMember = "member"
	VaultProxy  = "proxy" // may use, and ask
)

// A Login is a person's sign-in.
type Login struct {
	Digest    [32]byte
	UserID    string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// A Session lets an agent use one vault for a time.
type Session struct {
	ID        string
	Digest    [32]byte
	VaultID   string
	Label     string
	CreatedBy string // the user's ID
	CreatedAt time.Time
	ExpiresAt time.Time
}

// An Agent has a token of its own, and a role in some vaults.
type Agent struct {
	ID        string
	Name      string
	Digest    [32]byte
	Vaults    map[string]string // vault ID → role
	CreatedAt time.Time
}

// A Snapshot is all that decisions depend on, as of one revision.
type Snapshot struct {
	Revision    int64
	Initialized bool // an owner exists
	Vaults      []Vault
	Sessions    []Session // that have not ended
	Agents      []Agent
}
