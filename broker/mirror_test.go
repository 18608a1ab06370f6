package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/broker"
	"agentvault/broker/audit"
	"agentvault/vault"
)

func (f *filling) mirror(retention time.Duration) *broker.Mirror {
	f.t.Helper()
	m, err := broker.NewMirror(broker.MirrorOptions{From: f.db, Into: f.audit, Retention: retention, Now: func() time.Time { return f.now }})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

func (f *filling) event(object string) {
	f.t.Helper()
	if _, err := f.db.Write(f.t.Context(), func(tx vault.Tx) error {
		return tx.PutEvent(vault.Event{
			Time: f.now, ActorKind: "user", ActorID: "u-1", ActorName: "a@example.com", Action: "service.change", VaultID: "main", Vault: "main", Object: object,
		})
	}); err != nil {
		f.t.Fatal(err)
	}
}

// changes are those that the chain has, in their order.
func (f *filling) changes() (all []broker.ChangeRecord) {
	f.t.Helper()
	in := audit.NewReader(f.path, audit.Position{})
	defer in.Close()
	for {
		line, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			f.t.Fatal(err)
		}
		var c broker.ChangeRecord
		if err := json.Unmarshal(line, &c); err != nil {
			f.t.Fatal(err)
		}
		if c.Kind == audit.KindChange {
			all = append(all, c)
		}
	}
}

func TestMirrorCopiesChanges(t *testing.T) {
	f := newFilling(t)
	f.event(`service "a" <&>`)
	appendAll(t, f.audit, f.intent("r"))
	m := f.mirror(0)
	for range 2 {
		if err := m.Copy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := []broker.ChangeRecord{{
		Seq: 2, Time: f.now, Kind: "change", Event: 1, ActorKind: "user", ActorID: "u-1", Actor: "a@example.com", Action: "service.change",
		VaultID: "main", Vault: "main", Object: `service "a" <&>`,
	}}
	if d := cmp.Diff(want, f.changes()); d != "" {
		t.Error(d)
	}
	f.fill()
	if rows := f.rows(); len(rows) != 1 {
		t.Errorf("%d rows of the request log, want 1: a change is no request", len(rows))
	}
	if n := verify(t, f.path); n != 2 {
		t.Errorf("%d records", n)
	}
}

// Wherever a mirror was killed, the next one loses no event and copies none
// twice; also over segments, and when there is no room for a while.
func TestMirrorGoesOnWhereItWasKilled(t *testing.T) {
	f := newFilling(t)
	reopen := func() {
		t.Helper()
		_ = f.audit.Close()
		var err error
		if f.audit, err = audit.Open(audit.Options{Path: f.path, Key: auditKey, SegmentSize: 2000}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for round := range 12 {
		for range 40 {
			f.event(fmt.Sprint(n))
			n++
		}
		reopen()
		ctx, kill := context.WithCancel(t.Context())
		m, err := broker.NewMirror(broker.MirrorOptions{From: &dying{f.db, kill, round * 3}, Into: f.audit})
		if err != nil {
			t.Fatal(err)
		}
		_ = m.Copy(ctx) // as far as it comes
		kill()
	}
	reopen()
	if err := f.mirror(0).Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := f.changes()
	for i, c := range all {
		if c.Object != fmt.Sprint(i) || c.Event != int64(i+1) {
			t.Fatalf("change %d is event %d, %s", i, c.Event, c.Object)
		}
	}
	if len(all) != n {
		t.Errorf("%d changes, want %d", len(all), n)
	}
	verify(t, f.path)
}

// dying hands out a few events at a time, and is gone after some calls.
type dying struct {
	broker.ChangeLog
	kill context.CancelFunc
	left int
}

func (d *dying) EventsAfter(ctx context.Context, id int64, _ int) ([]vault.Event, error) {
	if d.left--; d.left < 0 {
		d.kill()
		return nil, ctx.Err()
	}
	return d.ChangeLog.EventsAfter(ctx, id, 7)
}

// A store that was restored from a backup gives ids again.
func TestMirrorAndARestoredStore(t *testing.T) {
	f := newFilling(t)
	for i := range 5 {
		f.event(fmt.Sprint("first", i))
	}
	if err := f.mirror(0).Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	path, log := f.path, f.audit
	f = newFilling(t) // another store, beside the same log
	f.path, f.audit = path, log
	f.event("again0")
	if err := f.mirror(0).Copy(t.Context()); err != nil { // the server's start
		t.Fatal(err)
	}
	m := f.mirror(0)
	if err := m.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.event("again1")
	if err := m.Copy(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := f.changes()
	if last := all[len(all)-1]; last.Object != "again1" || last.Event != 2 {
		t.Errorf("%+v", last)
	}
}

func TestMirrorForgets(t *testing.T) {
	f := newFilling(t)
	for i := range 10 {
		f.event(fmt.Sprint("old", i))
	}
	f.now = f.now.Add(48 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	m := f.mirror(24 * time.Hour)
	go func() { m.Run(ctx); close(done) }()
	left := -1
	for deadline := time.Now().Add(30 * time.Second); left != 0 && time.Now().Before(deadline); {
		events, err := f.db.EventsAfter(t.Context(), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		left = len(events)
	}
	f.event("new") // copied at the end at the latest
	cancel()
	<-done
	if all := f.changes(); left != 0 || len(all) != 11 || all[10].Object != "new" {
		t.Errorf("%d events left, %d changes in the chain", left, len(all))
	}
	for _, o := range []broker.MirrorOptions{{}, {From: f.db}, {Into: f.audit}} {
		if _, err := broker.NewMirror(o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
