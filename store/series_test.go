package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"agentvault/store"
	"agentvault/vault"
)

func series(t *testing.T, db *store.DB, q vault.RequestQuery, points int) (s vault.RequestSeries) {
	t.Helper()
	read(t, db, func(tx vault.Tx) (err error) {
		s, err = tx.RequestSeries(q, points, []string{"forbidden", "unavailable"})
		return err
	})
	return s
}

func requestSeries(t *testing.T, db *store.DB) {
	at := func(d time.Duration, change func(*vault.Request)) vault.Request {
		r := sampleRequest(fmt.Sprint(d))
		r.Time, r.Fault, r.Micros = epoch.Add(d), "", 5
		change(&r)
		return r
	}
	same := func(*vault.Request) {}
	takeIn(t, db,
		at(-1*time.Millisecond, same), // before
		at(0, same),
		at(1*time.Second, func(r *vault.Request) { r.Micros = 7 }),
		at(2*time.Second, func(r *vault.Request) { r.Fault, *r.Status = "forbidden", 403 }),
		at(3*time.Second, func(r *vault.Request) { r.Fault, *r.Status = "upstream_error", 502 }),
		at(4*time.Second, func(r *vault.Request) { r.Status = nil }),
		at(5*time.Second, func(r *vault.Request) { r.Target = "tunnel://api.example.com:443" }),
		at(6*time.Second, func(r *vault.Request) { *r.Status = 101 }),
		at(59999*time.Millisecond, func(r *vault.Request) { r.Service = "other" }),
		at(60*time.Second, same),
		at(120*time.Second, same), // behind
	)
	q := vault.RequestQuery{Since: epoch, Until: epoch.Add(2 * time.Minute), Limit: 100}
	want := vault.RequestSeries{CompleteFrom: epoch, Points: []vault.RequestPoint{
		{Time: epoch, Requests: 8, Refused: 1, Timed: 3, P50: 5, P95: 7},
		{Time: epoch.Add(time.Minute), Requests: 1, Timed: 1, P50: 5, P95: 5},
	}}
	diff(t, "RequestSeries", want, series(t, db, q, 2))
	q.Service = "other"
	want.Points = []vault.RequestPoint{{Time: epoch, Requests: 1, Timed: 1, P50: 5, P95: 5}, {Time: epoch.Add(time.Minute)}}
	diff(t, "RequestSeries of a service", want, series(t, db, q, 2))
	q.VaultIDs = []string{}
	for _, p := range series(t, db, q, 7).Points {
		if p.Requests != 0 {
			t.Errorf("of no vault: %+v", p)
		}
	}
}

// What is not counted any more is older than what is said to be complete.
func requestSeriesBounded(t *testing.T, db *store.DB) {
	there := mixedLog(t, db)
	for _, limit := range []int{1, 300, 2000, 1 << 20} {
		s := series(t, db, vault.RequestQuery{Since: epoch, Until: epoch.Add(time.Hour), Limit: limit}, 360)
		for i, p := range s.Points {
			if p.Time.Before(s.CompleteFrom) {
				continue
			}
			want := int64(0)
			for _, r := range there {
				if !r.Time.Before(p.Time) && r.Time.Before(p.Time.Add(10*time.Second)) {
					want++
				}
			}
			if p.Requests != want {
				t.Errorf("at most %d: point %d has %d, want %d", limit, i, p.Requests, want)
			}
		}
		if complete := s.CompleteFrom.Equal(epoch); complete != (limit == 1<<20) {
			t.Errorf("at most %d: complete from %v", limit, s.CompleteFrom)
		}
	}
}

// A quantile is within a sixteenth of the one that sorting finds.
func TestQuantiles(t *testing.T) {
	const seed = 3
	random := rand.New(rand.NewPCG(seed, 0))
	for n := 1; n < 3000; n = n*3 + 1 {
		db := openAt(t, dbPath(t))
		var requests []vault.Request
		var sorted []int64
		for i := range n {
			r := sampleRequest(fmt.Sprint(i))
			r.Fault, r.Micros = "", int64(1)<<random.IntN(40)+int64(random.IntN(1000))
			requests, sorted = append(requests, r), append(sorted, r.Micros)
		}
		takeIn(t, db, requests...)
		slices.Sort(sorted)
		p := series(t, db, vault.RequestQuery{Since: epoch, Until: epoch.Add(time.Second), Limit: n}, 1).Points[0]
		for percent, got := range map[int]int64{50: p.P50, 95: p.P95} {
			want := sorted[(n*percent+99)/100-1]
			if off := max(got-want, want-got); off*16 > want {
				t.Errorf("of %d, %d%%: %d, want %d", n, percent, got, want)
			}
		}
	}
}
