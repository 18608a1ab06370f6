package mitm_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"testing"

	"agentvault/ca"
	"agentvault/mitm"
)

func TestHandshake(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, tt := range []struct {
		name, authority string
		config          *tls.Config
		alpn, reason    string // reason: "" when it must succeed
	}{
		{"h2 first", "api.example.com:443", &tls.Config{ServerName: "api.example.com", NextProtos: []string{"h2", "http/1.1"}}, "h2", ""},
		{"http/1.1 only", "api.example.com:443", &tls.Config{ServerName: "api.example.com", NextProtos: []string{"http/1.1"}}, "http/1.1", ""},
		{"no ALPN", "api.example.com:443", &tls.Config{ServerName: "api.example.com"}, "", ""},
		{"TLS 1.2", "api.example.com:443", &tls.Config{ServerName: "api.example.com", MaxVersion: tls.VersionTLS12}, "", ""},
		{"P-256", "api.example.com:443", &tls.Config{ServerName: "api.example.com", CurvePreferences: []tls.CurveID{tls.CurveP256}}, "", ""},
		{"SNI in capitals", "api.example.com:443", &tls.Config{ServerName: "API.example.com"}, "", ""},
		{"another port", "api.example.com:8443", &tls.Config{ServerName: "api.example.com"}, "", ""},
		{"IP target without SNI", "127.0.0.1:8443", &tls.Config{ServerName: "127.0.0.1"}, "", ""}, // crypto/tls sends none for an address
		{"SNI of another host", "api.example.com:443", &tls.Config{ServerName: "other.example.com"}, "", "server_name"},
		{"SNI for an IP target", "127.0.0.1:8443", &tls.Config{ServerName: "api.example.com"}, "", "server_name"},
		{"TLS 1.1", "api.example.com:443", &tls.Config{ServerName: "api.example.com", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "", "protocol"},
		{"unknown ALPN", "api.example.com:443", &tls.Config{ServerName: "api.example.com", NextProtos: []string{"acme-tls/1"}}, "", "protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := 0.0
			if tt.reason != "" {
				before = k.failures(t, tt.reason)
			}
			tt.config.RootCAs = k.roots
			c := tls.Client(k.connect(t, k.token, tt.authority).Conn, tt.config)
			err := c.Handshake()
			if (err == nil) != (tt.reason == "") {
				t.Fatalf("handshake: %v", err)
			}
			if tt.reason != "" {
				eventually(t, func() bool { return k.failures(t, tt.reason) == before+1 })
				return
			}
			state := c.ConnectionState()
			if state.NegotiatedProtocol != tt.alpn || len(state.PeerCertificates) != 2 || state.CurveID == tls.X25519MLKEM768 {
				t.Errorf("ALPN %q, %d certificates, curve %v", state.NegotiatedProtocol, len(state.PeerCertificates), state.CurveID)
			}
		})
	}
}

func TestServerNameMayBeAbsent(t *testing.T) {
	k := newKit(t, kitOptions{})
	c := tls.Client(k.connect(t, k.token, "api.example.com:443").Conn, &tls.Config{
		// A client that sends no SNI, and verifies the name by itself.
		ServerName: "192.0.2.1", RootCAs: k.roots,
		VerifyConnection: func(tls.ConnectionState) error { return nil },
	})
	var wrongName x509.HostnameError
	if err := c.Handshake(); !errors.As(err, &wrongName) || wrongName.Certificate.VerifyHostname("api.example.com") != nil {
		t.Errorf("without SNI: %v; want a certificate for the tunnel's host", err)
	}
}

func TestClientThatDoesNotTrustUsIsCounted(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		before := k.failures(t, "untrusted")
		c := tls.Client(k.connect(t, k.token, "api.example.com:443").Conn, &tls.Config{
			ServerName: "api.example.com", RootCAs: x509.NewCertPool(), MinVersion: version, MaxVersion: version,
		})
		if err := c.Handshake(); err == nil {
			t.Fatal("an untrusting client went on")
		}
		eventually(t, func() bool { return k.failures(t, "untrusted") == before+1 })
	}
	must(t, k.connect(t, k.token, "api.example.com:443").Close())
	eventually(t, func() bool { return k.failures(t, "closed") == 1 })
}

// Session tickets of one tunnel resume in the next, because all tunnels share
// one configuration.
func TestSessionsResumeAcrossTunnels(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(4)
		for i := range 3 {
			c := k.open(t, "api.example.com:443", func(c *tls.Config) { c.ClientSessionCache, c.MaxVersion = cache, version })
			_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n")
			must(t, err)
			_, err = io.ReadAll(c) // TLS 1.3 tickets come behind the handshake
			must(t, err)
			if got := c.ConnectionState().DidResume; got != (i > 0) {
				t.Errorf("TLS %x, tunnel %d: resumed %t", version, i, got)
			}
		}
	}
}

// A ticket does not get around the comparison of names.
func TestResumptionChecksTheServerName(t *testing.T) {
	k := newKit(t, kitOptions{})
	cache := tls.NewLRUClientSessionCache(4)
	c := k.open(t, "api.example.com:443", func(c *tls.Config) { c.ClientSessionCache = cache })
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n")
	must(t, err)
	_, err = io.ReadAll(c)
	must(t, err)
	other := tls.Client(k.connect(t, k.token, "other.example.com:443").Conn,
		&tls.Config{RootCAs: k.roots, ServerName: "api.example.com", ClientSessionCache: cache})
	if err := other.Handshake(); err == nil {
		t.Errorf("a session of api.example.com was resumed in a tunnel to other.example.com")
	}
	eventually(t, func() bool { return k.failures(t, "server_name") == 1 })
}

type failing struct{}

func (failing) LeafIn(context.Context, string, string) (*tls.Certificate, error) {
	return nil, errors.New("no such thing")
}

func TestNoCertificate(t *testing.T) {
	k := newKit(t, kitOptions{authority: func(*ca.Authority) mitm.Authority { return failing{} }})
	if _, err := k.client(t, k.token, true).Get("https://api.example.com/"); err == nil {
		t.Errorf("a request without a certificate succeeded")
	}
	eventually(t, func() bool { return k.failures(t, "certificate") == 1 })
}

func TestManyStreamsOfOneTunnel(t *testing.T) {
	k := newKit(t, kitOptions{})
	client := k.client(t, k.token, true)
	errs := make(chan error)
	const streams = 100
	for range streams {
		go func() {
			resp, err := client.Get("https://api.example.com/")
			if err == nil && (resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2) {
				err = errors.New(resp.Proto + " " + resp.Status)
			}
			if err == nil {
				err = resp.Body.Close()
			}
			errs <- err
		}()
	}
	for range streams {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
