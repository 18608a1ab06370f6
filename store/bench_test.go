package store_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"agentvault/vault"
)

// logLines makes what a busy instance records: 20 agents with up to 25 hosts each,
// of which a few have most, paths that do and do not come again, one request of a
// hundred refused. An id has 16 letters, as those of the broker.
type logLines struct{ n int64 }

func (l *logLines) batch(size, open int) vault.RequestBatch {
	b := vault.RequestBatch{Tail: vault.LogTail{Segment: 1}, Requests: make([]vault.Request, size), Fresh: make([]bool, size)}
	for i := range b.Requests {
		l.n++
		x := uint64(l.n) * 0x9e3779b97f4a7c15 // spread
		agent := x >> 33 % 20
		host := fmt.Sprintf("api-%d.example.com", agent*25+min(x>>40%25, x>>20%25, x>>10%25))
		status, fault := 200, ""
		switch {
		case x>>50%100 == 0:
			status, fault, host = 403, "forbidden", fmt.Sprintf("new-%d.example.com", x>>30%1000)
		case x>>51%50 == 0:
			status = 404
		}
		r := vault.Request{
			ID: fmt.Sprintf("%016X", x), Time: epoch.Add(time.Duration(l.n) * 200 * time.Microsecond).Truncate(time.Millisecond), Entrance: "mitm",
			SessionID: fmt.Sprintf("01JZ8Q4Y7M3K5N2P%04d", agent), Agent: fmt.Sprintf("agent-%d", agent), AgentKind: vault.KindAgent,
			VaultID: "01JZ8Q4Y7M3K5N2PV1", Vault: "production", Service: host, Target: "https://" + host + ":443", Host: host, Method: "POST",
			Path: "/v1/chat/completions", Credentials: []string{"API_KEY"}, Status: &status, Fault: fault,
			BytesIn: int64(x >> 30 % 8000), BytesOut: int64(x >> 25 % 60_000), Micros: int64(x >> 28 % 900_000), Seq: uint64(2 * l.n),
		}
		if x>>45%3 == 0 {
			r.Path = fmt.Sprintf("/v1/customers/cus_%012x", x>>16)
		}
		if i >= size-open {
			r.Status = nil
		}
		b.Requests[i], b.Fresh[i] = r, true
	}
	return b
}

// cpu is what this process has used.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Per request: CPU of all that storing takes, and bytes of the database. Open is
// how many of a batch end in the next.
func BenchmarkAppendRequests(b *testing.B) {
	for _, row := range []struct{ size, open int }{{5000, 64}, {5000, 1000}, {1000, 16}, {80, 16}, {1, 0}} {
		b.Run(fmt.Sprintf("%d,open=%d", row.size, row.open), func(b *testing.B) {
			path := dbPath(b)
			db := openAt(b, path)
			var lines logLines
			var open []vault.Request
			var used time.Duration
			requests := 0
			for b.Loop() {
				batch := lines.batch(row.size, row.open)
				for _, r := range open {
					status := 200
					r.Status = &status
					batch.Requests, batch.Fresh = append(batch.Requests, r), append(batch.Fresh, false)
				}
				open = batch.Requests[row.size-row.open : row.size : row.size]
				requests += row.size
				before := cpu(b)
				if err := db.AppendRequests(b.Context(), batch); err != nil {
					b.Fatal(err)
				}
				used += cpu(b) - before
			}
			info, err := os.Stat(path)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(used.Nanoseconds())/float64(requests), "cpu-ns/request")
			b.ReportMetric(float64(info.Size())/float64(requests), "db-bytes/request")
		})
	}
}

// A million requests are made once for all queries.
func BenchmarkQueryRequests(b *testing.B) {
	db := openAt(b, dbPath(b))
	var lines logLines
	for range 200 {
		if err := db.AppendRequests(b.Context(), lines.batch(5000, 0)); err != nil {
			b.Fatal(err)
		}
	}
	ask := func(f func(vault.Tx) error) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				if err := db.Browse(b.Context(), f); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	page := func(q vault.RequestQuery) func(*testing.B) {
		q.Limit = 101
		return ask(func(tx vault.Tx) error {
			_, err := tx.ListRequests(q)
			return err
		})
	}
	oldest := epoch.Add(time.Second)
	b.Run("newest", page(vault.RequestQuery{}))
	b.Run("far back", page(vault.RequestQuery{BeforeTime: oldest, BeforeRow: 1 << 40}))
	b.Run("follow", page(vault.RequestQuery{Follow: true, AfterChange: 1_000_000 - 100}))
	b.Run("frequent host", page(vault.RequestQuery{Host: "api-1.example.com"}))
	b.Run("rare host", page(vault.RequestQuery{Host: "api-480.example.com"}))
	b.Run("no such host", page(vault.RequestQuery{Host: "other.example.com"}))
	b.Run("agent", page(vault.RequestQuery{Agent: "agent-7"}))
	b.Run("session", page(vault.RequestQuery{Agent: "01JZ8Q4Y7M3K5N2P0007"}))
	b.Run("unknown", page(vault.RequestQuery{Unknown: true}))
	b.Run("no such status", page(vault.RequestQuery{From: 500, To: 599}))
	b.Run("refused hosts", ask(func(tx vault.Tx) error {
		_, err := tx.RefusedHosts(vault.RequestQuery{Limit: 100})
		return err
	}))
	b.Run("series", ask(func(tx vault.Tx) error {
		_, err := tx.RequestSeries(vault.RequestQuery{Since: epoch, Until: epoch.AddDate(1, 0, 0), Limit: 1 << 30}, 60, []string{"forbidden"})
		return err
	}))
	b.Run("shapes", ask(func(tx vault.Tx) error {
		return tx.RequestShapes(vault.RequestQuery{Limit: 100_001}, func(vault.RequestShape) error { return nil })
	}))
}
