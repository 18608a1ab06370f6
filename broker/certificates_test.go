package broker_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/vault"
)

// clientPair is a client certificate and its key, in PEM.
func clientPair(t *testing.T, name string, issuer identity, from, to time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, &private.PublicKey, issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	spelled, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: spelled}))
}

// A certKit is a pinKit whose upstream asks for client certificates of its own
// authority, and answers with the name on the one that it was shown.
type certKit struct {
	*pinKit
	clients identity      // who issues client certificates
	closed  chan struct{} // one for each connection of the upstream that ended
}

func newCertKit(t *testing.T, handler http.HandlerFunc, asks tls.ClientAuthType, protocol string) *certKit {
	t.Helper()
	k := &certKit{clients: issue(t, "clients", nil), closed: make(chan struct{}, 1000)} // more than any test opens
	if handler == nil {
		handler = whoAsks
	}
	k.pinKit = newPinKit(t, handler, func(s *httptest.Server) {
		s.TLS.ClientAuth, s.TLS.ClientCAs = asks, x509.NewCertPool()
		s.TLS.ClientCAs.AddCert(k.clients.Certificate)
		s.TLS.NextProtos, s.EnableHTTP2 = []string{protocol}, protocol == "h2"
		counts := s.Config.ConnState
		s.Config.ConnState = func(c net.Conn, state http.ConnState) {
			if counts(c, state); state == http.StateClosed {
				k.closed <- struct{}{}
			}
		}
	})
	return k
}

func whoAsks(w http.ResponseWriter, r *http.Request) {
	name := "nobody"
	if len(r.TLS.PeerCertificates) > 0 {
		name = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	fmt.Fprintf(w, "%s %s %s", name, r.Proto, r.Header.Get("Authorization"))
}

// store gives the vault a client certificate that is good now, under two keys.
func (k *certKit) pair(t *testing.T, name string) map[string]string {
	t.Helper()
	cert, key := clientPair(t, name, k.clients, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	return map[string]string{"CERT": cert, "KEY": key}
}

const mtlsAuth = `{"type":"mtls","certificate":"CERT","private_key":"KEY"}`

func TestClientCertificates(t *testing.T) {
	for protocol, spoken := range map[string]string{"http/1.1": "HTTP/1.1", "h2": "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			k := newCertKit(t, nil, tls.RequireAndVerifyClientCert, protocol)
			k.use(t, mtlsAuth, k.pair(t, "robot"))
			for range 3 {
				if w := k.get(t, "example.com", "/"); w.Body.String() != "robot "+spoken+" " {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			}
			if n := k.connections.Load(); n != 1 {
				t.Errorf("%d connections, want 1", n)
			}
			k.use(t, `{"type":"mtls","certificate":"CERT","private_key":"KEY","auth":{"type":"basic","username":"API_KEY"}}`, nil)
			if w := k.get(t, "example.com", "/"); !strings.HasPrefix(w.Body.String(), "robot "+spoken+" Basic ****") {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			k.use(t, `{"type":"bearer","token":"API_KEY"}`, nil)
			if w := k.get(t, "example.com", "/"); w.Code != 502 {
				t.Errorf("without a certificate: %d %s", w.Code, w.Body)
			}
		})
	}
}

// What is wrong with a certificate is said before anything is sent.
func TestClientCertificatesThatDoNotServe(t *testing.T) {
	k := newCertKit(t, nil, tls.RequireAndVerifyClientCert, "http/1.1")
	now := time.Now()
	good := k.pair(t, "robot")
	_, otherKey := clientPair(t, "other", k.clients, now, now)
	ended, endedKey := clientPair(t, "ended", k.clients, now.Add(-time.Hour), now.Add(-time.Minute))
	early, earlyKey := clientPair(t, "early", k.clients, now.Add(time.Hour), now.Add(2*time.Hour))
	stray, strayKey := clientPair(t, "stray", issue(t, "strangers", nil), now.Add(-time.Hour), now.Add(time.Hour))
	for name, row := range map[string]struct{ cert, key, code, says string }{
		"no certificate":       {"sk-live-3f9a77c1e2d4b6a8", good["KEY"], broker.CodeCredentialInvalid, "the value of the credential CERT is not a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----; ask a person to set it again"},
		"a broken certificate": {pemOf("CERTIFICATE", "broken"), good["KEY"], broker.CodeCredentialInvalid, "the value of the credential CERT is a certificate that cannot be read; ask"},
		"no key":               {good["CERT"], good["CERT"], broker.CodeCredentialInvalid, "the value of the credential KEY is not a private key in PEM, which begins with -----BEGIN PRIVATE KEY----- or the like; ask"},
		"another's key":        {good["CERT"], otherKey, broker.CodeCredentialInvalid, "the value of the credential KEY is not the key of the certificate in CERT; ask"},
		"ended":                {ended, endedKey, broker.CodeCredentialInvalid, "the value of the credential CERT is a certificate that ended at " + now.Add(-time.Minute).UTC().Format("2006-01-02T15:04")},
		"not begun":            {early, earlyKey, broker.CodeCredentialInvalid, "the value of the credential CERT is a certificate that begins at "},
		"of strangers":         {stray, strayKey, "", "the upstream broke the connection off, perhaps since it does not take the client certificate of the service; a person can look at the credential CERT"},
	} {
		k.use(t, mtlsAuth, map[string]string{"CERT": row.cert, "KEY": row.key})
		w := k.get(t, "example.com", "/")
		if row.code == "" && code(t, w) == broker.CodeUpstreamError { // see perhapsCertificate
			row.code = broker.CodeUpstreamError
		} else if row.code == "" {
			row.code = broker.CodeUpstreamTLS
		}
		if code(t, w) != row.code || w.Code != 502 || !strings.Contains(messageOf(t, w), row.says) {
			t.Errorf("%s: %d %s\nwant %s %s", name, w.Code, w.Body, row.code, row.says)
		}
	}
	k.use(t, `{"type":"mtls","certificate":"CERT","private_key":"NONE"}`, good)
	if w := k.get(t, "example.com", "/"); code(t, w) != broker.CodeCredentialMissing || !strings.Contains(w.Body.String(), `"credential":"NONE"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if n := k.requests.Load(); n != 0 {
		t.Errorf("the upstream got %d requests", n)
	}
}

func pemOf(kind, text string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(text)}))
}

func messageOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var f struct{ Message string }
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil {
		t.Fatal(err)
	}
	return f.Message
}

// Connections carry an identity: no other service, and no other session, gets one,
// nor a ticket of one.
func TestClientCertificatesAreNotShared(t *testing.T) {
	k := newCertKit(t, nil, tls.VerifyClientCertIfGiven, "http/1.1")
	other := k.pair(t, "other")
	k.use(t, mtlsAuth, k.pair(t, "robot"))
	k.use(t, mtlsAuth, map[string]string{"CERT2": other["CERT"], "KEY2": other["KEY"]})
	k.changeVault(t, func(v *vault.Vault) {
		v.Services = append(slices.Clone(v.Services),
			vault.Service{Name: "two", Host: "example.com/two/*", Enabled: true, Auth: auth(t, `{"type":"mtls","certificate":"CERT2","private_key":"KEY2"}`)},
			vault.Service{Name: "same", Host: "example.com/same/*", Enabled: true, Auth: auth(t, mtlsAuth)},
			vault.Service{Name: "none", Host: "example.com/none/*", Enabled: true, Auth: auth(t, `{"type":"passthrough"}`)})
	})
	want := map[string]string{"/": "robot", "/two/x": "other", "/same/x": "robot", "/none/x": "nobody"}
	for range 3 {
		for path, name := range want {
			if w := k.get(t, "example.com", path); !strings.HasPrefix(w.Body.String(), name+" ") {
				t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, name)
			}
		}
	}
	if n := k.connections.Load(); n != 4 {
		t.Errorf("%d connections for 4 services", n)
	}
	session := vault.NewToken(vault.PrefixSession)
	k.snapshot.Sessions = append(k.snapshot.Sessions, vault.Session{ID: "s2", Digest: vault.DigestToken(session), VaultID: "v1", ExpiresAt: k.clock.Now().Add(time.Hour)})
	k.changeVault(t, func(*vault.Vault) {})
	k.token = session
	if k.get(t, "example.com", "/"); k.connections.Load() != 5 || len(k.resumed) != 0 {
		t.Errorf("%d connections, want 5, %d of them resumed", k.connections.Load(), len(k.resumed))
	}
}

// Connections that wait show a certificate that is not the service's any more.
func TestConnectionsOfOldCertificatesAreClosed(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2"} {
		k := newCertKit(t, nil, tls.RequireAndVerifyClientCert, protocol)
		k.use(t, mtlsAuth, k.pair(t, "robot"))
		if w := k.get(t, "example.com", "/"); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		select {
		case <-k.closed:
			t.Fatal("the connection does not wait: the test proves nothing")
		default:
		}
		k.use(t, mtlsAuth, k.pair(t, "next"))
		select {
		case <-k.closed:
		case <-time.After(30 * time.Second):
			t.Errorf("%s: the connection is open yet", protocol)
		}
	}
}

// A new value closes the connections of the old one, and cuts what is open on
// them: WebSockets too.
func TestClientCertificateThatChanges(t *testing.T) {
	k := newCertKit(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			whoAsks(w, r)
			return
		}
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		name := r.TLS.PeerCertificates[0].Subject.CommonName
		fmt.Fprintf(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Name: %s\r\n\r\n", name)
		buf.Flush()
		io.Copy(io.Discard, buf)
	}, tls.RequireAndVerifyClientCert, "http/1.1")
	addr := k.listen(t, k.request(t, "example.com", "/"))
	open := func() (net.Conn, *http.Response) {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		return conn, resp
	}
	for i, name := range []string{"first", "second"} {
		k.use(t, mtlsAuth, k.pair(t, name))
		conn, resp := open()
		if resp.StatusCode != 101 || resp.Header.Get("X-Name") != name {
			t.Fatalf("%s: %d %v", name, resp.StatusCode, resp.Header)
		}
		if w := k.get(t, "example.com", "/"); !strings.HasPrefix(w.Body.String(), name+" ") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if n := k.connections.Load(); n != int64(2*(i+1)) {
			t.Errorf("%s: %d connections", name, n)
		}
		// Another credential's value cuts nothing.
		k.use(t, mtlsAuth, map[string]string{"UNRELATED": "a value of no concern " + name})
		if w := k.get(t, "example.com", "/"); !strings.HasPrefix(w.Body.String(), name+" ") || k.connections.Load() != int64(2*(i+1)) {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		k.use(t, mtlsAuth, k.pair(t, "next"))
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: %d bytes came when the certificate had changed", name, n)
		}
	}
}
