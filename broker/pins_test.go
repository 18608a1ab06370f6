package broker_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// An identity is a certificate with its key.
type identity struct {
	*x509.Certificate
	key *ecdsa.PrivateKey
}

func (i identity) pin() string { return vault.PinOf(i.RawSubjectPublicKeyInfo) }

// issue makes a certificate; issuer is nil for a root.
func issue(t *testing.T, name string, issuer *identity) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := issuer != nil && name == "example.com"
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: !leaf, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if leaf {
		template.DNSNames, template.KeyUsage = []string{name}, x509.KeyUsageDigitalSignature
	}
	if issuer == nil {
		issuer = &identity{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.Certificate, &key.PublicKey, issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return identity{cert, key}
}

// A pinKit is a kit whose upstream, example.com, has a chain of three
// certificates, and counts what reaches it.
type pinKit struct {
	*kit
	root, intermediate, leaf, stray identity // the stray one is sent along, and signs nothing
	connections, requests           atomic.Int64
	resumed                         chan struct{} // one for each resumed connection
	log                             logged
}

// logged is a log that several goroutines write.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newPinKit(t *testing.T, handler http.Handler, change func(*httptest.Server)) *pinKit {
	t.Helper()
	p := &pinKit{resumed: make(chan struct{}, 1000)} // more than any test opens
	p.root = issue(t, "root", nil)
	p.intermediate = issue(t, "intermediate", &p.root)
	p.leaf = issue(t, "example.com", &p.intermediate)
	p.stray = issue(t, "stray", nil)
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		handler.ServeHTTP(w, r)
	}))
	origin.TLS = &tls.Config{NextProtos: []string{"http/1.1"}, Certificates: []tls.Certificate{{
		Certificate: [][]byte{p.leaf.Raw, p.intermediate.Raw, p.stray.Raw}, PrivateKey: p.leaf.key,
	}}}
	origin.TLS.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.DidResume {
			p.resumed <- struct{}{}
		}
		return nil
	}
	origin.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	origin.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			p.connections.Add(1)
		}
	}
	if change != nil {
		change(origin)
	}
	origin.StartTLS()
	t.Cleanup(origin.Close)
	p.kit = newKit(t, handler, func(o *broker.Options) {
		at := netip.MustParseAddrPort(origin.Listener.Addr().String())
		o.Dialer.Hosts["example.com"] = broker.HostAddress{Addr: at.Addr(), Port: at.Port()}
		o.Roots = x509.NewCertPool()
		o.Roots.AddCert(p.root.Certificate)
		o.Log = slog.New(slog.NewTextHandler(&p.log, nil))
	})
	return p
}

// pin gives the service pins.
func (p *pinKit) pin(t *testing.T, pins ...string) {
	t.Helper()
	p.changeVault(t, func(v *vault.Vault) { v.Services[0].Pins = pins })
}

// ask sends one request, and says what became of it: "" or a fault's code.
func (p *pinKit) ask(t *testing.T) string {
	t.Helper()
	w := p.get(t, "example.com", "/")
	c := code(t, w)
	if c == "" && w.Code != 200 {
		t.Errorf("status %d", w.Code)
	}
	if c == broker.CodeUpstreamTLS && (w.Code != 502 || !strings.Contains(w.Body.String(), "matches a pin of the service")) {
		t.Errorf("%d %s does not speak of pins", w.Code, w.Body)
	}
	return c
}

func TestPins(t *testing.T) {
	p := newPinKit(t, echo, nil)
	none := vault.PinOf([]byte("no key"))
	for _, r := range []struct {
		name string
		pins []string
		want string
	}{
		{"none", nil, ""},
		{"the leaf's", []string{p.leaf.pin()}, ""},
		{"the intermediate's", []string{p.intermediate.pin()}, ""},
		{"the root's", []string{p.root.pin()}, ""},
		{"one of two", []string{none, p.root.pin()}, ""},
		{"nobody's", []string{none}, broker.CodeUpstreamTLS},
		{"of what is only sent along", []string{p.stray.pin()}, broker.CodeUpstreamTLS},
		{"not a pin", []string{"sha256/"}, broker.CodeUpstreamTLS},
		{"of the certificate rather than its key", []string{vault.PinOf(p.leaf.Raw)}, broker.CodeUpstreamTLS},
	} {
		p.pin(t, r.pins...)
		before := p.requests.Load()
		if got := p.ask(t); got != r.want {
			t.Errorf("%s: %q, want %q", r.name, got, r.want)
		}
		want := before + 1
		if r.want != "" {
			want = before // nothing was sent
		}
		if got := p.requests.Load(); got != want {
			t.Errorf("%s: the upstream got %d requests, want %d", r.name, got, want)
		}
	}
	if !strings.Contains(p.log.String(), "matches no pin of the service") {
		t.Errorf("the log does not say why: %s", p.log.String())
	}
}

// Pins come besides the roots: a chain that leads to none is refused, whatever
// is pinned.
func TestPinsDoNotStandForRoots(t *testing.T) {
	p := newPinKit(t, echo, func(s *httptest.Server) {
		other := issue(t, "root", nil)
		leaf := issue(t, "example.com", &other)
		s.TLS.Certificates = []tls.Certificate{{Certificate: [][]byte{leaf.Raw, other.Raw}, PrivateKey: leaf.key}}
	})
	p.pin(t, p.root.pin(), p.leaf.pin())
	w := p.get(t, "example.com", "/")
	if code(t, w) != broker.CodeUpstreamTLS || strings.Contains(w.Body.String(), "pin") || p.requests.Load() != 0 {
		t.Errorf("%s, %d requests", w.Body, p.requests.Load())
	}
}

// What was opened under other pins, or none, carries nothing for a service whose
// pins are new: no pooled connection, and no ticket.
func TestPinsThatChange(t *testing.T) {
	for name, change := range map[string]func(*httptest.Server){
		"TLS 1.3": nil,
		"TLS 1.2": func(s *httptest.Server) { s.TLS.MaxVersion = tls.VersionTLS12 },
		"HTTP/2":  func(s *httptest.Server) { s.EnableHTTP2, s.TLS.NextProtos = true, []string{"h2"} },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPinKit(t, echo, change)
			none := vault.PinOf([]byte("no key"))
			for i, step := range []struct {
				pins        []string
				want        string
				connections int64 // of the upstream, afterwards
			}{
				{nil, "", 1},
				{nil, "", 1}, // used again
				{[]string{none}, broker.CodeUpstreamTLS, 2},      // resumes what had no pins
				{[]string{p.leaf.pin()}, "", 3},                  // that ticket is spent
				{[]string{p.root.pin()}, "", 4},                  // resumes what had another pin
				{[]string{p.leaf.pin()}, "", 4},                  // that connection is there yet
				{[]string{"sha256/"}, broker.CodeUpstreamTLS, 5}, // resumes again
				{nil, "", 5},
			} {
				p.pin(t, step.pins...)
				before := p.requests.Load()
				if got := p.ask(t); got != step.want {
					t.Errorf("step %d: %q, want %q", i, got, step.want)
				}
				if got := p.connections.Load(); got != step.connections {
					t.Errorf("step %d: %d connections, want %d", i, got, step.connections)
				}
				if got := p.requests.Load(); step.want != "" && got != before {
					t.Errorf("step %d: the upstream got a request", i)
				}
			}
			// The upstream may know later than the broker, which hangs up.
			late := time.After(30 * time.Second)
			for n := range 3 {
				select {
				case <-p.resumed:
				case <-late:
					t.Fatalf("%d connections were resumed, want 3: the test proves less than it should", n)
				}
			}
		})
	}
}

// Each session's connections are its own, with pins too.
func TestPinnedSessionsShareNoConnection(t *testing.T) {
	p := newPinKit(t, echo, nil)
	other := vault.NewToken(vault.PrefixSession)
	p.snapshot.Sessions = append(p.snapshot.Sessions, vault.Session{ID: "s2", Digest: vault.DigestToken(other), VaultID: "v1", ExpiresAt: p.clock.Now().Add(time.Hour)})
	p.pin(t, p.leaf.pin())
	for range 2 {
		p.ask(t)
	}
	p.token = other
	p.ask(t)
	if got := p.connections.Load(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}

// A WebSocket is opened on a connection with the pins of its service, and ends
// when they change.
func TestPinsOfWebSockets(t *testing.T) {
	p := newPinKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		buf.Flush()
		io.Copy(conn, buf)
	}), nil)
	addr := p.listen(t, p.request(t, "example.com", "/"))
	open := func() (net.Conn, *bufio.Reader, *http.Response) {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(30 * time.Second))
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		return conn, br, resp
	}
	p.pin(t, p.intermediate.pin())
	conn, br, resp := open()
	if resp.StatusCode != 101 {
		t.Fatalf("status %d", resp.StatusCode)
	}
	message := "\x81\x06hello\n" // as a server would send it
	io.WriteString(conn, message)
	if line, err := br.ReadString('\n'); line != message {
		t.Fatalf("%q %v", line, err)
	}
	p.pin(t, vault.PinOf([]byte("no key")))
	if n, err := br.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came when the pins had changed", n)
	}
	before := p.requests.Load()
	_, _, resp = open()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 502 || !strings.Contains(string(body), `"error":"upstream_tls"`) || p.requests.Load() != before {
		t.Errorf("%d %s, the upstream got %d requests, want %d", resp.StatusCode, body, p.requests.Load(), before)
	}
}

// A request that is under way when the switches of its service change is cut.
func TestSwitchesReachWhatIsUnderWay(t *testing.T) {
	arrived := make(chan struct{})
	p := newPinKit(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	}), nil)
	for name, change := range map[string]func(*vault.Service){
		"pins":        func(s *vault.Service) { s.Pins = []string{p.leaf.pin()} },
		"scrub":       func(s *vault.Service) { s.Scrub = vault.ScrubOff },
		"undecodable": func(s *vault.Service) { s.Undecodable = vault.UndecodablePass },
	} {
		p.changeVault(t, func(*vault.Vault) {})
		answered := make(chan string, 1)
		go func() { answered <- p.ask(t) }()
		<-arrived
		p.changeVault(t, func(v *vault.Vault) { change(&v.Services[0]) })
		if got := <-answered; got != broker.CodeUnavailable {
			t.Errorf("%s: %q, want %q", name, got, broker.CodeUnavailable)
		}
	}
}

// A pin that does not match is in the record, like every other refusal.
func TestPinsAreRecorded(t *testing.T) {
	p := newPinKit(t, echo, nil)
	p.pin(t, vault.PinOf([]byte("no key")))
	p.ask(t)
	p.wantOutcome(t, broker.CodeUpstreamTLS)
	raw, err := os.ReadFile(p.audit)
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(raw), "\n"); lines < 2 || !json.Valid([]byte(strings.SplitN(string(raw), "\n", 2)[0])) {
		t.Errorf("%d lines: %s", lines, raw)
	}
}

// The operator is told once of a value that answers cannot be searched for.
func TestShortValuesAreLogged(t *testing.T) {
	p := newPinKit(t, echo, nil)
	box := func(value string) []byte {
		b, err := p.key.ForVault("v1").Seal(seal.Context{Vault: "v1", Credential: "SHORT", Field: vault.FieldValue, Version: 1}, seal.NewPlaintext([]byte(value)))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, step := range []struct {
		version int64
		value   string
		want    int // lines of the log afterwards
	}{{1, "12345678", 0}, {2, "1234567", 1}, {2, "1234567", 1}, {3, "1234567", 2}, {4, "12345678", 2}} {
		p.changeVault(t, func(v *vault.Vault) {
			c := map[string]vault.Credential{"SHORT": {Key: "SHORT", Version: step.version, Box: box(step.value)}}
			for key, old := range v.Credentials {
				c[key] = old
			}
			v.Credentials = c
		})
		if got := strings.Count(p.log.String(), "too short to be found in answers"); got != step.want || strings.Contains(p.log.String(), "1234567") {
			t.Errorf("version %d: %d warnings, want %d: %s", step.version, got, step.want, p.log.String())
		}
	}
}
