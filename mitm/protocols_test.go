package mitm_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// A cell is one way to the vault and one protocol from it.
type cell struct {
	k    *kit
	name string // of the way
	h2   bool   // to the vault
	up2  bool   // from the vault
	next chan struct{}

	round http.RoundTripper
	url   func(path string) *url.URL
	field [2]string // that tells who asks; "" inside a tunnel
}

// request asks for a path of api.example.com.
func (c *cell) request(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, "http://unused", body)
	must(t, err)
	req.URL = c.url(path)
	req.Host = "api.example.com"
	if c.field[0] != "" {
		req.Header.Set(c.field[0], c.field[1])
	}
	return req
}

// do sends a request and reads its answer to the end.
func (c *cell) do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.round.RoundTrip(req)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(b)
}

// goOn lets the upstream send the next piece of a stream.
func (c *cell) goOn(t *testing.T) {
	t.Helper()
	select {
	case c.next <- struct{}{}:
	case <-time.After(10 * time.Second):
		t.Fatal("the upstream does not go on")
	}
}

// raw opens a connection for raw HTTP/1.1, and says how a request for a path
// begins on it.
func (c *cell) raw(t *testing.T) (w *wire, head func(method, path, version string) string) {
	t.Helper()
	target := ""
	switch c.name {
	case "path":
		w, target = c.k.dialPath(t), "/proxy/api.example.com"
	case "absolute":
		w, target = c.k.dial(t), "https://api.example.com"
	default:
		conn := c.k.open(t, "api.example.com:443", nil)
		must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		w = &wire{Conn: conn, r: bufio.NewReader(conn)}
	}
	return w, func(method, path, version string) string {
		h := method + " " + target + path + " " + version + "\r\nHost: api.example.com\r\n"
		if c.field[0] != "" {
			h += c.field[0] + ": " + c.field[1] + "\r\n"
		}
		return h
	}
}

func newCell(t *testing.T, name string, h2, up2 bool) *cell {
	t.Helper()
	next := make(chan struct{})
	k := newKit(t, kitOptions{upstream: &speaker{next: next}, http1: !up2})
	c := &cell{k: k, name: name, h2: h2, up2: up2, next: next}
	tr := &http.Transport{DisableCompression: true, ExpectContinueTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetHTTP2(h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	t.Cleanup(tr.CloseIdleConnections)
	c.round = tr
	over := func(scheme, host, prefix string) {
		c.url = func(path string) *url.URL { return &url.URL{Scheme: scheme, Host: host, Opaque: prefix + path} }
	}
	switch name {
	case "path":
		_ = k.dialPath(t).Close() // so that it is served
		over("http", k.pathAddr, "/proxy/api.example.com")
		c.field = [2]string{"Authorization", "Bearer " + k.token}
	case "absolute":
		over("http", k.addr, "https://api.example.com")
		c.field = [2]string{"Proxy-Authorization", "Bearer " + k.token}
	case "connect":
		over("https", "api.example.com", "")
		tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: k.addr, User: url.UserPassword(k.token, "default")})
		tr.TLSClientConfig = &tls.Config{RootCAs: k.roots}
	}
	return c
}

// protocols is the table: what is spoken over HTTP, each a check of one cell.
var protocols = []struct {
	name  string
	h1    bool // HTTP/2 to the vault has none of it
	check func(t *testing.T, c *cell)
}{
	{"methods and lengths", false, checkMethods},
	{"bodiless statuses", false, checkBodiless},
	{"large bodies both ways at once", false, checkLargeBodies},
	{"gRPC unary", false, checkUnary},
	{"gRPC server streaming", false, checkServerStreaming},
	{"gRPC client streaming", false, checkClientStreaming},
	{"gRPC bidirectional", false, checkBidirectional},
	{"gRPC bidirectional, compressed", false, checkCompressed},
	{"gRPC refusal in trailers only", false, checkTrailersOnly},
	{"gRPC-Web", false, checkWeb},
	{"streams of events", false, checkStreams},
	{"trailers", false, checkTrailers},
	{"interim answers", false, checkInterim},
	{"Expect, met", false, checkExpectMet},
	{"Expect, refused early", false, checkExpectRefused},
	{"ranges", false, checkRanges},
	{"OPTIONS *", false, checkStar},
	{"early answer to an upload", false, checkEarlyAnswer},
	{"answer that ends with the connection", false, checkAnswerToTheEnd},
	{"HTTP/1.0", true, checkHTTP10},
	{"WebSocket", true, checkWebSocket},
	{"half-closed agent", true, checkHalfClosed},
}

// TestProtocols: each protocol on each entrance, over HTTP/1.1 and HTTP/2 to the
// vault, and over both from it.
func TestProtocols(t *testing.T) {
	for _, up2 := range []bool{false, true} {
		for _, w := range []struct {
			name string
			h2   bool
		}{{"path", false}, {"path", true}, {"connect", false}, {"connect", true}, {"absolute", false}} {
			t.Run(w.name+", "+protoName(w.h2)+" to "+protoName(up2), func(t *testing.T) {
				c := newCell(t, w.name, w.h2, up2)
				for _, p := range protocols {
					if p.h1 && c.h2 {
						continue
					}
					t.Run(p.name, func(t *testing.T) { p.check(t, c) })
				}
			})
		}
	}
}

func protoName(h2 bool) string {
	if h2 {
		return "HTTP2"
	}
	return "HTTP1"
}
