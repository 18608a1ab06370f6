package broker

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// Tokens is what nodes of one store share of minted tokens.
type Tokens interface {
	// TakeMint gives the token that is stored, or one node the turn to mint one.
	TakeMint(ctx context.Context, q vault.MintQuestion) (vault.MintTurn, error)
	// KeepMint ends a turn, and stores what was minted and what was rotated.
	KeepMint(ctx context.Context, turn vault.MintTurn, t inject.Token) (vault.MintedToken, error)
	// DropMint ends a turn without a token.
	DropMint(ctx context.Context, turn vault.MintTurn) error
}

// Times of minting.
const (
	mintTime   = 20 * time.Second       // for a Minter to get its token; within vault.ClaimTTL
	flightTime = time.Minute            // for a token to be there, whichever node gets it
	mintLook   = 100 * time.Millisecond // between looks at another node's turn
	maxLead    = 5 * time.Minute        // how long ahead of its end a token is replaced, or a fifth of its life
	maxSpare   = 5 * time.Second        // how long ahead of its end it is no longer used, or a tenth of its life
)

// A token is what was minted. It never changes, and is never cleared: answers may
// come that hold it.
type token struct {
	value    seal.Plaintext
	serial   int64
	versions []int64   // of the credentials that it was obtained with, in the order of the service's keys
	minted   time.Time // or found in the store
	renew    time.Time // when it is to be replaced; zero: never
	over     time.Time // when it is of no use any more; zero: that was not said
}

func newToken(value seal.Plaintext, serial int64, versions []int64, now, expires time.Time) *token {
	t := &token{value: value, serial: serial, versions: versions, minted: now}
	if expires.IsZero() {
		return t
	}
	life := max(0, expires.Sub(now))
	lead := min(maxLead, life/5)
	// Nodes, and services that began together, do not ask at the same moment.
	t.renew = expires.Add(-time.Duration(float64(lead) * (0.8 + 0.4*rand.Float64())))
	t.over = expires.Add(-min(maxSpare, life/10))
	return t
}

// suits reports whether the token is good for a service whose credentials have
// the versions of a View. Versions grow, and a token may be ahead of a View.
func (t *token) suits(v *vaultView, keys []string, now time.Time) bool {
	if t == nil || !t.over.IsZero() && !now.Before(t.over) {
		return false
	}
	for i, key := range keys {
		if t.versions[i] < v.boxes[key].version {
			return false
		}
	}
	return true
}

func (t *token) due(now time.Time) bool { return !t.renew.IsZero() && !now.Before(t.renew) }

// A mint has the tokens of one auth in one vault, from View to View.
type mint struct {
	id      vault.MintID
	service string // the first one that says so, for the record
	minter  inject.Minter
	keys    []string
	known   *knownTokens // of the vault

	token  atomic.Pointer[token] // all that a request looks at while it is fresh
	looked atomic.Int64          // unix nanoseconds: when a request that finds it due looks next

	mu     sync.Mutex
	flight *flight
	failed *mintFailure
}

// A flight is one attempt to get a token. Its fields are set when done is closed.
type flight struct {
	done  chan struct{}
	token *token
	fault *Fault
}

func landed(t *token, f *Fault) *flight {
	done := make(chan struct{})
	close(done)
	return &flight{done, t, f}
}

// mints are all of a Broker's.
type mints struct {
	mu    sync.Mutex
	by    map[vault.MintID]*mint
	known map[string]*knownTokens // by vault ID

	ctx    context.Context // ends with the Broker
	cancel context.CancelFunc
	flying sync.WaitGroup
}

func newMints() *mints {
	m := &mints{by: make(map[vault.MintID]*mint), known: make(map[string]*knownTokens)}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// close ends what is under way and waits for it.
func (m *mints) close() {
	m.mu.Lock()
	m.cancel()
	m.mu.Unlock()
	m.flying.Wait()
}

// attach gives the services of a View that is about to be published their mints.
// Those of no service any more are forgotten.
func (m *mints) attach(v *View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	by, known := make(map[vault.MintID]*mint), make(map[string]*knownTokens)
	for _, vv := range v.vaults {
		for i := range vv.services {
			s := &vv.services[i]
			minter, ok := s.injector.(inject.Minter)
			if !ok {
				continue
			}
			if known[vv.id] == nil {
				if known[vv.id] = m.known[vv.id]; known[vv.id] == nil {
					known[vv.id] = new(knownTokens)
				}
			}
			id := vault.MintID{VaultID: vv.id, Auth: sha256.Sum256([]byte(s.auth))}
			if by[id] == nil {
				if by[id] = m.by[id]; by[id] == nil {
					by[id] = &mint{id: id, service: s.name, minter: minter, keys: s.keys, known: known[vv.id]}
				}
			}
			if s.mint == nil { // else the View before has the service too
				s.mint = by[id]
			}
		}
		vv.known = known[vv.id]
	}
	m.by, m.known = by, known
	for _, s := range v.sessions { // of agents that were narrowed: copies
		for _, vv := range s.grants {
			vv.known = known[vv.id]
		}
	}
}

// missingFault is that of a credential without a value. One that a person obtains by
// signing in elsewhere is not set, but connected.
func (e *exchange) missingFault(key string) *Fault {
	f := injectFault(&missingError{key})
	if in, ok := e.service.injector.(inject.Connecter); ok && in.Connects() == key {
		f.Message = "the account of the service " + e.service.name + " is not connected yet; ask a person to run: agent-vault credential connect " + e.service.name + " --vault " + e.vault.name
	}
	return f
}

// mintToken puts a token into the request that a Minter is about to fill in. One
// that is at hand and fresh costs no lock.
func (e *exchange) mintToken(after int64) *Fault {
	s := e.service
	for _, key := range s.keys {
		if _, ok := e.vault.boxes[key]; !ok {
			return e.missingFault(key)
		}
	}
	now := e.now()
	t := s.mint.token.Load()
	switch {
	case !t.suits(e.vault, s.keys, now) || t.serial <= after:
		var f *Fault
		if t, f = e.awaitToken(after); f != nil {
			return f
		}
	case t.due(now):
		e.renewAhead(t, now)
	}
	e.used, e.stripped.Token = t, t.value
	e.values = s.scrubs(e.vault) // this token is among them
	return nil
}

// awaitToken waits until somebody has got a token, for as long as anybody waits for
// this answer.
func (e *exchange) awaitToken(after int64) (*token, *Fault) {
	for range 3 { // a credential may be set while a token is obtained with the one before
		f := e.fetch(after)
		select {
		case <-f.done:
		case <-e.ctx.Done():
			return nil, NewFault(CodeAgentGone)
		case <-e.session.live.ctx.Done():
			return nil, NewFault(CodeUnauthorized)
		}
		if f.fault != nil || f.token.suits(e.vault, e.service.keys, e.now()) {
			return f.token, f.fault
		}
	}
	f := NewFault(CodeRefreshFailed)
	f.Message = "the credentials of this service change too fast, or its tokens end at once; try again later"
	return nil, f
}

// renewAhead has a token replaced behind the request. Of all requests one in a while
// looks whether that is under way.
func (e *exchange) renewAhead(t *token, now time.Time) {
	m := e.service.mint
	next := m.looked.Load()
	if now.UnixNano() >= next && m.looked.CompareAndSwap(next, now.Add(firstPause).UnixNano()) {
		e.fetch(t.serial)
	}
}

// versions are of credentials, 0 of what has no value.
func (v *vaultView) versions(keys []string) []int64 {
	at := make([]int64, len(keys))
	for i, key := range keys {
		at[i] = v.boxes[key].version
	}
	return at
}

// fetch returns the flight that gets a token later than after: what is there, the
// one that is under way, or a new one. While asking is of no use, it is one that
// failed.
func (e *exchange) fetch(after int64) *flight {
	m, now := e.service.mint, e.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.token.Load(); t.suits(e.vault, m.keys, now) && t.serial > after {
		return landed(t, nil)
	}
	if m.flight != nil {
		return m.flight
	}
	if m.failed.holds(e.vault.versions(m.keys), now) {
		return landed(nil, m.failed.again(now))
	}
	f := &flight{done: make(chan struct{})}
	j := &minting{Broker: e.Broker, mint: m, vault: e.vault, versions: e.vault.versions(m.keys), after: after, by: e.rec}
	if !e.mints.start(func(ctx context.Context) { j.fly(ctx, f) }) {
		return landed(nil, NewFault(CodeUnavailable))
	}
	m.flight = f
	return f
}

// start runs f in the background, unless the Broker is closing.
func (m *mints) start(f func(ctx context.Context)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return false
	}
	m.flying.Go(func() {
		ctx, cancel := context.WithTimeout(m.ctx, flightTime)
		defer cancel()
		f(ctx)
	})
	return true
}
