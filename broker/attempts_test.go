package broker_test

import (
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/vault"
)

// ask sends one request with an identity from an address.
func (k *kit) ask(t *testing.T, id broker.Identity, from string) *httptest.ResponseRecorder {
	t.Helper()
	x := k.request(t, "example.com", "/")
	x.Identity = id
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	k.Serve(w, r, x)
	return w
}

// Failed authentication is slowed by address; nobody who presents a valid token,
// or none, is kept out by it.
func TestFailedAttempts(t *testing.T) {
	k := newKit(t, echo, func(o *broker.Options) { o.Limits.FailedAttempts = 20 })
	unknown := func() broker.Identity { return broker.Identify(vault.NewToken(vault.PrefixSession), "") }
	for from, sibling := range map[string]string{
		"127.0.0.1:1":             "127.0.0.1:60000",
		"192.0.2.7:1":             "[::ffff:192.0.2.7]:9",
		"[2001:db8:0:1::1]:1":     "[2001:db8:0:1:ffff::2]:1",
		"[fe80::1%eth0]:1":        "[fe80::2%eth1]:1",
		"where nobody knows":      "[::1", // one for all of these
		"[2001:db8:0:2::1%x]:443": "[2001:db8:0:2::1]:1",
	} {
		for n := range 25 {
			address := from
			if n%2 == 1 {
				address = sibling
			}
			id := unknown()
			if n%3 == 0 {
				id = broker.Unreadable()
			}
			w := k.ask(t, id, address)
			want, wantCode := 401, broker.CodeUnauthorized
			if n >= 20 {
				want, wantCode = 429, broker.CodeRateLimited
				if s, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || s < 1 || s > 3 {
					t.Errorf("Retry-After %q", w.Header().Get("Retry-After"))
				}
			}
			if w.Code != want || code(t, w) != wantCode {
				t.Fatalf("%s, attempt %d: %d %s, want %d", address, n+1, w.Code, w.Body, want)
			}
			if w := k.ask(t, broker.Identify(k.token, ""), address); w.Code != 200 {
				t.Fatalf("%s after %d failures: a valid token got %d %s", address, n+1, w.Code, w.Body)
			}
			if w := k.ask(t, broker.Identity{}, address); w.Code != 401 {
				t.Fatalf("%s after %d failures: no token at all got %d %s", address, n+1, w.Code, w.Body)
			}
		}
	}
	if w := k.ask(t, unknown(), "198.51.100.1:1"); w.Code != 401 {
		t.Errorf("another address: %d", w.Code)
	}
	k.clock.advance(3 * time.Second)
	if w := k.ask(t, unknown(), "127.0.0.1:1"); w.Code != 401 {
		t.Errorf("after three seconds: %d, want one attempt more", w.Code)
	}
	if w := k.ask(t, unknown(), "127.0.0.1:1"); w.Code != 429 {
		t.Errorf("and then: %d", w.Code)
	}
}

func TestFailedAttemptsWithoutALimit(t *testing.T) {
	k := newKit(t, echo, nil)
	for range 50 {
		if w := k.ask(t, broker.Unreadable(), "127.0.0.1:1"); w.Code != 401 {
			t.Fatal(w.Code)
		}
	}
}
