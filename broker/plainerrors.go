package broker

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"agentvault/broker/http1"
)

// PlainErrors makes srv answer what net/http refuses by itself (a malformed
// request line or percent-encoding, a header that is too long) with the JSON
// of the contract rather than with plain text. It returns the listener to
// serve on. It sets srv's Handler, ConnContext and ConnState, which must not
// be changed afterwards. Connections that are *tls.Conn pass unchanged; on the
// others an agent may end its own side before the answer has come.
//
// net/http has no hook for these answers. It writes them straight to the
// connection, and only while no handler's answer is under way; so a write at
// such a time is one of them.
func PlainErrors(srv *http.Server, ln net.Listener, e Entrance) net.Listener {
	handler, connContext, connState := srv.Handler, srv.ConnContext, srv.ConnState
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if p, ok := c.(*plainErrorConn); ok {
			ctx, c = context.WithValue(ctx, plainErrorKey{}, p), p.HalfClosed.Conn
		}
		if connContext != nil {
			ctx = connContext(ctx, c)
		}
		return ctx
	}
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, ok := r.Context().Value(plainErrorKey{}).(*plainErrorConn)
		if ok {
			p.busy.Store(true)
		}
		handler.ServeHTTP(w, r)
		if ok && r.ContentLength != 0 {
			p.sending.Store(true)
		}
	})
	srv.ConnState = func(c net.Conn, state http.ConnState) {
		if p, ok := c.(*plainErrorConn); ok && state == http.StateIdle {
			p.busy.Store(false)
			p.sending.Store(false)
		}
		if connState != nil {
			connState(c, state)
		}
	}
	return &plainErrorListener{Listener: ln, entrance: e}
}

type plainErrorKey struct{}

type plainErrorListener struct {
	net.Listener
	entrance Entrance
}

func (l *plainErrorListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if _, ok := c.(*tls.Conn); ok {
		return c, nil
	}
	return &plainErrorConn{HalfClosed: http1.HalfClosed{Conn: c}, entrance: l.entrance}, nil
}

type plainErrorConn struct {
	http1.HalfClosed
	entrance Entrance
	busy     atomic.Bool // between a handler's start and the connection's next idling
	sending  atomic.Bool // the last request had a body, of which more may come
}

// Read reads one byte at a time only where net/http looks for a client that goes.
func (c *plainErrorConn) Read(p []byte) (int, error) {
	if len(p) == 1 {
		return c.Look(p)
	}
	return c.HalfClosed.Read(p)
}

func (c *plainErrorConn) Write(p []byte) (int, error) {
	status, ok := bytes.CutPrefix(p, []byte("HTTP/1.1 "))
	if c.busy.Load() || !ok || len(status) < 3 {
		return c.HalfClosed.Write(p)
	}
	code, err := strconv.Atoi(string(status[:3]))
	if err != nil || code < 400 {
		return c.HalfClosed.Write(p)
	}
	f := NewFault(CodeBadRequest)
	f.Status = code
	if code == http.StatusRequestHeaderFieldsTooLarge {
		f.Message = "the request's header is longer than 64 KiB"
	}
	_, _ = c.Conn.Write(plainFault(f)) // the connection ends either way
	return len(p), nil
}

// CloseWrite lets net/http half-close before it closes, so that its last words
// are not lost to a reset.
func (c *plainErrorConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return nil
}

// Close lets an agent that is still sending take its answer: closing at once would
// make the kernel send a reset, and the answer would be lost.
func (c *plainErrorConn) Close() error {
	if c.sending.Swap(false) {
		http1.Linger(c.Conn)
	}
	return c.HalfClosed.Close()
}

// Beneath implements [Wrapped].
func (c *plainErrorConn) Beneath() (net.Conn, []byte) { return c.Conn, nil }

// plainFault is an answer on a bare connection, which ends with it.
func plainFault(f *Fault) []byte {
	status, header, body := faultResponse(MITM, f, "")
	header["Connection"] = []string{"close"}
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	_ = header.Write(&b) // a bytes.Buffer takes everything
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
