package main_test

import (
	"encoding/json"
	"fmt"
	"os"
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
}

var kindCredentials = map[string]string{
	"SESSION": "s3ss10n-of-a-robot",
}

var kindRows = []kindRow{
	{"cookie", `{type: cookie, cookies: {session: SESSION, csrf: SESSION}}`,
		call{target: "/a?b=c", header: []string{"Cookie: a=b; session=mine; c=d"}},
		"GET /a?b=c HTTP/1.1\nHost: cookie.test\nCookie: csrf=s3ss10n-of-a-robot; session=s3ss10n-of-a-robot; a=b; c=d\n\n"},
	{"cookie-missing", `{type: cookie, cookies: {session: NOT_SET}}`, call{target: "/"}, ""},
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
	var credentials strings.Builder
	for key := range kindCredentials {
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
	w.apply("vaults:\n  - name: default\n    services:\n"+services.String()+"    credentials:\n"+credentials.String(), kindCredentials)
	w.token = w.instance.token()
	return w
}

// TestKindTwins sends a request to a service of each kind through every entrance,
// and holds what its upstream got against a golden request.
func TestKindTwins(t *testing.T) {
	w := newKindWorld(t, kindRows)
	for _, r := range kindRows {
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
				got := newTwin(received, a)
				if r.golden == "" && (got.Received != "" || a.status != 502) {
					t.Errorf("%s: %d %s, the upstream got %q", e, a.status, a.body, got.Received)
				}
				if diff := cmp.Diff(r.golden, strings.ReplaceAll(got.Received, "\r\n", "\n")); r.golden != "" && diff != "" {
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
