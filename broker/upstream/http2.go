package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

func (t *Transport) newHTTP2() *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // never from the environment
		DialContext:            t.o.Dial,
		DialTLSContext:         t.dialHTTP2,
		ResponseHeaderTimeout:  t.o.HeaderTimeout,
		ExpectContinueTimeout:  continueTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		MaxResponseHeaderBytes: maxHeader,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
		DisableCompression:     true, // no Accept-Encoding that the agent did not send
		ForceAttemptHTTP2:      true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			MaxReceiveBufferPerConnection: 4<<20 - 1, // the most that net/http takes
			MaxReceiveBufferPerStream:     1 << 20,
		},
	}
}

// overHTTP2 sends a request by net/http.
func (t *Transport) overHTTP2(ctx context.Context, c *Call) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	interim := 0
	var has, wrote atomic.Bool // a connection, and the header on one
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			has.Store(true)
			if c.Once && wrote.Load() {
				cancel(errTwice) // net/http looks at ctx before it writes the header again
			}
		},
		WroteHeaders: func() { wrote.Store(true) },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if interim++; interim > maxInterim {
				return ErrInterim
			}
			if c.Interim == nil {
				return nil
			}
			return c.Interim(code, http.Header(h))
		},
	})
	r := c.Request.WithContext(ctx)
	var up *lent
	if r.Body != nil {
		up = &lent{Reader: r.Body, interrupt: c.Interrupt}
		r.Body = up
	}
	resp, err := t.h2.RoundTrip(r)
	t.dropSpare(key{true, c.Address})
	if err != nil {
		cancel(nil)
		up.takeBack()
		c.Unsent = !has.Load()
		return nil, err
	}
	if resp.Body == http.NoBody {
		cancel(nil)
		up.takeBack()
		return resp, nil
	}
	resp.Body = &watched{
		ReadCloser: resp.Body, up: up, ctx: ctx, cancel: cancel, idle: t.o.BodyIdle, moved: time.Now(),
		timer: time.AfterFunc(t.o.BodyIdle, func() { cancel(os.ErrDeadlineExceeded) }),
	}
	return resp, nil
}

// errTwice ends a request that net/http would send again.
var errTwice = errors.New("upstream: the request may have been seen already")

// A lent is the body of a request while net/http has it, which would read on when
// it has returned an error, and when it is to close an answer that came early
// waits for the read. It is nobody's but the agent's server's then. A nil lent is
// that of a request without a body.
type lent struct {
	io.Reader
	interrupt func()
	mu        sync.Mutex // held while it is read
	back      atomic.Bool
}

var errTakenBack = errors.New("upstream: the exchange is over")

// Read implements io.Reader.
func (l *lent) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.back.Load() {
		return 0, errTakenBack
	}
	return l.Reader.Read(p)
}

// Close implements io.Closer. The body stays open: see Call.
func (l *lent) Close() error { return nil }

// takeBack returns when nothing is read any more.
func (l *lent) takeBack() {
	if l == nil {
		return
	}
	l.back.Store(true)
	if !l.mu.TryLock() {
		l.interrupt()
		l.mu.Lock()
	}
	l.mu.Unlock()
}

// A watched is a body of net/http's that may not stand still for long.
type watched struct {
	io.ReadCloser
	up     *lent
	ctx    context.Context
	cancel context.CancelCauseFunc
	idle   time.Duration
	timer  *time.Timer
	moved  time.Time // when the timer was last put off
}

// Read implements io.Reader.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if now := time.Now(); n > 0 && now.Sub(w.moved) > w.idle/16 {
		w.moved = now
		w.timer.Reset(w.idle)
	}
	if err != nil && !errors.Is(err, io.EOF) && w.ctx.Err() != nil {
		err = context.Cause(w.ctx)
	}
	return n, err
}

// Close implements io.Closer.
func (w *watched) Close() error {
	w.timer.Stop()
	w.up.takeBack()
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}

// dialHTTP2 takes a connection that was put aside, or opens another.
func (t *Transport) dialHTTP2(ctx context.Context, network, address string) (net.Conn, error) {
	k := key{true, address}
	if secure := t.takeSpare(k); secure != nil {
		return secure, nil
	}
	bare, err := t.o.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	secure, err := t.handshake(ctx, bare, address)
	if err != nil {
		return nil, err
	}
	if secure.ConnectionState().NegotiatedProtocol != "h2" {
		// It chooses HTTP/1.1 now: this once net/http speaks that, too.
		t.mu.Lock()
		t.host(k).http2 = false
		t.mu.Unlock()
	}
	return secure, nil
}

func (t *Transport) takeSpare(k key) *tls.Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hosts[k]
	if h == nil || len(h.spare) == 0 {
		return nil
	}
	last := len(h.spare) - 1
	c := h.spare[last]
	h.spare = h.spare[:last]
	return c
}

// dropSpare closes what net/http did not need: several requests came at once, and
// share one connection.
func (t *Transport) dropSpare(k key) {
	for {
		c := t.takeSpare(k)
		if c == nil {
			return
		}
		_ = c.Close() // nothing was sent on it
	}
}
