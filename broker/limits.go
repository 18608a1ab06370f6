package broker

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"agentvault/policy"
)

// Limits bound what one session may do. Zero means no limit.
type Limits struct {
	SessionRate       int // requests per second
	SessionBurst      int // requests at once after a pause; at least SessionRate
	SessionConcurrent int // exchanges open at once
	SessionTunnels    int // CONNECT tunnels open at once
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
	limiter *rate.Limiter // nil: no limit
	limits  Limits

	exchanges atomic.Int64
	tunnels   atomic.Int64

	mu   sync.Mutex
	uses map[*use]struct{} // what is open

	// HTTP/2 connections have one window for all of their streams, so whoever
	// does not read what it asked for stops the others. A session's connections
	// are therefore its own.
	dial      sync.Once
	transport *http.Transport
	pinned    pinned // of services with pins
}

// upstreams returns the session's transport.
func (lv *live) upstreams(b *Broker) *http.Transport {
	lv.dial.Do(func() {
		t := b.newTransport()
		lv.transport = t
		context.AfterFunc(lv.ctx, t.CloseIdleConnections)
	})
	return lv.transport
}

func newLive(l Limits, expires, now time.Time) *live {
	lv := &live{limits: l}
	lv.ctx, lv.cancel = context.WithCancel(context.Background())
	if l.SessionRate > 0 {
		lv.limiter = rate.NewLimiter(rate.Limit(l.SessionRate), max(l.SessionRate, l.SessionBurst))
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

func (lv *live) leave() { lv.exchanges.Add(-1) }

// enter counts one more, unless that would be more than limit.
func enter(n *atomic.Int64, limit int) bool {
	if n.Add(1) > int64(limit) && limit > 0 {
		n.Add(-1)
		return false
	}
	return true
}
