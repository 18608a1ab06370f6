package broker

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/seal"
)

type fixed struct{ snap vault.Snapshot }

func (f fixed) Snapshot(context.Context) (vault.Snapshot, error) { return f.snap, nil }
func (f fixed) Revision(context.Context) (int64, error)          { return f.snap.Revision, nil }

// stagesBroker decides for one session and bearer services.
func stagesBroker(t testing.TB) (*Broker, Request, *http.Request) {
	t.Helper()
	key, token := seal.NewKey(), vault.NewToken(vault.PrefixSession)
	box, err := key.ForVault("v").Seal(seal.Context{Vault: "v", Credential: "K", Field: vault.FieldValue, Version: 1}, seal.NewPlaintext([]byte("sk-live-3f9a77c1e2d4b6a8")))
	if err != nil {
		t.Fatal(err)
	}
	var auth inject.Auth
	if err := json.Unmarshal([]byte(`{"type":"bearer","token":"K"}`), &auth); err != nil {
		t.Fatal(err)
	}
	audit, err := OpenAudit(filepath.Join(t.TempDir(), "audit.log"), key.ForAudit())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { audit.Close() })
	b, err := New(Options{Key: key, Audit: audit, Source: fixed{vault.Snapshot{
		Revision: 1, Initialized: true,
		Vaults: []vault.Vault{{
			ID: "v", Name: "default",
			Services: []vault.Service{
				{Name: "api", Host: "api.example.com", Enabled: true, Auth: auth},
				{Name: "example", Host: "example.com", Enabled: true, Auth: auth},
				{Name: "other", Host: "other.test", Enabled: true, Auth: auth},
			},
			Credentials: map[string]vault.Credential{"K": {Key: "K", Version: 1, Box: box}},
		}},
		Sessions: []vault.Session{{ID: "s", Digest: vault.DigestToken(token), VaultID: "v", ExpiresAt: time.Now().Add(time.Hour)}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	target, f := Pin("https", "api.example.com")
	if f != nil {
		t.Fatal(f.Message)
	}
	r := httptest.NewRequest("GET", "/v1/things", nil)
	r.Header.Set("Accept", "*/*")
	r.Header.Set("User-Agent", "agent/1")
	return b, Request{Entrance: MITM, Identity: Identify(token, ""), Target: target, Path: "/v1/things"}, r
}

// What the vault adds to a request before it is sent. The budget leaves room
// for the noise of a counter that other goroutines share, and is far below
// what one more header copy or a database call would cost.
func TestStagesAllocationBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("needs a build without the race detector, which allocates by itself")
	}
	b, x, r := stagesBroker(t)
	w := httptest.NewRecorder()
	run := func(stages func(e *exchange) *Fault) float64 {
		return testing.AllocsPerRun(200, func() {
			e := &exchange{Broker: b, Request: x, w: w, r: r, id: "0123456789abcdef", start: time.Now()}
			if f := stages(e); f != nil {
				t.Fatal(f.Code, f.Err)
			}
			if e.ctx.Begun() {
				e.ctx.End()
				e.session.live.leave()
			}
		})
	}
	decide := run(func(e *exchange) *Fault {
		if f := e.admit(); f != nil {
			return f
		}
		if f := e.wellFormed(); f != nil {
			return f
		}
		return e.decide()
	})
	all := run(func(e *exchange) *Fault {
		if f := e.admit(); f != nil {
			return f
		}
		if f := e.decide(); f != nil {
			return f
		}
		if f := e.strip(); f != nil {
			return f
		}
		if f := e.recordIntent(); f != nil {
			return f
		}
		return e.inject()
	})
	var body atHand
	resp := apiAnswer(&body)
	answer := &quietWriter{header: make(http.Header)}
	respond := run(func(e *exchange) *Fault {
		if f := e.admit(); f != nil {
			return f
		}
		if f := e.decide(); f != nil {
			return f
		}
		e.w, e.rc = answer, http.NewResponseController(answer)
		_, _ = body.Seek(0, io.SeekStart) // never fails
		clear(answer.header)
		return e.respond(resp)
	})
	t.Logf("admit and decide: %v allocations; up to sending: %v; admit, decide and answer: %v", decide, all, respond)
	for _, r := range []struct {
		what      string
		got, most float64
	}{
		{"admit and decide", decide, 2},
		{"all stages up to sending", all, 15},
		{"admit, decide and answer", respond, 4},
	} {
		if r.got > r.most {
			t.Errorf("%s: %v allocations, at most %v", r.what, r.got, r.most)
		}
	}
}

// decided is an exchange of which everything is known that its records say.
func decided(t testing.TB) *exchange {
	t.Helper()
	b, x, r := stagesBroker(t)
	e := &exchange{Broker: b, Request: x, w: httptest.NewRecorder(), r: r, id: "0123456789abcdef", start: time.Now()}
	f := e.admit()
	if f == nil {
		f = e.decide()
	}
	if f != nil {
		t.Fatal(f.Code, f.Err)
	}
	t.Cleanup(e.ctx.End)
	return e
}

// record2 makes both records of an exchange.
func record2(t testing.TB, e *exchange) {
	e.intentDone, e.rec = false, Record{}
	if f := e.recordIntent(); f != nil {
		t.Fatal(f.Code, f.Err)
	}
	e.status = 200
	e.recordOutcome()
}

// Of the two records only the target's name is made anew.
func TestRecordsAllocationBudget(t *testing.T) {
	if raceEnabled {
		t.Skip("needs a build without the race detector, which allocates by itself")
	}
	e := decided(t)
	if n := testing.AllocsPerRun(1000, func() { record2(t, e) }); n > 2 {
		t.Errorf("%v allocations for two records, at most 2", n)
	}
}

func TestRecordedTarget(t *testing.T) {
	for _, authority := range []string{"example.com", "example.com:8443", "127.0.0.1", "[2001:db8::1]", "[2001:db8::1]:1"} {
		target, f := Pin("https", authority)
		if f != nil {
			t.Fatal(authority, f.Message)
		}
		if got, want := recordedTarget(target), "https://"+target.Address(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// BenchmarkRecords is of the two records of an exchange.
func BenchmarkRecords(b *testing.B) {
	e := decided(b)
	b.ReportAllocs()
	for b.Loop() {
		record2(b, e)
	}
}

// BenchmarkStages is a request up to sending, and what is told of it: all but
// the write to the disk.
func BenchmarkStages(b *testing.B) {
	br, x, r := stagesBroker(b)
	r.Header.Set("Accept-Encoding", "gzip")
	r.Header.Set("Authorization", "Bearer x")
	r.Header.Set("X-Trace", "abcdef0123456789")
	w := &quietWriter{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		e := &exchange{Broker: br, Request: x, w: w, r: r, id: br.newID(), start: time.Now()}
		for _, stage := range []func() *Fault{e.admit, e.wellFormed, e.decide, e.strip, e.inject} {
			if f := stage(); f != nil {
				b.Fatal(f.Code, f.Err)
			}
		}
		e.ctx.End()
		e.record("intent", e.start)
		e.record("outcome", e.start)
		br.metrics.observe(e.Entrance, 200, nil, time.Millisecond)
		e.session.live.leave()
	}
}

// A quietWriter takes an answer as net/http's writer would, and keeps nothing of
// its body.
type quietWriter struct {
	header http.Header
	status int
	bytes  int64
}

func (w *quietWriter) Header() http.Header  { return w.header }
func (w *quietWriter) WriteHeader(code int) { w.status = code }
func (w *quietWriter) Flush()               {}
func (w *quietWriter) Write(p []byte) (int, error) {
	w.bytes += int64(len(p))
	return len(p), nil
}
func (w *quietWriter) SetWriteDeadline(time.Time) error { return nil }

// atHand is a body that has come whole.
type atHand struct{ strings.Reader }

func (*atHand) Ready() bool  { return true }
func (*atHand) Close() error { return nil }

// apiAnswer is the usual answer of an API: a page of JSON.
func apiAnswer(body *atHand) *http.Response {
	const page = `{"id":"ch_3MmlLrLkdIwHu7ix0snN0B15","object":"charge","amount":1099},`
	text := strings.Repeat(page, 14)
	body.Reset(text)
	return &http.Response{
		StatusCode: 200, ContentLength: int64(len(text)), Body: body,
		Header: http.Header{
			"Content-Type": {"application/json"}, "X-Request-Id": {"req_12345"}, "Cache-Control": {"no-cache, no-store"},
			"Content-Length": {strconv.Itoa(len(text))}, "Date": {"Mon, 02 Jan 2006 15:04:05 GMT"},
		},
	}
}

// BenchmarkRespond passes the usual answer on, scrubbing included.
func BenchmarkRespond(b *testing.B) {
	br, x, r := stagesBroker(b)
	e := &exchange{Broker: br, Request: x, r: r, id: "0123456789abcdef", start: time.Now()}
	for _, stage := range []func() *Fault{e.admit, e.decide} {
		if f := stage(); f != nil {
			b.Fatal(f.Code, f.Err)
		}
	}
	var body atHand
	resp := apiAnswer(&body)
	w := &quietWriter{header: make(http.Header)}
	e.w, e.rc = w, http.NewResponseController(w)
	b.ReportAllocs()
	for b.Loop() {
		body.Seek(0, io.SeekStart)
		clear(w.header)
		e.bytesOut = 0
		if f := e.respond(resp); f != nil {
			b.Fatal(f.Code, f.Err)
		}
	}
	if w.bytes == 0 || w.status != 200 || e.scrubbed > 0 {
		b.Errorf("status %d, %d bytes, %d masked", w.status, w.bytes, e.scrubbed)
	}
}
