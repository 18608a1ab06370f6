package mitm

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"agentvault/broker"
	"agentvault/broker/readahead"
)

// A tunnel is a CONNECT, of HTTP or SOCKS, that was admitted, with what every
// request inside it is held against.
type tunnel struct {
	*broker.Tunnel
	target   broker.Target
	identity broker.Identity
	used     atomic.Bool // a request has come
}

// carry takes over the connection of a CONNECT. It returns when the tunnel has
// been handed to the inner server, or has ended.
func (p *Proxy) carry(t *tunnel, c net.Conn) {
	conn := newTunnelConn(c, t)
	ctx, cut := context.WithCancel(context.Background())
	end := func() {
		cut()
		_ = conn.Close() // there is nobody to tell
	}
	if !p.tunnels.add(conn, end) {
		end()
		return
	}
	defer p.tunnels.running.Done()
	p.tunnels.running.Go(func() {
		defer p.tunnels.remove(conn)
		defer end()
		select {
		case <-t.Done(): // revoked or expired
		case <-conn.closed:
		}
	})
	kept := false
	defer func() {
		if !kept { // a panic ends here as well
			end()
		}
	}()
	if t.Blind {
		p.broker.Splice(ctx, t.Tunnel, conn)
		return
	}
	err := p.intercept(ctx, conn)
	if kept = err == nil; !kept {
		p.metrics.handshakeFailed(err)
	}
}

// intercept answers the CONNECT, speaks TLS as the tunnel's host, and hands the
// connection to the inner server.
func (p *Proxy) intercept(ctx context.Context, conn *tunnelConn) error {
	// Errors of deadlines are those of a closed connection, which the next read
	// or write reports.
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	if _, err := conn.Write(conn.tunnel.Answered(nil)); err != nil {
		return err
	}
	secure := tls.Server(conn, p.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		refuseClearText(conn, err)
		return err
	}
	_ = conn.SetDeadline(time.Time{})
	conn.watchIdle()
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		return p.inbox.put(secure) // net/http speaks HTTP/2 on a *tls.Conn only
	}
	p.plain.Serve(&http1Conn{Conn: secure, tunnel: conn.tunnel})
	return nil
}

// refuseClearText tells a client that speaks HTTP where TLS belongs what is
// wrong, in the only language that it understands.
func refuseClearText(conn *tunnelConn, err error) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || record.Conn == nil {
		return
	}
	resp := rejection(&http.Request{}, badRequest("clear text inside a tunnel is refused: speak TLS, or send http:// URLs in absolute form"))
	_ = resp.Write(conn) // the connection ends either way
	_ = conn.CloseWrite()
}

// An http1Conn is a *tls.Conn that net/http does not know as one, so that its
// own plain-text errors can be put into the contract's JSON.
type http1Conn struct {
	*tls.Conn
	tunnel *tunnel
}

type tunnelKey struct{}

// withTunnel is the ConnContext of the servers in tunnels.
func withTunnel(ctx context.Context, c net.Conn) context.Context {
	if left, ok := c.(*readahead.Conn); ok {
		c = left.Conn
	}
	switch c := c.(type) {
	case *http1Conn:
		return context.WithValue(ctx, tunnelKey{}, c.tunnel)
	case *tls.Conn:
		if conn, ok := c.NetConn().(*tunnelConn); ok {
			return context.WithValue(ctx, tunnelKey{}, conn.tunnel)
		}
	}
	return ctx
}

// A tunnelSet knows the tunnels that are open and how to end each.
type tunnelSet struct {
	mu      sync.Mutex
	open    map[*tunnelConn]func()
	closed  bool
	running sync.WaitGroup // whatever works on a tunnel outside of the inner server
}

// add reports whether the tunnel may go on: not when the Proxy is shutting
// down. If so, running counts one more.
func (s *tunnelSet) add(c *tunnelConn, end func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	if s.open == nil {
		s.open = make(map[*tunnelConn]func())
	}
	s.open[c] = end
	s.running.Add(1)
	return true
}

func (s *tunnelSet) remove(c *tunnelConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// drain lets no more tunnels in, and ends those in which no request can be
// under way: the blind ones, and the unused, for which http.Server.Shutdown
// would wait five seconds.
func (s *tunnelSet) drain() {
	s.endIf(func(c *tunnelConn) bool { return c.tunnel.Blind || !c.tunnel.used.Load() })
}

// end ends all that are left.
func (s *tunnelSet) end() { s.endIf(func(*tunnelConn) bool { return true }) }

func (s *tunnelSet) endIf(which func(*tunnelConn) bool) {
	s.mu.Lock()
	s.closed = true
	var ends []func()
	for c, end := range s.open {
		if which(c) {
			ends = append(ends, end)
		}
	}
	s.mu.Unlock() // an end leads to remove
	for _, end := range ends {
		end()
	}
}
