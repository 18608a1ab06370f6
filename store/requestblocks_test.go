package store_test

import (
	"cmp"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"agentvault/store"
	"agentvault/vault"
)

// mixedLog takes in requests in batches of many sizes, of which some stay open
// for several batches, some for ever, and some begin at one time. It returns
// what must be there.
func mixedLog(t *testing.T, db *store.DB) map[string]vault.Request {
	t.Helper()
	const seed = 7
	random := rand.New(rand.NewPCG(seed, 0))
	there := make(map[string]vault.Request)
	var open []vault.Request
	seq, change := uint64(0), int64(0)
	for n := range 25 {
		var b vault.RequestBatch
		earlier := len(open)
		add := func(r vault.Request, fresh bool) {
			seq++
			r.Seq = seq
			change++
			if r.Change = change; r.Row == 0 {
				r.Row = change
			}
			there[r.ID] = r
			r.Row, r.Change = 0, 0
			b.Requests, b.Fresh = append(b.Requests, r), append(b.Fresh, fresh)
		}
		for i := range []int{1, 1, 2, 90, 300, 1, 1300}[n%7] {
			r := sampleRequest(fmt.Sprintf("%d-%d.", n, i))
			r.Time = epoch.Add(time.Duration(n*1000+random.IntN(300)) * time.Millisecond)
			r.Host = fmt.Sprintf("h%d.example.com", random.IntN(5))
			if random.IntN(10) == 0 {
				r.Status = nil
				add(r, true)
				open = append(open, there[r.ID])
				continue
			}
			add(r, random.IntN(2) == 0)
		}
		for i := earlier - 1; i >= 0; i-- {
			if random.IntN(5) != 0 {
				continue
			}
			r, status := open[i], 200
			r.Status = &status
			add(r, false)
			open = slices.Delete(open, i, i+1)
		}
		if err := db.AppendRequests(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return there
}

func requestPages(t *testing.T, db *store.DB) {
	there := mixedLog(t, db)
	for name, meant := range map[string]func(vault.Request) bool{
		"":               func(vault.Request) bool { return true },
		"h3.example.com": func(r vault.Request) bool { return r.Host == "h3.example.com" },
	} {
		var want []vault.Request
		for _, r := range there {
			if meant(r) {
				want = append(want, r)
			}
		}
		slices.SortFunc(want, func(a, b vault.Request) int { return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.Row, a.Row)) })
		for _, limit := range []int{197, 1000} {
			q := vault.RequestQuery{Host: name, Limit: limit}
			var got []vault.Request
			for {
				page := found(t, db, q)
				got = append(got, page...)
				if len(page) < limit {
					break
				}
				q.BeforeTime, q.BeforeRow = page[limit-1].Time, page[limit-1].Row
			}
			diff(t, fmt.Sprintf("pages of %d, host %q", limit, name), want, got)
		}
		slices.SortFunc(want, func(a, b vault.Request) int { return cmp.Compare(a.Change, b.Change) })
		q := vault.RequestQuery{Host: name, Follow: true, Limit: 333}
		var got []vault.Request
		for {
			page := found(t, db, q)
			got = append(got, page...)
			if len(page) == 0 {
				break
			}
			q.AfterChange = page[len(page)-1].Change
		}
		diff(t, fmt.Sprintf("followed, host %q", name), want, got)
	}
	open := 0
	for _, r := range there {
		if r.Status == nil {
			open++
		}
	}
	if got := len(found(t, db, vault.RequestQuery{Unknown: true, Limit: 100_000})); got != open || open == 0 {
		t.Errorf("%d are open, want %d", got, open)
	}
}

func requestRetention(t *testing.T, db *store.DB) {
	there := mixedLog(t, db)
	for _, before := range []time.Duration{150 * time.Millisecond, 12*time.Second + 100*time.Millisecond, time.Hour} {
		var want, gone int64
		for id, r := range there {
			if r.Time.Before(epoch.Add(before)) {
				delete(there, id)
				gone++
			}
		}
		for {
			n, err := db.ForgetRequests(t.Context(), epoch.Add(before), 100)
			if err != nil {
				t.Fatal(err)
			}
			if want += n; n < 100 {
				break
			}
		}
		n, err := db.CountRequests(t.Context())
		if err != nil || want != gone || n != len(there) {
			t.Errorf("before %s: %d forgotten, want %d; %d left, want %d; %v", before, want, gone, n, len(there), err)
		}
		for _, r := range found(t, db, vault.RequestQuery{Limit: 100_000}) {
			if _, ok := there[r.ID]; !ok {
				t.Fatalf("%s is there still", r.ID)
			}
		}
	}
}

// tamper changes the database beside the store.
func tamper(t *testing.T, path, query string, args ...any) {
	t.Helper()
	raw, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	_, err = raw.ExecContext(t.Context(), query, args...)
	if err := errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
}

// A quiet year does not become a million small blocks.
func TestSmallBlocksAreJoined(t *testing.T) {
	path := dbPath(t)
	db := openAt(t, path)
	for i := range 1100 {
		takeIn(t, db, sampleRequest(fmt.Sprint(i)))
	}
	raw, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	var blocks, requests, most int
	err = raw.QueryRowContext(t.Context(), `SELECT count(*), sum(requests), max(requests) FROM request_blocks`).Scan(&blocks, &requests, &most)
	if err := errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
	if blocks > 12 || requests != 1100 || most != 1024 {
		t.Errorf("%d blocks of %d requests, the largest of %d", blocks, requests, most)
	}
}

// What cannot be read is said, stops nothing that comes, and is replaced by what
// the audit log has.
func TestADamagedBlock(t *testing.T) {
	for _, column := range []string{"classes", "entries"} {
		path := dbPath(t)
		db := openAt(t, path)
		a, b, open := sampleRequest("a"), sampleRequest("b"), sampleRequest("open")
		a.Seq, b.Seq, open.Seq, open.Status = 1, 2, 3, nil
		takeIn(t, db, a, b, open)
		tamper(t, path, `UPDATE request_blocks SET `+column+` = x'01ffffffffff7f00'`)
		err := db.Read(t.Context(), func(tx vault.Tx) error {
			_, err := tx.ListRequests(vault.RequestQuery{Limit: 10})
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "cannot be read; agent-vault audit rebuild replaces it") {
			t.Errorf("%s: %v", column, err)
		}
		ended := sampleRequest("open")
		ended.Seq = 4
		takeIn(t, db, ended)
		takeInAgain(t, db, a, b, ended)
		if got := foundIDs(t, db, vault.RequestQuery{}); got != "baopen" {
			t.Errorf("%s: %s came back", column, got)
		}
	}
}

// What the earlier table of requests has is carried over, whole and in order. A
// process that is killed meanwhile leaves it as it was.
func TestTheEarlierRequestLogIsCarriedOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "agent-vault.db")
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, raw, os.DirFS("migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	const rows = 2500
	_, err = raw.ExecContext(t.Context(), `
		WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < ?)
		INSERT INTO requests SELECT n, ? + 1 - n, 'id-' || n, 2 * n, ? + n / 2, 'mitm', 's-1', 'robot', 'agent', 'v-1', 'main', 'api', 'https://a.test:443',
			'a.test', 'GET', '/' || (n % 3), '["A_KEY"]', CASE WHEN n % 50 = 0 THEN NULL ELSE 200 END, '', 1, 2, 3, 4 FROM i`, rows, rows, epoch.UnixMilli())
	if err == nil {
		_, err = raw.ExecContext(t.Context(), `UPDATE request_changes SET value = 9000; INSERT INTO log_tail VALUES (1, 2, 3, 4, 'm')`)
	}
	if err := errors.Join(err, raw.Close()); err != nil {
		t.Fatal(err)
	}
	db := openAt(t, path)
	status := 200
	var want []vault.Request
	for n := int64(rows); n > 0; n-- {
		r := vault.Request{
			ID: fmt.Sprint("id-", n), Time: epoch.Add(time.Duration(n/2) * time.Millisecond), Entrance: "mitm", SessionID: "s-1", Agent: "robot", AgentKind: "agent",
			VaultID: "v-1", Vault: "main", Service: "api", Target: "https://a.test:443", Host: "a.test", Method: "GET", Path: fmt.Sprint("/", n%3),
			Credentials: []string{"A_KEY"}, Status: &status, BytesIn: 1, BytesOut: 2, Micros: 3, Scrubbed: 4, Seq: uint64(2 * n), Row: n, Change: rows + 1 - n,
		}
		if n%50 == 0 {
			r.Status = nil
		}
		want = append(want, r)
	}
	diff(t, "the rows", want, found(t, db, vault.RequestQuery{Limit: 100_000}))
	tail, any, err := db.LogTail(t.Context())
	if err != nil || !any || tail != (vault.LogTail{Segment: 2, Offset: 3, Seq: 4, MAC: "m"}) {
		t.Errorf("%+v, %t, %v", tail, any, err)
	}
	ended := want[0] // id-2500
	ended.Status, ended.Seq = &status, 9000
	takeIn(t, db, ended)
	ended.Change = 9001
	diff(t, "one that ended since", []vault.Request{ended}, found(t, db, vault.RequestQuery{Follow: true, AfterChange: 9000}))
}
