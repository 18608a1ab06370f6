package broker_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"agentvault/broker"
	"agentvault/broker/audit"
	"agentvault/store"
	"agentvault/vault"
)

func openAudit(t *testing.T, path string) *audit.Log {
	t.Helper()
	a, err := broker.OpenAudit(path, auditKey)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() }) // some tests close it before
	return a
}

func appendAll(t *testing.T, a *audit.Log, records ...*broker.Record) {
	t.Helper()
	for _, r := range records {
		if err := a.Append(r); err != nil {
			t.Fatal(err)
		}
	}
}

// A filling is an audit log beside a real store.
type filling struct {
	t     *testing.T
	path  string
	audit *audit.Log
	db    *store.DB
	now   time.Time
}

func newFilling(t *testing.T) *filling {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(dir, "vault.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &filling{t: t, path: filepath.Join(dir, "audit.log"), db: db, now: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	f.audit = openAudit(t, f.path)
	return f
}

// filler is a new one each time, as after a restart.
func (f *filling) filler(retention time.Duration) *broker.Filler {
	f.t.Helper()
	r, err := broker.NewFiller(broker.FillerOptions{
		Path: f.path, Appended: f.audit.Appended(), Into: f.db, Retention: retention, Now: func() time.Time { return f.now },
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *filling) fill() {
	f.t.Helper()
	if err := f.filler(0).Fill(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// rows are the request log's, oldest first.
func (f *filling) rows() []vault.Request {
	f.t.Helper()
	var all []vault.Request
	if err := f.db.Read(f.t.Context(), func(tx vault.Tx) (err error) {
		all, err = tx.ListRequests(vault.RequestQuery{Limit: 100_000})
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

func (f *filling) intent(id string) *broker.Record {
	return &broker.Record{
		Time: f.now, Kind: "intent", Request: id, Entrance: "path", Session: "s-1", VaultID: "main", Vault: "main", Service: "api",
		Target: "https://api.example.com:443", Method: "POST", Path: "/v1/x", Credentials: []string{"A_KEY", "B_KEY"},
	}
}

func (f *filling) outcome(id string, status int) *broker.Record {
	r := f.intent(id)
	r.Kind, r.Status, r.Time, r.Micros = "outcome", status, f.now.Add(1500*time.Microsecond), 1500
	r.BytesIn, r.BytesOut, r.Scrubbed = 1, 2, 3
	return r
}

func TestFillerJoinsIntentAndOutcome(t *testing.T) {
	f := newFilling(t)
	refused := &broker.Record{Time: f.now.Add(time.Second), Kind: "outcome", Request: "refused", Entrance: "mitm", Session: "s-1", VaultID: "main", Vault: "main",
		Target: "https://[2001:db8::1]:8443", Method: "GET", Path: "/", Status: 403, Fault: "forbidden"}
	appendAll(t, f.audit, f.intent("whole"), f.intent("open"), f.outcome("whole", 200), refused)
	f.fill()
	f.fill() // changes nothing
	ok, denied := 200, 403
	open := vault.Request{
		ID: "open", Time: f.now, Entrance: "path", SessionID: "s-1", VaultID: "main", Vault: "main", Service: "api", Target: "https://api.example.com:443",
		Host: "api.example.com", Method: "POST", Path: "/v1/x", Credentials: []string{"A_KEY", "B_KEY"}, Seq: 2, Row: 2,
	}
	whole := open
	whole.ID, whole.Status, whole.BytesIn, whole.BytesOut, whole.Micros, whole.Scrubbed, whole.Seq, whole.Row = "whole", &ok, 1, 2, 1500, 3, 3, 1
	want := []vault.Request{whole, open, {
		ID: "refused", Time: f.now.Add(time.Second), Entrance: "mitm", SessionID: "s-1", VaultID: "main", Vault: "main", Target: "https://[2001:db8::1]:8443",
		Host: "2001:db8::1", Method: "GET", Path: "/", Status: &denied, Fault: "forbidden", Seq: 4, Row: 3,
	}}
	compare := cmp.Options{cmpopts.EquateEmpty(), cmpopts.IgnoreFields(vault.Request{}, "Change")}
	if d := cmp.Diff(want, f.rows(), compare); d != "" {
		t.Error(d)
	}
	appendAll(t, f.audit, f.outcome("open", 200))
	f.fill()
	want[1].Status, want[1].BytesIn, want[1].BytesOut, want[1].Micros, want[1].Scrubbed, want[1].Seq = &ok, 1, 2, 1500, 3, 5
	if d := cmp.Diff(want, f.rows(), compare); d != "" {
		t.Errorf("after the outcome: %s", d)
	}
}

// Only what was put on a request counts as used.
func TestFillerNotesUsesOfCredentials(t *testing.T) {
	f := newFilling(t)
	refused := f.outcome("refused", 403)
	refused.Credentials, refused.Fault = []string{"UNUSED_KEY"}, "method_not_allowed"
	appendAll(t, f.audit, f.intent("a"), refused)
	first := f.now
	f.fill()
	f.now = f.now.Add(time.Hour)
	later := f.intent("b")
	later.Credentials = []string{"A_KEY"}
	appendAll(t, f.audit, later)
	f.fill()
	var got map[string]time.Time
	if err := f.db.Read(t.Context(), func(tx vault.Tx) (err error) {
		got, err = tx.CredentialUses("main")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]time.Time{"A_KEY": f.now, "B_KEY": first}, got); d != "" {
		t.Error(d)
	}
}

// failing is a store that fails before or after the nth batch, as a killed
// process would leave it.
type failing struct {
	*store.DB
	at    int
	after bool
}

var errKilled = errors.New("killed")

func (s *failing) AppendRequests(ctx context.Context, b vault.RequestBatch) error {
	if s.at--; s.at == 0 && !s.after {
		return errKilled
	}
	err := s.DB.AppendRequests(ctx, b)
	if s.at == 0 {
		err = errKilled
	}
	return err
}

// Wherever a filler stops, the next one goes on, and no row is lost or doubled.
func TestFillerGoesOnWhereItWasKilled(t *testing.T) {
	f := newFilling(t)
	const n = 11_000 // more than two batches of intents and outcomes
	for i := range n {
		appendAll(t, f.audit, f.intent(fmt.Sprintf("r%05d", i)))
		if i >= 10 {
			appendAll(t, f.audit, f.outcome(fmt.Sprintf("r%05d", i-10), 200))
		}
	}
	for at := 1; at <= 6; at++ {
		for _, after := range []bool{false, true} {
			r, err := broker.NewFiller(broker.FillerOptions{Path: f.path, Into: &failing{f.db, min(at, 2), after}})
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Fill(t.Context()); err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
		}
	}
	f.fill()
	rows := f.rows()
	unknown := 0
	for i, r := range rows {
		if r.ID != fmt.Sprintf("r%05d", i) {
			t.Fatalf("row %d is %s", i, r.ID)
		}
		if r.Status == nil {
			unknown++
		}
	}
	if len(rows) != n || unknown != 10 {
		t.Errorf("%d rows, %d of them unknown; want %d and 10", len(rows), unknown, n)
	}
	changes := make(map[int64]bool)
	for _, r := range rows {
		changes[r.Change] = true
	}
	if len(changes) != n {
		t.Errorf("%d changes of %d rows", len(changes), n)
	}
}

// Whatever rows were lost, the log gives them back as they were, from all of its
// segments.
func TestFillerRebuilds(t *testing.T) {
	f := newFilling(t)
	_ = f.audit.Close()
	var err error
	if f.audit, err = audit.Open(audit.Options{Path: f.path, Key: auditKey, SegmentSize: 20_000}); err != nil {
		t.Fatal(err)
	}
	defer f.audit.Close()
	running := f.filler(0) // from the first record on, over every rotation
	for i := range 600 {
		appendAll(t, f.audit, f.intent(fmt.Sprintf("r%04d", i)))
		if i >= 10 {
			appendAll(t, f.audit, f.outcome(fmt.Sprintf("r%04d", i-10), 200))
		}
		if i%50 == 0 {
			if err := running.Fill(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		f.now = f.now.Add(time.Second)
	}
	f.fill()
	want := f.rows()
	if segments, err := filepath.Glob(filepath.Join(filepath.Dir(f.path), "audit.*.log")); err != nil || len(segments) < 10 || len(want) != 600 {
		t.Fatalf("%d full segments, %d rows, %v", len(segments), len(want), err)
	}
	for what, lost := range map[string]time.Time{"all": f.now, "some": f.now.Add(-350 * time.Second)} {
		if _, err := f.db.ForgetRequests(t.Context(), lost, 10_000); err != nil {
			t.Fatal(err)
		}
		r, err := broker.NewFiller(broker.FillerOptions{Path: f.path, Into: f.db, Anew: what == "some"})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Fill(t.Context()); err != nil {
			t.Fatal(err)
		}
		byTime := cmp.Options{cmpopts.IgnoreFields(vault.Request{}, "Change", "Row"), cmpopts.EquateEmpty()}
		if d := cmp.Diff(want, f.rows(), byTime); d != "" {
			t.Errorf("%s lost: %s", what, d)
		}
	}
}

// A filler that was killed while it filled anew goes on as carefully, whoever
// starts the next.
func TestFillerKilledWhileItRebuilds(t *testing.T) {
	f := newFilling(t)
	const n = 11_000
	for i := range n {
		f.now = f.now.Add(time.Millisecond)
		appendAll(t, f.audit, f.intent(fmt.Sprintf("r%05d", i)))
		if i >= 10 && i%100 != 0 {
			appendAll(t, f.audit, f.outcome(fmt.Sprintf("r%05d", i-10), 200))
		}
	}
	f.fill()
	want := f.rows()
	lost := f.now.Add(-n / 2 * time.Millisecond)
	for _, after := range []bool{false, true} {
		if _, err := f.db.ForgetRequests(t.Context(), lost, 10_000); err != nil {
			t.Fatal(err)
		}
		r, err := broker.NewFiller(broker.FillerOptions{Path: f.path, Into: &failing{f.db, 2, after}, Anew: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Fill(t.Context()); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if tail, _, err := f.db.LogTail(t.Context()); err != nil || !tail.Again {
			t.Fatalf("the tail of one that was killed: %+v, %v", tail, err)
		}
		f.fill()
		if tail, _, err := f.db.LogTail(t.Context()); err != nil || tail.Again {
			t.Fatalf("the tail of one that has all: %+v, %v", tail, err)
		}
		place := cmp.Options{cmpopts.IgnoreFields(vault.Request{}, "Change", "Row"), cmpopts.EquateEmpty()}
		if d := cmp.Diff(want, f.rows(), place); d != "" {
			t.Errorf("killed after the batch %t: %s", after, d)
		}
	}
}

// What may be taken back is not taken in.
func TestFillerLeavesWhatIsNotSafe(t *testing.T) {
	f := newFilling(t)
	appendAll(t, f.audit, f.intent("a"), f.intent("b"), f.intent("c"))
	safe := uint64(2)
	r, err := broker.NewFiller(broker.FillerOptions{Path: f.path, Into: f.db, Safe: func() uint64 { return safe }})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{2, 2, 3, 3} {
		if i == 2 {
			safe = 3
		}
		if err := r.Fill(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := len(f.rows()); got != want {
			t.Errorf("%d rows, want %d", got, want)
		}
	}
}

// Half a record at the end waits for its other half, or for the next start,
// which removes it.
func TestFillerAndATornLine(t *testing.T) {
	f := newFilling(t)
	appendAll(t, f.audit, f.intent("a"))
	f.audit.Close()
	log, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.WriteString(`{"seq":2,"kind":"intent","request":"torn`); err != nil {
		t.Fatal(err)
	}
	log.Close()
	running := f.filler(0)
	if err := running.Fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.audit = openAudit(t, f.path)
	appendAll(t, f.audit, f.intent("b"))
	if err := running.Fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.fill()
	var ids []string
	for _, r := range f.rows() {
		ids = append(ids, r.ID)
	}
	if d := cmp.Diff([]string{"a", "b"}, ids); d != "" {
		t.Error(d)
	}
}

// Another file under the same name, or one that was cut, is read from its
// beginning; what was taken in stays.
func TestFillerAndAnotherFile(t *testing.T) {
	f := newFilling(t)
	appendAll(t, f.audit, f.intent("a"), f.intent("b"), f.intent("c"))
	f.fill()
	whole, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.IndexByte(string(whole), '\n') + 1
	for name, change := range map[string]func() error{
		"cut":     func() error { return os.WriteFile(f.path, whole[:first], 0o600) },
		"removed": func() error { return os.Remove(f.path) },
	} {
		f.audit.Close()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		f.audit = openAudit(t, f.path)
		appendAll(t, f.audit, f.intent(name))
		f.fill()
		if rows := f.rows(); rows[len(rows)-1].ID != name {
			t.Errorf("%s: the last row is %s", name, rows[len(rows)-1].ID)
		}
	}
	if rows := f.rows(); len(rows) != 5 {
		t.Errorf("%d rows, want 5", len(rows))
	}
}

func TestFillerForgets(t *testing.T) {
	f := newFilling(t)
	day := 24 * time.Hour
	for i := range 1100 {
		appendAll(t, f.audit, f.intent(fmt.Sprint("old", i)))
	}
	f.fill()
	f.now = f.now.Add(31 * day)
	appendAll(t, f.audit, f.intent("new"))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	logged, stop := f.db.Logged()
	defer stop()
	r := f.filler(30 * day)
	go func() { r.Run(ctx); close(done) }()
	<-logged
	appendAll(t, f.audit, f.intent("last")) // taken in at the end at the latest
	cancel()
	<-done
	var ids []string
	for _, r := range f.rows() {
		ids = append(ids, r.ID)
	}
	// The old ones may be there still: the end does not wait for them.
	if len(ids) < 2 || ids[len(ids)-2] != "new" || ids[len(ids)-1] != "last" {
		t.Errorf("%d rows, the last %v", len(ids), ids[max(0, len(ids)-2):])
	}
	n, err := f.db.ForgetRequests(t.Context(), f.now.Add(-30*day), 10_000)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows left to forget", n)
	if rows := f.rows(); len(rows) != 2 {
		t.Errorf("%d rows, want 2", len(rows))
	}
	// A log that is filled anew leaves out what would be forgotten at once.
	if _, err := f.db.ForgetRequests(t.Context(), f.now.Add(day), 10_000); err != nil {
		t.Fatal(err)
	}
	if err := f.filler(30 * day).Fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows := f.rows(); len(rows) != 2 || rows[0].ID != "new" {
		t.Errorf("%d rows, want 2", len(rows))
	}
}

func TestFillerWithoutALog(t *testing.T) {
	f := newFilling(t)
	if err := f.filler(0).Fill(t.Context()); err != nil || len(f.rows()) != 0 {
		t.Errorf("an empty log: %v", err)
	}
	f.path += ".missing"
	if err := f.filler(0).Fill(t.Context()); err != nil || len(f.rows()) != 0 {
		t.Errorf("no log: %v", err)
	}
	for _, o := range []broker.FillerOptions{{}, {Path: f.path}, {Into: f.db}} {
		if _, err := broker.NewFiller(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
