package upstream_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/broker/upstream"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// An origin is one listener, with how often it was connected to.
type origin struct {
	addr  string
	conns *atomic.Int32
	t     *upstream.Transport
	tls   bool
}

func (o *origin) url(path string) *url.URL {
	scheme := "http"
	if o.tls {
		scheme = "https"
	}
	return &url.URL{Scheme: scheme, Host: "example.com", Opaque: path}
}

func newOrigin(t *testing.T, addr string, roots *x509.CertPool, change func(*upstream.Options)) *origin {
	o := &origin{addr: addr, conns: new(atomic.Int32), tls: roots != nil}
	opts := upstream.Options{
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			o.conns.Add(1)
			var d net.Dialer
			return d.DialContext(ctx, network, addr)
		},
		TLS: &tls.Config{RootCAs: roots}, HandshakeTimeout: 10 * time.Second, HeaderTimeout: 10 * time.Second, BodyIdle: 10 * time.Second,
	}
	if change != nil {
		change(&opts)
	}
	o.t = upstream.New(opts)
	t.Cleanup(o.t.Close)
	return o
}

// talks is an origin that says, on each connection, what talk does.
func talks(t *testing.T, talk func(n int, c net.Conn, br *bufio.Reader), change func(*upstream.Options)) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for n := 1; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				talk(n, c, bufio.NewReader(c))
			}()
		}
	}()
	return newOrigin(t, ln.Addr().String(), nil, change)
}

// serves is an origin that speaks TLS.
func serves(t *testing.T, http2 bool, h http.HandlerFunc) *origin {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.EnableHTTP2 = http2
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return newOrigin(t, srv.Listener.Addr().String(), rootsOf(srv), nil)
}

func rootsOf(srv *httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	return roots
}

func (o *origin) do(ctx context.Context, r *http.Request) (*http.Response, error) {
	if r.URL == nil {
		r.URL = o.url("/")
	}
	r.Host = "example.com"
	if r.Header == nil {
		r.Header = http.Header{}
	}
	port := ":80"
	if o.tls {
		port = ":443"
	}
	return o.t.Do(ctx, &upstream.Call{Request: r, Address: "example.com" + port, Interrupt: func() {
		if c, ok := r.Body.(io.Closer); ok {
			_ = c.Close() // ends a pipe's read
		}
	}})
}

// get reads the whole answer to a GET.
func (o *origin) get(t *testing.T) (string, error) {
	t.Helper()
	resp, err := o.do(t.Context(), &http.Request{Method: "GET"})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return fmt.Sprint(resp.StatusCode, " ", string(b)), err
}

func request(t *testing.T, br *bufio.Reader) (*http.Request, bool) {
	r, err := http.ReadRequest(br)
	if err != nil {
		return nil, false
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, false
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return r, true
}

func TestConnectionsAreKept(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		o := serves(t, http2, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
		want := map[bool]string{false: "200 HTTP/1.1", true: "200 HTTP/2.0"}[http2]
		for range 5 {
			if got, err := o.get(t); got != want || err != nil {
				t.Errorf("%s %v, want %s", got, err, want)
			}
		}
		if n := o.conns.Load(); n != 1 {
			t.Errorf("%s: %d connections for five requests", want, n)
		}
	}
}

// A connection is not used again when more came than belonged to the answer,
// whenever it came, nor when its upstream has closed it.
func TestConnectionsThatAreNotKept(t *testing.T) {
	for name, tail := range map[string]func(c net.Conn){
		"more behind a body": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
		},
		"a body where none belongs": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison")
		},
		"closes silently": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_ = c.Close() // once more at the end
		},
		"says that it closes": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		},
		"without a length": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nok")
			_ = c.Close() // once more at the end
		},
	} {
		t.Run(name, func(t *testing.T) {
			said := make(chan struct{}, 9)
			o := talks(t, func(_ int, c net.Conn, br *bufio.Reader) {
				for {
					r, ok := request(t, br)
					if !ok {
						return
					}
					if r.Method == "POST" {
						_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
						continue
					}
					tail(c)
					said <- struct{}{}
				}
			}, nil)
			for range 3 {
				if got, err := o.get(t); err != nil || strings.Contains(got, "poison") || strings.Contains(got, "good") {
					t.Fatalf("%q %v", got, err)
				}
				<-said
				resp, err := o.do(t.Context(), &http.Request{Method: "POST"}) // is never sent twice
				must(t, err)
				if b, err := io.ReadAll(resp.Body); string(b) != "good" || err != nil {
					t.Errorf("then: %q %v", b, err)
				}
				must(t, resp.Body.Close())
			}
		})
	}
}

// A request that a kept connection ate is sent again if it may be, once the
// upstream has said nothing.
func TestAgain(t *testing.T) {
	for _, tt := range []struct {
		method, body string
		header       http.Header
		again        bool
	}{
		{"GET", "", nil, true},
		{"DELETE", "", nil, false},
		{"POST", "", nil, false},
		{"POST", "", http.Header{"Idempotency-Key": {"1"}}, true},
		{"PUT", "body", nil, false},
	} {
		o := talks(t, func(n int, c net.Conn, br *bufio.Reader) {
			for i := 0; ; i++ {
				if _, ok := request(t, br); !ok || n == 1 && i == 1 {
					return // the second request on the first connection is not answered
				}
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}, nil)
		_, err := o.get(t)
		must(t, err)
		r := &http.Request{Method: tt.method, Header: tt.header}
		if tt.body != "" {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(tt.body)), int64(len(tt.body))
		}
		resp, err := o.do(t.Context(), r)
		if (err == nil) != tt.again {
			t.Errorf("%s %v: %v, want it sent again: %t", tt.method, tt.header, err, tt.again)
		}
		if err == nil {
			must(t, resp.Body.Close())
		}
	}
}

// Requests are spelled as RFC 9112 says, the same one always by the same bytes.
func TestRequestBytes(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    http.Request
		want string
	}{
		{"GET", http.Request{Method: "GET", Header: http.Header{"X-B": {"2"}, "X-A": {"1", "3"}, "User-Agent": nil}}, "GET / HTTP/1.1\r\nHost: example.com\r\nX-A: 1\r\nX-A: 3\r\nX-B: 2\r\n\r\n"},
		{"POST without a body", http.Request{Method: "POST"}, "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 0\r\n\r\n"},
		{"framing of the agent's", http.Request{Method: "GET", Header: http.Header{"Content-Length": {"9"}, "Transfer-Encoding": {"chunked"}, "Host": {"evil"}, "Trailer": {"X"}}}, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"},
		{"a length", http.Request{Method: "PUT", Body: io.NopCloser(strings.NewReader("hello")), ContentLength: 5}, "PUT / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello"},
		{"chunks", http.Request{Method: "PUT", Body: io.NopCloser(strings.NewReader("hello")), ContentLength: -1}, "PUT / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
		{"trailers", http.Request{Method: "PUT", Body: io.NopCloser(strings.NewReader("hello")), ContentLength: -1, Trailer: http.Header{"X-B": {"2"}, "X-A": {"1"}}}, "PUT / HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\nTrailer: X-A,X-B\r\n\r\n5\r\nhello\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n"},
	} {
		got := make(chan string, 1)
		o := talks(t, func(_ int, c net.Conn, _ *bufio.Reader) {
			b := make([]byte, len(tt.want))
			_, err := io.ReadFull(c, b)
			_, _ = io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
			got <- fmt.Sprint(string(b), err)
		}, nil)
		resp, err := o.do(t.Context(), &tt.r)
		must(t, err)
		must(t, resp.Body.Close())
		if s := <-got; s != tt.want+"<nil>" {
			t.Errorf("%s: %q\nwant %q", tt.name, s, tt.want)
		}
	}
}

// What would be read as something else is not sent, and nobody is called.
func TestUnsendable(t *testing.T) {
	o := talks(t, func(int, net.Conn, *bufio.Reader) {}, nil)
	for name, r := range map[string]*http.Request{
		"a method":         {Method: "GET / HTTP/1.1\r\nX: "},
		"no method":        {Method: ""},
		"a target":         {Method: "GET", URL: o.url("/ HTTP/1.1\r\nX:a")},
		"a name":           {Method: "GET", Header: http.Header{"X\r\nY": {"a"}}},
		"a value":          {Method: "GET", Header: http.Header{"X": {"a\r\nY: b"}}},
		"a trailer's name": {Method: "GET", Trailer: http.Header{"X Y": nil}},
	} {
		if resp, err := o.do(t.Context(), r); err == nil {
			t.Errorf("%s: %v", name, resp.Status)
		}
	}
	if n := o.conns.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A body that breaks off, or does not have its length, leaves no whole request
// behind.
func TestBrokenBodies(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		body   io.Reader
		length int64
		want   error
	}{
		"breaks off":         {io.MultiReader(strings.NewReader("abc"), errReader{broken}), 9, broken},
		"breaks off, chunks": {io.MultiReader(strings.NewReader("abc"), errReader{broken}), -1, broken},
		"too short":          {strings.NewReader("abc"), 9, io.ErrUnexpectedEOF},
		"too long":           {strings.NewReader("abcdef"), 3, nil},
	} {
		whole := make(chan bool, 1)
		o := talks(t, func(_ int, _ net.Conn, br *bufio.Reader) {
			_, ok := request(t, br)
			whole <- ok
		}, nil)
		_, err := o.do(t.Context(), &http.Request{Method: "PUT", Body: io.NopCloser(tt.body), ContentLength: tt.length})
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if <-whole {
			t.Errorf("%s: the upstream got a whole request", name)
		}
	}
}

// A stalled body waits until it is interrupted, as an agent's does.
type stalled struct{ ended chan struct{} }

func (s stalled) Read([]byte) (int, error) {
	<-s.ended
	return 0, os.ErrDeadlineExceeded
}

func (s stalled) Close() error {
	close(s.ended)
	return nil
}

// That an upstream goes away under an upload is not said to be the agent's
// slowness, which ends the read of the body then.
func TestUpstreamGoesUnderAnUpload(t *testing.T) {
	for _, length := range []int64{9, -1} {
		o := talks(t, func(_ int, _ net.Conn, br *bufio.Reader) {
			_, _ = http.ReadRequest(br) // and hangs up
		}, nil)
		_, err := o.do(t.Context(), &http.Request{Method: "PUT", Body: stalled{make(chan struct{})}, ContentLength: length})
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// An answer does not wait for the end of the request's body, and Expect is heeded.
func TestEarlyAnswers(t *testing.T) {
	for _, expect := range []bool{false, true} {
		o := talks(t, func(_ int, c net.Conn, br *bufio.Reader) {
			for line := ""; line != "\r\n"; {
				var err error
				if line, err = br.ReadString('\n'); err != nil {
					return
				}
			}
			_, _ = io.WriteString(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
			b, _ := io.ReadAll(br) // until it is closed
			if len(b) > 0 && expect {
				t.Errorf("%q was sent", b)
			}
		}, nil)
		pr, pw := io.Pipe()
		r := &http.Request{Method: "PUT", Body: pr, ContentLength: 9, Header: http.Header{}}
		if expect {
			r.Header.Set("Expect", "100-continue")
		}
		resp, err := o.do(t.Context(), r)
		must(t, err)
		if b, err := io.ReadAll(resp.Body); string(b) != "no" || err != nil {
			t.Errorf("%q %v", b, err)
		}
		must(t, resp.Body.Close())
		if expect {
			continue // it was never read
		}
		if _, err := pw.Write([]byte("late")); err == nil {
			t.Error("the body is read still")
		}
	}
	o := talks(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for line := ""; line != "\r\n"; {
			line, _ = br.ReadString('\n')
		}
		_, _ = io.WriteString(c, "HTTP/1.1 100 Continue\r\n\r\n")
		b := make([]byte, 5)
		_, err := io.ReadFull(br, b)
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n%s%v", b, err)
	}, nil)
	resp, err := o.do(t.Context(), &http.Request{Method: "PUT", Body: io.NopCloser(strings.NewReader("hello")), ContentLength: 5, Header: http.Header{"Expect": {"100-Continue"}}})
	must(t, err)
	if b, err := io.ReadAll(resp.Body); string(b) != "hello<nil>" || err != nil {
		t.Errorf("%q %v", b, err)
	}
}

// The end of the context ends a call wherever it is.
func TestContext(t *testing.T) {
	for name, say := range map[string]string{
		"before an answer": "",
		"in a header":      "HTTP/1.1 200 OK\r\nX-",
		"in a body":        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		o := talks(t, func(_ int, c net.Conn, br *bufio.Reader) {
			_, _ = request(t, br)
			_, _ = io.WriteString(c, say)
			if name != "in a body" {
				cancel()
			}
			_, _ = io.Copy(io.Discard, br)
			close(gone)
		}, nil)
		resp, err := o.do(ctx, &http.Request{Method: "GET"})
		if err == nil {
			cancel()
			_, err = io.ReadAll(resp.Body)
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		<-gone
	}
}

// An upstream that says nothing, or stops in the midst, has some time.
func TestStandsStill(t *testing.T) {
	for name, say := range map[string]string{"no answer": "", "half a body": "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"} {
		o := talks(t, func(_ int, c net.Conn, br *bufio.Reader) {
			_, _ = request(t, br)
			_, _ = io.WriteString(c, say)
			_, _ = io.Copy(io.Discard, br)
		}, func(o *upstream.Options) { o.HeaderTimeout, o.BodyIdle = 100*time.Millisecond, 100*time.Millisecond })
		if got, err := o.get(t); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// Headers and interim answers without end are not read on.
func TestEndless(t *testing.T) {
	for name, say := range map[string]string{
		"a field":         "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 300<<10),
		"fields":          "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: a\r\n", 100<<10),
		"interim answers": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 200),
	} {
		o := talks(t, func(_ int, c net.Conn, br *bufio.Reader) {
			_, _ = request(t, br)
			_, _ = io.WriteString(c, say)
			_, _ = io.Copy(io.Discard, br)
		}, nil)
		if got, err := o.get(t); err == nil {
			t.Errorf("%s: %q", name, got)
		} else if name == "interim answers" && !errors.Is(err, upstream.ErrInterim) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
