package broker_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/policy"
	"agentvault/vault"
)

// limitKit is a kit whose service example.com has limits, and has had them since
// the View before.
func limitKit(t testing.TB, handler http.Handler, limits ...policy.Limit) *kit {
	t.Helper()
	k := newKit(t, handler, nil)
	k.snapshot.Vaults[0].Services[0].Limits = limits
	k.publish(t)
	return k
}

func (k *kit) publish(t testing.TB) {
	t.Helper()
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (k *kit) wantLimited(t *testing.T, w *httptest.ResponseRecorder, message, after string) {
	t.Helper()
	if w.Code != 429 || code(t, w) != broker.CodeRateLimited || !strings.Contains(w.Body.String(), `"this would go beyond what the service allows: `+message+`; wait and try again"`) || w.Header().Get("Retry-After") != after {
		t.Errorf("%d, Retry-After %s: %s\nwant %s", w.Code, w.Header().Get("Retry-After"), w.Body, message)
	}
}

func TestLimitOfRequests(t *testing.T) {
	k := limitKit(t, echo, policy.Limit{Requests: 2, Window: "10s"})
	if w := k.get(t, "example.com", "/1"); w.Code != 200 {
		t.Fatal(w.Body)
	}
	k.clock.advance(4 * time.Second)
	if w := k.get(t, "example.com", "/2"); w.Code != 200 {
		t.Fatal(w.Body)
	}
	k.wantLimited(t, k.get(t, "example.com", "/3"), "2 requests in 10s", "6")
	k.publish(t) // another View goes on counting
	k.wantLimited(t, k.get(t, "example.com", "/3"), "2 requests in 10s", "6")
	k.snapshot.Vaults[0].Services[0].Limits = []policy.Limit{{Requests: 3, Window: "10s"}}
	k.publish(t)
	if w := k.get(t, "example.com", "/4"); w.Code != 200 {
		t.Errorf("with one more allowed: %d %s", w.Code, w.Body)
	}
	k.wantLimited(t, k.get(t, "example.com", "/5"), "3 requests in 10s", "6")
	k.clock.advance(6 * time.Second)
	k.publish(t)
	if w := k.get(t, "example.com", "/6"); w.Code != 200 {
		t.Errorf("when the first is out of the window: %d %s", w.Code, w.Body)
	}
}

// A limit of each agent leaves the others alone.
func TestLimitOfEachAgent(t *testing.T) {
	k := limitKit(t, echo, policy.Limit{Requests: 1, Window: "10s", Per: policy.PerAgent})
	other := vault.NewToken(vault.PrefixSession)
	k.snapshot.Sessions = append(k.snapshot.Sessions, vault.Session{ID: "s2", Digest: vault.DigestToken(other), VaultID: "v1", ExpiresAt: k.clock.Now().Add(time.Hour)})
	k.publish(t)
	if w := k.get(t, "example.com", "/"); w.Code != 200 {
		t.Fatal(w.Body)
	}
	k.wantLimited(t, k.get(t, "example.com", "/"), "1 requests of each agent in 10s", "10")
	mine := k.token
	k.token = other
	if w := k.get(t, "example.com", "/"); w.Code != 200 {
		t.Errorf("the other: %d %s", w.Code, w.Body)
	}
	k.token = mine
	k.publish(t)
	k.wantLimited(t, k.get(t, "example.com", "/"), "1 requests of each agent in 10s", "10")
}

func TestLimitOfConcurrent(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	k := limitKit(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { begun <- struct{}{}; <-end }), policy.Limit{Concurrent: 1})
	done := make(chan int)
	send := func() { done <- k.get(t, "example.com", "/").Code }
	go send()
	<-begun
	k.wantLimited(t, k.get(t, "example.com", "/"), "1 requests at once", "1")
	k.publish(t)
	k.wantLimited(t, k.get(t, "example.com", "/"), "1 requests at once", "1")
	end <- struct{}{}
	if got := <-done; got != 200 {
		t.Errorf("the first: %d", got)
	}
	go send()
	<-begun
	end <- struct{}{}
	if got := <-done; got != 200 {
		t.Errorf("after it: %d", got)
	}
}

// Bytes beyond a limit do not go on: neither of a body whose length was not known,
// nor of an answer that has begun.
func TestLimitOfBytes(t *testing.T) {
	var received atomic.Int64
	k := limitKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		received.Add(int64(len(b)))
		io.WriteString(w, strings.Repeat("x", 600))
	}), policy.Limit{RequestBytes: 1000, Window: "1m"}, policy.Limit{ResponseBytes: 1000, Window: "1m", Per: policy.PerAgent})
	post := func(body io.Reader) (w *httptest.ResponseRecorder, aborted bool) {
		w = httptest.NewRecorder()
		defer func() { aborted = recover() != nil }()
		k.Serve(w, httptest.NewRequestWithContext(t.Context(), "POST", "/", body), k.request(t, "example.com", "/"))
		return w, false
	}
	w, _ := post(strings.NewReader(strings.Repeat("a", 700)))
	if w.Code != 200 || w.Body.Len() != 600 {
		t.Fatal(w.Code, w.Body)
	}
	w, _ = post(strings.NewReader(strings.Repeat("a", 301)))
	k.wantLimited(t, w, "1000 bytes of requests' bodies in 1m", "1")
	w, _ = post(struct{ io.Reader }{strings.NewReader(strings.Repeat("a", 301))}) // in chunks
	if w.Code != 429 {
		t.Errorf("a body without a length: %d %s", w.Code, w.Body)
	}
	if received.Load() != 700 {
		t.Errorf("%d bytes were received", received.Load())
	}
	w, aborted := post(strings.NewReader("a")) // whose answer is too long
	if got := w.Body.Len(); !aborted || got > 400 {
		t.Errorf("an answer of %d bytes beside 600, aborted %v", got, aborted)
	}
	k.clock.advance(time.Minute + 2*time.Second)
	k.publish(t)
	if w, _ = post(strings.NewReader("a")); w.Code != 200 {
		t.Errorf("a window later: %d %s", w.Code, w.Body)
	}
}

// What limits a rule counts what that lets through, however rules are reordered.
func TestLimitOfARule(t *testing.T) {
	k := newKit(t, echo, nil)
	limited := policy.Rule{Paths: []string{"/a"}, Limits: []policy.Limit{{Requests: 1, Window: "1m"}}}
	open := policy.Rule{Paths: []string{"/b"}}
	k.snapshot.Vaults[0].Services[0].Rules = []policy.Rule{limited, open}
	k.publish(t)
	for _, c := range []struct {
		path string
		want int
	}{{"/a", 200}, {"/a", 429}, {"/b", 200}, {"/b", 200}} {
		if w := k.get(t, "example.com", c.path); w.Code != c.want {
			t.Errorf("%s: %d, want %d", c.path, w.Code, c.want)
		}
	}
	k.snapshot.Vaults[0].Services[0].Rules = []policy.Rule{open, limited}
	k.publish(t)
	if w := k.get(t, "example.com", "/a"); w.Code != 429 {
		t.Errorf("after the rules changed places: %d", w.Code)
	}
}

// What an upgrade carries counts too, both ways.
func TestLimitOfAnUpgrade(t *testing.T) {
	k := limitKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		io.Copy(conn, rw)
	}), policy.Limit{RequestBytes: 1000, Window: "1m"})
	k.snapshot.Vaults[0].Services[0].Upgrades = []string{"tcp"}
	k.publish(t)
	addr := k.listen(t, k.request(t, "example.com", "/"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/attach", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	stream := resp.Body.(io.ReadWriteCloser)
	defer stream.Close()
	got := make([]byte, 900)
	io.WriteString(stream, strings.Repeat("a", 900))
	if _, err := io.ReadFull(stream, got); err != nil {
		t.Fatal(err)
	}
	io.WriteString(stream, strings.Repeat("b", 200))
	if rest, _ := io.ReadAll(stream); len(rest) > 100 {
		t.Errorf("%d bytes more came back", len(rest))
	}
}
