package mitm_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"agentvault/ca"
	"agentvault/mitm"
)

// Each test here holds one trap of goproxy shut. They are run again when
// goproxy is upgraded.

// eventually waits for something that happens on another goroutine.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatal("it did not happen within 10 seconds")
		}
	}
}

// Trap: the interception loop has no recover; one panic kills the process.
func TestTrapPanicIsContained(t *testing.T) {
	var bad atomic.Bool
	k := newKit(t, kitOptions{newID: func() string {
		if bad.Load() {
			panic("secret of a panic")
		}
		return "id"
	}})
	for _, h2 := range []bool{false, true} {
		bad.Store(true)
		if resp, err := k.client(t, k.token, h2).Get("https://api.example.com/"); err == nil {
			t.Errorf("h2 %t: a request that panicked got %s", h2, resp.Status)
		}
		bad.Store(false)
		resp, err := k.client(t, k.token, h2).Get("https://api.example.com/")
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("h2 %t: the next request: %v, %v", h2, resp, err)
		}
	}
	if strings.Contains(k.log.String(), "secret of a panic") {
		t.Errorf("the log holds a panic's value:\n%s", k.log)
	}
}

type panicky struct{ mitm.Authority }

func (p panicky) LeafIn(ctx context.Context, vaultID, host string) (*tls.Certificate, error) {
	if host == "other.example.com" {
		panic("no leaf")
	}
	return p.Authority.LeafIn(ctx, vaultID, host)
}

func TestPanicInAHandshakeIsContained(t *testing.T) {
	k := newKit(t, kitOptions{authority: func(a *ca.Authority) mitm.Authority { return panicky{a} }})
	if _, err := k.client(t, k.token, false).Get("https://other.example.com/"); err == nil {
		t.Errorf("a handshake that panicked succeeded")
	}
	if resp, err := k.client(t, k.token, false).Get("https://api.example.com/"); err != nil || resp.StatusCode != 200 {
		t.Errorf("the next request: %v, %v", resp, err)
	}
}

// Trap: Host, absolute form or :authority inside the tunnel choose the
// upstream, and get the other host's credential there.
func TestTrapInnerNamesMustBeTheTunnels(t *testing.T) {
	k := newKit(t, kitOptions{})
	const tunnel = "api.example.com:443"
	for _, tt := range []struct {
		name, authority, raw string
		status               int
	}{
		{"same", tunnel, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 200},
		{"same with port", tunnel, "GET / HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n", 200},
		{"same in capitals", tunnel, "GET / HTTP/1.1\r\nHost: API.example.COM\r\n\r\n", 200},
		{"absolute, same", tunnel, "GET https://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 200},
		{"absolute with port", tunnel, "GET https://api.example.com:443/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 200},
		{"HTTP/1.0 without a host", tunnel, "GET / HTTP/1.0\r\n\r\n", 200},
		{"other host", tunnel, "GET / HTTP/1.1\r\nHost: other.example.com\r\n\r\n", 421},
		{"other port", tunnel, "GET / HTTP/1.1\r\nHost: api.example.com:8443\r\n\r\n", 421},
		{"default port in an 8443 tunnel", "api.example.com:8443", "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 421},
		{"no host a parser takes", tunnel, "GET / HTTP/1.1\r\nHost: api.example.com.\r\n\r\n", 421},
		{"HTTP/1.0 with another host", tunnel, "GET / HTTP/1.0\r\nHost: other.example.com\r\n\r\n", 421},
		{"absolute, other host", tunnel, "GET https://other.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 421},
		{"absolute, other host, no Host", tunnel, "GET https://other.example.com/ HTTP/1.1\r\nHost: other.example.com\r\n\r\n", 421},
		{"absolute in clear", tunnel, "GET http://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 421},
		{"absolute with userinfo", tunnel, "GET https://x@api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 421},
		{"CONNECT", tunnel, "CONNECT other.example.com:443 HTTP/1.1\r\nHost: other.example.com:443\r\n\r\n", 400},
		{"CONNECT to itself", tunnel, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n", 400},
		{"GET *", tunnel, "GET * HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 400},
		{"two hosts", tunnel, "GET / HTTP/1.1\r\nHost: api.example.com\r\nHost: other.example.com\r\n\r\n", 400},
		{"bad percent-encoding", tunnel, "GET /%zz HTTP/1.1\r\nHost: api.example.com\r\n\r\n", 400},
		{"no HTTP", tunnel, "hello\r\n\r\n", 400},
	} {
		resp, body := k.within(t, tt.authority, tt.raw)
		code := map[int]string{200: "", 421: "misdirected_request", 400: "bad_request"}[tt.status]
		if got := fault(t, resp, body); resp.StatusCode != tt.status || got != code {
			t.Errorf("%s: %s %q, want %d %q", tt.name, resp.Status, got, tt.status, code)
		}
		if got := resp.Header.Get("X-Saw-Host"); tt.status == 200 && got != "api.example.com" {
			t.Errorf("%s: upstream saw Host %q", tt.name, got)
		}
	}
}

func TestTrapAuthorityOfHTTP2(t *testing.T) {
	k := newKit(t, kitOptions{})
	client := k.client(t, k.token, true)
	for host, want := range map[string]int{"": 200, "api.example.com:443": 200, "other.example.com": 421, "api.example.com:8443": 421} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://api.example.com/", nil)
		must(t, err)
		req.Host = host
		resp, err := client.Do(req)
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.ProtoMajor != 2 || resp.StatusCode != want {
			t.Errorf(":authority %q: %s %s %s, want %d", host, resp.Proto, resp.Status, body, want)
		}
	}
}

// Trap: clear text in a :443 tunnel is served as http.
func TestTrapClearTextInATunnel(t *testing.T) {
	var reached atomic.Bool
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) })})
	w := k.connect(t, k.token, "api.example.com:443")
	w.send(t, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	resp, body := w.answer(t, "GET")
	if resp.StatusCode != 400 || fault(t, resp, body) != "bad_request" || reached.Load() {
		t.Errorf("%s %s, upstream reached %t; want 400", resp.Status, body, reached.Load())
	}
	eventually(t, func() bool { return k.failures(t, "clear_text") == 1 })
}

// Trap: no limit on headers after CONNECT.
func TestTrapHeaderLimit(t *testing.T) {
	k := newKit(t, kitOptions{})
	long := "GET / HTTP/1.1\r\nHost: api.example.com\r\n" + strings.Repeat("X-Long: "+strings.Repeat("x", 1000)+"\r\n", 100)
	resp, body := k.within(t, "api.example.com:443", long)
	if resp.StatusCode != 431 || fault(t, resp, body) == "" {
		t.Errorf("100 KB of header inside: %s %s, want 431", resp.Status, body)
	}
	w := k.dial(t)
	w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n"+long[strings.Index(long, "X-Long"):])
	if resp, body := w.answer(t, "GET"); resp.StatusCode != 431 || fault(t, resp, body) == "" {
		t.Errorf("100 KB of header on the port: %s %s, want 431", resp.Status, body)
	}
}

// A pipeListener hands out in-memory connections, so that time can be the
// test's.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// Trap: no deadlines after CONNECT; silent tunnels live for ever.
func TestTrapSilenceEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  func(t *testing.T, k *kit, c *wire)
		want time.Duration
	}{
		{"no request", func(*testing.T, *kit, *wire) {}, 10 * time.Second},
		{"half a request", func(t *testing.T, _ *kit, c *wire) { c.send(t, "CONNECT api.exa") }, 10 * time.Second},
		{"half of SOCKS", func(t *testing.T, _ *kit, c *wire) {
			c.send(t, greeting(2))
			c.expect(t, "\x05\x02")
			c.send(t, "\x01\xff")
		}, 10 * time.Second},
		{"a session's connection without a request", func(t *testing.T, k *kit, c *wire) {
			c.send(t, greeting(methodSession))
			c.expect(t, "\x05\x80")
			c.send(t, password(k.token, ""))
			c.expect(t, "\x01\x00")
		}, 10 * time.Second},
		{"no handshake", func(t *testing.T, k *kit, c *wire) { connectOn(t, k, c) }, 10 * time.Second},
		{"half a handshake", func(t *testing.T, k *kit, c *wire) {
			connectOn(t, k, c)
			c.send(t, "\x16\x03\x01\x02\x00\x01")
		}, 10 * time.Second},
		{"no request inside", func(t *testing.T, k *kit, c *wire) {
			connectOn(t, k, c)
			must(t, tls.Client(c.Conn, &tls.Config{RootCAs: k.roots, ServerName: "api.example.com"}).Handshake())
		}, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				settle(t)
				ln := newPipeListener()
				k := newKit(t, kitOptions{listener: ln})
				k.upstream.Close() // its listener is of the real world
				theirs, ours := net.Pipe()
				ln.conns <- ours
				c := &wire{Conn: theirs, r: bufio.NewReader(theirs)}
				tt.act(t, k, c)
				start := time.Now()
				_, err := io.Copy(io.Discard, c.r)
				if took := time.Since(start); err != nil || took < tt.want/2 || took > tt.want+time.Second {
					t.Errorf("ended after %v (%v), want about %v", took, err, tt.want)
				}
			})
		})
	}
}

func connectOn(t *testing.T, k *kit, c *wire) {
	t.Helper()
	c.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
	if resp, body := c.answer(t, "CONNECT"); resp.StatusCode != 200 {
		t.Fatalf("CONNECT: %s %s", resp.Status, body)
	}
}

// Trap: a client that goes away is not noticed, and the upstream keeps running.
func TestTrapClientGoneCancelsUpstream(t *testing.T) {
	started, cancelled := make(chan struct{}, 2), make(chan struct{}, 2)
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		started <- struct{}{}
		<-r.Context().Done()
		cancelled <- struct{}{}
	})})
	for _, h2 := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-started
			cancel()
		}()
		req, err := http.NewRequestWithContext(ctx, "GET", "https://api.example.com/", nil)
		must(t, err)
		if _, err := k.client(t, k.token, h2).Do(req); !errors.Is(err, context.Canceled) {
			t.Errorf("h2 %t: %v", h2, err)
		}
		select {
		case <-cancelled:
		case <-time.After(10 * time.Second):
			t.Errorf("h2 %t: the upstream still runs", h2)
		}
	}
}

// An eagerConn sends the CONNECT and what is written first in one segment, and
// takes the answer to the CONNECT off what is read.
type eagerConn struct {
	*wire
	connect string
	status  string
}

func (c *eagerConn) Write(p []byte) (int, error) {
	if c.connect == "" {
		return c.wire.Write(p)
	}
	_, err := c.wire.Write(append([]byte(c.connect), p...))
	c.connect = ""
	return len(p), err
}

func (c *eagerConn) Read(p []byte) (int, error) {
	for c.status == "" || !strings.HasSuffix(c.status, "\r\n\r\n") {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return 0, err
		}
		c.status += line
	}
	return c.r.Read(p)
}

// Trap: bytes that were buffered behind the CONNECT are lost.
func TestTrapEarlyBytes(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, tt := range []struct {
		token, host string
		config      *tls.Config
	}{
		{k.token, "api.example.com", &tls.Config{RootCAs: k.roots}},
		{k.loose, "unmatched.example.com", &tls.Config{RootCAs: k.origin}}, // a blind tunnel
	} {
		c := &eagerConn{wire: k.dial(t), connect: "CONNECT " + tt.host + ":443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer " + tt.token + "\r\n\r\n"}
		tt.config.ServerName = tt.host
		secure := tls.Client(c, tt.config)
		if err := secure.Handshake(); err != nil {
			t.Errorf("%s: handshake begun in CONNECT's segment: %v", tt.host, err)
			continue
		}
		w := &wire{Conn: secure, r: bufio.NewReader(secure)}
		w.send(t, "GET / HTTP/1.1\r\nHost: "+tt.host+"\r\n\r\n")
		if resp, body := w.answer(t, "GET"); resp.StatusCode != 200 {
			t.Errorf("%s: %s %s", tt.host, resp.Status, body)
		}
	}
}

// Trap: a rejection without a response is an EOF to the client; one with
// unread bytes behind it is a reset.
func TestTrapRejectionIsAWholeResponse(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, early := range []string{"", "\x16\x03\x01" + strings.Repeat("x", 30<<10)} {
		w := k.dial(t)
		w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n"+early)
		resp, body := w.answer(t, "CONNECT")
		if resp.StatusCode != 407 || fault(t, resp, body) != "unauthorized" {
			t.Errorf("%s %s, want 407 unauthorized", resp.Status, body)
		}
		if resp.Header.Get("Proxy-Authenticate") != `Basic realm="agent-vault"` || !resp.Close || resp.ContentLength != int64(len(body)) {
			t.Errorf("Proxy-Authenticate %q, close %t, length %d of %d", resp.Header.Get("Proxy-Authenticate"), resp.Close, resp.ContentLength, len(body))
		}
		if b, err := w.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("after the rejection: byte %q, %v; want EOF", b, err)
		}
	}
}

// Traps: goproxy's built-in authority, its ready-made actions and its options
// that let credentials through are named nowhere in this package.
func TestTrapNamesAreNotUsed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, name := range []string{
		"TLSConfig" + "FromCA", "Mitm" + "Connect", "Ok" + "Connect", "Goproxy" + "Ca", "Connect" + "Accept", "Connect" + "Mitm",
		"Keep" + "Header", "Prevent" + "Canonicalization", "Insecure" + "SkipVerify", "Allow" + "HTTP2", "Verb" + "ose",
	} {
		for _, file := range files {
			source, err := os.ReadFile(file)
			must(t, err)
			if bytes.Contains(source, []byte(name)) {
				t.Errorf("%s names %s", file, name)
			}
		}
	}
}

// Trap: a server started under HTTPS_PROXY sends its upstream connections
// there, or into itself.
func TestTrapEnvironmentProxyIsNotUsed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	var dialed atomic.Int64
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			dialed.Add(1)
			_ = c.Close()
		}
	}()
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://"+ln.Addr().String())
	}
	k := newKit(t, kitOptions{})
	if resp, err := k.client(t, k.token, true).Get("https://api.example.com/"); err != nil || resp.StatusCode != 200 {
		t.Errorf("interception: %v, %v", resp, err)
	}
	w := k.connect(t, k.loose, "unmatched.example.com:443")
	must(t, tls.Client(w.Conn, &tls.Config{RootCAs: k.origin, ServerName: "unmatched.example.com"}).Handshake())
	w = k.dial(t)
	w.send(t, "GET https://api.example.com/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
	if resp, body := w.answer(t, "GET"); resp.StatusCode != 200 {
		t.Errorf("absolute form: %s %s", resp.Status, body)
	}
	if n := dialed.Load(); n != 0 {
		t.Errorf("the environment's proxy was dialed %d times", n)
	}
}

// Trap: lower-case credentials slip past Header.Del.
func TestTrapAgentsOwnCredentialsAreReplaced(t *testing.T) {
	saw := make(chan http.Header, 1)
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { saw <- r.Header.Clone() })})
	for _, name := range []string{"Authorization", "authorization", "AUTHORIZATION"} {
		resp, body := k.within(t, "api.example.com:443", "GET / HTTP/1.1\r\nHost: api.example.com\r\n"+
			name+": Bearer mine\r\nproxy-authorization: Bearer "+k.token+"\r\nx-vault: default\r\n\r\n")
		if resp.StatusCode != 200 {
			t.Fatalf("%s %s", resp.Status, body)
		}
		h := <-saw
		if got := h["Authorization"]; len(got) != 1 || got[0] != "Bearer "+credential {
			t.Errorf("%s: upstream saw %q", name, got)
		}
		for field, values := range h {
			if strings.HasPrefix(field, "Proxy") || field == "X-Vault" || strings.Contains(strings.Join(values, ""), k.token) {
				t.Errorf("%s: upstream saw %s: %q", name, field, values)
			}
		}
	}
}

// Trap: goproxy's logger prints URLs and what peers sent.
func TestTrapLogHoldsNothingOfPeers(t *testing.T) {
	stderr := os.Stderr
	r, w, err := os.Pipe()
	must(t, err)
	os.Stderr = w
	defer func() { os.Stderr = stderr }()
	k := newKit(t, kitOptions{})
	_, _ = k.within(t, "api.example.com:443", "GET /?key=query-secret HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	_, _ = k.within(t, "api.example.com:443", "query-secret\r\n\r\n")
	c := k.dial(t)
	c.send(t, "GET /query-secret HTTP/9.9\r\n\r\n")
	_, _ = io.ReadAll(c)
	c = k.connect(t, k.token, "api.example.com:443")
	c.send(t, "query-secret")
	_, _ = io.ReadAll(c)
	must(t, w.Close())
	printed, err := io.ReadAll(r)
	must(t, err)
	if got := k.log.String() + string(printed); strings.Contains(got, "query-secret") || strings.Contains(got, k.token) {
		t.Errorf("logged:\n%s", got)
	}
}
