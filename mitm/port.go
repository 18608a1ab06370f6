package mitm

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"

	"agentvault/broker"
	"agentvault/broker/readahead"
)

// A portConn is a connection to the port. Its first byte tells what it speaks:
// no method of HTTP begins like SOCKS. The look costs nothing where it is HTTP.
//
// SOCKS is spoken out of net/http's first Read, under net/http's own deadline
// for a request's header. Then net/http reads a CONNECT of fixed bytes, so that
// connections are counted, bounded, taken over and shut down in one way; what
// the client asked for stays in request, and no byte of it is ever read as HTTP.
type portConn struct {
	readahead.Conn // what was read already, and not yet by net/http, is its Rest
	proxy          *Proxy

	// One goroutine reads at a time. Neither changes after the first request.
	bound   *broker.Identity // whose all requests are, whatever they present; nil: theirs
	request *socksRequest    // nil: it speaks HTTP

	known bool // what it speaks
}

// asConnect is what net/http reads in place of a SOCKS request.
const asConnect = "CONNECT socks.invalid:443 HTTP/1.1\r\nHost: socks.invalid:443\r\n\r\n"

// Read implements net.Conn.
func (c *portConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.known || n == 0 {
		return n, err
	}
	for p[0] == socksVersion || p[0] == socks4Version {
		c.Rest = slices.Concat(p[:n], c.Rest)
		switch err := c.negotiate(); {
		case err != nil:
			return 0, io.EOF // all has been said
		case c.request != nil:
			c.Rest = slices.Concat([]byte(asConnect), c.Rest)
			c.known = true
			return c.Conn.Read(p)
		}
		if n, err = c.Conn.Read(p); n == 0 { // bound: it begins anew
			return n, err
		}
	}
	c.known = true
	return n, err
}

type portConnKey struct{}

// recognize makes the connections of ln portConns, and lets the outer server's
// handlers find them.
func (p *Proxy) recognize(ln net.Listener) net.Listener {
	next := p.outer.ConnContext
	p.outer.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if pc, ok := c.(*portConn); ok {
			ctx, c = context.WithValue(ctx, portConnKey{}, pc), pc.Conn.Conn
		}
		if next != nil {
			ctx = next(ctx, c)
		}
		return ctx
	}
	return &portListener{Listener: ln, proxy: p}
}

type portListener struct {
	net.Listener
	proxy *Proxy
}

func (l *portListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &portConn{Conn: readahead.Conn{Conn: c}, proxy: l.proxy}, nil
}

// identify reads who presents itself: the session that the connection is bound
// to, or whom Proxy-Authorization names.
func (p *Proxy) identify(r *http.Request) broker.Identity {
	if c, ok := r.Context().Value(portConnKey{}).(*portConn); ok && c.bound != nil {
		return *c.bound
	}
	return identify(r.Header)
}
