package broker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"agentvault/broker/upstream"
	"agentvault/policy"
)

// Limits bound what one session, or one address, may do. Zero means no limit.
type Limits struct {
	SessionRate       int // requests per second
	SessionBurst      int // requests at once after a pause; at least SessionRate
	SessionConcurrent int // exchanges open at once
	SessionTunnels    int // CONNECT tunnels open at once

	// FailedAttempts is how many tokens that are not valid one address may present
	// in a minute before it is answered rate_limited. It never keeps a valid
	// token out.
	FailedAttempts int

	// Connections bounds those of all agents together, and is shared fairly among
	// sessions. A third of the descriptors that the process may open bounds them
	// too.
	Connections int
}

// Bounds that are not configured (SECURITY.md, defaults).
const (
	maxTarget       = policy.MaxRequestTarget // bytes
	maxMethod       = policy.MaxMethod        // bytes
	maxHeader       = 64 << 10                // bytes of all header fields
	maxHeaderField  = 16 << 10                // bytes of one header field
	maxHeaderFields = 256
	streamIdle      = 10 * time.Minute
	writeStall      = 2 * time.Minute
)

// live is what lasts as long as a session does, from View to View: its
// counters, and the context whose end cuts what the session has open.
type live struct {
	ctx     context.Context // ends at revocation and at expiry; never carries values
	cancel  context.CancelFunc
	expiry  *time.Timer
	limiter *rate.Limiter // of requests; nil: no limit
	opening *rate.Limiter // of tunnels, which cost a handshake each; likewise
	excess  *rate.Limiter // of records that a limit refused something
	limits  Limits

	exchanges atomic.Int64
	bodies    atomic.Int64 // bytes of bodies that are held whole
	tunnels   atomic.Int64

	mu   sync.Mutex
	uses map[*use]struct{} // what is open

	// HTTP/2 connections have one window for all of their streams, so whoever
	// does not read what it asked for stops the others. A session's connections
	// are therefore its own.
	dial      sync.Once
	transport *upstream.Transport
	pinned    pinned // of services with pins
}

// upstreams returns the session's transport.
func (lv *live) upstreams(b *Broker) *upstream.Transport {
	lv.dial.Do(func() {
		lv.transport = b.newTransport(b.tls, false)
		context.AfterFunc(lv.ctx, lv.transport.Close)
	})
	return lv.transport
}

func newLive(l Limits, expires, now time.Time) *live {
	lv := &live{limits: l, excess: rate.NewLimiter(1, 5)}
	lv.ctx, lv.cancel = context.WithCancel(context.Background())
	if l.SessionRate > 0 {
		burst := max(l.SessionRate, l.SessionBurst)
		lv.limiter, lv.opening = rate.NewLimiter(rate.Limit(l.SessionRate), burst), rate.NewLimiter(rate.Limit(l.SessionRate), burst)
	}
	if !expires.IsZero() {
		lv.expiry = time.AfterFunc(expires.Sub(now), lv.end)
	}
	return lv
}

// end cuts everything that the session has open: it is revoked or has expired.
func (lv *live) end() { lv.endWith(NewFault(CodeUnauthorized)) }

func (lv *live) endWith(why *Fault) {
	if lv.expiry != nil {
		lv.expiry.Stop()
	}
	lv.mu.Lock()
	lv.cancel() // from here on nothing more is held
	lv.mu.Unlock()
	for _, u := range lv.held() {
		u.cut(why)
	}
}

// begin takes a place for one exchange. A nil fault obliges to call leave.
func (lv *live) begin(now time.Time) *Fault {
	if lv.limiter != nil && !lv.limiter.AllowN(now, 1) {
		return NewFault(CodeRateLimited)
	}
	if !enter(&lv.exchanges, lv.limits.SessionConcurrent) {
		f := NewFault(CodeRateLimited)
		f.Message = "too many requests of this session are open at once; wait for one to end"
		return f
	}
	return nil
}

// beginTunnel takes a place for one tunnel. A nil fault obliges to count it off.
func (lv *live) beginTunnel(now time.Time) *Fault {
	f := NewFault(CodeRateLimited)
	if lv.opening != nil && !lv.opening.AllowN(now, 1) {
		f.Message = "too many tunnels of this session are opened in a short time; use those that are open"
		return f
	}
	if !enter(&lv.tunnels, lv.limits.SessionTunnels) {
		f.Message = "too many tunnels of this session are open at once; close some"
		return f
	}
	return nil
}

func (lv *live) leave() { lv.exchanges.Add(-1) }

// enter counts one more, unless that would be more than limit.
func enter(n *atomic.Int64, limit int) bool {
	if n.Add(1) > int64(limit) && limit > 0 {
		n.Add(-1)
		return false
	}
	return true
}
