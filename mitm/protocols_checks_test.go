package mitm_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func checkMethods(t *testing.T, c *cell) {
	up := 1
	if c.up2 {
		up = 2
	}
	for _, r := range []struct {
		method string
		body   io.Reader
		length int64 // that the upstream sees
	}{
		{"GET", nil, 0},
		{"HEAD", nil, 0},
		{"DELETE", nil, 0},
		{"OPTIONS", nil, 0},
		{"PUT", http.NoBody, 0},
		{"POST", strings.NewReader("hello"), 5},
		{"PATCH", io.MultiReader(strings.NewReader("hello")), -1},
		{"PROPFIND", strings.NewReader("hello"), 5},
	} {
		want := ""
		if r.length != 0 {
			want = "hello"
		}
		resp, body := c.do(t, c.request(t, r.method, "/a%2Fb?c=%20d", r.body))
		if saw := fmt.Sprint(r.method, " /a%2Fb?c=%20d ", r.length, " ", up); resp.StatusCode != 200 || body != want || resp.Header.Get("X-Saw") != saw {
			t.Errorf("%s: %s %q, the upstream saw %q, want %q", r.method, resp.Status, body, resp.Header.Get("X-Saw"), saw)
		}
		if r.length > 0 && resp.ContentLength != r.length {
			t.Errorf("%s: answer of %d bytes, want %d", r.method, resp.ContentLength, r.length)
		}
	}
}

func checkBodiless(t *testing.T, c *cell) {
	for _, code := range []int{204, 205, 304} {
		if resp, body := c.do(t, c.request(t, "GET", fmt.Sprint("/status/", code), nil)); resp.StatusCode != code || body != "" {
			t.Errorf("%d: %s %q", code, resp.Status, body)
		}
	}
}

// 8 MiB come back while they are sent.
func checkLargeBodies(t *testing.T, c *cell) {
	const size = 8 << 20
	sent, got := sha256.New(), sha256.New()
	body := io.TeeReader(io.LimitReader(&counter{}, size), sent)
	resp, err := c.round.RoundTrip(c.request(t, "POST", "/echo", body))
	must(t, err)
	defer resp.Body.Close()
	if n, err := io.Copy(got, resp.Body); n != size || err != nil || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// A counter is numbers without end.
type counter struct{ n byte }

func (c *counter) Read(p []byte) (int, error) {
	for i := range p {
		c.n++
		p[i] = c.n
	}
	return len(p), nil
}

// A call is one of gRPC, as far as it has come.
type call struct {
	resp *http.Response
	send *io.PipeWriter
}

func (c *cell) call(t *testing.T, method string) *call {
	t.Helper()
	r, w := io.Pipe()
	req := c.request(t, "POST", "/grpc/"+method, r)
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	resp, err := c.round.RoundTrip(req)
	must(t, err)
	t.Cleanup(func() { _ = resp.Body.Close() })
	return &call{resp, w}
}

func (c *call) say(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		_, err := io.WriteString(c.send, message(0, text))
		must(t, err)
	}
}

func (c *call) hear(t *testing.T, want string) {
	t.Helper()
	if _, got, err := readMessage(c.resp.Body); err != nil || got != want {
		t.Fatalf("message %q, %v, want %q", got, err, want)
	}
}

// ends closes the agent's side and expects the answer's end with its trailers.
func (c *call) ends(t *testing.T) {
	t.Helper()
	_ = c.send.Close() // always nil
	if rest, err := io.ReadAll(c.resp.Body); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v at the end", rest, err)
	}
	if c.resp.Trailer.Get("Grpc-Status") != "0" || c.resp.Trailer.Get("Grpc-Message") != "fine" {
		t.Errorf("trailers %v", c.resp.Trailer)
	}
}

func checkUnary(t *testing.T, c *cell) {
	call := c.call(t, "Unary")
	call.say(t, "a")
	_ = call.send.Close()
	call.hear(t, "[a]")
	call.ends(t)
}

func checkServerStreaming(t *testing.T, c *cell) {
	call := c.call(t, "Server")
	call.say(t, "a")
	_ = call.send.Close()
	for n := range 3 {
		call.hear(t, fmt.Sprintf("[a]%d", n))
	}
	call.ends(t)
}

func checkClientStreaming(t *testing.T, c *cell) {
	call := c.call(t, "Client")
	call.say(t, "a", "", "b")
	_ = call.send.Close()
	call.hear(t, "[a  b]")
	call.ends(t)
}

// Each message is answered before the next is sent.
func checkBidirectional(t *testing.T, c *cell) { c.converse(t, "Bidi") }

// Likewise where the upstream compresses its own, which come plain.
func checkCompressed(t *testing.T, c *cell) { c.converse(t, "Coded") }

func (c *cell) converse(t *testing.T, method string) {
	t.Helper()
	call := c.call(t, method)
	for n := range 5 {
		text := strings.Repeat("x", n*1000)
		call.say(t, text)
		call.hear(t, "re: "+text)
	}
	call.ends(t)
}

// What has no messages has its trailers in the header.
func checkTrailersOnly(t *testing.T, c *cell) {
	req := c.request(t, "POST", "/grpc/Denied", strings.NewReader(message(0, "a")))
	req.Header.Set("Te", "trailers")
	if resp, body := c.do(t, req); body != "" || resp.Header.Get("Grpc-Status") != "7" || resp.Header.Get("Grpc-Message") != "denied" || len(resp.Trailer) > 0 {
		t.Errorf("%q %v %v", body, resp.Header, resp.Trailer)
	}
}

func checkWeb(t *testing.T, c *cell) {
	const trailers = "grpc-status: 0\r\n"
	for _, kind := range []string{"application/grpc-web+proto", "application/grpc-web-text"} {
		said, want := message(0, "a"), message(0, "re: a")+message(0x80, trailers)
		if strings.HasSuffix(kind, "text") {
			said = base64.StdEncoding.EncodeToString([]byte(said))
			want = base64.StdEncoding.EncodeToString([]byte(message(0, "re: a"))) + base64.StdEncoding.EncodeToString([]byte(message(0x80, trailers)))
		}
		req := c.request(t, "POST", "/grpc-web", strings.NewReader(said))
		req.Header.Set("Content-Type", kind)
		req.Header.Set("X-Grpc-Web", "1")
		if resp, body := c.do(t, req); resp.StatusCode != 200 || body != want || resp.Header.Get("Content-Type") != kind {
			t.Errorf("%s: %s %q, want %q", kind, resp.Status, body, want)
		}
	}
}

// Each piece arrives while the upstream waits with the next.
func checkStreams(t *testing.T, c *cell) {
	for kind, all := range pieces {
		resp, err := c.round.RoundTrip(c.request(t, "GET", "/stream?type="+url.QueryEscape(kind), nil))
		must(t, err)
		for _, piece := range all {
			got := make([]byte, len(piece))
			if n, err := io.ReadFull(resp.Body, got); err != nil || string(got) != piece {
				t.Fatalf("%s: %q, %v, want %q", kind, got[:n], err, piece)
			}
			c.goOn(t)
		}
		if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
			t.Errorf("%s: %q, %v at the end", kind, rest, err)
		}
		_ = resp.Body.Close()
	}
}

func checkTrailers(t *testing.T, c *cell) {
	req := c.request(t, "POST", "/trailers", io.MultiReader(strings.NewReader("hello")))
	req.Trailer = http.Header{"X-Sum": {"5"}}
	resp, body := c.do(t, req)
	if body != "5" || resp.Trailer.Get("X-Announced") != "yes" || resp.Trailer.Get("X-Unannounced") != "yes" {
		t.Errorf("%q %v", body, resp.Trailer)
	}
}

// Interim answers go to HTTP/1 only; what follows is the same everywhere.
func checkInterim(t *testing.T, c *cell) {
	if !c.h2 {
		w, head := c.raw(t)
		w.send(t, head("GET", "/interim", "HTTP/1.1")+"\r\n")
		hints, err := http.ReadResponse(w.r, nil)
		must(t, err)
		if hints.StatusCode != 103 || hints.Header.Get("Link") == "" {
			t.Errorf("%s %v", hints.Status, hints.Header)
		}
		if resp, body := w.answer(t, "GET"); resp.StatusCode != 200 || body != "after hints" || resp.Header["Link"] != nil {
			t.Errorf("%s %q %v", resp.Status, body, resp.Header)
		}
		return
	}
	if resp, body := c.do(t, c.request(t, "GET", "/interim", nil)); resp.StatusCode != 200 || body != "after hints" {
		t.Errorf("%s %q", resp.Status, body)
	}
}

func checkRanges(t *testing.T, c *cell) {
	for _, r := range []struct {
		fields, body string
		status       int
		content      string
	}{
		{"bytes=2-4", "234", 206, "bytes 2-4/10"},
		{"bytes=-3", "789", 206, "bytes 7-9/10"},
		{"bytes=20-", "", 416, "bytes */10"},
		{"bytes=2-4,If-Range:other", "0123456789", 200, ""},
		{`bytes=2-4,If-Range:"v1"`, "234", 206, "bytes 2-4/10"},
		{"bytes=0-1,8-9", "", 206, ""},
	} {
		ranges, condition, _ := strings.Cut(r.fields, ",If-Range:")
		req := c.request(t, "GET", "/file", nil)
		req.Header.Set("Range", ranges)
		if condition != "" {
			req.Header.Set("If-Range", condition)
		}
		resp, body := c.do(t, req)
		if resp.StatusCode != r.status || resp.Header.Get("Content-Range") != r.content || r.body != "" && body != r.body {
			t.Errorf("%s: %s %q %v", r.fields, resp.Status, body, resp.Header)
		}
		if ranges == "bytes=0-1,8-9" && (!strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/byteranges") || strings.Count(body, "Content-Range:") != 2) {
			t.Errorf("several: %q %v", body, resp.Header)
		}
	}
}

// OPTIONS * asks about the server as a whole. In absolute form it is a URL
// without a path (RFC 9112 §3.2.4); on the path entrance it has no spelling.
func checkStar(t *testing.T, c *cell) {
	switch {
	case c.name == "path":
		return
	case c.h2:
		conn := c.k.open(t, "api.example.com:443", func(c *tls.Config) { c.NextProtos = []string{"h2"} })
		g := sendHTTP2(t, conn, ask{method: "OPTIONS", host: "api.example.com"}, "https", "*", "api.example.com")
		if saw := g.header.Get("X-Saw"); g.status != 200 || !strings.HasPrefix(saw, "OPTIONS * ") {
			t.Errorf("%d, the upstream saw %q", g.status, saw)
		}
	default:
		target := "*"
		if c.name == "absolute" {
			target = ""
		}
		w, head := c.raw(t)
		w.send(t, head("OPTIONS", target, "HTTP/1.1")+"\r\n")
		if resp, _ := w.answer(t, "OPTIONS"); resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("X-Saw"), "OPTIONS * ") {
			t.Errorf("%s, the upstream saw %q", resp.Status, resp.Header.Get("X-Saw"))
		}
	}
}
