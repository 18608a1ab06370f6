package main_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestOAuthServerGrants: grants that need no person, on every way.
func TestOAuthServerGrants(t *testing.T) {
	w := newOAuthWorld(t, 5*time.Minute)
	for _, row := range []struct{ host, sub, scope string }{
		{"robot.test", "sid1", "read write"}, {"body.test", "sid1", ""}, {"jwt.test", "service", "openid"},
	} {
		for n, e := range ways {
			c := call{host: row.host, target: "/"}
			if e != byPath { // there the agent's own is the session's
				c.header = []string{"Authorization: Bearer mine"}
			}
			a := w.use(t, e, c)
			seen := w.sightings(row.host)
			if a.status != http.StatusOK || !strings.Contains(a.body, `"sub":"`+row.sub+`"`) || len(seen) != n+1 {
				t.Fatalf("%s, %s: %d %s\nserver: %s", e, row.host, a.status, a.body, w.stderr)
			}
			if s := seen[n]; !s.Active || s.Sub != row.sub || s.Scope != row.scope {
				t.Errorf("%s, %s: the API got %+v", e, row.host, s)
			}
		}
		if all := w.tokensOf(row.host); len(all) != 1 {
			t.Errorf("%s: %d tokens were asked for, want 1", row.host, len(all))
		}
	}
	for host, want := range map[string]struct{ code, credential, message string }{
		"wrong.test":   {"credential_refresh_failed", "DESKTOP_SECRET", "the token endpoint does not take the client of this service; ask a person to check its client id, its secret and its grant"},
		"garbage.test": {"credential_refresh_failed", "ROBOT_SECRET", "the token endpoint no longer takes the credential ROBOT_SECRET; ask a person to set it again"},
		"forged.test":  {"credential_refresh_failed", "FORGED_KEY", "the token endpoint no longer takes the credential FORGED_KEY; ask a person to set it again"},
		"phone.test":   {"credential_not_found", "PHONE_REFRESH", ""},
	} {
		for _, e := range ways {
			a := w.use(t, e, call{host: host, target: "/"})
			f := a.fault(t)
			if a.status != http.StatusBadGateway || f["error"] != want.code || f["credential"] != want.credential || !strings.HasPrefix(fmt.Sprint(f["message"]), want.message) {
				t.Errorf("%s, %s: %d %s", e, host, a.status, a.body)
			}
		}
		if seen := w.sightings(host); len(seen) > 0 {
			t.Errorf("%s: the API got %+v", host, seen)
		}
	}
	w.nothingLeft(t)
}

// until uses a service on both entrances in turns, until enough is there. Every
// request is answered well.
func (w *oauthWorld) until(t *testing.T, host string, enough func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for n := 0; !enough(); n++ {
		a := w.use(t, ways[n%len(ways)], call{host: host, target: "/"})
		if a.status != http.StatusOK {
			t.Fatalf("%s, request %d: %d %s\nserver: %s", host, n, a.status, a.body, w.stderr)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within a minute", host)
		}
		<-time.After(10 * time.Millisecond) // an agent that works
	}
}

// TestOAuthServerConnected: accounts that a person connects, whose tokens live for five
// seconds. They are replaced before they end, the refresh token with each of them,
// and a server that is killed goes on with the newest.
func TestOAuthServerConnected(t *testing.T) {
	w := newOAuthWorld(t, 5*time.Second)
	w.connects(t, "phone", false)
	w.connects(t, "desktop", true)
	for _, host := range []string{"phone.test", "desktop.test"} {
		w.until(t, host, func() bool { return len(w.tokensOf(host)) == 3 })
	}
	before := len(w.tokensOf("phone.test"))
	w.nothingLeft(t)
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-w.done
	w.start()
	w.must(ownerPassword+"\n", "auth", "login", "--email", ownerEmail, "--password-stdin") // the port is another
	w.until(t, "phone.test", func() bool { return len(w.tokensOf("phone.test")) == before+2 })
	for _, host := range []string{"phone.test", "desktop.test"} {
		ended := 0
		for n, s := range w.sightings(host) {
			if !s.Active {
				ended++
			} else if s.Sub != "id1" || s.Scope != "openid offline_access" {
				t.Errorf("%s: request %d came with %+v", host, n, s)
			}
		}
		// The server ends a token when it gives the next one: who comes meanwhile is sent again.
		if all := len(w.tokensOf(host)); ended >= all {
			t.Errorf("%s: %d requests came with a token that had ended, of %d tokens", host, ended, all)
		}
	}
	if n := len(w.refreshTokens(t, "phone")); n < before+3 {
		t.Errorf("the refresh token was replaced %d times", n-1)
	}

	// The person withdraws it, and connects again.
	w.withdraw(t, "phone")
	w.awaitFault(t, "phone.test")
	const want = `"message":"the token endpoint no longer takes the credential PHONE_REFRESH: it has ended or was withdrawn; ask a person to connect it again, or to set it"`
	for _, e := range ways {
		a := w.use(t, e, call{host: "phone.test", target: "/"})
		if f := a.fault(t); a.status != http.StatusBadGateway || f["error"] != "credential_refresh_failed" || f["credential"] != "PHONE_REFRESH" || !strings.Contains(a.body, want) || a.header.Get("Retry-After") == "" {
			t.Errorf("%s, withdrawn: %d %v %s", e, a.status, a.header, a.body)
		}
	}
	w.connects(t, "phone", true)
	if a := w.use(t, byPath, call{host: "phone.test", target: "/"}); a.status != http.StatusOK {
		t.Errorf("connected again: %d %s", a.status, a.body)
	}
	w.nothingLeft(t)
}

// withdraw ends the newest refresh token of a client, by RFC 7009.
func (w *oauthWorld) withdraw(t *testing.T, client string) {
	t.Helper()
	all := w.refreshTokens(t, client)
	if text := w.askLogin("/revoke", client, "", url.Values{"token": {all[len(all)-1]}}); strings.TrimSpace(text) != "null" && text != "" {
		t.Fatalf("revoke: %s", text)
	}
}

// awaitFault uses a service until it is the vault that answers.
func (w *oauthWorld) awaitFault(t *testing.T, host string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for n := 0; time.Now().Before(deadline); n++ {
		if a := w.use(t, ways[n%len(ways)], call{host: host, target: "/"}); a.header.Get("X-Agent-Vault-Proxy-Error") != "" {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("%s: the vault does not answer within a minute", host)
}

// TestOAuthServerWithdrawsAccess: an access token that is withdrawn while it seems good is
// replaced when the API says so, if it is not new, and the request is sent again with
// all that it had.
func TestOAuthServerWithdrawsAccess(t *testing.T) {
	w := newOAuthWorld(t, 5*time.Minute)
	w.connects(t, "phone", false)
	first := call{host: "phone.test", target: "/"}
	if a := w.use(t, byPath, first); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	began := time.Now()
	if text := w.askLogin("/revoke", "phone", "", url.Values{"token": {w.tokensOf("phone.test")[0]}, "token_type_hint": {"access_token"}}); strings.TrimSpace(text) != "null" && text != "" {
		t.Fatalf("revoke: %s", text)
	}
	for n := 0; ; n++ {
		a := w.use(t, ways[n%len(ways)], call{host: "phone.test", target: "/", method: "POST", body: "all of it"})
		seen := w.sightings("phone.test")
		if last := seen[len(seen)-1]; last.Body != "all of it" {
			t.Fatalf("the API got %+v", last)
		}
		age := time.Since(began)
		if a.status == http.StatusOK {
			if all := w.tokensOf("phone.test"); len(all) != 2 || seen[len(seen)-2].Active || age < 29*time.Second {
				t.Errorf("after %v, with %d tokens", age, len(all))
			}
			break
		}
		if a.status != http.StatusUnauthorized || a.header.Get("X-Agent-Vault-Proxy-Error") != "" || age > 40*time.Second {
			t.Fatalf("after %v: %d %s", age, a.status, a.body)
		}
		<-time.After(100 * time.Millisecond)
	}
	w.nothingLeft(t)
}
