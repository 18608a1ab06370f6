package vault

import (
	"context"
	"errors"
)

// ErrNotFound is what a Tx returns when there is no such row.
var ErrNotFound = errors.New("not found")

// A Store is what commands ask of storage.
type Store interface {
	// Read runs f on one consistent state.
	Read(ctx context.Context, f func(Tx) error) error
	// Write runs f in a transaction and commits, unless f returns an error. It
	// returns the revision that the commit made current, or that was current
	// if nothing changed that decisions depend on.
	Write(ctx context.Context, f func(Tx) error) (revision int64, err error)
}

// A Tx loads nouns and puts them back.
type Tx interface {
	Vaults
	Users
	Logins
	Sessions
	Agents
}

// Vaults are stored whole: a vault with its services and credentials.
type Vaults interface {
	VaultByName(name string) (Vault, error)
	VaultByID(id string) (Vault, error)
	ListVaults() ([]Vault, error) // by name
	PutVault(Vault) error
	DeleteVault(id string) error // with its sessions and grants
}

// Users are people.
type Users interface {
	UserByEmail(email string) (User, error)
	UserByID(id string) (User, error)
	ListUsers() ([]User, error) // by email
	PutUser(User) error
}

// Logins are people's sign-ins.
type Logins interface {
	LoginByDigest(digest [32]byte) (Login, error)
	PutLogin(Login) error
	DeleteLogin(digest [32]byte) error
}

// Sessions are agents' sessions.
type Sessions interface {
	SessionByDigest(digest [32]byte) (Session, error)
	SessionByID(id string) (Session, error)
	ListSessions(vaultID string) ([]Session, error) // newest first
	PutSession(Session) error
	DeleteSession(id string) error
}

// Agents are the instance's agents.
type Agents interface {
	AgentByDigest(digest [32]byte) (Agent, error)
	AgentByName(name string) (Agent, error)
	ListAgents() ([]Agent, error) // by name
	PutAgent(Agent) error
	DeleteAgent(id string) error
}
