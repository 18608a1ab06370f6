package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/broker/http1"
)

// A client that looks for its answer only once it has sent everything gets the
// refusal that came long before, not a reset: of either server, however the body
// is framed, and whether or not the client ends the connection by itself.
func TestAnAnswerOutlivesTheRestOfItsRequest(t *testing.T) {
	k := newKit(t, echo, nil)
	x := k.request(t, "elsewhere.example", "/")
	plain := http1.New(http1.Options{
		Handler:       http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { k.Serve(w, r, x) }),
		HeaderTimeout: time.Minute, IdleTimeout: time.Minute, Leave: func(c net.Conn) { c.Close() },
	})
	t.Cleanup(func() {
		if err := plain.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	body := strings.Repeat("a", 16<<20) // more than the buffers of a connection hold
	chunks := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	addrs := map[string]string{"net/http": k.listen(t, x), "http1": serveEach(t, plain)}
	for name, addr := range addrs {
		for _, last := range []string{"", "Connection: close\r\n"} {
			for _, framed := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body), "Transfer-Encoding: chunked\r\n\r\n" + chunks} {
				if name == "http1" && framed[0] == 'T' {
					continue // left to net/http
				}
				what := fmt.Sprintf("%s, %q, %.20q", name, last, framed)
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\n"+last+framed); err != nil {
					t.Errorf("%s: while sending: %v", what, err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Errorf("%s: %v", what, err)
				} else if code := resp.Header.Get(broker.ErrorHeader); resp.StatusCode != 403 || code != "true" {
					t.Errorf("%s: %d %q", what, resp.StatusCode, code)
				}
				c.Close()
			}
		}
	}
}

// serveEach gives s every connection to the address that it returns.
func serveEach(t *testing.T, s *http1.Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c, err := ln.Accept(); err == nil; c, err = ln.Accept() {
			s.Serve(c)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}
