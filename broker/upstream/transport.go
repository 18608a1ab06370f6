// Package upstream carries one request to an upstream and its answer back.
//
// HTTP/1.1 it speaks itself, on the goroutine that asks: net/http keeps two more
// for each connection and passes every request and answer through channels
// between them, which costs more than the rest of an exchange (ADR 8). Of what
// can be read in more than one way, net/http's ReadResponse makes an answer.
// HTTP/2 is net/http's transport.
//
// Nothing here follows a redirect, knows a cookie, asks the environment for a
// proxy, or connects by other means than the Dial and the TLS that it was given.
package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Options say how a Transport works.
type Options struct {
	// Dial connects to "host:port". Required.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS is how upstreams are verified. Required. It is not changed.
	TLS *tls.Config

	// HTTP1 keeps to HTTP/1.1, without which there are no upgrades.
	HTTP1 bool

	// HandshakeTimeout bounds a TLS handshake, HeaderTimeout the wait for an
	// answer's header once the request was sent, BodyIdle how long a body may
	// stand still. Required.
	HandshakeTimeout, HeaderTimeout, BodyIdle time.Duration
}

// Bounds of a Transport.
const (
	maxHeader       = 256 << 10        // bytes of an answer's header
	maxIdlePerHost  = 256              // connections that wait for another request
	maxIdle         = 2048             // likewise, of all hosts
	maxHosts        = 2 * maxIdle      // of which something is known
	idleTimeout     = 90 * time.Second // how long they do
	continueTimeout = time.Second      // for a 100, before the body goes without
	uploadRest      = 50 * time.Millisecond
)

// A Transport keeps connections to upstreams. It is safe for use by many
// goroutines.
type Transport struct {
	o  Options
	h2 *http.Transport // nil with Options.HTTP1

	mu     sync.Mutex
	hosts  map[key]*host
	idle   int // connections of all hosts
	closed bool
	sweep  *time.Timer // nil: nothing waits
}

// A key is what a connection leads to.
type key struct {
	secure  bool
	address string
}

// A host is what is known of one key.
type host struct {
	http2 bool    // what it chose the last time
	idle  []*conn // the one used last at the end
	// spare are connections that HTTP/2 was chosen on and net/http has not taken.
	spare []*tls.Conn
}

// New returns a Transport without connections.
func New(o Options) *Transport {
	t := &Transport{o: o, hosts: make(map[key]*host)}
	if !o.HTTP1 {
		t.h2 = t.newHTTP2()
	}
	return t
}

// maxInterim is how many 1xx answers an upstream may send before its own. The
// time that it has for that begins anew with none of them, but it could send
// very many.
const maxInterim = 100

// ErrInterim is that an upstream sent more than that.
var ErrInterim = errors.New("the upstream sends interim answers without end")

// A Call is one request.
type Call struct {
	// Request to send: its Method, URL, Host, Header, Body, ContentLength and
	// Trailer. Its Body is not closed; it is no longer read once Do has returned
	// an error or the answer's body was closed. Required.
	Request *http.Request

	// Address is "host:port" of the upstream, as the certificate names it.
	// Required.
	Address string

	// Interim gets the upstream's 1xx answers but 101, perhaps on another
	// goroutine; an error from it ends the call. Nil ignores them.
	Interim func(code int, header http.Header) error

	// Interrupt ends a read of the Body that waits. Required with a Body.
	Interrupt func()

	// Once says that the upstream must not see the request twice, whatever RFC 9110
	// allows: a connection that is kept is not risked for it.
	Once bool

	// Unsent is set with an error that came before anything of the request was sent.
	Unsent bool

	target string // of the request line
}

// Do sends a request and returns the answer, whose Body must be closed. That of
// a 101 is an io.ReadWriteCloser.
func (t *Transport) Do(ctx context.Context, c *Call) (*http.Response, error) {
	if !c.sendable() {
		c.Unsent = true
		return nil, errUnsendable
	}
	k := key{c.Request.URL.Scheme == "https", c.Address}
	seen := false // perhaps, on a connection that was lost
	defer func() { c.Unsent = c.Unsent && !seen }()
	for {
		c.Unsent = false
		conn, http2 := t.taken(k, c.Once)
		if http2 {
			return t.overHTTP2(ctx, c)
		}
		if conn == nil {
			var err error
			if conn, err = t.dial(ctx, k); err != nil {
				c.Unsent = true
				return nil, err
			}
			if conn == nil {
				return t.overHTTP2(ctx, c) // for which the connection was put aside
			}
		}
		resp, again, err := conn.do(ctx, c)
		if !again {
			return resp, err
		}
		seen = seen || !c.Unsent
	}
}

// taken is take, without a connection of HTTP/1.1 where it must be a new one.
func (t *Transport) taken(k key, anew bool) (c *conn, http2 bool) {
	if !anew {
		return t.take(k)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.hosts[k]
	return nil, h != nil && h.http2
}

// take returns a connection that waits, or nil, and whether HTTP/2 is spoken.
func (t *Transport) take(k key) (c *conn, http2 bool) {
	for {
		t.mu.Lock()
		h := t.hosts[k]
		if h == nil || len(h.idle) == 0 {
			http2 = h != nil && h.http2
			t.mu.Unlock()
			return nil, http2
		}
		last := len(h.idle) - 1
		c, h.idle[last] = h.idle[last], nil
		h.idle = h.idle[:last]
		t.idle--
		t.mu.Unlock()
		if c.waits() {
			return c, false
		}
		c.close()
	}
}

// put keeps a connection for another request.
func (t *Transport) put(c *conn) {
	var old []*conn
	t.mu.Lock()
	h := t.host(c.key)
	if t.closed || h.http2 || len(h.idle) >= maxIdlePerHost {
		t.mu.Unlock()
		c.close()
		return
	}
	if t.idle >= maxIdle {
		old = t.makeRoom()
		h = t.host(c.key) // it may have gone with its connections
	}
	h.idle = append(h.idle, c)
	t.idle++
	if t.sweep == nil {
		t.sweep = time.AfterFunc(idleTimeout, t.closeOld)
	}
	t.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}

// makeRoom takes away the eighth of the connections that has waited longest, so
// that one is looked for seldom: a host that is used now comes before those that
// were. Its caller holds mu, and closes them.
func (t *Transport) makeRoom() []*conn {
	since := make([]time.Time, 0, t.idle)
	for _, h := range t.hosts {
		for _, c := range h.idle {
			since = append(since, c.since)
		}
	}
	slices.SortFunc(since, time.Time.Compare)
	return t.takeOld(since[len(since)/8])
}

// takeOld takes away the connections that have waited since a time, or longer. Its
// caller holds mu, and closes them.
func (t *Transport) takeOld(since time.Time) (old []*conn) {
	for k, h := range t.hosts {
		n := 0
		for n < len(h.idle) && !h.idle[n].since.After(since) {
			n++
		}
		old = append(old, h.idle[:n]...)
		rest := copy(h.idle, h.idle[n:])
		clear(h.idle[rest:])
		h.idle = h.idle[:rest]
		if rest == 0 && len(h.spare) == 0 && !h.http2 {
			delete(t.hosts, k)
		}
	}
	t.idle -= len(old)
	return old
}

// host is the entry of a key. Its caller holds mu.
func (t *Transport) host(k key) *host {
	h := t.hosts[k]
	if h == nil {
		if len(t.hosts) >= maxHosts {
			t.forget()
		}
		h = new(host)
		t.hosts[k] = h
	}
	return h
}

// forget drops what is known of hosts to which no connection is kept: behind a
// wildcard there are as many as an agent can name. Its caller holds mu.
func (t *Transport) forget() {
	maps.DeleteFunc(t.hosts, func(_ key, h *host) bool { return len(h.idle)+len(h.spare) == 0 })
}

// closeOld closes connections that have waited for too long.
func (t *Transport) closeOld() {
	t.mu.Lock()
	old := t.takeOld(time.Now().Add(-idleTimeout))
	t.sweep = nil
	if t.idle > 0 && !t.closed {
		t.sweep = time.AfterFunc(idleTimeout/3, t.closeOld)
	}
	t.mu.Unlock()
	for _, c := range old {
		c.close()
	}
}

// Close closes the connections that wait, and keeps no others.
func (t *Transport) Close() {
	var idle []*conn
	t.mu.Lock()
	t.closed = true
	if t.sweep != nil {
		t.sweep.Stop()
	}
	for _, h := range t.hosts {
		idle = append(idle, h.idle...)
		h.idle = nil
	}
	t.idle = 0
	t.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
	if t.h2 != nil {
		t.h2.CloseIdleConnections()
	}
}

// dial opens a connection. It returns none when HTTP/2 was chosen on it: then it
// is put aside for net/http.
func (t *Transport) dial(ctx context.Context, k key) (*conn, error) {
	bare, err := t.o.Dial(ctx, "tcp", k.address)
	if err != nil {
		return nil, err
	}
	s := newSocket(bare)
	if !k.secure {
		return newConn(t, k, s, s), nil
	}
	secure, err := t.handshake(ctx, s, k.address)
	if err != nil {
		return nil, err
	}
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		t.mu.Lock()
		h := t.host(k)
		h.http2, h.spare = true, append(h.spare, secure)
		t.mu.Unlock()
		return nil, nil
	}
	t.mu.Lock()
	t.host(k).http2 = false
	t.mu.Unlock()
	return newConn(t, k, s, secure), nil
}

// handshake returns a connection whose other end is who it should be, or closes
// it.
func (t *Transport) handshake(ctx context.Context, bare net.Conn, address string) (*tls.Conn, error) {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.Join(err, bare.Close())
	}
	conf := t.o.TLS.Clone()
	conf.ServerName, conf.NextProtos = name, []string{"http/1.1"}
	if !t.o.HTTP1 {
		conf.NextProtos = []string{"h2", "http/1.1"}
	}
	secure := tls.Client(bare, conf)
	ctx, cancel := context.WithTimeout(ctx, t.o.HandshakeTimeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = bare.Close() // the handshake's error says why
		return nil, err
	}
	return secure, nil
}
