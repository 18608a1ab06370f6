package vault

import (
	"context"
	"errors"
	"time"
)

// ErrNotFound is what a Tx returns when there is no such row.
var ErrNotFound = errors.New("not found")

// A Store is what commands ask of storage.
type Store interface {
	// Read runs f on one consistent state.
	Read(ctx context.Context, f func(Tx) error) error
	// Browse is Read for questions that may take long: a few at a time, and none
	// for ever.
	Browse(ctx context.Context, f func(Tx) error) error
	// Write runs f in a transaction and commits, unless f returns an error. It
	// returns the revision that the commit made current, or that was current
	// if nothing changed that decisions depend on.
	Write(ctx context.Context, f func(Tx) error) (revision int64, err error)
	// Changes returns a channel that gets a signal after each commit, and a
	// function that ends it.
	Changes() (<-chan struct{}, func())
	// Logged returns a channel that gets a signal after the request log has
	// grown. The function ends it.
	Logged() (<-chan struct{}, func())
}

// A Tx loads nouns and puts them back.
type Tx interface {
	Vaults
	VaultRefs
	Versions
	Users
	Logins
	Sessions
	Leases
	Agents
	Invites
	Proposals
	HeldRequests
	Events
	Requests
	MintedTokens
	Ledger
	Authorities
}

// Vaults are stored whole: a vault with its services and credentials.
type Vaults interface {
	VaultByName(name string) (Vault, error)
	VaultByID(id string) (Vault, error)
	ListVaults() ([]Vault, error) // by name
	PutVault(Vault) error
	DeleteVault(id string) error // with all that belongs to it
}

// VaultRefs find vaults without loading what is in them, which may be much.
type VaultRefs interface {
	VaultRefByName(name string) (VaultRef, error)
	VaultRefByID(id string) (VaultRef, error)
	ListVaultRefs() ([]VaultRef, error) // by name
}

// Versions are of credentials' values.
type Versions interface {
	// NextVersion gives a number that this key never had, deleted or not.
	NextVersion(vaultID, key string) (int64, error)
	ListVersions(vaultID, key string) ([]CredentialVersion, error) // retired ones, newest first
	PutVersion(vaultID string, v CredentialVersion) error
	DeleteVersions(vaultID, key string, keep int) error // all but the newest
}

// Users are people, each with the roles in vaults.
type Users interface {
	UserByEmail(email string) (User, error)
	UserByID(id string) (User, error)
	ListUsers() ([]User, error) // by email
	PutUser(User) error
	DeleteUser(id string) error // with logins
}

// Logins are people's sign-ins.
type Logins interface {
	LoginByDigest(digest [32]byte) (Login, error)
	ListLogins(userID string) ([]Login, error) // newest first
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

// Leases are of sessions that end when nobody renews them.
type Leases interface {
	SessionByLease(digest [32]byte) (Session, error)
	ListLeased() ([]Session, error)
	// CountSessions counts those of a vault that a user minted and that have not
	// ended.
	CountSessions(vaultID, createdBy string, now time.Time) (int, error)
}

// Agents are the instance's agents.
type Agents interface {
	AgentByDigest(digest [32]byte) (Agent, error)
	AgentByName(name string) (Agent, error)
	ListAgents() ([]Agent, error) // by name
	PutAgent(Agent) error
	DeleteAgent(id string) error
}

// Invites are of agents and users.
type Invites interface {
	InviteByDigest(digest [32]byte) (Invite, error)
	ListInvites(kind string) ([]Invite, error) // newest first
	PutInvite(Invite) error
}

// Proposals are what agents ask for.
type Proposals interface {
	// NextProposal gives the vault's next number.
	NextProposal(vaultID string) (int64, error)
	ProposalByNumber(vaultID string, number int64) (Proposal, error)
	ProposalByLink(digest [32]byte) (Proposal, error)
	ListProposals(ProposalFilter) ([]Proposal, error) // newest first
	PutProposal(Proposal) error
}

// A ProposalFilter says which proposals. Zero fields ask for all.
type ProposalFilter struct {
	VaultID string
	Status  string
	Now     time.Time // at which a pending one may have expired; required
	Overdue bool      // only those that have expired, and are not stored so yet
	Asker   string    // the id of who asked
	Before  int64     // numbers below; for the next page of one vault
	Limit   int
}

// HeldRequests are those that wait for a person, and what became of them. What
// they say, and their answers, are boxes beside.
type HeldRequests interface {
	// NextHeld gives the vault's next number.
	NextHeld(vaultID string) (int64, error)
	HeldByID(id string) (Held, error)
	HeldByNumber(vaultID string, number int64) (Held, error)
	HeldByDigest(vaultID string, digest [32]byte) (Held, error) // the newest
	ListHeld(HeldFilter) ([]Held, error)                        // newest first
	PutHeld(Held) error
	HeldBox(id, what string) ([]byte, error)
	PutHeldBox(id, what string, box []byte) error
	// ForgetHeld deletes the boxes of what was over at one time, and all that is
	// known of what was over at another.
	ForgetHeld(boxes, rows time.Time) error
	// HeldToForget reports whether there is any of that.
	HeldToForget(boxes, rows time.Time) (bool, error)
}

// A HeldFilter says which held requests. Zero fields ask for all.
type HeldFilter struct {
	VaultID string
	Pending time.Time // only those that are pending at this time
	Before  int64     // numbers below; for the next page of one vault
	Limit   int
}

// Events are the record of changes.
type Events interface {
	PutEvent(Event) error // sets the ID
	// ListEvents returns those below an ID, newest first; vaultID "" means of all
	// vaults and of the instance, before 0 from the newest.
	ListEvents(vaultID string, before int64, limit int) ([]Event, error)
}

// Authorities is the one authority of the instance.
type Authorities interface {
	Authority() (Authority, error)
	PutAuthority(Authority) error
}

// A Ledger holds what was used up of budgets and uses.
type Ledger interface {
	// Spent returns what the accounts of a service hold, of which each counts for a
	// window by its name; none given: for good.
	Spent(vaultID, service string, now time.Time, windows map[string]time.Duration) ([]Spent, error)
	ForgetSpent(vaultID, service string) error
}
