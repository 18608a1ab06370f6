package broker_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// post sends a body of so many bytes; known says whether with its length.
func (k *kit) post(t *testing.T, size int, known bool) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "/things", strings.NewReader(strings.Repeat("b", size)))
	if !known {
		r.ContentLength = -1
		r.Body = io.NopCloser(r.Body)
	}
	w := httptest.NewRecorder()
	k.Serve(w, r, k.request(t, "example.com", "/things?a=%2F"))
	return w
}

// A token that is no longer taken is replaced once, and the request goes out once
// more, where nothing of it is lost.
func TestReplayAfter401(t *testing.T) {
	for _, row := range []struct {
		name   string
		send   func(t *testing.T, k *kit) *httptest.ResponseRecorder
		body   int
		replay bool
	}{
		{"no body", func(t *testing.T, k *kit) *httptest.ResponseRecorder { return k.get(t, "example.com", "/things?a=%2F") }, 0, true},
		{"a short body", func(t *testing.T, k *kit) *httptest.ResponseRecorder { return k.post(t, 1000, true) }, 1000, true},
		{"the longest", func(t *testing.T, k *kit) *httptest.ResponseRecorder { return k.post(t, 64<<10, true) }, 64 << 10, true},
		{"a byte more", func(t *testing.T, k *kit) *httptest.ResponseRecorder { return k.post(t, 64<<10+1, true) }, 0, false},
		{"without a length", func(t *testing.T, k *kit) *httptest.ResponseRecorder { return k.post(t, 10, false) }, 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := &endpoint{life: 3600}
			k := newMintKit(t, e, oauthClient, nil)
			k.want(t, "before", http.StatusOK, "you sent")
			e.revoke()
			k.pass(t, time.Minute)
			w := row.send(t, k)
			if !row.replay {
				if w.Code != http.StatusUnauthorized || w.Body.String() != "this token is not taken\n" || e.tokens() != 1 || e.calls.Load() != 2 {
					t.Errorf("%d %s, %d tokens, %d calls", w.Code, w.Body, e.tokens(), e.calls.Load())
				}
				return
			}
			want := "/things?a=%2F: you sent " + strings.Repeat("*", 24) + strings.Repeat("b", row.body)
			if w.Code != http.StatusOK || !strings.HasSuffix(w.Body.String(), want) || e.tokens() != 2 || e.calls.Load() != 3 {
				t.Errorf("%d %.200s, %d tokens, %d calls", w.Code, w.Body, e.tokens(), e.calls.Load())
			}
			k.wantOutcome(t, "")
		})
	}
}

// An upstream that answers 401 to everything is no reason to ask for tokens.
func TestReplayIsNotRepeated(t *testing.T) {
	e := &endpoint{life: 3600, api: func(w http.ResponseWriter, r *http.Request) { http.Error(w, "never", http.StatusUnauthorized) }}
	k := newMintKit(t, e, oauthClient, nil)
	k.want(t, "the first", http.StatusUnauthorized, "never")
	if e.tokens() != 1 || e.calls.Load() != 1 {
		t.Errorf("a token that is new was replaced: %d tokens, %d calls", e.tokens(), e.calls.Load())
	}
	k.pass(t, time.Minute)
	k.want(t, "the second", http.StatusUnauthorized, "never")
	if e.tokens() != 2 || e.calls.Load() != 3 {
		t.Errorf("%d tokens, %d calls, want 2 and 3", e.tokens(), e.calls.Load())
	}
	for range 20 {
		k.want(t, "another", http.StatusUnauthorized, "never")
	}
	if e.tokens() != 2 || e.calls.Load() != 23 {
		t.Errorf("%d tokens, %d calls, want 2 and 23", e.tokens(), e.calls.Load())
	}
}

// A token that lives for less than half a minute is never old. Its endpoint may end
// it with the answer that holds the next one: who is refused meanwhile waits for that.
func TestReplayOfShortLived(t *testing.T) {
	e := &endpoint{life: 20}
	k := newMintKit(t, e, oauthClient, nil)
	k.want(t, "before", http.StatusOK, "you sent")
	refused := make(chan struct{}, 2)
	e.entered, e.gate = make(chan struct{}), make(chan struct{})
	e.set(func() {
		e.api = func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.Header.Get("Authorization"), "0001") {
				http.Error(w, "not taken", http.StatusUnauthorized)
				refused <- struct{}{}
			}
		}
	})
	k.pass(t, 15*time.Second)
	k.want(t, "before it is due", http.StatusUnauthorized, "not taken")
	<-refused
	k.pass(t, 2*time.Second)
	answered := make(chan *httptest.ResponseRecorder, 1)
	go func() { answered <- k.get(t, "example.com", "/") }()
	<-e.entered
	<-refused
	close(e.gate)
	if w := <-answered; w.Code != http.StatusOK || e.tokens() != 2 || e.calls.Load() != 4 {
		t.Errorf("%d %s, %d tokens, %d calls", w.Code, w.Body, e.tokens(), e.calls.Load())
	}
}

// Of many that are refused at once, one asks for a token, and all go out again.
func TestManyReplaysOneMint(t *testing.T) {
	e := &endpoint{life: 3600}
	k := newMintKit(t, e, oauthClient, nil)
	k.want(t, "before", http.StatusOK, "you sent")
	e.revoke()
	k.pass(t, time.Minute)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { k.want(t, "one of many", http.StatusOK, "you sent") })
	}
	all.Wait()
	if e.tokens() != 2 {
		t.Errorf("%d tokens, want 2", e.tokens())
	}
}

// A grant that has ended meanwhile is what the agent learns of, not the 401.
func TestReplayWithoutAToken(t *testing.T) {
	e := &endpoint{life: 3600}
	k := newMintKit(t, e, oauthClient, nil)
	k.want(t, "before", http.StatusOK, "you sent")
	e.revoke()
	e.set(func() { e.answers = answering("invalid_grant", 400) })
	k.pass(t, time.Minute)
	k.want(t, "after", http.StatusBadGateway, "no longer takes the credential CLIENT_SECRET")
}

// Whoever was revoked while a token is fetched for them does not go out again.
func TestRevokedWhileReplaying(t *testing.T) {
	e := &endpoint{life: 3600}
	k := newMintKit(t, e, oauthClient, nil)
	k.want(t, "before", http.StatusOK, "you sent")
	e.revoke()
	e.set(func() {
		e.answers = func(w http.ResponseWriter, r *http.Request) {
			snap := k.snapshot
			snap.Sessions = nil
			k.source.set(snap, nil)
			if err := k.Refresh(r.Context()); err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"access_token":"another-access-token"}`)
		}
	})
	k.pass(t, time.Minute)
	w := k.get(t, "example.com", "/")
	if code(t, w) != "unauthorized" || e.calls.Load() != 2 {
		t.Errorf("%d %s, %d calls", w.Code, w.Body, e.calls.Load())
	}
}
