package broker_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// A source hands out whatever snapshot was put into it last.
type source struct {
	mu   sync.Mutex
	snap vault.Snapshot
	err  error
}

func (s *source) Snapshot(context.Context) (vault.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snap, s.err
}

func (s *source) Revision(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snap.Revision, s.err
}

func (s *source) set(snap vault.Snapshot, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap.Revision = s.snap.Revision + 1
	s.snap, s.err = snap, err
}

const credential = "sk-live-3f9a77c1e2d4b6a8"

// A kit is a broker in front of one TLS upstream, for one session.
type kit struct {
	*broker.Broker
	source   *source
	snapshot vault.Snapshot
	token    string
	key      seal.Key
	upstream *httptest.Server
	clock    *clock
	audit    string // path of the log
	versions int64  // of credentials that were declared
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func auth(t testing.TB, spelled string) inject.Auth {
	t.Helper()
	var a inject.Auth
	if err := json.Unmarshal([]byte(spelled), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKit(t testing.TB, handler http.Handler, change func(*broker.Options)) *kit {
	t.Helper()
	k := &kit{source: &source{}, key: seal.NewKey(), token: vault.NewToken(vault.PrefixSession), clock: &clock{now: time.Now()}}
	k.upstream = httptest.NewUnstartedServer(handler)
	k.upstream.TLS = &tls.Config{NextProtos: []string{"http/1.1"}}
	k.upstream.StartTLS()
	t.Cleanup(k.upstream.Close)
	box, err := k.key.ForVault("v1").Seal(seal.Context{Vault: "v1", Credential: "API_KEY", Field: vault.FieldValue, Version: 1}, seal.NewPlaintext([]byte(credential)))
	if err != nil {
		t.Fatal(err)
	}
	k.snapshot = vault.Snapshot{
		Initialized: true,
		Vaults: []vault.Vault{{
			ID: "v1", Name: "default",
			Services: []vault.Service{
				{Name: "api", Host: "example.com", Enabled: true, Auth: auth(t, `{"type":"bearer","token":"API_KEY"}`)},
				{Name: "broken", Host: "broken.example.com", Enabled: true, Auth: auth(t, `{"type":"bearer","token":"BROKEN"}`)},
			},
			Credentials: map[string]vault.Credential{
				"API_KEY": {Key: "API_KEY", Version: 1, Box: box},
				"BROKEN":  {Key: "BROKEN", Version: 2, Box: box}, // a box moved from elsewhere
			},
		}},
		Sessions: []vault.Session{{ID: "s1", Digest: vault.DigestToken(k.token), VaultID: "v1", ExpiresAt: k.clock.Now().Add(time.Hour)}},
	}
	k.source.set(k.snapshot, nil)

	k.audit = filepath.Join(t.TempDir(), "audit.log")
	audit, err := broker.OpenAudit(k.audit, auditKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { audit.Close() })
	roots := x509.NewCertPool()
	roots.AddCert(k.upstream.Certificate())
	addr := netip.MustParseAddrPort(k.upstream.Listener.Addr().String())
	o := broker.Options{
		Source: k.source, Key: k.key, Audit: audit, Roots: roots, Now: k.clock.Now,
		Dialer: broker.Dialer{
			Hosts: map[string]broker.HostAddress{"example.com": {Addr: addr.Addr(), Port: addr.Port()}},
			Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		},
	}
	if change != nil {
		change(&o)
	}
	if k.Broker, err = broker.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k *kit) request(t testing.TB, host, path string) broker.Request {
	t.Helper()
	target, f := broker.Pin("https", host)
	if f != nil {
		t.Fatal(f.Message)
	}
	path, query, has := strings.Cut(path, "?")
	return broker.Request{Entrance: broker.Path, Identity: broker.Identify(k.token, ""), Target: target, Path: path, RawQuery: query, HasQuery: has}
}

// get sends one request straight into Serve.
func (k *kit) get(t testing.TB, host, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	k.Serve(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil), k.request(t, host, path))
	return w
}

func code(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var f struct{ Error string }
	if w.Header().Get(broker.ErrorHeader) == "" {
		return ""
	}
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil {
		t.Fatalf("%v: %q", err, w.Body)
	}
	return f.Error
}

// wantOutcome ends the broker, which waits for outcomes, and holds the fault of
// the first one in the log against a code.
func (k *kit) wantOutcome(t *testing.T, code string) {
	t.Helper()
	for _, r := range k.records(t) {
		if r.Kind != "outcome" {
			continue
		}
		if r.Fault != code {
			t.Errorf("the outcome has the fault %q, want %q", r.Fault, code)
		}
		return
	}
	t.Errorf("no outcome was recorded")
}

// records ends the broker, which waits for outcomes, and reads the log.
func (k *kit) records(t *testing.T) (all []broker.Record) {
	t.Helper()
	k.Close()
	raw, err := os.ReadFile(k.audit)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var r broker.Record
		if err := json.Unmarshal([]byte(line), &r); err == nil && r.Kind != "" {
			all = append(all, r)
		}
	}
	return all
}

var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s", r.RequestURI, r.Header.Get("Authorization"))
})

// listen serves the broker over a real connection.
func (k *kit) listen(t testing.TB, x broker.Request) string {
	t.Helper()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		y := x
		y.Path, y.RawQuery, y.HasQuery, _ = broker.RawTarget(r.RequestURI)
		k.Serve(w, r, y)
	})}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	wrapped := broker.PlainErrors(srv, ln, broker.Path)
	go srv.Serve(wrapped)
	t.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

func stars() string { return strings.Repeat("*", len(credential)) }
