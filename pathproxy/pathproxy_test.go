package pathproxy_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/broker"
	"agentvault/ca"
	"agentvault/pathproxy"
	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/seal"
)

const credential = "sk-live-3f9a77c1e2d4b6a8"

// A source hands out one snapshot.
type source struct{ snapshot vault.Snapshot }

func (s source) Snapshot(context.Context) (vault.Snapshot, error) { return s.snapshot, nil }
func (s source) Revision(context.Context) (int64, error)          { return s.snapshot.Revision, nil }

// A kit is the entrance on a real listener, with a real broker behind it and a
// TLS upstream behind that.
type kit struct {
	addr         string
	token, agent string
}

func newKit(t testing.TB) *kit {
	t.Helper()
	k := &kit{token: vault.NewToken(vault.PrefixSession), agent: vault.NewToken(vault.PrefixAgent)}
	authority, err := ca.Create(time.Now())
	must(t, err)
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	upstream.TLS = &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return authority.Leaf(h.Context(), h.ServerName)
	}}
	upstream.StartTLS()
	t.Cleanup(upstream.Close)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM())

	key := seal.NewKey()
	audit, err := broker.OpenAudit(filepath.Join(t.TempDir(), "audit.log"), key.ForAudit())
	must(t, err)
	t.Cleanup(func() { _ = audit.Close() })
	at := netip.MustParseAddrPort(upstream.Listener.Addr().String())
	b, err := broker.New(broker.Options{
		Source: k.snapshot(t, key), Key: key, Audit: audit, Roots: roots,
		Dialer: broker.Dialer{
			Hosts: map[string]broker.HostAddress{"api.example.com": {Addr: at.Addr(), Port: at.Port()}},
			Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		},
	})
	must(t, err)
	t.Cleanup(b.Close)
	must(t, b.Refresh(t.Context()))

	entrance := pathproxy.New(pathproxy.Options{Broker: b})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !pathproxy.Serves(r) {
			http.Error(w, "not the entrance", http.StatusTeapot)
			return
		}
		entrance.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	k.addr = front.Listener.Addr().String()
	return k
}

func (k *kit) snapshot(t testing.TB, key seal.Key) source {
	t.Helper()
	var bearer inject.Auth
	must(t, json.Unmarshal([]byte(`{"type":"bearer","token":"API_KEY"}`), &bearer))
	box, err := key.ForVault("v1").Seal(seal.Context{Vault: "v1", Credential: "API_KEY", Field: vault.FieldValue, Version: 1}, seal.NewPlaintext([]byte(credential)))
	must(t, err)
	return source{vault.Snapshot{
		Revision: 1, Initialized: true,
		Vaults: []vault.Vault{{
			ID: "v1", Name: "default", UnmatchedHosts: "tunnel", // which this entrance never does
			Services: []vault.Service{
				{Name: "api", Host: "api.example.com", Enabled: true, Auth: bearer},
				{Name: "port", Host: "api.example.com:8443", Enabled: true, Auth: bearer},
			},
			Credentials: map[string]vault.Credential{"API_KEY": {Key: "API_KEY", Version: 1, Box: box}},
		}},
		Sessions: []vault.Session{{ID: "s1", Digest: vault.DigestToken(k.token), VaultID: "v1", ExpiresAt: time.Now().Add(time.Hour)}},
		Agents:   []vault.Agent{{ID: "a1", Name: "bot", Digest: vault.DigestToken(k.agent), Vaults: map[string]vault.Grant{"v1": {Role: "proxy"}}}},
	}}
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Saw-Host", r.Host)
	w.Header().Set("X-Saw-Target", r.RequestURI)
	w.Header().Set("X-Saw-Authorization", r.Header.Get("Authorization"))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// send sends raw bytes and reads one answer.
func (k *kit) send(t testing.TB, raw string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", k.addr)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(c, raw)
	must(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp, string(body)
}

func (k *kit) get(t testing.TB, target string, header ...string) (*http.Response, string) {
	t.Helper()
	raw := "GET " + target + " HTTP/1.1\r\nHost: vault\r\n"
	for _, h := range header {
		raw += h + "\r\n"
	}
	return k.send(t, raw+"\r\n")
}

// What is behind the host reaches the upstream as it was sent.
func TestBytesReachTheUpstream(t *testing.T) {
	k := newKit(t)
	for _, tt := range []struct{ target, want, host string }{
		{"/proxy/api.example.com", "/", "api.example.com"},
		{"/proxy/api.example.com/", "/", "api.example.com"},
		{"/proxy/api.example.com?x", "/?x", "api.example.com"},
		{"/proxy/api.example.com?", "/?", "api.example.com"},
		{"/proxy/api.example.com/?", "/?", "api.example.com"},
		{"/proxy/api.example.com//", "//", "api.example.com"},
		{"/proxy/api.example.com//a//b/", "//a//b/", "api.example.com"},
		{"/proxy/api.example.com/a/../b/./c", "/a/../b/./c", "api.example.com"},
		{"/proxy/api.example.com/%2F%3F%23;+%e4?a=%2F&b=+;c", "/%2F%3F%23;+%e4?a=%2F&b=+;c", "api.example.com"},
		{"/proxy/api.example.com/proxy/api.example.com/x", "/proxy/api.example.com/x", "api.example.com"},
		{"/proxy/api.example.com/x?u=https://h/p?q", "/x?u=https://h/p?q", "api.example.com"},
		{"/proxy/API.example.com:443/x", "/x", "api.example.com"},
		{"http://vault/proxy/api.example.com/x%2Fy?z", "/x%2Fy?z", "api.example.com"},
	} {
		resp, body := k.get(t, tt.target, "Authorization: Bearer "+k.token)
		if got := resp.Header.Get("X-Saw-Target"); resp.StatusCode != 200 || got != tt.want {
			t.Errorf("%s: %s %s, upstream saw %q, want %q", tt.target, resp.Status, body, got, tt.want)
		}
		if got := resp.Header.Get("X-Saw-Host"); got != tt.host {
			t.Errorf("%s: upstream saw Host %q, want %q", tt.target, got, tt.host)
		}
	}
}

func TestRefusals(t *testing.T) {
	k := newKit(t)
	for _, tt := range []struct {
		name, target string
		status       int
		code         string
	}{
		{"no host", "/proxy", 400, "bad_request"},
		{"no host, slash", "/proxy/", 400, "bad_request"},
		{"no host, query", "/proxy?x", 400, "bad_request"},
		{"empty host", "/proxy//x", 400, "bad_request"},
		{"percent in the host", "/proxy/api%2Eexample.com/", 400, "bad_request"},
		{"userinfo", "/proxy/user@api.example.com/", 400, "bad_request"},
		{"scheme", "/proxy/https://api.example.com/", 400, "bad_request"},
		{"trailing dot", "/proxy/api.example.com./", 400, "bad_request"},
		{"bad port", "/proxy/api.example.com:0443/", 400, "bad_request"},
		{"number", "/proxy/2130706433/", 400, "bad_request"},
		{"host not configured", "/proxy/elsewhere.example.com/", 403, "forbidden"},
		{"port not configured", "/proxy/api.example.com:444/", 403, "forbidden"},
	} {
		resp, body := k.get(t, tt.target, "Authorization: Bearer "+k.token)
		var f struct{ Error, Message string }
		if err := json.Unmarshal([]byte(body), &f); err != nil || resp.StatusCode != tt.status || f.Error != tt.code || f.Message == "" {
			t.Errorf("%s: %s %s, want %d %s", tt.name, resp.Status, body, tt.status, tt.code)
		}
		if resp.Header.Get(broker.ErrorHeader) != "true" || resp.Header.Get("Location") != "" {
			t.Errorf("%s: header %v", tt.name, resp.Header)
		}
	}
}

func TestToken(t *testing.T) {
	k := newKit(t)
	for _, tt := range []struct {
		name   string
		header []string
		want   int
	}{
		{"bearer", []string{"Authorization: Bearer " + k.token}, 200},
		{"scheme in capitals", []string{"authorization: BEARER " + k.token}, 200},
		{"scheme in small letters", []string{"Authorization: bearer  " + k.token}, 200},
		{"a session's vault is its own", []string{"Authorization: Bearer " + k.token, "X-Vault: elsewhere"}, 200},
		{"agent with its vault", []string{"Authorization: Bearer " + k.agent, "X-Vault: default"}, 200},
		{"agent without a vault", []string{"Authorization: Bearer " + k.agent}, 400},
		{"agent with an unknown vault", []string{"Authorization: Bearer " + k.agent, "X-Vault: nowhere"}, 404},
		{"none", nil, 401},
		{"empty", []string{"Authorization: Bearer "}, 401},
		{"basic", []string{"Authorization: Basic " + k.token}, 401},
		{"bare", []string{"Authorization: " + k.token}, 401},
		{"in the proxy's header", []string{"Proxy-Authorization: Bearer " + k.token}, 401},
		{"twice", []string{"Authorization: Bearer " + k.token, "Authorization: Bearer " + k.agent}, 401},
		{"the id of an AWS key", []string{aws("AWS4-HMAC-SHA256", k.token)}, 200},
		{"of another algorithm", []string{aws("AWS4-ECDSA-P256-SHA256", k.token)}, 200},
		{"of an agent with its vault", []string{aws("AWS4-HMAC-SHA256", k.agent), "X-Vault: default"}, 200},
		{"another id of an AWS key", []string{aws("AWS4-HMAC-SHA256", "AKIDEXAMPLE")}, 401},
		{"a scope without an id", []string{aws("AWS4-HMAC-SHA256", "")}, 401},
		{"an id without a scope", []string{"Authorization: AWS4-HMAC-SHA256 Credential=" + k.token}, 401},
		{"an id of something else", []string{aws("Digest", k.token)}, 401},
		{"two of AWS's", []string{aws("AWS4-HMAC-SHA256", k.token), aws("AWS4-HMAC-SHA256", k.token)}, 401},
		{"unknown", []string{"Authorization: Bearer " + vault.NewToken(vault.PrefixSession)}, 401},
	} {
		resp, body := k.get(t, "/proxy/api.example.com/", tt.header...)
		if resp.StatusCode != tt.want {
			t.Errorf("%s: %s %s, want %d", tt.name, resp.Status, body, tt.want)
		}
		if got, want := resp.Header.Get("X-Saw-Authorization"), "Bearer "+strings.Repeat("*", len(credential)); tt.want == 200 && got != want {
			t.Errorf("%s: upstream's echo is %q, want %q", tt.name, got, want)
		}
	}
}

// aws is what AWS's clients send, with a key's id.
func aws(algorithm, id string) string {
	return "Authorization: " + algorithm + " Credential=" + id + "/20260102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00"
}

func TestServes(t *testing.T) {
	for target, want := range map[string]bool{
		"/proxy": true, "/proxy/": true, "/proxy/h": true, "/proxy?x": true, "http://vault/proxy/h": true,
		"/": false, "/proxyx": false, "/prox": false, "/Proxy/h": false, "/%70roxy/h": false, "//proxy/h": false,
		"/v1/../proxy/h": false, "*": false, "": false, "host:443": false, "/x?/proxy/h": false,
	} {
		if got := pathproxy.Serves(&http.Request{RequestURI: target}); got != want {
			t.Errorf("Serves(%q) = %t, want %t", target, got, want)
		}
	}
}

// Nothing is lost or added: host, path and query put together again are the
// request target.
func FuzzSplit(f *testing.F) {
	for _, s := range []string{"/proxy/h", "/proxy/h/", "/proxy/h?x", "/proxy/h//a?b?c", "/proxy//x", "http://v/proxy/h/%2F", "/proxy", "*", "/proxy/h/?"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		host, path, query, hasQuery, ok := pathproxy.Split(uri)
		if !ok {
			return
		}
		if host == "" || strings.ContainsAny(host, "/?") || !strings.HasPrefix(path, "/") || strings.Contains(path, "?") || query != "" && !hasQuery {
			t.Errorf("Split(%q) = %q, %q, %q, %t", uri, host, path, query, hasQuery)
		}
		if hasQuery {
			query = "?" + query
		}
		back, bare := "/proxy/"+host+path+query, "/proxy/"+host+query
		if !strings.HasSuffix(uri, back) && !(path == "/" && strings.HasSuffix(uri, bare)) {
			t.Errorf("Split(%q) put together again is %q", uri, back)
		}
	})
}

func TestSplitAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(1000, func() { pathproxy.Split("/proxy/api.example.com/v1/things?x=y") }); n > 0 {
		t.Errorf("Split allocates %v times, budget 0", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	k := newKit(b)
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), "GET", "http://"+k.addr+"/proxy/api.example.com/", nil)
		must(b, err)
		req.Header.Set("Authorization", "Bearer "+k.token)
		resp, err := http.DefaultTransport.RoundTrip(req)
		must(b, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		must(b, resp.Body.Close())
	}
}

func ExampleSplit() {
	host, path, query, _, ok := pathproxy.Split("/proxy/api.stripe.com/v1/charges%2F1?limit=3")
	fmt.Println(host, path, query, ok)
	// Output: api.stripe.com /v1/charges%2F1 limit=3 true
}

func TestSplitExamples(t *testing.T) {
	type parts struct {
		Host, Path, Query string
		HasQuery, OK      bool
	}
	for uri, want := range map[string]parts{
		"/proxy/h":         {"h", "/", "", false, true},
		"/proxy/h?":        {"h", "/", "", true, true},
		"/proxy/h:8443/a":  {"h:8443", "/a", "", false, true},
		"/proxy/[::1]:1/a": {"[::1]:1", "/a", "", false, true},
		"/proxy/h//a?b?c":  {"h", "//a", "b?c", true, true},
		"/proxy//a":        {},
		"/proxyh/a":        {},
	} {
		var got parts
		got.Host, got.Path, got.Query, got.HasQuery, got.OK = pathproxy.Split(uri)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Split(%q) (-want +got):\n%s", uri, diff)
		}
	}
}
