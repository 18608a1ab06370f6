package api_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/ca"
	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
)

const (
	ownerEmail    = "owner@example.test"
	ownerPassword = "correct horse battery staple"

	// secretValue is set as a credential and may be in no answer.
	secretValue = "sk-live-3f9a77c1e2d4b6a8"

	caPEM   = "-----BEGIN CERTIFICATE-----\ntest\n-----END CERTIFICATE-----\n"
	baseURL = "http://vault.example.test:14321"
)

// A clock stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// A fixture is the API over a real registry and store.
type fixture struct {
	t        testing.TB
	path     string // of the database
	key      seal.Key
	db       *store.DB
	clock    *clock
	ready    error
	registry *vault.Registry
	log      *bytes.Buffer
	handler  http.Handler
	owner    string // login token; "" without an owner

	stopping  chan struct{} // closed by the test
	agentRate int           // 0: no limit
}

// newEmpty makes an instance that nobody owns.
func newEmpty(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{
		t: t, path: filepath.Join(t.TempDir(), "data", "test.db"), key: seal.NewKey(),
		clock: &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, log: new(bytes.Buffer), stopping: make(chan struct{}),
	}
	f.open()
	return f
}

// open serves what is in the database.
func (f *fixture) open() {
	f.t.Helper()
	var err error
	if f.db, err = store.Open(context.Background(), store.Options{Path: f.path}); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = f.db.Close() }) // some tests close it before
	pathProxy := func() string { return baseURL + "/proxy" }
	roots, err := vault.OpenRoots(context.Background(), f.db, f.key, ca.Options{Now: f.clock.now})
	if err != nil {
		f.t.Fatal(err)
	}
	published := func(ctx context.Context, _ int64) error { return roots.Refresh(ctx) }
	if f.registry, err = vault.New(vault.Options{Store: f.db, Key: f.key, ProxyURL: pathProxy, Now: f.clock.now, Published: published}); err != nil {
		f.t.Fatal(err)
	}
	f.handler, err = api.New(api.Options{
		AgentRate: f.agentRate,
		Registry:  f.registry,
		CAPEM:     func() []byte { return []byte(caPEM) },
		CA:        roots.Succession,
		Ready:     func() error { return f.ready },
		About: func(context.Context) (api.ServerInfo, error) {
			return api.ServerInfo{Listeners: []api.Listener{}, Audit: api.AuditStatus{LastSeq: 7}}, nil
		},
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "metrics\n") }),
		BaseURL: func() string { return baseURL }, PathProxyURL: pathProxy,
		ProxyURL: func() string { return "http://vault.example.test:14322" },
		Stopping: f.stopping,
		Log:      slog.New(slog.NewTextHandler(f.log, nil)),
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// copy serves a copy of an instance whose database is closed.
func (f *fixture) copy() *fixture {
	f.t.Helper()
	c := &fixture{t: f.t, path: filepath.Join(f.t.TempDir(), "data", "test.db"), key: f.key, clock: f.clock, log: new(bytes.Buffer), owner: f.owner}
	content, err := os.ReadFile(f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Dir(c.path), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(c.path, content, 0o600); err != nil {
		f.t.Fatal(err)
	}
	c.open()
	return c
}

// dump is every row of the database.
func (f *fixture) dump() string {
	f.t.Helper()
	db, err := sql.Open("sqlite", f.path)
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	var b strings.Builder
	for _, table := range query(f.t, db, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name") {
		for _, row := range query(f.t, db, `SELECT * FROM "`+table+`"`) {
			fmt.Fprintf(&b, "%s: %s\n", table, row)
		}
	}
	return b.String()
}

func query(t testing.TB, db *sql.DB, q string) (list []string) {
	t.Helper()
	rows, err := db.Query(q)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		var row []string
		for _, v := range values {
			row = append(row, v.String)
		}
		list = append(list, strings.Join(row, " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// newFixture makes an instance with an owner.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := newEmpty(t)
	var r api.LoginResponse
	f.post("/v1/auth/register", "", api.LoginRequest{Email: ownerEmail, Password: ownerPassword}).into(t, http.StatusCreated, &r)
	f.owner = r.Token
	return f
}

// filled makes an instance with an owner, and in the vault "default" a service
// and a credential; it returns tokens of a session and of an agent, too.
func filled(t testing.TB) (f *fixture, session, agent string) {
	t.Helper()
	f = newFixture(t)
	f.send("PUT", "/v1/vaults/default/services", f.owner, `{"services":[{"name":"api","host":"api.test","auth":{"type":"bearer","token":"API_KEY"}}]}`).want(t, 200)
	f.post("/v1/credentials", f.owner, api.SetCredentialsRequest{Vault: "default", Credentials: map[string]string{"API_KEY": secretValue}}).want(t, 200)
	return f, f.session(), f.agent("robot-one")
}

func (f *fixture) session() string {
	f.t.Helper()
	var s api.SessionResponse
	f.post("/v1/sessions", f.owner, api.SessionRequest{Vault: "default", Label: "test"}).into(f.t, 200, &s)
	return s.Token
}

func (f *fixture) agent(name string) string {
	f.t.Helper()
	var a api.AgentResponse
	f.post("/v1/agents", f.owner, api.AgentRequest{Name: name, Vaults: []api.AgentVault{{VaultName: "default", VaultRole: "proxy"}}}).into(f.t, 201, &a)
	return a.Token
}

type reply struct {
	status int
	header http.Header
	body   string
}

// do sends a request from an address of its own, so that no test runs into
// another's limit of sign-ins.
func (f *fixture) do(r *http.Request) reply {
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, r)
	return reply{w.Code, w.Header(), w.Body.String()}
}

// request makes one as a client on this machine would.
func request(method, path, token, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:14321"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

func (f *fixture) send(method, path, token, body string) reply {
	return f.do(request(method, path, token, body))
}

func (f *fixture) post(path, token string, body any) reply {
	f.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.send("POST", path, token, string(b))
}

func (r reply) want(t testing.TB, status int) {
	t.Helper()
	if r.status != status {
		t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
}

func (r reply) into(t testing.TB, status int, v any) {
	t.Helper()
	r.want(t, status)
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		t.Fatalf("%v: %s", err, r.body)
	}
}

// refusal is the body of one.
type refusal struct {
	Error     string `json:"error"`
	Message   string `json:"message"`
	RequestID string `json:"request_id"`
}

// refused holds a refusal's form, and returns its message.
func (r reply) refused(t testing.TB, status int, code string) string {
	t.Helper()
	var e refusal
	d := json.NewDecoder(strings.NewReader(r.body))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		t.Fatalf("status %d, no refusal: %q: %v", r.status, r.body, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		t.Errorf("something behind the refusal: %q", r.body)
	}
	if r.status != status || e.Error != code || e.Message == "" || len(e.RequestID) != 16 {
		t.Errorf("got %d %+v, want %d %s", r.status, e, status, code)
	}
	if r.header.Get(api.ErrorHeader) != "true" || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("header of a refusal: %v", r.header)
	}
	if strings.ContainsAny(e.Message, "\n\r") {
		t.Errorf("the message has lines: %q", e.Message)
	}
	r.secure(t)
	return e.Message
}

// secure holds the headers that every answer has.
func (r reply) secure(t testing.TB) {
	t.Helper()
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
	} {
		if got := r.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
