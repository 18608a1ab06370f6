package main_test

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"agentvault/store"
	"agentvault/vault"
)

// wantFault holds an answer against a row of the contract's table.
func wantFault(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.fault(t)["error"] != code || a.header.Get("X-Agent-Vault-Proxy-Error") != "true" {
		t.Errorf("%d %s %v, want %d %s", a.status, a.body, a.header, status, code)
	}
	if status == 429 || status == 503 {
		if after, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || after < 1 {
			t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
		}
	}
	noCredential(t, a)
}

// TestGoldenLimits: what a session does beyond its limits is refused with 429;
// other sessions do not notice.
func TestGoldenLimits(t *testing.T) {
	t.Run("requests at once", func(t *testing.T) {
		w := newWorldWith(t, "limits: {session_concurrent: 1}\n")
		for _, e := range entrances {
			conn, err := w.dial(e, w.token, "default", "api.test")
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, w.spell(e, w.token, "default", call{host: "api.test", target: "/events?id=held-" + string(e)}))
			if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != 200 {
				t.Fatalf("%v %v", resp, err)
			}
			wantFault(t, w.do(e, w.token, call{host: "api.test", target: "/"}), 429, "rate_limited")
			if other := w.do(e, w.mint("another"), call{host: "api.test", target: "/"}); other.status != 200 {
				t.Errorf("%s: another session got %d %s", e, other.status, other.body)
			}
			conn.Close()
			w.eventually(t, func() bool { return w.do(e, w.token, call{host: "api.test", target: "/"}).status == 200 })
		}
	})
	t.Run("requests per second", func(t *testing.T) {
		w := newWorldWith(t, "limits: {session_rate: 1, session_burst: 3}\n")
		for _, e := range entrances {
			token := w.mint("fast")
			for range 3 {
				if a := w.do(e, token, call{host: "api.test", target: "/"}); a.status != 200 {
					t.Fatalf("%s: within the burst: %d %s", e, a.status, a.body)
				}
			}
			next := w.do(e, token, call{host: "api.test", target: "/"})
			for range 50 { // one place comes back each second
				if next.status != 200 {
					break
				}
				next = w.do(e, token, call{host: "api.test", target: "/"})
			}
			wantFault(t, next, 429, "rate_limited")
		}
	})
	t.Run("tunnels", func(t *testing.T) {
		w := newWorldWith(t, "limits: {session_tunnels: 1}\n")
		w.connect(t, "api.test:443", w.token)
		wantFault(t, w.refusedConnect(t, "open.test:443"), 429, "rate_limited")
	})
	t.Run("none", func(t *testing.T) {
		w := newWorldWith(t, "limits: {session_rate: 0, session_burst: 0, session_concurrent: 0, session_tunnels: 0}\n")
		for range 20 {
			if a := w.do(byProxy, w.token, call{host: "api.test", target: "/"}); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
	})
}

// eventually waits for what follows from something that has happened already. It
// happens in another process, which has no way to tell but its answers.
func (w *world) eventually(t *testing.T, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !happened(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen within 20 seconds")
		}
	}
}

// TestGoldenExpiry: an expired session is refused as an unknown one is, also
// inside a tunnel that it had opened, and no change of the store is needed for
// that.
func TestGoldenExpiry(t *testing.T) {
	w := newWorldWith(t, "limits: {failed_attempts: 0}\n") // it asks often before the server knows the token
	db, err := store.Open(t.Context(), store.Options{Path: w.path("data/agent-vault.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	token := vault.NewToken(vault.PrefixSession)
	_, err = db.Write(t.Context(), func(tx vault.Tx) error {
		v, err := tx.VaultByName("default")
		if err != nil {
			return err
		}
		now := time.Now().UTC().Truncate(time.Millisecond)
		return tx.PutSession(vault.Session{ID: "short", Digest: vault.DigestToken(token), VaultID: v.ID, CreatedAt: now, ExpiresAt: now.Add(5 * time.Second)})
	})
	if err != nil {
		t.Fatal(err)
	}
	// Another process wrote it: this one learns of it by itself.
	w.eventually(t, func() bool { return w.do(byPath, token, call{host: "api.test", target: "/"}).status == 200 })
	tunnel := w.connect(t, "api.test:443", token)
	if err := tunnel.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(tunnel); err != nil || len(rest) > 0 { // ends with the session
		t.Errorf("the tunnel went on: %q %v", rest, err)
	}
	wantFault(t, w.do(byPath, token, call{host: "api.test", target: "/"}), 401, "unauthorized")
	wantFault(t, w.do(byProxy, token, call{host: "api.test", target: "/"}), 407, "unauthorized")
}
