package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A pieced body says that it is at hand, and comes in pieces all the same.
type pieced struct {
	pieces []string
	end    error
	reads  int
}

func (*pieced) Ready() bool  { return true }
func (*pieced) Close() error { return nil }

func (p *pieced) Read(b []byte) (int, error) {
	p.reads++
	if len(p.pieces) == 0 {
		return 0, p.end
	}
	n := copy(b, p.pieces[0])
	p.pieces = p.pieces[1:]
	if len(p.pieces) == 0 && errors.Is(p.end, io.EOF) {
		return n, p.end // as net/http's bodies of a length do
	}
	return n, nil
}

// However a short body comes, the agent gets the same bytes, masked, and a torn
// one never looks whole.
func TestShortBodies(t *testing.T) {
	const secret = "sk-live-3f9a77c1e2d4b6a8"
	text := `{"key":"` + secret + `"}`
	want := strings.Replace(text, secret, strings.Repeat("*", len(secret)), 1)
	for _, r := range []struct {
		name   string
		pieces []string
		length int64
		end    error
		want   string
		fault  string
	}{
		{"whole", []string{text}, int64(len(text)), io.EOF, want, ""},
		{"in two", []string{text[:15], text[15:]}, int64(len(text)), io.EOF, want, ""},
		{"byte by byte", strings.Split(text, ""), int64(len(text)), io.EOF, want, ""},
		{"of no length", []string{text[:15], text[15:]}, -1, io.EOF, want, ""},
		{"torn", []string{text[:9]}, int64(len(text)), io.ErrUnexpectedEOF, text[:9], CodeUpstreamError},
		{"torn at once", nil, int64(len(text)), io.ErrUnexpectedEOF, "", CodeUpstreamError},
	} {
		t.Run(r.name, func(t *testing.T) {
			b, x, req := stagesBroker(t)
			w := httptest.NewRecorder()
			e := &exchange{Broker: b, Request: x, w: w, rc: http.NewResponseController(w), r: req}
			for _, stage := range []func() *Fault{e.admit, e.decide} {
				if f := stage(); f != nil {
					t.Fatal(f.Code, f.Err)
				}
			}
			defer e.ctx.End()
			f := e.respond(&http.Response{StatusCode: 200, ContentLength: r.length, Body: &pieced{pieces: r.pieces, end: r.end}, Header: http.Header{}})
			got := ""
			if f != nil {
				got = f.Code
			}
			if got != r.fault {
				t.Errorf("fault %q, want %q", got, r.fault)
			}
			if body := w.Body.String(); body != r.want || int64(w.Body.Len()) != e.bytesOut {
				t.Errorf("the agent got %q, %d bytes were counted, want %q", body, e.bytesOut, r.want)
			}
			if r.fault == "" && e.scrubbed != 1 {
				t.Errorf("%d places were masked", e.scrubbed)
			}
		})
	}
}

// A body that has come whole costs one read and one write.
func TestWholeBodyIsReadOnce(t *testing.T) {
	b, x, req := stagesBroker(t)
	w := httptest.NewRecorder()
	e := &exchange{Broker: b, Request: x, w: w, rc: http.NewResponseController(w), r: req}
	for _, stage := range []func() *Fault{e.admit, e.decide} {
		if f := stage(); f != nil {
			t.Fatal(f.Code, f.Err)
		}
	}
	defer e.ctx.End()
	body := &pieced{pieces: []string{"{}"}, end: io.EOF}
	if f := e.respond(&http.Response{StatusCode: 200, ContentLength: 2, Body: body, Header: http.Header{}}); f != nil {
		t.Fatal(f.Code, f.Err)
	}
	if body.reads != 1 || w.Flushed {
		t.Errorf("%d reads, flushed: %t", body.reads, w.Flushed)
	}
}

// An upstream whose body stands still for too long is given up, over HTTP/1.1
// and HTTP/2, and the agent's side breaks.
func TestBodyStandsStill(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, "first\n")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}))
			up.TLS, up.EnableHTTP2 = &tls.Config{NextProtos: []string{protocol}}, protocol == "h2"
			up.StartTLS()
			defer up.Close()
			b, x, _ := stagesBroker(t)
			at := netip.MustParseAddrPort(up.Listener.Addr().String())
			b.dialer.Hosts = map[string]HostAddress{"example.com": {Addr: at.Addr(), Port: at.Port()}}
			b.dialer.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			b.tls.RootCAs = x509.NewCertPool()
			b.tls.RootCAs.AddCert(up.Certificate())
			b.still = 100 * time.Millisecond
			x.Target.Host = "example.com"

			w := httptest.NewRecorder()
			func() {
				defer func() {
					if p := recover(); p != http.ErrAbortHandler {
						t.Errorf("the answer ended with %v", p)
					}
				}()
				b.Serve(w, httptest.NewRequestWithContext(t.Context(), "GET", "/v1/things", nil), x)
			}()
			if w.Code != 200 || w.Body.String() != "first\n" {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			if !b.metrics.faults.Delete(prometheus.Labels{"entrance": "mitm", "code": CodeUpstreamTimeout}) {
				t.Errorf("no exchange ended with %s", CodeUpstreamTimeout)
			}
		})
	}
}
