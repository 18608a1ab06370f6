package main_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOAuth2Twins sends requests to a service with access tokens through every
// entrance: one token is asked for, and the upstream gets the same.
func TestOAuth2Twins(t *testing.T) {
	const secret, token = "client-secret-of-a-robot", "an-access-token-0123456789"
	ca := newAuthority(t, "Origin CA")
	var asked atomic.Int64
	login := startOrigin(t, ca.leaf(t, "login.test"), false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, given, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		if asked.Add(1); id != "app" || given != secret || r.FormValue("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client"}`)
			return
		}
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
	}))
	w := &world{origin: startOrigin(t, ca.leaf(t, "mail.test", "broken.test"), false, originHandler())}
	const auth = `{type: oauth2, grant: client_credentials, token_url: "https://login.test/token", client_id_literal: %s, client_secret: SECRET}`
	services := fmt.Sprintf("      - {name: mail, host: mail.test, auth: "+auth+"}\n", "app") + fmt.Sprintf("      - {name: broken, host: broken.test, auth: "+auth+"}\n", "another")
	w.startKinds(t, ca, map[string]string{"login.test": login.Addr, "mail.test": w.origin.Addr, "broken.test": w.origin.Addr}, services, map[string]string{"SECRET": secret})
	const golden = "GET /a?b=c HTTP/1.1\nHost: mail.test\nAuthorization: Bearer " + token + "\n\n"
	var first twin
	for n, e := range ways {
		a := w.do(e, w.token, call{host: "mail.test", target: "/a?b=c"})
		got := newTwin(w.origin.received(), a)
		if diff := cmp.Diff(golden, strings.ReplaceAll(got.Received, "\r\n", "\n")); diff != "" {
			t.Errorf("%s: the upstream got (-want +got) %s", e, diff)
		}
		if strings.Contains(fmt.Sprint(a.header, string(a.body)), token) {
			t.Errorf("%s: the agent got the token", e)
		}
		if n == 0 {
			first = got
		} else if diff := cmp.Diff(first, got); diff != "" {
			t.Errorf("the ways differ (-path +%s): %s", e, diff)
		}
		b := w.do(e, w.token, call{host: "broken.test", target: "/"})
		if b.status != http.StatusBadGateway || !strings.Contains(string(b.body), `"error":"credential_refresh_failed"`) {
			t.Errorf("%s: %d %s", e, b.status, b.body)
		}
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("tokens were asked for %d times, want once for each service", n)
	}
}
