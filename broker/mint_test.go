package broker_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// An endpoint is a strict token endpoint, and beside it the API that its tokens are
// for.
type endpoint struct {
	t *testing.T

	mu      sync.Mutex
	asked   []url.Values
	life    int               // seconds; 0: it is not said
	answers http.HandlerFunc  // nil: a token
	refresh map[string]string // the refresh token that is good, and the one that replaces it
	valid   map[string]bool   // tokens that the API takes
	api     http.HandlerFunc  // nil: it says what it got

	calls   atomic.Int64 // of the API
	refused atomic.Int64 // of them
	entered chan struct{}
	gate    chan struct{} // nil: answers at once
}

func (e *endpoint) tokens() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.asked)
}

// revoke makes the API take no token that was given so far.
func (e *endpoint) revoke() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.valid)
}

func (e *endpoint) set(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		e.token(w, r)
		return
	}
	e.calls.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		e.t.Error(err)
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	e.mu.Lock()
	ok, api := e.valid[token], e.api
	e.mu.Unlock()
	switch {
	case api != nil:
		api(w, r)
	case !ok:
		e.refused.Add(1)
		http.Error(w, "this token is not taken", http.StatusUnauthorized)
	default:
		fmt.Fprintf(w, "%s %s: you sent %s%s", r.Method, r.RequestURI, token, body)
	}
}

func (e *endpoint) token(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
		e.t.Errorf("asked with %s %s %s", r.Method, r.RequestURI, r.Header.Get("Content-Type"))
	}
	id, secret, ok := r.BasicAuth()
	if err := r.ParseForm(); err != nil || !ok || id != "the-client" || secret != clientSecret {
		answering("invalid_client", http.StatusUnauthorized)(w, r)
		return
	}
	if e.gate != nil {
		e.entered <- struct{}{}
		<-e.gate
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, r.PostForm)
	if e.answers != nil {
		e.answers(w, r)
		return
	}
	out := map[string]any{"access_token": fmt.Sprintf("access-token-number-%04d", len(e.asked)), "token_type": "bearer"}
	if e.life > 0 {
		out["expires_in"] = e.life
	}
	if r.PostForm.Get("grant_type") == "refresh_token" {
		sent := r.PostForm.Get("refresh_token")
		next, ok := e.refresh[sent]
		if !ok {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"invalid_grant","error_description":"%s"}`, sent)
			return
		}
		if next != sent {
			delete(e.refresh, sent)
			e.refresh[next] = next + "+"
			out["refresh_token"] = next
		}
	}
	if e.valid == nil {
		e.valid = make(map[string]bool)
	}
	e.valid[out["access_token"].(string)] = true
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		e.t.Error(err)
	}
}

const (
	clientSecret = "client-secret-77c1e2d4"
	oauthClient  = `{"type":"oauth2","grant":"client_credentials","token_url":"https://example.com/token","client_id_literal":"the-client","client_secret":"CLIENT_SECRET"}`
	oauthRefresh = `{"type":"oauth2","grant":"refresh_token","token_url":"https://example.com/token","client_id_literal":"the-client","client_secret":"CLIENT_SECRET","refresh_token":"REFRESH_TOKEN"}`
)

func newMintKit(t *testing.T, e *endpoint, declared string, change func(*broker.Options)) *kit {
	t.Helper()
	e.t = t
	k := newKit(t, e, change)
	k.declare(t, declared, "CLIENT_SECRET", clientSecret, "REFRESH_TOKEN", "refresh-token-one")
	return k
}

// declare publishes a service that mints, with its credentials.
func (k *kit) declare(t *testing.T, declared string, values ...string) {
	t.Helper()
	v := k.snapshot.Vaults[0]
	v.Services = []vault.Service{{Name: "api", Host: "example.com", Enabled: true, Auth: auth(t, declared)}}
	v.Credentials = make(map[string]vault.Credential)
	for i := 0; i < len(values); i += 2 {
		k.versions++
		box, err := k.key.ForVault("v1").Seal(seal.Context{Vault: "v1", Credential: values[i], Field: vault.FieldValue, Version: k.versions}, seal.NewPlaintext([]byte(values[i+1])))
		if err != nil {
			t.Fatal(err)
		}
		v.Credentials[values[i]] = vault.Credential{Key: values[i], Version: k.versions, Box: box}
	}
	k.snapshot.Vaults = []vault.Vault{v}
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// pass moves the clock, and keeps the View from being stale.
func (k *kit) pass(t *testing.T, d time.Duration) {
	t.Helper()
	k.clock.advance(d)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (k *kit) want(t *testing.T, what string, status int, contains string) *httptest.ResponseRecorder {
	t.Helper()
	w := k.get(t, "example.com", "/things")
	if w.Code != status || !strings.Contains(w.Body.String(), contains) {
		t.Errorf("%s: %d %s, want %d with %q", what, w.Code, w.Body, status, contains)
	}
	return w
}

func TestMinting(t *testing.T) {
	e := &endpoint{life: 3600}
	k := newMintKit(t, e, oauthClient, nil)
	w := k.want(t, "the first", http.StatusOK, "GET /things: you sent ************************")
	if strings.Contains(w.Body.String(), "access-token") {
		t.Error("the agent got the token")
	}
	k.want(t, "the second", http.StatusOK, "you sent ****")
	if n := e.tokens(); n != 1 {
		t.Errorf("%d tokens were asked for, want 1", n)
	}
	want := url.Values{"grant_type": {"client_credentials"}}
	if got := e.asked[0]; got.Encode() != want.Encode() {
		t.Errorf("asked with %v", got)
	}
	k.Close()
	raw, err := os.ReadFile(k.audit)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for line := range strings.Lines(string(raw)) {
		var r broker.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Kind == "" {
			continue
		}
		kinds = append(kinds, r.Kind)
		if (r.Kind == "mint" || r.Kind == "minted") && (r.Target != "https://example.com:443" || r.Path != "/token" || r.Method != "POST" || r.Session != "s1" || r.Service != "api" || !slices.Equal(r.Credentials, []string{"CLIENT_SECRET"})) {
			t.Errorf("recorded as %s", line)
		}
		if r.Kind == "minted" && r.Status != 200 {
			t.Errorf("ended as %s", line)
		}
	}
	if got := strings.Join(kinds, " "); got != "intent mint minted outcome intent outcome" {
		t.Errorf("the log has %s", got)
	}
	if strings.Contains(string(raw), "access-token") || strings.Contains(string(raw), clientSecret) {
		t.Error("the log has a value")
	}
}

func TestManyRequestsOneMint(t *testing.T) {
	e := &endpoint{life: 3600, entered: make(chan struct{}, 100), gate: make(chan struct{})}
	k := newMintKit(t, e, oauthClient, nil)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() { k.want(t, "one of many", http.StatusOK, "you sent ****") })
	}
	<-e.entered
	close(e.gate)
	all.Wait()
	if n := e.tokens(); n != 1 || e.calls.Load() != 100 {
		t.Errorf("%d tokens for %d calls, want 1 for 100", n, e.calls.Load())
	}
}

// A token is replaced ahead of its end, by a request that does not wait for it, and
// what was replaced is still masked.
func TestMintedAhead(t *testing.T) {
	e := &endpoint{life: 1000, entered: make(chan struct{}, 100), gate: make(chan struct{}, 100)}
	e.gate <- struct{}{}
	k := newMintKit(t, e, oauthClient, nil)
	k.want(t, "the first", http.StatusOK, "you sent ****")
	<-e.entered
	k.pass(t, 750*time.Second)
	k.want(t, "early", http.StatusOK, "you sent ****")
	k.pass(t, 150*time.Second)
	for range 10 {
		k.want(t, "due", http.StatusOK, "you sent ****") // while the endpoint holds its answer
	}
	<-e.entered
	e.gate <- struct{}{}
	k.awaitToken(t, e, "access-token-number-0002")
	if n := e.tokens(); n != 2 {
		t.Errorf("%d tokens, want 2", n)
	}
	// The API echoes what it likes.
	e.set(func() {
		e.api = func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "access-token-number-0001 access-token-number-0002 access-token-number-0003")
		}
	})
	k.want(t, "late", http.StatusOK, "************************ ************************ access-token-number-0003")
	e.set(func() { e.api = nil })
	k.pass(t, 2000*time.Second)
	e.gate <- struct{}{}
	k.want(t, "after its end", http.StatusOK, "you sent ****")
	if n := e.tokens(); n != 3 {
		t.Errorf("%d tokens, want 3", n)
	}
}

// awaitToken sends requests until one goes out with the token.
func (k *kit) awaitToken(t *testing.T, e *endpoint, token string) {
	t.Helper()
	found := false
	e.set(func() {
		e.api = func(_ http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "Bearer "+token {
				e.set(func() { found = true })
			}
		}
	})
	for ok := false; !ok; e.set(func() { ok = found }) {
		k.get(t, "example.com", "/")
	}
	e.set(func() { e.api = nil })
}

func TestMintingFails(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, row := range []struct {
		name    string
		answers http.HandlerFunc
		words   string // of the message
		key     string
	}{
		{"invalid_grant", answering("invalid_grant", 400), "no longer takes the credential CLIENT_SECRET; ask a person to set it again", "CLIENT_SECRET"},
		{"invalid_client", answering("invalid_client", 401), "does not take the client of this service", "CLIENT_SECRET"},
		{"invalid_scope", answering("invalid_scope", 400), "does not give a token for the scopes", "CLIENT_SECRET"},
		{"unsupported_grant_type", answering("unsupported_grant_type", 400), "does not understand the request for a token", "CLIENT_SECRET"},
		{"a code of its own", answering("<script>"+clientSecret, 400), "refused to give a token; ask a person", "CLIENT_SECRET"},
		{"an error with 200", answering("invalid_grant", 200), "no longer takes the credential CLIENT_SECRET", "CLIENT_SECRET"},
		{"unwell", answering("server_error", 503), "refused to give a token; try again later", "CLIENT_SECRET"},
		{"too many", answering("", 429), "refused to give a token; try again later", "CLIENT_SECRET"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, "refused to give a token; try again later", "CLIENT_SECRET"},
		{"HTML", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>"+clientSecret) }, "answer is no token", "CLIENT_SECRET"},
		{"no token", saying(`{"expires_in":3600}`), "answer is no token", "CLIENT_SECRET"},
		{"a short token", saying(`{"access_token":"short"}`), "it is too short", "CLIENT_SECRET"},
		{"a huge answer", saying(`{"access_token":"` + long + `"}`), "too long to be a token", "CLIENT_SECRET"},
		{"it hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "could not be asked", "CLIENT_SECRET"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := &endpoint{answers: row.answers}
			var log logged
			k := newMintKit(t, e, oauthClient, func(o *broker.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
			w := k.want(t, "it", http.StatusBadGateway, row.words)
			var f struct{ Error, Credential string }
			if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || f.Error != "credential_refresh_failed" || f.Credential != row.key {
				t.Errorf("%v: %s", err, w.Body)
			}
			asked := e.tokens()
			w = k.want(t, "again at once", http.StatusBadGateway, row.words)
			if e.tokens() != asked || w.Header().Get("Retry-After") == "" || e.calls.Load() != 0 {
				t.Errorf("asked %d times then %d, Retry-After %q, %d calls", asked, e.tokens(), w.Header().Get("Retry-After"), e.calls.Load())
			}
			if all := log.String() + w.Body.String(); strings.Contains(all, clientSecret) || strings.Contains(all, "script") {
				t.Errorf("it is repeated: %s", all)
			}
			if !strings.Contains(log.String(), "token endpoint") || strings.Contains(log.String(), "(*") {
				t.Errorf("the log has no reason, or one in words of Go: %s", log.String())
			}
			// A person mends it: it is tried at once.
			e.set(func() { e.answers = nil })
			k.declare(t, oauthClient, "CLIENT_SECRET", clientSecret)
			k.want(t, "mended", http.StatusOK, "you sent ****")
		})
	}
}

func saying(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, text)
	}
}

func answering(code string, status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, code, clientSecret)
	}
}

// Each failure in a row makes the pause before the next question longer.
func TestBrokenGrantsAreAskedForSeldom(t *testing.T) {
	e := &endpoint{answers: answering("server_error", 503)}
	k := newMintKit(t, e, oauthClient, nil)
	for range 600 {
		k.get(t, "example.com", "/")
		k.pass(t, time.Second)
	}
	if n := e.tokens(); n < 8 || n > 25 {
		t.Errorf("the endpoint was asked %d times in ten minutes", n)
	}
}

func TestMintingWithoutItsCredentials(t *testing.T) {
	e := new(endpoint)
	k := newMintKit(t, e, oauthClient, nil)
	k.declare(t, oauthClient)
	w := k.want(t, "no value", http.StatusBadGateway, "the credential CLIENT_SECRET has no value yet")
	if code(t, w) != "credential_not_found" || e.tokens() != 0 {
		t.Errorf("%s, asked %d times", w.Body, e.tokens())
	}
	k.declare(t, strings.Replace(oauthRefresh, "{", `{"authorization_url":"https://example.com/authorize",`, 1), "CLIENT_SECRET", clientSecret)
	k.want(t, "never connected", http.StatusBadGateway, "the account of the service api is not connected yet; ask a person to run: agent-vault credential connect api --vault default")
	k.declare(t, oauthRefresh, "CLIENT_SECRET", clientSecret)
	k.want(t, "that nobody can connect", http.StatusBadGateway, "the credential REFRESH_TOKEN has no value yet")
	// A token that is there is of no use without the credential.
	k.declare(t, oauthClient, "CLIENT_SECRET", clientSecret)
	k.want(t, "with it", http.StatusOK, "you sent")
	k.declare(t, oauthClient)
	k.want(t, "taken away", http.StatusBadGateway, "has no value yet")
	// Nor is one that was minted with another value.
	k.declare(t, oauthClient, "CLIENT_SECRET", "another-secret")
	k.want(t, "another", http.StatusBadGateway, "does not take the client")
}

func TestMintingIsGuarded(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*broker.Options)
		words  string
	}{
		{"a private address", func(o *broker.Options) { o.Dialer.Allow = nil }, "not on the public internet"},
		{"another root", func(o *broker.Options) { o.Roots = nil }, "TLS certificate could not be verified"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := new(endpoint)
			k := newMintKit(t, e, oauthClient, row.change)
			k.want(t, "it", http.StatusBadGateway, row.words)
			if e.tokens() != 0 {
				t.Error("the endpoint was asked")
			}
		})
	}
}

// What cannot be recorded is not done: no box is opened.
func TestNoAuditNoMint(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	full, err := broker.OpenAudit("/dev/full", auditKey)
	if err != nil {
		t.Fatal(err)
	}
	e := new(endpoint)
	k := newMintKit(t, e, oauthClient, func(o *broker.Options) { o.Audit = full })
	k.want(t, "without a log", http.StatusServiceUnavailable, "cannot write its audit record")
	if e.tokens() != 0 {
		t.Error("a token was asked for")
	}
}

// Whoever waits for a token is let go when the session ends.
func TestRevokedWhileMinting(t *testing.T) {
	e := &endpoint{entered: make(chan struct{}, 1), gate: make(chan struct{})}
	k := newMintKit(t, e, oauthClient, nil)
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() { done <- k.get(t, "example.com", "/") }()
	<-e.entered
	snap := k.snapshot
	snap.Sessions = nil
	k.source.set(snap, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w := <-done; w.Code != http.StatusUnauthorized {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	close(e.gate)
	k.Close()
	if e.calls.Load() != 0 {
		t.Error("it was sent")
	}
}

func TestFreshTokensCostNoLock(t *testing.T) {
	e := &endpoint{life: 3600}
	k := newMintKit(t, e, oauthClient, nil)
	k.want(t, "the first", http.StatusOK, "you sent")
	release := k.LockMints()
	defer release()
	k.want(t, "while all locks are held", http.StatusOK, "you sent")
}
