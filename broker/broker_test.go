package broker_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/vault"
)

func TestServe(t *testing.T) {
	k := newKit(t, echo, nil)
	w := k.get(t, "example.com", "/a%2Fb")
	if w.Code != 200 || w.Body.String() != "/a%2Fb Bearer "+stars() {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// Until a View is published, and when the store has been silent for too long,
// a node refuses rather than guesses.
func TestRefusesWhatItCannotKnow(t *testing.T) {
	k := newKit(t, echo, nil)
	k.clock.advance(29 * time.Second)
	if w := k.get(t, "example.com", "/"); w.Code != 200 {
		t.Errorf("after 29 s: %d", w.Code)
	}
	k.source.set(k.snapshot, errors.New("store is gone"))
	if err := k.Refresh(t.Context()); err == nil {
		t.Error("refresh did not notice")
	}
	k.clock.advance(2 * time.Second)
	if w := k.get(t, "example.com", "/"); w.Code != 503 || code(t, w) != broker.CodeUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("after 31 s: %d %s", w.Code, w.Body)
	}
	if k.Ready() == nil {
		t.Error("ready")
	}
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w := k.get(t, "example.com", "/"); w.Code != 200 {
		t.Errorf("after the store came back: %d", w.Code)
	}
}

func TestExpiredSession(t *testing.T) {
	k := newKit(t, echo, func(o *broker.Options) { o.MaxStale = 24 * time.Hour })
	k.clock.advance(time.Hour)
	if w := k.get(t, "example.com", "/"); w.Code != 401 || code(t, w) != broker.CodeUnauthorized {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A box that was moved from another place does not open, and nothing is sent.
func TestMovedBox(t *testing.T) {
	k := newKit(t, echo, nil)
	if w := k.get(t, "broken.example.com", "/"); w.Code != 503 || code(t, w) != broker.CodeUnavailable {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// One vault that does not compile must not take the others down.
func TestBrokenVault(t *testing.T) {
	k := newKit(t, echo, nil)
	other := vault.NewToken(vault.PrefixSession)
	snap := k.snapshot
	bad := vault.Vault{ID: "v2", Name: "bad", Services: []vault.Service{{Name: "x", Host: "*", Enabled: true, Auth: auth(t, `{"type":"passthrough"}`)}}}
	snap.Vaults = append(snap.Vaults, bad)
	snap.Sessions = append(snap.Sessions, vault.Session{ID: "s2", Digest: vault.DigestToken(other), VaultID: "v2", ExpiresAt: k.clock.Now().Add(time.Hour)})
	k.source.set(snap, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w := k.get(t, "example.com", "/"); w.Code != 200 {
		t.Errorf("the good vault: %d", w.Code)
	}
	x := k.request(t, "example.com", "/")
	x.Identity = broker.Identify(other, "")
	w := httptest.NewRecorder()
	k.Serve(w, httptest.NewRequest("GET", "/", nil), x)
	if w.Code != 503 {
		t.Errorf("the broken vault: %d", w.Code)
	}
}

// Nothing is sent that could not be recorded first (R15).
func TestNoAuditNoRequest(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	full, err := broker.OpenAudit("/dev/full", auditKey)
	if err != nil {
		t.Fatal(err)
	}
	sent := false
	k := newKit(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent = true }), func(o *broker.Options) { o.Audit = full })
	if w := k.get(t, "example.com", "/"); w.Code != 503 || sent {
		t.Errorf("%d, sent %v", w.Code, sent)
	}
}

func TestLimits(t *testing.T) {
	hold, held := make(chan struct{}), make(chan struct{}, 2)
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held <- struct{}{}
		<-hold
	}), func(o *broker.Options) {
		o.Limits = broker.Limits{SessionRate: 1, SessionBurst: 4, SessionConcurrent: 2, SessionTunnels: 1}
	})
	done := make(chan int, 2)
	for range 2 {
		go func() { done <- k.get(t, "example.com", "/").Code }()
	}
	<-held
	<-held
	if w := k.get(t, "example.com", "/"); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("a third at once: %d", w.Code)
	}
	close(hold)
	for range 2 {
		if c := <-done; c != 200 {
			t.Errorf("one of two: %d", c)
		}
	}
	k.get(t, "example.com", "/")
	if w := k.get(t, "example.com", "/"); w.Code != 429 {
		t.Errorf("a fifth in a burst of four: %d", w.Code)
	}
	target, _ := broker.Pin("https", "example.com:443")
	id := broker.Identify(k.token, "")
	tunnel, f := k.OpenTunnel(id, target)
	if f != nil {
		t.Fatal(f)
	}
	if _, f := k.OpenTunnel(id, target); f == nil || f.Code != broker.CodeRateLimited {
		t.Errorf("a second tunnel: %v", f)
	}
	tunnel.Close()
	tunnel.Close()
	if again, f := k.OpenTunnel(id, target); f != nil {
		t.Errorf("after closing: %v", f)
	} else {
		again.Close()
	}
}

// A flood that a session's limits refuse leaves a few records, not one each.
func TestFloodsDoNotFillTheLog(t *testing.T) {
	k := newKit(t, echo, func(o *broker.Options) { o.Limits = broker.Limits{SessionRate: 1, SessionBurst: 1} })
	for n := range 500 {
		if w := k.get(t, "example.com", "/"); n > 0 && w.Code != 429 {
			t.Fatalf("request %d: %d", n, w.Code)
		}
	}
	k.Close() // which writes the outcomes
	raw, err := os.ReadFile(k.audit)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(raw), `"fault":"rate_limited"`); n < 1 || n > 5 {
		t.Errorf("%d of 499 refusals were recorded, want a few", n)
	}
}

// panicky panics where net/http would not expect it.
type panicky struct{ http.ResponseWriter }

func (panicky) WriteHeader(int) { panic("in the middle") }

func TestPanicIsContained(t *testing.T) {
	k := newKit(t, echo, nil)
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler {
				t.Errorf("panicked with %v, want http.ErrAbortHandler", p)
			}
		}()
		k.Serve(panicky{httptest.NewRecorder()}, httptest.NewRequest("GET", "/", nil), k.request(t, "example.com", "/"))
	}()
	if w := k.get(t, "example.com", "/"); w.Code != 200 {
		t.Errorf("the next request: %d", w.Code)
	}
}

// When the agent goes away, the call upstream ends at once.
func TestAgentGoneCancelsUpstream(t *testing.T) {
	arrived, gone := make(chan struct{}), make(chan struct{})
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(gone)
	}), nil)
	conn, err := net.Dial("tcp", k.listen(t, k.request(t, "example.com", "/")))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	conn.Close()
	<-gone
}

// An answer that arrives before the upload is over reaches the agent.
func TestEarlyAnswerToAnUpload(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "too much")
	}), nil)
	conn, err := net.Dial("tcp", k.listen(t, k.request(t, "example.com", "/")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nfirst bytes")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 403 {
		t.Errorf("%v %v", resp, err)
	}
}

// WebSocket messages pass both ways, and a credential that is echoed is masked,
// also where it lies across fragments.
func TestWebSocketUpgrade(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Authorization") != "Bearer "+credential {
			http.Error(w, "not a websocket", http.StatusBadRequest)
			return
		}
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
		buf.Flush()
		line, _ := buf.ReadString('\n')
		half := len(credential) / 2
		fmt.Fprintf(buf, "\x01%c%s\x00%c%s\x80%c%s", len(line), line, half, credential[:half], len(credential)-half, credential[half:])
		buf.Flush()
	}), nil)
	conn, err := net.Dial("tcp", k.listen(t, k.request(t, "example.com", "/")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\nhello\n")
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "x" {
		t.Fatalf("%v %v", resp, err)
	}
	rest, err := io.ReadAll(br)
	if want := "\x01\x06hello\n\x80" + string(rune(len(credential))) + stars(); string(rest) != want || err != nil {
		t.Errorf("%q %v, want %q", rest, err, want)
	}
}

// net/http's own refusals are spelled as the contract says, and an upstream's
// body that looks like one is left alone.
func TestPlainErrors(t *testing.T) {
	lookalike := "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", 32<<10))
		io.WriteString(w, lookalike)
	}), nil)
	addr := k.listen(t, k.request(t, "example.com", "/"))
	for _, r := range []struct {
		head   string
		status int
	}{
		{"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"nonsense\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 2<<20) + "\r\n\r\n", 431},
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(conn, r.head)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%.30q: %v", r.head, err)
		}
		body, _ := io.ReadAll(resp.Body)
		conn.Close()
		if resp.StatusCode != r.status || resp.Header.Get(broker.ErrorHeader) != "true" || !strings.Contains(string(body), `"error":"bad_request"`) {
			t.Errorf("%.30q: %d %v %s", r.head, resp.StatusCode, resp.Header, body)
		}
	}
	resp, err := http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.HasSuffix(string(body), lookalike) {
		t.Errorf("body was changed: %.80q %v", body[max(0, len(body)-200):], err)
	}
}

// Sessions keep their counters when the View changes, and are cut when they
// are gone from it.
func TestViewsCarrySessionsOver(t *testing.T) {
	k := newKit(t, echo, nil)
	target, _ := broker.Pin("https", "example.com:443")
	tunnel, f := k.OpenTunnel(broker.Identify(k.token, ""), target)
	if f != nil {
		t.Fatal(f)
	}
	defer tunnel.Close()
	snap := k.snapshot
	k.source.set(snap, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-tunnel.Done():
		t.Fatal("a change elsewhere cut the session")
	default:
	}
	snap.Sessions = nil
	k.source.set(snap, nil)
	if err := k.Await(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	<-tunnel.Done()
}

// An agent that loses a vault loses what it has open; one that gains a vault
// keeps it.
func TestLostGrantCuts(t *testing.T) {
	k := newKit(t, echo, nil)
	token := vault.NewToken(vault.PrefixAgent)
	snap := k.snapshot
	snap.Vaults = append(snap.Vaults, vault.Vault{ID: "v2", Name: "second"})
	grant := func(vaults ...string) {
		a := vault.Agent{ID: "a1", Name: "robot", Digest: vault.DigestToken(token), Vaults: map[string]vault.Grant{}}
		for _, id := range vaults {
			a.Vaults[id] = vault.Grant{Role: vault.VaultProxy}
		}
		snap.Agents = []vault.Agent{a}
		k.source.set(snap, nil)
		if err := k.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	grant("v1")
	target, _ := broker.Pin("https", "example.com:443")
	tunnel, f := k.OpenTunnel(broker.Identify(token, "default"), target)
	if f != nil {
		t.Fatal(f.Message)
	}
	defer tunnel.Close()
	grant("v1", "v2")
	select {
	case <-tunnel.Done():
		t.Fatal("a further grant cut the agent")
	default:
	}
	grant("v2")
	<-tunnel.Done()
}
