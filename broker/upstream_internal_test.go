package broker

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestUpstreamFaults: what goes wrong on the way to an upstream is named by one
// of a few codes, and no word of the error reaches the agent (R11).
func TestUpstreamFaults(t *testing.T) {
	good := httptest.NewTLSServer(nil) // lends its certificate, for example.com
	defer good.Close()
	// A server that talks on the bare connection.
	bare := func(talk func(net.Conn)) func(*testing.T) string {
		return func(t *testing.T) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ln.Close() })
			go func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						talk(c)
					}()
				}
			}()
			return ln.Addr().String()
		}
	}
	// The same behind a good handshake.
	secure := func(change func(*tls.Config), talk func(net.Conn)) func(*testing.T) string {
		return bare(func(c net.Conn) {
			conf := &tls.Config{Certificates: good.TLS.Certificates}
			if change != nil {
				change(conf)
			}
			s := tls.Server(c, conf)
			defer s.Close()
			if s.Handshake() == nil {
				talk(s)
			}
		})
	}
	readRequest := func(c net.Conn) { _, _ = c.Read(make([]byte, 4096)) }
	wait := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	for _, r := range []struct {
		name, host string
		upstream   func(*testing.T) string
		want       string
	}{
		{"no handshake", "example.com", bare(wait), CodeUpstreamTimeout},
		{"no answer", "example.com", secure(nil, wait), CodeUpstreamTimeout},
		{"clear text", "example.com", bare(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") }), CodeUpstreamTLS},
		{"another name's certificate", "other.test", secure(nil, wait), CodeUpstreamTLS},
		{"an old version of TLS", "example.com", secure(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS11 }, wait), CodeUpstreamTLS},
		{"wants a certificate of ours", "example.com", secure(func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert }, wait), CodeUpstreamTLS},
		{"hangs up before the handshake", "example.com", bare(func(net.Conn) {}), CodeUpstreamError},
		{"hangs up before an answer", "example.com", secure(nil, readRequest), CodeUpstreamError},
		{"answers nonsense", "example.com", secure(nil, func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "hello, world\r\n\r\n") }), CodeUpstreamError},
		{"breaks off its header", "example.com", secure(nil, func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-A") }), CodeUpstreamError},
		{"a header without end", "example.com", secure(nil, func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Long: "+strings.Repeat("a", 1<<20))
			wait(c)
		}), CodeUpstreamError},
		{"switches protocols unasked", "example.com", secure(nil, func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
			wait(c)
		}), CodeUpstreamError},
		{"nobody there", "example.com", func(t *testing.T) string {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			return ln.Addr().String()
		}, CodeUpstreamError},
	} {
		t.Run(r.name, func(t *testing.T) {
			b, x, _ := stagesBroker(t)
			at := netip.MustParseAddrPort(r.upstream(t))
			b.dialer.Hosts = map[string]HostAddress{r.host: {Addr: at.Addr(), Port: at.Port()}}
			b.dialer.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			roots := x509.NewCertPool()
			roots.AddCert(good.Certificate())
			b.tls.RootCAs = roots
			// The real ones are 10 seconds and 5 minutes.
			if r.want == CodeUpstreamTimeout {
				b.handshake, b.header = 200*time.Millisecond, 200*time.Millisecond
			}
			x.Target.Host = r.host

			w := httptest.NewRecorder()
			b.Serve(w, httptest.NewRequest("GET", "/v1/things", nil), x)
			var body map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body["error"] != r.want || w.Code != 502 {
				t.Errorf("%d %s, want 502 %s", w.Code, w.Body, r.want)
			}
			want := NewFault(r.want).Message
			if r.want == CodeUpstreamError && r.name != "nobody there" {
				want = brokeOff
			}
			if body["message"] != want {
				t.Errorf("message %q, want %q", body["message"], want)
			}
		})
	}
}
