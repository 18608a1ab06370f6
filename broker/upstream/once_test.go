package upstream_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"agentvault/broker/upstream"
)

// once sends a GET that must not be seen twice.
func (o *origin) once(t *testing.T) (unsent bool, err error) {
	t.Helper()
	call := &upstream.Call{Request: &http.Request{Method: "GET", URL: o.url("/"), Host: "example.com", Header: http.Header{}}, Address: "example.com:80", Once: true}
	if o.tls {
		call.Address = "example.com:443"
	}
	resp, err := o.t.Do(t.Context(), call)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		must(t, resp.Body.Close())
	}
	return call.Unsent, err
}

// What must be seen once gets a connection of its own, and is not sent again
// where that is lost, although it could be.
func TestOnce(t *testing.T) {
	var seen, conns atomic.Int32
	o := talks(t, func(n int, c net.Conn, br *bufio.Reader) {
		conns.Add(1)
		for {
			if _, ok := request(t, br); !ok || seen.Add(1) == 3 {
				return // the third request is not answered
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	}, nil)
	_, err := o.get(t)
	must(t, err)
	if _, err := o.once(t); err != nil || conns.Load() != 2 {
		t.Errorf("%v, on connection %d; want the second", err, conns.Load())
	}
	if unsent, err := o.once(t); err == nil || unsent || seen.Load() != 3 {
		t.Errorf("%v, unsent %t: it was seen %d times", err, unsent, seen.Load()-2)
	}
	gone := newOrigin(t, "127.0.0.1:1", nil, nil)
	if unsent, err := gone.once(t); err == nil || !unsent {
		t.Errorf("of no upstream: %v, unsent %t", err, unsent)
	}
}

// net/http sends again over HTTP/2 what the upstream has refused with certain
// errors. What it had seen then it does not see twice.
func TestOnceOverHTTP2(t *testing.T) {
	for _, once := range []bool{true, false} {
		var seen atomic.Int32
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		srv := httptest.NewUnstartedServer(nil)
		srv.TLS = &tls.Config{NextProtos: []string{"h2"}}
		srv.Config.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": func(_ *http.Server, c *tls.Conn, _ http.Handler) {
			if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
				return
			}
			fr := http2.NewFramer(c, c)
			_ = fr.WriteSettings() // the connection's end shows in reads
			for {
				f, err := fr.ReadFrame()
				if err != nil {
					return
				}
				if h, ok := f.(*http2.HeadersFrame); ok {
					if seen.Add(1) == 2 {
						cancel() // it shows already
					}
					_ = fr.WriteRSTStream(h.StreamID, http2.ErrCodeProtocol) // likewise
				}
			}
		}}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		o := newOrigin(t, srv.Listener.Addr().String(), rootsOf(srv), nil)
		if !once {
			if _, err := o.do(ctx, &http.Request{Method: "GET"}); err == nil || seen.Load() < 2 {
				t.Errorf("net/http has sent it %d times: this test shows nothing (%v)", seen.Load(), err)
			}
			continue
		}
		if unsent, err := o.once(t); err == nil || unsent || seen.Load() != 1 {
			t.Errorf("%v, unsent %t: it was seen %d times", err, unsent, seen.Load())
		}
	}
}
