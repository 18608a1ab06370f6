package main_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A kindRow is a service with one kind of auth, and the head of the request that its
// upstream gets for one of an agent. What differs each time is masked by golden.
type kindRow struct {
	name, auth string
	call       call
	golden     string
	code       string // of the vault's refusal, where golden is ""
}

func newKindCredentials(t *testing.T) map[string]string {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"SESSION":  "s3ss10n-of-a-robot",
		"HMAC_KEY": "a-key-to-sign-with",
		"ED25519":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
}

// differs is what differs each time, and what stands in golden requests for it.
var differs = []struct {
	pattern *regexp.Regexp
	golden  string
}{
	{regexp.MustCompile(`eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{86}`), "JWT"},
}

// masked leaves the line breaks of HTTP out too.
func masked(text string) string {
	for _, d := range differs {
		text = d.pattern.ReplaceAllString(text, d.golden)
	}
	return strings.ReplaceAll(text, "\r\n", "\n")
}

var kindRows = []kindRow{
	{"cookie", `{type: cookie, cookies: {session: SESSION, csrf: SESSION}}`,
		call{target: "/a?b=c", header: []string{"Cookie: a=b; session=mine; c=d"}},
		"GET /a?b=c HTTP/1.1\nHost: cookie.test\nCookie: csrf=s3ss10n-of-a-robot; session=s3ss10n-of-a-robot; a=b; c=d\n\n", ""},
	{"jwt", `{type: jwt, algorithm: EdDSA, private_key: ED25519, key_id: k1, claims: {iss: robot, aud: api}}`,
		call{target: "/"}, "GET / HTTP/1.1\nHost: jwt.test\nAuthorization: Bearer JWT\n\n", ""},
	{"jwt-header", `{type: jwt, algorithm: EdDSA, private_key: ED25519, header: X-Assertion}`,
		call{target: "/", header: []string{"x_assertion: mine"}}, "GET / HTTP/1.1\nHost: jwt-header.test\nX-Assertion: JWT\n\n", ""},
	{"hmac", `{type: hmac, algorithm: sha256, key: HMAC_KEY, message: "{{ method }} {{ path_query }}\n{{ body }}", headers: {X-Key: "{{ SESSION }}", X-Sign: "{{ signature_hex }}"}}`,
		call{target: "/a%2Fb?x=1&y", method: "POST", body: `{"a":1}`, header: []string{"X-Sign: mine"}},
		"POST /a%2Fb?x=1&y HTTP/1.1\nHost: hmac.test\nX-Key: s3ss10n-of-a-robot\nX-Sign: b39f716b6d597a72ed97068219d67f1b52de8961332775ccebb6632758af51b9\nContent-Length: 7\n\n{\"a\":1}", ""},
	{"hmac-chunked", `{type: hmac, algorithm: sha256, key: HMAC_KEY, message: "{{ body }}", query: {sign: "{{ signature_base64url }}"}}`,
		call{target: "/", method: "PUT", body: "in chunks", header: []string{"Transfer-Encoding: chunked"}},
		"PUT /?sign=5-DiErZ4U1M7wkanrHVjJ8HYsl_wDjfZ4oRTtV5sHKg HTTP/1.1\nHost: hmac-chunked.test\nTransfer-Encoding: chunked\n\n9\nin chunks\n0\n\n", ""},
	{"hmac-long", `{type: hmac, algorithm: sha256, key: HMAC_KEY, message: "{{ body }}", query: {sign: "{{ signature_hex }}"}}`,
		call{target: "/", method: "POST", body: strings.Repeat("a", 1<<20+1)}, "", "request_too_large"},
	{"jwt-unfit", `{type: jwt, algorithm: ES256, private_key: ED25519}`, call{target: "/"}, "", "credential_invalid"},
	{"cookie-missing", `{type: cookie, cookies: {session: NOT_SET}}`, call{target: "/"}, "", "credential_not_found"},
}

func newKindWorld(t *testing.T, rows []kindRow) *world {
	t.Helper()
	ca := newAuthority(t, "Origin CA")
	var names []string
	for _, r := range rows {
		names = append(names, r.name+".test")
	}
	w := &world{origin: startOrigin(t, ca.leaf(t, names...), false, originHandler())}
	hosts := map[string]string{}
	var services strings.Builder
	for i, r := range rows {
		hosts[names[i]] = w.origin.Addr
		fmt.Fprintf(&services, "      - {name: %s, host: %s, auth: %s}\n", r.name, names[i], r.auth)
	}
	w.startKinds(t, ca, hosts, services.String(), newKindCredentials(t))
	return w
}

// startKinds starts the world's instance, with services in YAML whose hosts are
// somewhere on loopback.
func (w *world) startKinds(t testing.TB, ca *authority, hosts map[string]string, services string, values map[string]string) {
	t.Helper()
	var credentials strings.Builder
	for key := range values {
		fmt.Fprintf(&credentials, "      %s: {from: \"file:%s\"}\n", key, key)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/origin.pem", ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	spelled, err := json.Marshal(hosts) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	w.instance = newInstance(t, fmt.Sprintf("upstream: {ca_file: %s/origin.pem, hosts: %s}\nnetwork: {allow: [127.0.0.0/8]}\n", dir, spelled))
	w.register()
	w.apply("vaults:\n  - name: default\n    services:\n"+services+"    credentials:\n"+credentials.String(), values)
	w.token = w.instance.token()
}

// TestKindTwins sends a request to a service of each kind through every entrance,
// and holds what its upstream got against a golden request.
func TestKindTwins(t *testing.T) { kindTwins(t, kindRows) }

func kindTwins(t *testing.T, rows []kindRow) {
	w := newKindWorld(t, rows)
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			var first twin
			for n, e := range ways {
				before := w.origin.received()
				r.call.host = r.name + ".test"
				a := w.do(e, w.token, r.call)
				noCredential(t, a)
				received := w.origin.received()
				if received == before && a.header.Get("X-Agent-Vault-Proxy-Error") != "" {
					received = ""
				}
				got := newTwin(masked(received), a)
				if got.Body = masked(got.Body); strings.Contains(got.Body, "JWT") {
					t.Errorf("%s: the token comes back: %s", e, got.Body)
				}
				if r.golden == "" && (got.Received != "" || !strings.Contains(a.body, `{"error":"`+r.code+`"`)) {
					t.Errorf("%s: %d %s, the upstream got %q", e, a.status, a.body, got.Received)
				}
				if diff := cmp.Diff(r.golden, got.Received); r.golden != "" && diff != "" {
					t.Errorf("%s: the upstream got (-want +got) %s", e, diff)
				}
				if n == 0 {
					first = got
				} else if diff := cmp.Diff(first, got); diff != "" {
					t.Errorf("the ways differ (-path +%s): %s", e, diff)
				}
			}
		})
	}
}
