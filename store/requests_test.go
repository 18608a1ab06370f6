package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"agentvault/store"
	"agentvault/vault"
)

// requestParts are the parts of the conformance suite about the request log.
var requestParts = []struct {
	name string
	test func(*testing.T, *store.DB)
}{
	{"a request comes back whole", requestWhole},
	{"an outcome completes its intent, once", requestOutcome},
	{"taking requests in twice changes nothing", requestsTwice},
	{"requests are found by each part of a query", requestQueries},
	{"requests are followed in the order of changes", requestsFollowed},
	{"changes are not given out twice, whatever is forgotten", requestChanges},
	{"the tail goes with the rows, and outlives them", logTail},
	{"uses of credentials keep the last", credentialUses},
	{"uses of services are the last without a fault", serviceUses},
	{"shapes are counted", requestShapes},
	{"a series counts what began, and how long it took", requestSeries},
	{"a series ends where it may look no further", requestSeriesBounded},
	{"the request log neither grows the revision nor signals a change", requestsAreQuiet},
	{"a failed batch leaves nothing", requestsRollback},
	{"pages are whole and in order, whatever ended late", requestPages},
	{"retention takes what is too old and nothing else", requestRetention},
}

func sampleRequest(id string) vault.Request {
	status := 200
	return vault.Request{
		ID: id, Time: epoch, Entrance: "path", SessionID: "s-1", VaultID: "main-vault", Vault: "main-vault", Service: "api", Target: "https://api.example.com:443",
		Host: "api.example.com", Method: "POST", Path: "/ünïcode\x00<&>", Credentials: []string{"A_KEY", "B_KEY"}, Status: &status,
		Fault: "upstream_error", BytesIn: 1 << 40, BytesOut: 2, Micros: 3, Scrubbed: 4, Seq: 5,
	}
}

func takeIn(t *testing.T, db *store.DB, requests ...vault.Request) {
	t.Helper()
	if err := db.AppendRequests(t.Context(), vault.RequestBatch{Requests: requests}); err != nil {
		t.Fatalf("AppendRequests: %v", err)
	}
}

// takeInAgain takes in what may be there.
func takeInAgain(t *testing.T, db *store.DB, requests ...vault.Request) {
	t.Helper()
	if err := db.AppendRequests(t.Context(), vault.RequestBatch{Requests: requests, Again: true}); err != nil {
		t.Fatalf("AppendRequests: %v", err)
	}
}

func found(t *testing.T, db *store.DB, q vault.RequestQuery) (all []vault.Request) {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	read(t, db, func(tx vault.Tx) (err error) {
		all, err = tx.ListRequests(q)
		return err
	})
	return all
}

func foundIDs(t *testing.T, db *store.DB, q vault.RequestQuery) (ids string) {
	t.Helper()
	for _, r := range found(t, db, q) {
		ids += r.ID
	}
	return ids
}

func requestWhole(t *testing.T, db *store.DB) {
	want := sampleRequest("a")
	takeIn(t, db, want)
	want.Row, want.Change = 1, 1
	diff(t, "ListRequests", []vault.Request{want}, found(t, db, vault.RequestQuery{}))

	none := vault.Request{ID: "b", Time: epoch.Add(time.Hour)}
	takeIn(t, db, none)
	none.Row, none.Change, none.Credentials = 2, 2, []string{}
	diff(t, "an empty one", none, found(t, db, vault.RequestQuery{})[0])
}

func requestOutcome(t *testing.T, db *store.DB) {
	intent := sampleRequest("a")
	intent.Status, intent.Fault, intent.BytesIn, intent.BytesOut, intent.Micros, intent.Scrubbed, intent.Seq = nil, "", 0, 0, 0, 0, 4
	takeIn(t, db, intent)
	if got := found(t, db, vault.RequestQuery{})[0]; got.Status != nil {
		t.Errorf("the status of an intent is %d", *got.Status)
	}
	outcome := sampleRequest("a")
	outcome.Time = epoch.Add(time.Millisecond) // as it may be rounded
	takeIn(t, db, outcome)
	want := sampleRequest("a")
	want.Row, want.Change = 1, 2
	diff(t, "after the outcome", []vault.Request{want}, found(t, db, vault.RequestQuery{}))

	takeInAgain(t, db, intent)
	diff(t, "after the intent again", []vault.Request{want}, found(t, db, vault.RequestQuery{}))
	takeInAgain(t, db, outcome)
	diff(t, "after the outcome again", []vault.Request{want}, found(t, db, vault.RequestQuery{}))
	takeIn(t, db, sampleRequest("b"))
	if got := foundIDs(t, db, vault.RequestQuery{Follow: true, AfterChange: 2}); got != "b" {
		t.Errorf("changed since: %s, want b", got)
	}
}

func requestsTwice(t *testing.T, db *store.DB) {
	var batch []vault.Request
	for i := range 50 {
		r := sampleRequest(fmt.Sprintf("%02d", i))
		r.Time, r.Seq = epoch.Add(time.Duration(i)*time.Second), uint64(i)
		if i%3 == 0 {
			r.Status = nil
		}
		batch = append(batch, r)
	}
	takeIn(t, db, batch...)
	want := found(t, db, vault.RequestQuery{})
	takeInAgain(t, db, batch...)
	takeInAgain(t, db, batch[20:30]...)
	diff(t, "after a second and third time", want, found(t, db, vault.RequestQuery{}))

	// Where some were lost, those come back.
	if n, err := db.ForgetRequests(t.Context(), epoch.Add(25*time.Second), 1000); err != nil || n != 25 {
		t.Fatalf("%d rows forgotten, %v", n, err)
	}
	takeInAgain(t, db, batch...)
	place := cmpopts.IgnoreFields(vault.Request{}, "Row", "Change")
	if d := cmp.Diff(want, found(t, db, vault.RequestQuery{}), alike, place); d != "" {
		t.Errorf("after some were lost: %s", d)
	}
}

func requestQueries(t *testing.T, db *store.DB) {
	type change func(*vault.Request)
	for i, c := range []change{
		func(r *vault.Request) {},
		func(r *vault.Request) { r.VaultID, r.Vault = "other-vault", "other-vault" },
		func(r *vault.Request) { r.SessionID = "s-2" },
		func(r *vault.Request) {
			r.Host, r.Target, r.Service = "other.example.com", "https://other.example.com:443", "other"
		},
		func(r *vault.Request) { *r.Status = 404 },
		func(r *vault.Request) { r.Fault = "forbidden" },
		func(r *vault.Request) { r.Status = nil },
	} {
		r := sampleRequest(string(rune('a' + i)))
		r.Time = epoch.Add(time.Duration(i/2) * time.Hour) // two at a time
		c(&r)
		takeIn(t, db, r)
	}
	for _, row := range []struct {
		q    vault.RequestQuery
		want string
	}{
		{vault.RequestQuery{}, "gfedcba"},
		{vault.RequestQuery{VaultIDs: []string{}}, ""},
		{vault.RequestQuery{VaultIDs: []string{"other-vault", "third-vault"}}, "b"},
		{vault.RequestQuery{Agent: "s-2"}, "c"},
		{vault.RequestQuery{Host: "other.example.com"}, "d"},
		{vault.RequestQuery{Service: "other"}, "d"},
		{vault.RequestQuery{Service: "none"}, ""},
		{vault.RequestQuery{Targets: []string{"http://other.example.com:443", "https://other.example.com:443"}}, "d"},
		{vault.RequestQuery{From: 400, To: 499}, "e"},
		{vault.RequestQuery{From: 404, To: 404}, "e"},
		{vault.RequestQuery{Faults: []string{"forbidden", "unavailable"}}, "f"},
		{vault.RequestQuery{Unknown: true}, "g"},
		{vault.RequestQuery{Since: epoch.Add(2 * time.Hour)}, "gfe"},
		{vault.RequestQuery{Until: epoch.Add(time.Hour)}, "ba"},
		{vault.RequestQuery{Limit: 3}, "gfe"},
		{vault.RequestQuery{BeforeTime: epoch.Add(2 * time.Hour), BeforeRow: 6}, "edcba"},
		{vault.RequestQuery{BeforeTime: epoch.Add(2 * time.Hour), BeforeRow: 5}, "dcba"},
		{vault.RequestQuery{BeforeTime: epoch, BeforeRow: 1}, ""},
	} {
		if got := foundIDs(t, db, row.q); got != row.want {
			t.Errorf("%+v: %s, want %s", row.q, got, row.want)
		}
	}
}

func requestsFollowed(t *testing.T, db *store.DB) {
	open := sampleRequest("a")
	open.Status = nil
	takeIn(t, db, open, sampleRequest("b"))
	later := sampleRequest("c")
	later.Time = epoch.Add(-time.Hour) // began before, and was taken in after
	takeIn(t, db, later, sampleRequest("a"))
	for after, want := range map[int64]string{0: "bca", 2: "ca", 3: "a", 4: ""} {
		if got := foundIDs(t, db, vault.RequestQuery{Follow: true, AfterChange: after}); got != want {
			t.Errorf("after %d: %s, want %s", after, got, want)
		}
	}
	if got := foundIDs(t, db, vault.RequestQuery{Follow: true, Limit: 2}); got != "bc" {
		t.Errorf("the first two: %s, want bc", got)
	}
}

func requestChanges(t *testing.T, db *store.DB) {
	takeIn(t, db, sampleRequest("a"), sampleRequest("b"))
	n, err := db.ForgetRequests(t.Context(), far, 1) // it ends behind a block
	if err != nil || n != 2 {
		t.Fatalf("ForgetRequests: %d, %v", n, err)
	}
	if n, err = db.ForgetRequests(t.Context(), far, 10); err != nil || n != 0 {
		t.Fatalf("ForgetRequests of nothing: %d, %v", n, err)
	}
	takeIn(t, db, sampleRequest("c"))
	read(t, db, func(tx vault.Tx) error {
		last, err := tx.LastChange()
		if last != 3 {
			t.Errorf("the last change is %d, want 3", last)
		}
		return err
	})
	if got := found(t, db, vault.RequestQuery{}); len(got) != 1 || got[0].Change != 3 {
		t.Errorf("%+v", got)
	}
	if n, err = db.ForgetRequests(t.Context(), epoch, 10); err != nil || n != 0 {
		t.Errorf("ForgetRequests of what began at that time: %d, %v", n, err)
	}
}

func logTail(t *testing.T, db *store.DB) {
	check := func(what string, want vault.LogTail, wantRows bool) {
		t.Helper()
		got, rows, err := db.LogTail(t.Context())
		if err != nil || rows != wantRows {
			t.Errorf("%s: rows %v, %v", what, rows, err)
		}
		diff(t, what, want, got)
	}
	check("of nothing", vault.LogTail{}, false)
	var at vault.LogTail
	for _, at = range []vault.LogTail{
		{Segment: 1, Offset: 300, Seq: 3, MAC: "m-3"}, {Segment: 1, Offset: 500, Seq: 5, MAC: "m-5"}, {Segment: 2, Offset: 100, Seq: 7, MAC: "m-7"},
	} {
		b := vault.RequestBatch{Requests: []vault.Request{sampleRequest("a")}, Tail: at}
		if err := db.AppendRequests(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		check("of what was taken in", at, true)
	}
	if _, err := db.ForgetRequests(t.Context(), far, 10); err != nil {
		t.Fatal(err)
	}
	check("of an empty log", at, false)
}

func credentialUses(t *testing.T, db *store.DB) {
	use := func(vaultName, key string, at time.Time) {
		t.Helper()
		b := vault.RequestBatch{Uses: map[vault.CredentialUse]time.Time{{VaultID: vaultName, Key: key}: at}}
		if err := db.AppendRequests(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	use("main-vault", "A_KEY", epoch.Add(time.Hour))
	use("main-vault", "A_KEY", epoch)
	use("main-vault", "B_KEY", epoch)
	use("main-vault", "B_KEY", epoch.Add(time.Minute))
	use("other-vault", "A_KEY", epoch.Add(2*time.Hour))
	read(t, db, func(tx vault.Tx) error {
		got, err := tx.CredentialUses("main-vault")
		diff(t, "CredentialUses", map[string]time.Time{"A_KEY": epoch.Add(time.Hour), "B_KEY": epoch.Add(time.Minute)}, got)
		return err
	})
}

func serviceUses(t *testing.T, db *store.DB) {
	use := func(id, vaultID, service, fault string, at time.Time) {
		t.Helper()
		r := sampleRequest(id)
		r.VaultID, r.Service, r.Fault, r.Time = vaultID, service, fault, at
		takeIn(t, db, r)
	}
	use("a", "main-vault", "one", "", epoch.Add(2*time.Hour))
	use("b", "main-vault", "one", "", epoch) // recorded late
	use("c", "main-vault", "one", "forbidden", epoch.Add(3*time.Hour))
	use("d", "main-vault", "two", "", epoch.Add(time.Hour))
	use("e", "main-vault", "", "", epoch.Add(time.Hour))
	use("f", "other-vault", "three", "", epoch.Add(time.Hour))
	use("g", "main-vault", "four", "upstream_error", epoch.Add(time.Hour))
	read(t, db, func(tx vault.Tx) error {
		got, err := tx.ServiceUses("main-vault")
		diff(t, "ServiceUses", map[string]time.Time{"one": epoch.Add(2 * time.Hour), "two": epoch.Add(time.Hour)}, got)
		return err
	})
}

func requestShapes(t *testing.T, db *store.DB) {
	a, b, c := sampleRequest("a"), sampleRequest("b"), sampleRequest("c")
	b.Time, c.Path = epoch.Add(time.Hour), "/other"
	takeIn(t, db, a, b, c)
	shapes := func(limit int) (all []vault.RequestShape) {
		t.Helper()
		read(t, db, func(tx vault.Tx) error {
			return tx.RequestShapes(vault.RequestQuery{Limit: limit}, func(s vault.RequestShape) error {
				all = append(all, s)
				return nil
			})
		})
		return all
	}
	want := []vault.RequestShape{
		{Target: a.Target, Method: "POST", Path: "/other", Count: 1, LastAt: epoch},
		{Target: a.Target, Method: "POST", Path: a.Path, Count: 2, LastAt: b.Time},
	}
	got := shapes(10)
	slices.SortFunc(got, func(a, b vault.RequestShape) int { return int(a.Count - b.Count) })
	diff(t, "RequestShapes", want, got)
	if got := shapes(1); len(got) != 1 {
		t.Errorf("%d shapes, want 1", len(got))
	}
	broken := errors.New("enough")
	err := db.Read(t.Context(), func(tx vault.Tx) error {
		return tx.RequestShapes(vault.RequestQuery{Limit: 10}, func(vault.RequestShape) error { return broken })
	})
	if !errors.Is(err, broken) {
		t.Errorf("%v, want the error of the function", err)
	}
}

func requestsAreQuiet(t *testing.T, db *store.DB) {
	logged, stop := db.Logged()
	defer stop()
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(emptyVault("v-1", "main-vault")) })
	select {
	case <-logged:
		t.Error("another change signals growth of the log")
	default:
	}
	before := revisionOf(t, db)
	takeIn(t, db, sampleRequest("a"))
	takeIn(t, db, sampleRequest("b"))
	if after := revisionOf(t, db); after != before {
		t.Errorf("revision %d, was %d", after, before)
	}
	select {
	case <-logged:
	default:
		t.Error("no signal")
	}
	select {
	case <-logged:
		t.Error("signals do not fold")
	default:
	}
	stop()
	takeIn(t, db, sampleRequest("c"))
	select {
	case <-logged:
		t.Error("a signal after the end")
	default:
	}
}

func requestsRollback(t *testing.T, db *store.DB) {
	takeIn(t, db, sampleRequest("a"))
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.AppendRequests(ended, vault.RequestBatch{Requests: []vault.Request{sampleRequest("b")}, Tail: vault.LogTail{Segment: 1}}); err == nil {
		t.Error("no error")
	}
	if got := foundIDs(t, db, vault.RequestQuery{}); got != "a" {
		t.Errorf("%s, want a", got)
	}
}
