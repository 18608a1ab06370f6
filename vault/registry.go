package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// Options say how a Registry works.
type Options struct {
	// Store is required.
	Store Store

	// Key is the data key that vaults' keys come from. Required.
	Key seal.Key

	// Published returns once this node decides on the revision; every command
	// that changes something waits for it before it answers. Nil waits for
	// nothing.
	Published func(ctx context.Context, revision int64) error

	// Recorded returns once the request log has all that was recorded when it was
	// called, or when ctx ends. Nil waits for nothing.
	Recorded func(ctx context.Context)

	// ProxyURL returns the path entrance's base URL, which agents discover. Nil
	// means "".
	ProxyURL func() string

	// Exchange trades the code of an authorization server for a credential. Nil
	// connects no accounts.
	Exchange func(ctx context.Context, x CodeExchange) (inject.Token, error)

	// CallbackURL returns the address of the pages to which authorization servers
	// send people back, one below it for each; it ends in a slash. Nil, or "": there
	// are none.
	CallbackURL func() string

	// KnownHosts are those of APIs that are widely known, in A-labels: a person is
	// warned of what looks like one.
	KnownHosts []string

	// Development lets services name local hosts.
	Development bool

	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// Log receives operational messages, never credentials. Nil discards them.
	Log *slog.Logger
}

// A Registry carries out commands. It is safe for use by many goroutines.
type Registry struct {
	store       Store
	key         seal.Key
	published   func(context.Context, int64) error
	recorded    func(context.Context)
	proxyURL    func() string
	exchange    func(context.Context, CodeExchange) (inject.Token, error)
	callbackURL func() string
	knownHosts  []string
	development bool
	clock       func() time.Time
	log         *slog.Logger

	connections connections // that were begun

	leases leases
	waits  waits
}

// New returns a Registry. The error names the option that is missing.
func New(o Options) (*Registry, error) {
	switch {
	case o.Store == nil:
		return nil, errors.New("vault: Options.Store is required")
	case o.Key == seal.Key{}:
		return nil, errors.New("vault: Options.Key is required")
	}
	r := &Registry{
		store: o.Store, key: o.Key, published: o.Published, recorded: o.Recorded, proxyURL: o.ProxyURL,
		exchange: o.Exchange, callbackURL: o.CallbackURL, knownHosts: o.KnownHosts, development: o.Development, clock: o.Now, log: o.Log,
	}
	if r.published == nil {
		r.published = func(context.Context, int64) error { return nil }
	}
	if r.recorded == nil {
		r.recorded = func(context.Context) {}
	}
	if r.proxyURL == nil {
		r.proxyURL = func() string { return "" }
	}
	if r.exchange == nil {
		r.exchange = func(context.Context, CodeExchange) (inject.Token, error) {
			return inject.Token{}, refuse(CodeUnavailable, "this server connects no accounts")
		}
	}
	if r.callbackURL == nil {
		r.callbackURL = func() string { return "" }
	}
	if r.clock == nil {
		r.clock = time.Now
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	return r, nil
}

func (r *Registry) now() time.Time { return storedTime(r.clock()) }

// storedTime is a time as it is stored: UTC, whole milliseconds.
func storedTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// write runs a transaction and returns when this node decides on its outcome.
func (r *Registry) write(ctx context.Context, f func(Tx) error) error {
	revision, err := r.store.Write(ctx, f)
	if err != nil {
		return err
	}
	// The change is stored; a caller that hung up must not keep this node from
	// publishing it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := r.published(ctx, revision); err != nil {
		return &Error{Code: CodeUnavailable, Message: "the change is stored, but this node does not decide on it yet", Err: err}
	}
	return nil
}

// Initialized reports whether an owner exists.
func (r *Registry) Initialized(ctx context.Context) (bool, error) {
	exists := false
	err := r.store.Read(ctx, func(tx Tx) error {
		users, err := tx.ListUsers()
		exists = len(users) > 0
		return err
	})
	return exists, err
}

var namePattern = regexp.MustCompile(`^[a-z0-9-]{3,64}$`)

// checkName holds a name of ours against its grammar.
func checkName(noun, name string) error {
	if !namePattern.MatchString(name) {
		return badRequest("%s %q: a name has 3 to 64 characters of a-z, 0-9 and -", noun, shorten(name))
	}
	return nil
}

// byName finds a vault, or says that there is none.
func byName(tx Tx, name string) (VaultRef, error) {
	v, err := tx.VaultRefByName(name)
	if errors.Is(err, ErrNotFound) {
		return VaultRef{}, refuse(CodeVaultNotFound, "there is no vault %q", shorten(name))
	}
	return v, err
}

// SeeServer refuses who may not see what is said of the server itself.
func (r *Registry) SeeServer(ctx context.Context, c Caller) error {
	return r.readAs(ctx, c, actSeeServer, func(tx Tx) error { return r.asNow(tx, &c, actSeeServer) })
}

// shorten keeps hostile text from filling an error.
func shorten(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%s… (%d bytes)", s[:80], len(s))
	}
	return s
}

// Events lists the record of changes, newest first, from below an ID: of one
// vault, or, with vaultName "", of the whole instance.
func (r *Registry) Events(ctx context.Context, c Caller, vaultName string, before int64, limit int) ([]Event, error) {
	var list []Event
	a := actSeeRecord
	if vaultName == "" {
		a = actSeeInstance
	}
	err := r.readAs(ctx, c, a, func(tx Tx) error {
		var v VaultRef
		if vaultName != "" {
			var err error
			if v, err = r.inVault(tx, c, a, vaultName); err != nil {
				return err
			}
		}
		var err error
		list, err = tx.ListEvents(v.ID, before, limit)
		return err
	})
	return list, err
}
