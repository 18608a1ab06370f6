package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// Entrances: ways by which a client comes to the origin.
const (
	entranceDirect = "direct"
	entrancePath   = "path" // HTTP in clear to /proxy/HOST/PATH
	entranceMITM   = "mitm" // TLS that the proxy ends, in a CONNECT tunnel or not
)

// A target is one way to the origin, ready to be measured.
type target struct {
	name     string // entrance/program
	entrance string
	pid      int      // of the proxy; 0 for none
	addr     string   // where clients connect to; "" is the origin itself
	connect  bool     // they open a tunnel first
	port     string   // of the tunnel; "" is 443
	http2    bool     // they may speak HTTP/2
	wide     bool     // hosts may be any of the origin's, not hostH1 alone
	tokens   []string // of sessions; none asks for none
	tls      *tls.Config
	wiring   wiring
	slow     int                         // a turn has that many times fewer requests; 0 is 1
	lacks    []string                    // scenarios that it cannot do
	base     string                      // the target that this one is held against; "" is the entrance's reference
	collect  func(context.Context) error // garbage; nil cannot
	rested   int                         // bytes of memory before the first turn, where it cannot
}

// clientTLS is how clients speak TLS: they resume sessions, and offer what
// clients of Debian 12 do (no X25519MLKEM768).
func clientTLS(pool *x509.CertPool) *tls.Config {
	return &tls.Config{
		RootCAs: pool, ClientSessionCache: tls.NewLRUClientSessionCache(4096),
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256},
	}
}

// A client is one connection, on which requests are sent one after the other.
type client struct {
	net.Conn
	r *bufio.Reader
}

// dial connects to a host by way of the target.
func (t *target) dial(ctx context.Context, host string, session int, protocols ...string) (*client, error) {
	addr := t.addr
	if addr == "" {
		addr = t.wiring.origin(host)
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if t.connect {
		if err := t.open(c, host, session); err != nil {
			c.Close()
			return nil, err
		}
	}
	if t.entrance != entrancePath {
		config := t.tls.Clone()
		config.ServerName = host
		if config.NextProtos = protocols; protocols == nil {
			config.NextProtos = []string{"http/1.1"}
		}
		tc := tls.Client(c, config)
		if err := tc.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, fmt.Errorf("%s: handshake as %s: %w", t.name, host, err)
		}
		c = tc
	}
	return &client{c, bufio.NewReaderSize(c, 32<<10)}, nil
}

// open asks for a tunnel. Nothing can come behind the answer's head: in TLS the
// client speaks first.
func (t *target) open(c net.Conn, host string, session int) error {
	var b strings.Builder
	authority := net.JoinHostPort(host, cmp.Or(t.port, "443"))
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", authority, authority)
	if len(t.tokens) > 0 {
		fmt.Fprintf(&b, "Proxy-Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(t.token(session)+":default")))
	}
	b.WriteString("\r\n")
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(b.String())); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	status, _, _, err := readHead(r)
	if err != nil {
		return err
	}
	if status != 200 || r.Buffered() > 0 {
		return fmt.Errorf("%s: CONNECT %s was answered %d", t.name, host, status)
	}
	return c.SetDeadline(time.Time{})
}

func (t *target) token(session int) string { return t.tokens[session%len(t.tokens)] }

// patience is how long one exchange may take.
const patience = 60 * time.Second

// request spells a request as an agent's HTTP library would.
func (t *target) request(method, host, path string, session int, body []byte, fields ...string) []byte {
	var b strings.Builder
	if t.entrance == entrancePath {
		fmt.Fprintf(&b, "%s /proxy/%s%s HTTP/1.1\r\nHost: %s\r\n", method, host, path, t.addr)
		if len(t.tokens) > 0 {
			fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", t.token(session))
		}
	} else {
		if t.port != "" {
			host = net.JoinHostPort(host, t.port)
		}
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	}
	b.WriteString("User-Agent: wirebench/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n")
	if body != nil {
		fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	b.WriteString("\r\n")
	b.Write(body)
	return []byte(b.String())
}

// program is the name without the entrance.
func (t *target) program() string {
	_, program, _ := strings.Cut(t.name, "/")
	return program
}

// collectAt asks a server of our own to collect its garbage.
func collectAt(control string) func(context.Context) error {
	return func(ctx context.Context) error {
		return get(ctx, &http.Transport{DisableKeepAlives: true}, "http://"+control)
	}
}
