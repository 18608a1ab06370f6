package broker_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/broker/http1"
)

const (
	ok200   = "HTTP/1.1 200 OK\r\n"
	chunked = ok200 + "Transfer-Encoding: chunked\r\n"
	ended   = "Content-Length: 0\r\n\r\n"
)

// placed are answers with a credential ($) in every place that one has.
var placed = map[string]string{
	"reason":                   "HTTP/1.1 200 $\r\n" + ended,
	"value":                    ok200 + "X: $\r\nSet-Cookie: a=$\r\nLocation: https://x/?$\r\n" + ended,
	"value with a length":      ok200 + "Content-Length: 2\r\nX: $\r\n\r\nok",
	"folded":                   ok200 + "X: a\r\n $\r\n" + ended,
	"name":                     ok200 + "$: a\r\nX-$: a\r\n" + ended,
	"name before a space":      ok200 + "$ : a\r\n" + ended,
	"connection":               ok200 + "Connection: $, x-b\r\nKeep-Alive: $\r\n" + ended,
	"announced trailer":        chunked + "Trailer: $\r\n\r\n2\r\nok\r\n0\r\n$: a\r\n\r\n",
	"announced with others":    chunked + "Trailer: X\r\nTrailer: A, X-$\r\n\r\n0\r\nA: a\r\n\r\n",
	"value of a trailer":       chunked + "Trailer: A\r\n\r\n2\r\nok\r\n0\r\nA: $\r\n\r\n",
	"unannounced trailers":     chunked + "\r\n2\r\nok\r\n0\r\nA: $\r\n$: a\r\nB: x\r\n\t$\r\n\r\n",
	"extension of a chunk":     chunked + "\r\n2;x=$\r\nok\r\n0;$\r\n\r\n",
	"zero byte":                ok200 + "X: \x00$\r\n" + ended,
	"carriage return":          ok200 + "X: \r$\rX-B: 1\r\n" + ended,
	"line feeds alone":         "HTTP/1.1 200 OK\nX: $\nContent-Length: 2\n\nok$",
	"interim":                  "HTTP/1.1 103 $\r\nX: $\r\n$: 1\r\nTrailer: $\r\nConnection: $\r\nContent-Length: 9\r\n\r\n" + ok200 + ended,
	"interim with chunks":      "HTTP/1.1 199 x\r\nTransfer-Encoding: chunked\r\nX: $\r\n\r\n" + ok200 + ended,
	"many interim":             strings.Repeat("HTTP/1.1 102 x\r\nX: $\r\n\r\n", 99) + ok200 + ended,
	"too many interim":         strings.Repeat("HTTP/1.1 102 x\r\nX: $\r\n\r\n", 102) + ok200 + ended,
	"unasked switch":           "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX: $\r\n\r\n$",
	"switch behind an interim": "HTTP/1.1 103 x\r\n\r\nHTTP/1.1 101 x\r\nX: $\r\n\r\n$",
	"two lengths":              ok200 + "Content-Length: 2\r\nContent-Length: 3\r\nX: $\r\n\r\nok$",
	"the same length twice":    ok200 + "Content-Length: 2\r\nContent-Length: 2\r\nX: $\r\n\r\nok$",
	"chunks and a length":      chunked + "Content-Length: 2\r\nX: $\r\n\r\n3\r\nabc\r\n0\r\n\r\n$",
	"negative length":          ok200 + "Content-Length: -2\r\n\r\nok$",
	"unknown framing":          ok200 + "Transfer-Encoding: gzip, chunked\r\nX: $\r\n\r\n0\r\n\r\n$",
	"204 with a body":          "HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\n$",
	"304 with a body":          "HTTP/1.1 304 x\r\nContent-Length: 2\r\n\r\n$",
	"behind the body":          ok200 + "Content-Length: 2\r\n\r\nok$",
	"no length":                ok200 + "\r\nok$",
	"HTTP/1.0":                 "HTTP/1.0 200 OK\r\nX: $\r\n\r\nok$",
	"no header":                "$",
}

// Wherever in an answer a credential stands, whatever it is made of, it does not
// come back, and nobody gets more than one final answer. HTTP/1.0 gets no other.
func TestPlacesInAnswers(t *testing.T) {
	var answer atomic.Pointer[string]
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, *answer.Load()) // who does not take it misses nothing
	}), nil)
	secrets := []string{credential, "three Words or 4", "pässwort-1234", "semi;colon:quo\"ted"}
	for i, secret := range secrets[1:] {
		k.withCredential(t, "OTHER_"+string(rune('A'+i)), secret)
	}
	addr := k.listen(t, k.request(t, "example.com", "/"))
	for name, spelled := range placed {
		for _, head := range []string{"GET / HTTP/1.1\r\n", "HEAD / HTTP/1.1\r\n", "GET / HTTP/1.0\r\n", "POST / HTTP/1.1\r\nTe: trailers\r\n"} {
			for _, secret := range secrets {
				text := strings.ReplaceAll(spelled, "$", secret)
				answer.Store(&text)
				got := rawExchange(t, addr, head+"Host: x\r\nConnection: close\r\n\r\n")
				if bytes.Contains(bytes.ToLower(got), bytes.ToLower([]byte(secret))) {
					t.Errorf("%s, %.12s: %q came back:\n%.500q", name, head, secret, got)
				}
				answers, interim := bytes.Count(got, []byte("HTTP/1.")), bytes.Count(got, []byte("HTTP/1.1 1"))
				if answers-interim != 1 || interim > 0 && strings.Contains(head, "1.0") {
					t.Errorf("%s, %.15s: %d answers, %d interim:\n%.500q", name, head, answers, interim, got)
				}
			}
		}
	}
}

func rawExchange(t *testing.T, addr, request string) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // of a socket that is open
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Errorf("%.40q: %v", request, err)
	}
	return got
}

// An agent that does not take an interim answer holds nothing when it is cut.
func TestInterimStall(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		<-r.Context().Done()
	}), nil)
	served := make(chan struct{})
	x := k.request(t, "example.com", "/")
	s := http1.New(http1.Options{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(served)
			k.Serve(w, r, x)
		}),
		HeaderTimeout: time.Minute, IdleTimeout: time.Minute, Leave: func(c net.Conn) { c.Close() },
	})
	agent, nc := net.Pipe() // where a write returns when it was read
	defer agent.Close()
	writing := make(chan struct{})
	s.Serve(&announced{Conn: nc, writing: writing})
	if _, err := io.WriteString(agent, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-writing
	snapshot := k.snapshot
	snapshot.Sessions = nil
	k.source.set(snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-served:
	case <-time.After(20 * time.Second):
		t.Fatal("the exchange goes on")
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// announced tells when something is first written.
type announced struct {
	net.Conn
	writing chan struct{}
	once    sync.Once
}

func (a *announced) Write(p []byte) (int, error) {
	a.once.Do(func() { close(a.writing) })
	return a.Conn.Write(p)
}
