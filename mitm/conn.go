package mitm

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"agentvault/broker/readahead"
)

// A hijacker remembers what the port's server had read already when goproxy
// took the connection from it. goproxy's hijack hook passes on the connection
// only, and a ClientHello in the same segment as its CONNECT would be lost.
type hijacker struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early := make([]byte, rw.Reader.Buffered())
	_, err = io.ReadFull(rw.Reader, early) // from the buffer: cannot fail or block
	return &hijacked{readahead.Conn{Conn: c, Rest: early}}, rw, err
}

// A hijacked connection begins with the bytes that had been read from it
// before.
type hijacked struct{ readahead.Conn }

// linger is how long a rejected client has to take its answer.
const linger = 500 * time.Millisecond

// Close closes in two steps. Closing at once, with bytes of the client unread,
// would make the kernel send a reset, and the client would lose our last words.
func (c *hijacked) Close() error {
	if c.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(linger)) == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c.Conn.Conn, maxHeaderBytes)) // whatever it was
	}
	return c.Conn.Close()
}

// A tunnelConn is an agent's side of a tunnel. It gives the tunnel's place back
// when it closes, which it does by itself when no byte moves for tunnelIdle.
type tunnelConn struct {
	net.Conn
	tunnel *tunnel
	closed chan struct{}
	once   sync.Once
	err    error // of Close

	moved atomic.Int64 // unix nanoseconds of the last byte
	idle  atomic.Pointer[time.Timer]
}

func newTunnelConn(c net.Conn, t *tunnel) *tunnelConn {
	return &tunnelConn{Conn: c, tunnel: t, closed: make(chan struct{})}
}

func (c *tunnelConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.moved.Store(time.Now().UnixNano())
	return n, err
}

func (c *tunnelConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.moved.Store(time.Now().UnixNano())
	return n, err
}

// Beneath implements [broker.Wrapped]. Who takes a blind tunnel's connection out
// looks for idleness himself.
func (c *tunnelConn) Beneath() (net.Conn, []byte) { return c.Conn, nil }

// CloseWrite passes on that no more will be written.
func (c *tunnelConn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close ends the tunnel. It may be called more than once.
func (c *tunnelConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		if t := c.idle.Load(); t != nil {
			t.Stop()
		}
		c.tunnel.Close()
		raw := c.Conn
		if h, ok := raw.(*hijacked); ok {
			raw = h.Conn.Conn // no lingering: TLS has had its own farewell
		}
		c.err = raw.Close()
	})
	return c.err
}

// watchIdle begins to look for idleness. The timer looks at when a byte moved
// last, rather than being put off at each.
func (c *tunnelConn) watchIdle() {
	c.idle.Store(time.AfterFunc(tunnelIdle, func() {
		rest := tunnelIdle - time.Since(time.Unix(0, c.moved.Load()))
		if rest <= 0 {
			_ = c.Close() // there is nobody to tell
			return
		}
		c.idle.Load().Reset(rest)
	}))
}

var errShutdown = errors.New("the proxy is shutting down")

// An inbox is the listener by which tunnels reach the inner server.
type inbox struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newInbox() *inbox {
	return &inbox{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// put hands a connection over. It fails once the inbox is closed.
func (i *inbox) put(c net.Conn) error {
	select {
	case <-i.closed: // even if the accept loop still waits
		return errShutdown
	default:
	}
	select {
	case i.conns <- c:
		return nil
	case <-i.closed:
		return errShutdown
	}
}

// Accept implements net.Listener.
func (i *inbox) Accept() (net.Conn, error) {
	select {
	case c := <-i.conns:
		return c, nil
	case <-i.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (i *inbox) Close() error {
	i.once.Do(func() { close(i.closed) })
	return nil
}

// Addr implements net.Listener. Tunnels have no address of their own.
func (i *inbox) Addr() net.Addr { return inboxAddr{} }

type inboxAddr struct{}

func (inboxAddr) Network() string { return "tunnel" }
func (inboxAddr) String() string  { return "tunnel" }
