package mitm_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"agentvault/broker"
	"agentvault/ca"
	"agentvault/mitm"
	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/seal"
)

const credential = "sk-live-3f9a77c1e2d4b6a8"

// A source hands out whatever snapshot was put into it last.
type source struct {
	mu   sync.Mutex
	snap vault.Snapshot
}

func (s *source) Snapshot(context.Context) (vault.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snap, nil
}

func (s *source) Revision(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snap.Revision, nil
}

func (s *source) change(f func(*vault.Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.snap)
	s.snap.Revision++
}

// A kit is a proxy with a real broker behind it and a TLS upstream behind that.
type kit struct {
	proxy    *mitm.Proxy
	addr     string // of the proxy
	broker   *broker.Broker
	source   *source
	token    string // of vault "default"
	loose    string // of a vault that tunnels unmatched hosts
	agent    string // token of an agent that may use vault "default"
	root     *ca.Authority
	roots    *x509.CertPool // what agents trust: the vault's CA alone
	origin   *x509.CertPool // what the upstream's certificate verifies against
	upstream *httptest.Server
	registry *prometheus.Registry
	log      *syncBuffer
	audit    string // path of the log
	pathAddr string // of the path entrance, once it was asked for
}

type kitOptions struct {
	upstream  http.Handler // nil: echo
	http1     bool         // the upstream speaks no HTTP/2
	limits    broker.Limits
	newID     func() string
	authority func(*ca.Authority) mitm.Authority // nil: the CA itself
	listener  net.Listener                       // nil: loopback
}

func newKit(t testing.TB, o kitOptions) *kit {
	t.Helper()
	k := &kit{
		source: &source{}, registry: prometheus.NewRegistry(), log: &syncBuffer{},
		token: vault.NewToken(vault.PrefixSession), loose: vault.NewToken(vault.PrefixSession), agent: vault.NewToken(vault.PrefixAgent),
	}
	key := seal.NewKey()
	k.source.snap = k.snapshot(t, key)
	k.startUpstream(t, o.upstream, !o.http1)
	k.startBroker(t, key, o)

	root, err := ca.Create(time.Now())
	must(t, err)
	root, err = ca.Load(root.CertificateDER(), root.KeyPKCS8(), ca.Options{Hosts: k.broker.VaultHosts})
	must(t, err)
	k.root, k.roots = root, x509.NewCertPool()
	k.roots.AppendCertsFromPEM(root.PEM())
	authority := mitm.Authority(root)
	if o.authority != nil {
		authority = o.authority(root)
	}
	k.proxy, err = mitm.New(mitm.Options{
		Broker: k.broker, Authority: authority, Registerer: k.registry, Log: slog.New(slog.NewTextHandler(k.log, nil)),
	})
	must(t, err)
	ln := o.listener
	if ln == nil {
		ln, err = net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
	}
	k.addr = ln.Addr().String()
	served := make(chan error, 1)
	go func() { served <- k.proxy.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // stragglers are cut
		_ = k.proxy.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return k
}

func (k *kit) startUpstream(t testing.TB, h http.Handler, http2 bool) {
	t.Helper()
	if h == nil {
		h = http.HandlerFunc(echo)
	}
	authority, err := ca.Create(time.Now())
	must(t, err)
	k.origin = x509.NewCertPool()
	k.origin.AppendCertsFromPEM(authority.PEM())
	k.upstream = httptest.NewUnstartedServer(h)
	k.upstream.EnableHTTP2 = http2
	k.upstream.Config.DisableGeneralOptionsHandler = true // OPTIONS * is for the handler
	k.upstream.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "" {
			return authority.Leaf(hello.Context(), "127.0.0.1")
		}
		return authority.Leaf(hello.Context(), hello.ServerName)
	}}
	k.upstream.StartTLS()
	t.Cleanup(k.upstream.Close)
}

func (k *kit) startBroker(t testing.TB, key seal.Key, o kitOptions) {
	t.Helper()
	k.audit = filepath.Join(t.TempDir(), "audit.log")
	audit, err := broker.OpenAudit(k.audit, key.ForAudit())
	must(t, err)
	t.Cleanup(func() { _ = audit.Close() })
	at := netip.MustParseAddrPort(k.upstream.Listener.Addr().String())
	hosts := map[string]broker.HostAddress{}
	for _, name := range []string{"api.example.com", "other.example.com", "unmatched.example.com", "plain.example.com", "key.example.com", "query.example.com",
		"methods.example.com", "paths.example.com", "open.example.com"} {
		hosts[name] = broker.HostAddress{Addr: at.Addr(), Port: at.Port()}
	}
	hosts["private.example.com"] = broker.HostAddress{Addr: netip.MustParseAddr("10.1.2.3")}
	k.broker, err = broker.New(broker.Options{
		Source: k.source, Key: key, Audit: audit, Roots: k.origin, Limits: o.limits, NewID: o.newID,
		Dialer: broker.Dialer{Hosts: hosts, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	must(t, err)
	t.Cleanup(k.broker.Close)
	must(t, k.broker.Refresh(t.Context()))
}

func (k *kit) snapshot(t testing.TB, key seal.Key) vault.Snapshot {
	t.Helper()
	auth := func(spelled string) (a inject.Auth) {
		must(t, json.Unmarshal([]byte(spelled), &a))
		return a
	}
	box, err := key.ForVault("v1").Seal(seal.Context{Vault: "v1", Credential: "API_KEY", Field: vault.FieldValue, Version: 1}, seal.NewPlaintext([]byte(credential)))
	must(t, err)
	bearer := auth(`{"type":"bearer","token":"API_KEY"}`)
	hour := time.Now().Add(time.Hour)
	return vault.Snapshot{
		Revision: 1, Initialized: true,
		Vaults: []vault.Vault{
			{ID: "v1", Name: "default", Services: []vault.Service{
				{Name: "api", Host: "api.example.com", Enabled: true, Auth: bearer},
				{Name: "port", Host: "api.example.com:8443", Enabled: true, Auth: bearer},
				{Name: "other", Host: "other.example.com", Enabled: true, Auth: bearer},
				{Name: "address", Host: "127.0.0.1:8443", Enabled: true, Auth: bearer},
				{Name: "off", Host: "off.example.com", Enabled: false, Auth: bearer},
				{Name: "key", Host: "key.example.com", Enabled: true, Auth: auth(`{"type":"api-key","key":"API_KEY","header":"X-Api-Key"}`)},
				{Name: "query", Host: "query.example.com", Enabled: true, Auth: auth(`{"type":"query","key":"API_KEY","parameter":"api_key"}`)},
				{Name: "methods", Host: "methods.example.com", Enabled: true, Auth: bearer, Rules: []policy.Rule{{Methods: []string{"GET", "POST"}}}},
				{Name: "paths", Host: "paths.example.com", Enabled: true, Auth: bearer, Rules: []policy.Rule{{Paths: []string{"/v1/*"}}}},
				{Name: "open", Host: "open.example.com", Enabled: true, Auth: auth(`{"type":"passthrough"}`)},
			}, Credentials: map[string]vault.Credential{"API_KEY": {Key: "API_KEY", Version: 1, Box: box}}},
			{ID: "v2", Name: "loose", UnmatchedHosts: "tunnel", Services: []vault.Service{
				{Name: "api", Host: "api.example.com", Enabled: true, Auth: auth(`{"type":"passthrough"}`)},
			}},
		},
		Sessions: []vault.Session{
			{ID: "s1", Digest: vault.DigestToken(k.token), VaultID: "v1", ExpiresAt: hour},
			{ID: "s2", Digest: vault.DigestToken(k.loose), VaultID: "v2", ExpiresAt: hour},
		},
		Agents: []vault.Agent{{ID: "a1", Name: "bot", Digest: vault.DigestToken(k.agent), Vaults: map[string]vault.Grant{"v1": {Role: "proxy"}}}},
	}
}

// echo answers what the upstream saw.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Saw-Authorization", r.Header.Get("Authorization"))
	w.Header().Set("X-Saw-Host", r.Host)
	w.Header().Set("X-Saw-Target", r.RequestURI)
	w.Header().Set("X-Saw-Proto", r.Proto)
	b, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(b)
}

// client returns an agent's HTTP client that goes through the proxy.
func (k *kit) client(t testing.TB, token string, h2 bool) *http.Client {
	t.Helper()
	return k.clientOf(t, holder{token, "default"}, h2)
}

func (k *kit) clientOf(t testing.TB, h holder, h2 bool) *http.Client {
	t.Helper()
	proxy := &url.URL{Scheme: "http", Host: k.addr}
	if h.token != "" {
		proxy.User = url.UserPassword(h.token, h.vault)
	}
	tr := &http.Transport{
		Proxy: http.ProxyURL(proxy), ForceAttemptHTTP2: h2, DisableCompression: true,
		TLSClientConfig: &tls.Config{RootCAs: k.roots}, TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	if h2 {
		tr.TLSNextProto = nil
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// A wire is a raw connection to the proxy.
type wire struct {
	net.Conn
	r *bufio.Reader
}

func (k *kit) dial(t testing.TB) *wire {
	t.Helper()
	c, err := net.Dial("tcp", k.addr)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return &wire{Conn: c, r: bufio.NewReader(c)}
}

func (w *wire) send(t testing.TB, s string) {
	t.Helper()
	_, err := io.WriteString(w, s)
	must(t, err)
}

// answer reads one response to a request of that method.
func (w *wire) answer(t testing.TB, method string) (*http.Response, string) {
	t.Helper()
	resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
	must(t, err)
	if method == http.MethodConnect && resp.StatusCode == http.StatusOK {
		return resp, ""
	}
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(body)
}

func basic(userinfo string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(userinfo))
}

// connect opens a tunnel and returns its raw connection.
func (k *kit) connect(t testing.TB, token, authority string) *wire {
	t.Helper()
	w := k.dial(t)
	w.send(t, "CONNECT "+authority+" HTTP/1.1\r\nHost: "+authority+"\r\nProxy-Authorization: Bearer "+token+"\r\n\r\n")
	if resp, body := w.answer(t, "CONNECT"); resp.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT %s: %s %s", authority, resp.Status, body)
	}
	return w
}

// open opens a tunnel and speaks TLS in it.
func (k *kit) open(t testing.TB, authority string, change func(*tls.Config)) *tls.Conn {
	t.Helper()
	host, _, err := net.SplitHostPort(authority)
	must(t, err)
	config := &tls.Config{RootCAs: k.roots, ServerName: host}
	if change != nil {
		change(config)
	}
	c := tls.Client(k.connect(t, k.token, authority).Conn, config)
	must(t, c.Handshake())
	return c
}

// within sends raw bytes inside a new tunnel and reads one answer.
func (k *kit) within(t testing.TB, authority, raw string) (*http.Response, string) {
	t.Helper()
	c := k.open(t, authority, nil)
	w := &wire{Conn: c, r: bufio.NewReader(c)}
	w.send(t, raw)
	return w.answer(t, "GET")
}

// fault returns the code of an answer of the vault's own, "" for others.
func fault(t testing.TB, resp *http.Response, body string) string {
	t.Helper()
	if resp.Header.Get(broker.ErrorHeader) != "true" {
		return ""
	}
	var f struct{ Error, Message string }
	if err := json.Unmarshal([]byte(body), &f); err != nil || f.Message == "" {
		t.Errorf("fault is not the contract's JSON (%v): %q", err, body)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("fault has Content-Type %q", ct)
	}
	return f.Error
}

// failures returns the counter of handshake failures for a reason.
func (k *kit) failures(t testing.TB, reason string) float64 {
	t.Helper()
	families, err := k.registry.Gather()
	must(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "agent_vault_tunnel_handshake_failures_total" && m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no such reason: %s", reason)
	return 0
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A syncBuffer collects a log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// overConn is a transport whose one connection is there already.
func overConn(c net.Conn) *http.Transport {
	return &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return c, nil }}
}
