package http1_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/broker/http1"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A front is a Server before net/http's.
type front struct {
	addr  string
	plain *http1.Server
	left  *counted // what net/http accepted
	log   *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type counted struct {
	net.Listener
	mu sync.Mutex
	n  int
}

func (c *counted) Accept() (net.Conn, error) {
	nc, err := c.Listener.Accept()
	if err == nil {
		c.mu.Lock()
		c.n++
		c.mu.Unlock()
	}
	return nc, err
}

func (c *counted) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// start serves h. Without plain, by net/http alone.
func start(t *testing.T, h http.HandlerFunc, plain bool, change func(*http.Server)) *front {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	f := &front{addr: ln.Addr().String(), log: new(syncBuffer)}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	if change != nil {
		change(srv)
	}
	if plain {
		f.plain, ln = http1.Front(srv, ln, func(target string) bool { return !strings.HasPrefix(target, "/left") }, slog.New(slog.NewTextHandler(f.log, nil)))
	}
	f.left = &counted{Listener: ln}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(f.left) // ends with Close
	}()
	t.Cleanup(func() {
		_ = srv.Close() // nothing is left to end
		if plain {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = f.plain.Shutdown(ctx) // cuts what is open
		}
		<-served
	})
	return f
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

var date = regexp.MustCompile(`Date: [^\r]*\r\n`)

// TestAnswersAsNetHTTP: the bytes of an answer are those of net/http.
func TestAnswersAsNetHTTP(t *testing.T) {
	handlers := map[string]http.HandlerFunc{
		"nothing": func(http.ResponseWriter, *http.Request) {},
		"short":   func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") },
		"typed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"], w.Header()["Date"] = nil, nil
			w.Header().Set("X-B", " 1\r\nX-Evil: 2 ")
			w.Header()["X-A"] = []string{"1", "2"}
			w.Header()["Bad Name"] = []string{"1"}
			w.WriteHeader(201)
			fmt.Fprint(w, "{}")
		},
		"a length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "he")
			fmt.Fprint(w, "llo")
		},
		"more than its length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2")
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "he")
			if n, err := fmt.Fprint(w, "llo"); n != 0 || err != http.ErrContentLength {
				panic(err)
			}
		},
		"less than its length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "he")
		},
		"flushed": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			must(t, http.NewResponseController(w).Flush())
			fmt.Fprint(w, "data: 1\n\n")
			must(t, http.NewResponseController(w).Flush())
			fmt.Fprint(w, "data: 2\n\n")
		},
		"trailers": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Trailer", "X-End")
			fmt.Fprint(w, "body")
			must(t, http.NewResponseController(w).Flush())
			w.Header().Set("X-End", "1")
			w.Header().Set(http.TrailerPrefix+"X-More", "2")
		},
		"no content": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(204)
			if _, err := w.Write([]byte("x")); err != http.ErrBodyNotAllowed {
				panic(err)
			}
		},
		"not modified": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "77")
			w.Header().Set("Etag", `"a"`)
			w.WriteHeader(304)
		},
		"odd status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) },
		"closes": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			fmt.Fprint(w, "bye")
		},
		"hints": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
			clear(w.Header())
			fmt.Fprint(w, "then")
		},
		"aborts": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "half")
			must(t, http.NewResponseController(w).Flush())
			panic(http.ErrAbortHandler)
		},
		"echoes": func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %v %s %d %s %v %q %v", r.Method, r.URL, r.Host, r.ContentLength, r.RequestURI, r.Header, b, err)
		},
		"reads nothing": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "no, thanks") },
	}
	requests := map[string]string{
		"GET":   "GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n\r\n",
		"HEAD":  "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST":  "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
		"close": "GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
	}
	for name, h := range handlers {
		ours, theirs := start(t, h, true, nil), start(t, h, false, nil)
		for kind, request := range requests {
			t.Run(name+"/"+kind, func(t *testing.T) {
				// The second tells whether the connection lives.
				send := request + "GET /z HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
				got, want := exchange(t, ours.addr, send), exchange(t, theirs.addr, send)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("net/http says -, this package +\n%s", diff)
				}
			})
		}
		if n := ours.left.count(); n != 0 {
			t.Errorf("%s: %d connections were left", name, n)
		}
	}
}

func exchange(t *testing.T, addr, send string) string {
	t.Helper()
	c := dial(t, addr)
	_, err := io.WriteString(c, send)
	must(t, err)
	b, err := io.ReadAll(c)
	must(t, err)
	return date.ReplaceAllString(string(b), "Date: now\r\n")
}

// What does not fit goes to net/http with every byte, and stays there.
func TestLeaves(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q %v\n", r.RequestURI, b, err)
	}, true, nil)
	for _, first := range []string{
		"", // the first request already
		"GET /plain HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /plain HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab",
	} {
		for name, odd := range map[string]string{
			"another's target": "POST /left HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
			"chunks":           "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
			"line feeds":       "POST /x HTTP/1.1\nHost: h\nContent-Length: 3\n\nabc",
			"a long head":      "POST /x HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("a", 20<<10) + "\r\nContent-Length: 3\r\n\r\nabc",
		} {
			before := f.left.count()
			c := dial(t, f.addr)
			_, err := io.WriteString(c, first+odd+"GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			must(t, err)
			b, err := io.ReadAll(c)
			must(t, err)
			if !strings.Contains(string(b), `"abc" <nil>`) || !strings.Contains(string(b), `/last "" <nil>`) || strings.Contains(string(b), "/plain ") != (first != "") {
				t.Errorf("%s behind %q: %s", name, first, b)
			}
			if n := f.left.count() - before; n != 1 {
				t.Errorf("%s behind %q: net/http got %d connections", name, first, n)
			}
		}
	}
}

// One byte after the other makes the same request.
func TestBytewise(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%q %v", b, err)
	}, true, nil)
	c := dial(t, f.addr)
	br := bufio.NewReader(c)
	for range 2 {
		for _, b := range []byte("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc") {
			_, err := c.Write([]byte{b})
			must(t, err)
		}
		resp, err := http.ReadResponse(br, nil)
		must(t, err)
		if b, err := io.ReadAll(resp.Body); string(b) != `"abc" <nil>` || err != nil {
			t.Errorf("%s %v", b, err)
		}
	}
	if n := f.left.count(); n != 0 {
		t.Errorf("%d connections were left", n)
	}
}

// The context of a request ends when its agent goes, also when it has sent a
// body, and not when it sends the next request.
func TestAgentGone(t *testing.T) {
	for name, send := range map[string]string{
		"GET":  "GET /x HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST": "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			serving, ended := make(chan struct{}), make(chan error, 1)
			f := start(t, func(_ http.ResponseWriter, r *http.Request) {
				_, err := io.ReadAll(r.Body)
				must(t, err)
				close(serving)
				<-r.Context().Done()
				ended <- r.Context().Err()
			}, true, nil)
			c := dial(t, f.addr)
			_, err := io.WriteString(c, send)
			must(t, err)
			<-serving
			must(t, c.Close())
			<-ended
		})
	}
	t.Run("another request", func(t *testing.T) {
		release := make(chan struct{})
		f := start(t, func(w http.ResponseWriter, r *http.Request) {
			if r.RequestURI == "/slow" {
				<-release
			}
			fmt.Fprint(w, r.RequestURI, r.Context().Err())
		}, true, nil)
		c := dial(t, f.addr)
		br := bufio.NewReader(c)
		_, err := io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
		must(t, err)
		<-time.After(200 * time.Millisecond) // long enough to be watched; a shorter time tests less
		_, err = io.WriteString(c, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
		must(t, err)
		close(release)
		for _, want := range []string{"/slow<nil>", "/next<nil>"} {
			resp, err := http.ReadResponse(br, nil)
			must(t, err)
			if b, err := io.ReadAll(resp.Body); string(b) != want || err != nil {
				t.Errorf("%s %v, want %s", b, err, want)
			}
		}
	})
}

// An agent that has ended its own side gets its answer, and then the end.
func TestHalfClosedAgent(t *testing.T) {
	release := make(chan struct{})
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		must(t, err)
		<-release
		fmt.Fprint(w, r.Context().Err())
	}, true, nil)
	c := dial(t, f.addr)
	_, err := io.WriteString(c, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
	must(t, err)
	must(t, c.(*net.TCPConn).CloseWrite())
	<-time.After(200 * time.Millisecond) // long enough to be watched; a shorter time tests less
	close(release)
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	must(t, err)
	if b, err := io.ReadAll(resp.Body); string(b) != "<nil>" || err != nil {
		t.Errorf("%s %v", b, err)
	}
	if rest, err := io.ReadAll(br); len(rest) > 0 || err != nil {
		t.Errorf("%q %v behind the answer", rest, err)
	}
}

// A head that does not come, and a connection that nobody uses, end in time.
func TestSilence(t *testing.T) {
	for name, send := range map[string]string{
		"nothing":          "",
		"half a head":      "GET / HTTP/1.1\r\nHos",
		"idle":             "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"half the second":  "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET",
		"half of the body": "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, func(w http.ResponseWriter, r *http.Request) {
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(100 * time.Millisecond)) // handlers bound bodies
				_, err := io.ReadAll(r.Body)
				fmt.Fprint(w, err != nil)
			}, true, func(s *http.Server) { s.ReadHeaderTimeout, s.IdleTimeout = 200*time.Millisecond, 300*time.Millisecond })
			c := dial(t, f.addr)
			_, err := io.WriteString(c, send)
			must(t, err)
			if _, err := io.ReadAll(c); err != nil {
				t.Error(err) // the deadline of dial
			}
		})
	}
}

// A panic is one request's, and is told without what it says.
func TestPanic(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/panic" {
			panic("a secret")
		}
		fmt.Fprint(w, "well")
	}, true, nil)
	if got := exchange(t, f.addr, "GET /panic HTTP/1.1\r\nHost: h\r\n\r\n"); got != "" {
		t.Errorf("%q", got)
	}
	if got := exchange(t, f.addr, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(got, "well") {
		t.Errorf("%q", got)
	}
	if log := f.log.String(); !strings.Contains(log, "panic in a handler") || strings.Contains(log, "a secret") {
		t.Errorf("log: %s", log)
	}
}

// An agent that is answered before it has sent its body gets the answer, and may
// go on with the next request if not much is left.
func TestUnreadBody(t *testing.T) {
	f := start(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "enough") }, true, nil)
	small := exchange(t, f.addr, fmt.Sprintf("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", 100<<10, strings.Repeat("a", 100<<10))+
		"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	if strings.Count(small, "200 OK") != 2 {
		t.Errorf("%q", small)
	}
	c := dial(t, f.addr)
	_, err := io.WriteString(c, fmt.Sprintf("POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", 100<<20))
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	if b, err := io.ReadAll(resp.Body); string(b) != "enough" || err != nil || !resp.Close {
		t.Errorf("%s %v close=%t", b, err, resp.Close)
	}
}

// Shutdown waits for what is served, ends what waits, and cuts at the end.
func TestShutdown(t *testing.T) {
	serving, release := make(chan struct{}), make(chan struct{})
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/slow" {
			close(serving)
			select {
			case <-release:
			case <-r.Context().Done(): // the test has failed
			}
		}
		fmt.Fprint(w, "whole")
	}, true, nil)
	fresh, idle, slow := dial(t, f.addr), dial(t, f.addr), dial(t, f.addr)
	_, err := io.WriteString(idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	must(t, err)
	br := bufio.NewReader(idle)
	resp, err := http.ReadResponse(br, nil)
	must(t, err)
	_, err = io.ReadAll(resp.Body)
	must(t, err)
	_, err = io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
	must(t, err)
	<-serving
	must(t, f.left.Close())
	done := make(chan error, 1)
	go func() { done <- f.plain.Shutdown(t.Context()) }()
	for _, c := range []io.Reader{fresh, br} {
		if b, err := io.ReadAll(c); len(b) > 0 || err != nil {
			t.Errorf("%q %v", b, err)
		}
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	close(release)
	if b, err := io.ReadAll(slow); !strings.HasSuffix(string(b), "whole") || err != nil {
		t.Errorf("%q %v", b, err)
	}
	must(t, <-done)
}

// A body that somebody reads behind the handler's back is the connection's again
// when the handler has returned: no byte of the next request gets into it.
func TestBodyIsTakenBack(t *testing.T) {
	late := make(chan string, 1)
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/late" {
			first := make([]byte, 3)
			_, err := io.ReadFull(r.Body, first)
			must(t, err)
			go func() {
				b, err := io.ReadAll(r.Body)
				late <- fmt.Sprintf("%q %v", b, err != nil)
			}()
		}
		fmt.Fprint(w, r.RequestURI)
	}, true, nil)
	c := dial(t, f.addr)
	_, err := io.WriteString(c, "POST /late HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc")
	must(t, err)
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, nil)
	must(t, err)
	if b, err := io.ReadAll(resp.Body); string(b) != "/late" || err != nil {
		t.Errorf("%s %v", b, err)
	}
	if got := <-late; got != `"" true` {
		t.Errorf("read behind the handler: %s", got)
	}
	_, err = io.WriteString(c, "defGET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	must(t, err)
	if b, err := io.ReadAll(br); !strings.HasSuffix(string(b), "/next") || err != nil {
		t.Errorf("%q %v", b, err)
	}
}

// An agent that does not take what it has asked for does not keep its connection.
func TestStalledAgent(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ended := make(chan struct{})
	s := http1.New(http1.Options{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "8192")
			_, _ = w.Write(make([]byte, 8192)) // leaves with the end
		}),
		HeaderTimeout: time.Minute, IdleTimeout: time.Minute, StallTimeout: 200 * time.Millisecond, Leave: func(c net.Conn) { c.Close() },
	})
	c := dial(t, ln.Addr().String())
	nc, err := ln.Accept()
	must(t, err)
	must(t, ln.Close())
	s.Serve(&closing{nc, ended})
	go func() {
		for { // until it is closed
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
				return
			}
		}
	}()
	<-ended
	must(t, s.Shutdown(t.Context()))
}

type closing struct {
	net.Conn
	ended chan struct{}
}

func (c *closing) Close() error {
	close(c.ended)
	return c.Conn.Close()
}

// An error of accepting that passes, such as too many open files, is waited out.
func TestAcceptGoesOn(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "well") }), ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute}
	s, rest := http1.Front(srv, &failing{Listener: ln, left: 3}, nil, nil)
	if got := exchange(t, ln.Addr().String(), "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); !strings.HasSuffix(got, "well") {
		t.Errorf("%q", got)
	}
	must(t, rest.Close())
	must(t, s.Shutdown(t.Context()))
}

type failing struct {
	net.Listener
	left int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left > 0 {
		f.left--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return f.Listener.Accept()
}
