package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"agentvault/broker/audit"
	"agentvault/broker/upstream"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// A Source is where Views come from.
type Source interface {
	// Snapshot returns all that a View is built from, as of one revision.
	Snapshot(ctx context.Context) (vault.Snapshot, error)
	// Revision returns the current revision; it is cheap.
	Revision(ctx context.Context) (int64, error)
}

// Options say how a Broker works.
type Options struct {
	// Source is required.
	Source Source

	// Key is the data key that vaults' keys come from. Required.
	Key seal.Key

	// Audit is required: nothing is sent that could not be recorded.
	Audit *audit.Log

	// Ledger keeps budgets and numbers of uses. Nil refuses what has some.
	Ledger Ledger
	// Tokens shares minted tokens among the nodes of one store, and puts rotated
	// credentials back. Nil: this node has its own, and rotates none.
	Tokens Tokens

	// Dialer is the guard that connects to upstreams. The zero value allows
	// public addresses only.
	Dialer Dialer

	// Roots verify upstreams. Nil means the system's.
	Roots *x509.CertPool

	// Limits per session and address. The zero value means none.
	Limits Limits

	// MaxStale is how long this node may go on deciding after it last confirmed
	// its revision with the Source. Zero means 30 seconds. It cannot be disabled.
	MaxStale time.Duration

	// Approvals keep requests that wait for a person. Nil refuses those.
	Approvals Approvals

	// ApprovalWait is how long a request waits for a person before it is refused;
	// sent again, it waits on. Zero means 90 seconds.
	ApprovalWait time.Duration

	// Stopping is closed when the server begins to stop: nobody is to wait for a
	// person any more. Nil is never closed.
	Stopping <-chan struct{}

	// AuthTypes are named in proposal hints. Nil means every kind of
	// policy/inject.
	AuthTypes []string

	// Registerer takes the data plane's metrics. Nil leaves them unregistered.
	Registerer prometheus.Registerer

	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// NewID makes request ids. Nil means 16 random characters.
	NewID func() string

	// Log receives operational messages, never credentials or full URLs. Nil
	// discards them.
	Log *slog.Logger
}

// A Broker carries exchanges from admission to outcome. It is safe for use by
// many goroutines.
type Broker struct {
	source       Source
	key          seal.Key
	audit        *audit.Log
	ledger       Ledger
	tokens       Tokens // may be nil
	mints        *mints
	asks         *http.Transport // of mints
	dialer       *Dialer
	tls          *tls.Config         // of upstreams; transports share its session tickets
	upgrades     *upstream.Transport // HTTP/1.1 only: Upgrade does not exist in HTTP/2
	handshake    time.Duration       // how long a TLS handshake may take
	header       time.Duration       // how long an answer's header may take
	still        time.Duration       // how long its body may stand still
	limits       Limits
	maxStale     time.Duration
	authTypes    []string
	approvals    Approvals
	approvalWait time.Duration
	stopping     <-chan struct{}
	attempts     *attempts
	conns        *conns
	metrics      *metrics
	now          func() time.Time
	newID        func() string
	log          *slog.Logger

	view      atomic.Pointer[View]
	open      atomic.Int64  // exchanges and blind tunnels
	judging   chan struct{} // places for decisions by a body
	bodies    atomic.Int64  // bytes of bodies that are held whole
	confirmed atomic.Int64  // unix nanoseconds of the last word from Source
	refresh   sync.Mutex    // one build at a time
}

// New returns a Broker that refuses everything until [Broker.Refresh] or
// [Broker.Run] has published its first View. The error names the field that is
// missing.
func New(o Options) (*Broker, error) {
	switch {
	case o.Source == nil:
		return nil, errors.New("broker: Options.Source is required")
	case o.Audit == nil:
		return nil, errors.New("broker: Options.Audit is required")
	}
	b := &Broker{
		source:       o.Source,
		key:          o.Key,
		audit:        o.Audit,
		ledger:       o.Ledger,
		tokens:       o.Tokens,
		mints:        newMints(),
		dialer:       &o.Dialer,
		handshake:    10 * time.Second,
		header:       5 * time.Minute,
		still:        streamIdle,
		limits:       o.Limits,
		maxStale:     o.MaxStale,
		authTypes:    o.AuthTypes,
		approvals:    o.Approvals,
		stopping:     o.Stopping,
		approvalWait: cmp.Or(max(0, o.ApprovalWait), 90*time.Second),
		attempts:     newAttempts(o.Limits.FailedAttempts),
		conns:        newConns(o.Limits.Connections),
		metrics:      newMetrics(o.Registerer),
		now:          o.Now,
		newID:        o.NewID,
		log:          o.Log,
	}
	b.judging = make(chan struct{}, maxJudging)
	if b.maxStale <= 0 {
		b.maxStale = 30 * time.Second
	}
	if b.now == nil {
		b.now = time.Now
	}
	if b.newID == nil {
		b.newID = randomID
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.tls = &tls.Config{
		RootCAs:            o.Roots,
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(4096),
	}
	b.upgrades = b.newTransport(b.tls, true)
	b.asks = b.newMintTransport()
	return b, nil
}

// randomID returns 80 random bits in base32. Ids are to be unlike each other; who
// guesses one has gained nothing.
func randomID() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var id [16]byte
	for i := 0; i < len(id); i += 8 {
		for bits, j := rand.Uint64(), i; j < i+8; j++ {
			id[j] = letters[bits%32]
			bits /= 32
		}
	}
	return string(id[:])
}

// newTransport returns an upstream transport. It follows no redirects and knows
// no cookies (R6), and it verifies every certificate (R7).
func (b *Broker) newTransport(conf *tls.Config, http1 bool) *upstream.Transport {
	return upstream.New(upstream.Options{
		Dial: b.dialer.DialContext, TLS: conf, HTTP1: http1,
		HandshakeTimeout: b.handshake, HeaderTimeout: b.header, BodyIdle: b.still,
	})
}

// Refresh brings the View up to the Source's revision.
func (b *Broker) Refresh(ctx context.Context) error {
	b.refresh.Lock()
	defer b.refresh.Unlock()
	return b.refreshLocked(ctx)
}

func (b *Broker) refreshLocked(ctx context.Context) error {
	asked := b.now()
	prev := b.view.Load()
	if prev != nil {
		rev, err := b.source.Revision(ctx)
		if err != nil {
			return err
		}
		if rev == prev.revision && (prev.until.IsZero() || asked.Before(prev.until)) {
			b.confirmed.Store(asked.UnixNano())
			return nil
		}
	}
	snapshot, err := b.source.Snapshot(ctx)
	if err != nil {
		return err
	}
	next := buildView(snapshot, b.key, prev, b.limits, asked, b.log)
	b.mints.attach(next)
	b.view.Store(next)
	b.confirmed.Store(asked.UnixNano())
	b.metrics.revision.Set(float64(next.revision))
	if prev != nil {
		next.enforce(prev)
	}
	return nil
}

// Run publishes a View whenever changes signals, and looks at the Source's
// revision every second besides. It returns when ctx ends.
func (b *Broker) Run(ctx context.Context, changes <-chan struct{}) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if err := b.Refresh(ctx); err != nil && ctx.Err() == nil {
			b.log.Error("view could not be refreshed", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changes:
		case <-ticker.C:
		}
	}
}

// Await returns when this node's View has reached the revision.
func (b *Broker) Await(ctx context.Context, revision int64) error {
	b.refresh.Lock()
	defer b.refresh.Unlock()
	if v := b.view.Load(); v != nil && v.revision >= revision {
		return nil
	}
	return b.refreshLocked(ctx)
}

// Ready returns nil when the Broker can decide.
func (b *Broker) Ready() error {
	_, f := b.current(b.now())
	if f != nil {
		return errors.New(f.Message)
	}
	return nil
}

// Close cuts everything that sessions have open, waits until the outcomes have
// been recorded, five seconds at most, and drops idle connections. It may be
// called more than once.
func (b *Broker) Close() {
	if v := b.view.Load(); v != nil {
		for _, s := range v.sessions {
			s.live.endWith(stoppingFault())
		}
	}
	for deadline := time.Now().Add(5 * time.Second); b.open.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	b.mints.close()
	if err := b.audit.Flush(); err != nil {
		b.log.Error("outcomes wait until the audit log can be written, or is closed", "err", err)
	}
	b.upgrades.Close()
}

func stoppingFault() *Fault {
	f := NewFault(CodeUnavailable)
	f.Message = "the vault is stopping; try again shortly"
	return f
}

// current returns the View, or a fault if there is none or it has not been
// confirmed for too long: a node that cannot know refuses rather than guesses.
func (b *Broker) current(now time.Time) (*View, *Fault) {
	v := b.view.Load()
	if v == nil || now.UnixNano()-b.confirmed.Load() > int64(b.maxStale) || v.overdue(now) {
		return nil, NewFault(CodeUnavailable)
	}
	return v, nil
}
