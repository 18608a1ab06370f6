package vault

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// A VaultRef says which vault, and nothing of what is in it.
type VaultRef struct{ ID, Name string }

func (v *Vault) ref() *VaultRef { return &VaultRef{v.ID, v.Name} }

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

	// Substitutions are placeholders that agents may write instead of credentials.
	Substitutions []inject.Substitution `json:"substitutions,omitempty"`

	// Placeholder is what an agent sends where clients put a key, for its request to
	// be the service's: one of several of a host. PlaceholderDummy is the dummy of
	// its credential. "": requests need none.
	Placeholder string `json:"placeholder,omitempty"`
	Switches
}

// Keys are the credentials that the service uses, each once. An auth that cannot
// be read has none.
func (s Service) Keys() []string {
	keys := inject.KeysOf(s.Substitutions)
	if in, err := inject.Parse(s.Auth); err == nil {
		own := in.Keys()
		keys = append(own, without(keys, own)...)
	}
	return keys
}

// UnmarshalJSON refuses unknown fields, and takes a missing "enabled" as true.
func (s *Service) UnmarshalJSON(b []byte) error {
	type plain Service // without this method
	p := plain{Enabled: true}
	if err := MeantRules(b); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return decodeError(b, err)
	}
	*s = Service(p)
	return nil
}

// What is said of rules that are there by mistake.
const (
	NullRule       = "it is null, and would allow everything; write {} where that is meant"
	EmptyCondition = "it is empty; leave it out where there is no condition"
)

// MeantRules refuses rules of a service, or of what a proposal makes of one, that are
// there by mistake and would allow everything: a null, and an empty condition. What
// is wrong otherwise is not its concern.
func MeantRules(service []byte) error {
	var s struct {
		Name  string          `json:"name"`
		Rules json.RawMessage `json:"rules"`
	}
	var rules []json.RawMessage
	if json.Unmarshal(service, &s) != nil || s.Rules == nil {
		return nil
	}
	if json.Unmarshal(s.Rules, &rules) != nil {
		return nil
	}
	for i, raw := range rules {
		var rule map[string]json.RawMessage
		if json.Unmarshal(raw, &rule) != nil {
			continue
		}
		if rule == nil {
			return fmt.Errorf("service %q: rules[%d]: %s", s.Name, i, NullRule)
		}
		for _, field := range []string{"preset", "when"} {
			if string(rule[field]) == `""` {
				return fmt.Errorf("service %q: rules[%d].%s: %s", s.Name, i, field, EmptyCondition)
			}
		}
	}
	return nil
}

// Policy is the part of the service that a decision looks at.
func (s Service) Policy() policy.Service {
	return policy.Service{Name: s.Name, Scheme: s.Scheme, Host: s.Host, Enabled: s.Enabled, Rules: s.Rules,
		Agents: s.Agents, Placeholder: s.chosenBy()}
}

// A Credential is a sealed value. Its clear value is known to nobody here.
type Credential struct {
	Key       string // ^[A-Z][A-Z0-9_]*$
	Version   int64  // grows with each value
	Box       []byte // seal.Context{Vault: the vault's ID, Credential: Key, Field: FieldValue, Version: Version}
	CreatedAt time.Time
	UpdatedAt time.Time
}

// A CredentialVersion is a value that was replaced, kept so that a rotation can
// be undone.
type CredentialVersion struct {
	Key       string
	Version   int64
	Box       []byte // as in Credential
	CreatedAt time.Time
	RetiredAt time.Time
}

// A User is a person who may sign in.
type User struct {
	ID           string
	Email        string            // lower case
	PasswordHash string            // Argon2id, PHC format
	Role         string            // RoleOwner, RoleMember or RoleNoAccess
	Vaults       map[string]string // vault ID → role; an owner needs none
	CreatedAt    time.Time
}

// Instance roles.
const (
	RoleOwner    = "owner"
	RoleMember   = "member"
	RoleNoAccess = "no-access" // may sign in, and nothing else
)

// Vault roles.
const (
	VaultAdmin  = "admin"
	VaultMember = "member"
	VaultProxy  = "proxy" // may use, and ask
)

// A Login is a person's sign-in.
type Login struct {
	ID              string
	Digest          [32]byte
	UserID          string
	Client          string // what signed in, by its own words
	CreatedAt       time.Time
	AuthenticatedAt time.Time // when the password was given last
	SeenAt          time.Time // to the minute
	ExpiresAt       time.Time // whatever happens; idle ones end before
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

	// LeaseDigest is of the token that keeps the session alive; the zero digest
	// is none, and the session lasts until ExpiresAt by itself.
	LeaseDigest [32]byte
}

func (s Session) ended(now time.Time) bool { return !now.Before(s.ExpiresAt) }

// Leased reports whether the session ends when nobody renews its lease.
func (s Session) Leased() bool { return s.LeaseDigest != [32]byte{} }

// An Agent has a token of its own, and a grant in some vaults.
type Agent struct {
	ID        string
	Name      string
	Digest    [32]byte         // of the token
	Vaults    map[string]Grant // by vault ID
	CreatedAt time.Time
	TokenTTL  time.Duration // how long a token lasts; 0: it does not end
	ExpiresAt time.Time     // of the token; zero: never
	RevokedAt time.Time     // of the token, until there is a new one; zero: it is not
	Old       OldToken      // is good too, for a while
}

// An OldToken is the one that an agent had before. The zero OldToken is none.
type OldToken struct {
	Digest    [32]byte
	ExpiresAt time.Time // as it was; zero: never
	EndsAt    time.Time // when it stops working because there is a new one
}

// Works reports whether the old token is still good.
func (o OldToken) Works(now time.Time) bool {
	return now.Before(o.EndsAt) && (o.ExpiresAt.IsZero() || now.Before(o.ExpiresAt))
}

// knows reports whether the token of a digest is the agent's and good.
func (a Agent) knows(digest [32]byte, now time.Time) bool {
	if digest == a.Digest {
		return !a.ended(now)
	}
	return digest == a.Old.Digest && a.Old.Works(now)
}

// ended is of the token.
func (a Agent) ended(now time.Time) bool { return !a.ExpiresAt.IsZero() && !now.Before(a.ExpiresAt) }

// A Grant is what an agent may do in a vault.
type Grant struct {
	Role string

	// Services are the names of those that the agent may use; nil means all,
	// also those to come.
	Services []string

	// Ends are of services that it may use for a while besides.
	Ends Ending
}

// Kinds of Invite.
const (
	InviteAgent = "agent"
	InviteUser  = "user"
)

// An Invite makes one agent or one user of whoever redeems it first.
type Invite struct {
	ID         string
	Kind       string // InviteAgent or InviteUser
	Digest     [32]byte
	Name       string           // the agent's name, or the user's email
	Role       string           // the user's role on the instance
	Vaults     map[string]Grant // by vault ID
	TokenTTL   time.Duration    // of the agent's token; 0: it does not end
	CreatedBy  string           // the user's ID
	CreatedAt  time.Time
	ExpiresAt  time.Time
	RedeemedAt time.Time // zero: not yet
	RevokedAt  time.Time // zero: not
}

// An Event is a change that was made to the instance. It is stored in the
// transaction of the change.
type Event struct {
	ID        int64 // grows
	Time      time.Time
	ActorKind string // user, session, agent or server
	ActorID   string
	ActorName string // email, label or name, as it was then
	Action    string // as in docs/permissions.md
	VaultID   string // "" when it was about none
	Vault     string // its name then
	Object    string // what was changed: keys and names, never values
}

// A Snapshot is all that decisions depend on, as of one revision.
type Snapshot struct {
	Revision    int64
	Initialized bool // an owner exists
	Vaults      []Vault
	Earlier     map[string][]CredentialVersion // values that were replaced and are kept, by vault ID
	Sessions    []Session                      // that have not ended
	Agents      []Agent
}
