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
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
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
	resp, err := t.h2.RoundTrip(c.Request.WithContext(ctx))
	t.dropSpare(key{true, c.Address})
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if resp.Body == http.NoBody {
		cancel(nil)
		return resp, nil
	}
	resp.Body = &watched{
		ReadCloser: resp.Body, ctx: ctx, cancel: cancel, idle: t.o.BodyIdle, moved: time.Now(),
		timer: time.AfterFunc(t.o.BodyIdle, func() { cancel(os.ErrDeadlineExceeded) }),
	}
	return resp, nil
}

// A watched is a body of net/http's that may not stand still for long.
type watched struct {
	io.ReadCloser
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
