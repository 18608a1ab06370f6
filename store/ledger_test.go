package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/store"
	"agentvault/vault"
)

// A model is the ledger as it should be: what counts, and since when.
type model struct {
	charges []vault.Charge // what may be charged, without an amount
	entries []modelEntry
}

type modelEntry struct {
	request string
	account int
	amount  int64
	since   time.Time
}

func (m *model) total(account int, now time.Time) (total int64) {
	for _, e := range m.entries {
		if e.account == account && (m.charges[account].Window == 0 || e.since.After(now.Add(-m.charges[account].Window))) {
			total += e.amount
		}
	}
	return total
}

// Whatever is reserved, settled, forgotten in a crash, and however time passes,
// the ledger counts what a list of all entries counts; no account goes beyond what
// it may hold but by a settlement, and then it takes nothing more.
func TestLedgerIsItsModel(t *testing.T) {
	for range 20 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) { walkLedger(t, rand.New(rand.NewPCG(seed, 0))) })
	}
}

func walkLedger(t *testing.T, random *rand.Rand) {
	path := dbPath(t)
	dbs := []*store.DB{openAt(t, path), openAt(t, path)}
	put(t, dbs[0], func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-1", "one-vault")) })
	account := func(name, subject string) vault.Account {
		return vault.Account{VaultID: "id-1", Service: "api", Name: name, Subject: subject}
	}
	m := &model{charges: []vault.Charge{
		{Account: account("amount", ""), Most: 1000, Window: time.Hour},
		{Account: account("amount", "a"), Most: 400, Window: time.Hour},
		{Account: account("uses", ""), Most: 30},
	}}
	now := epoch
	var open []string
	steps := map[string]int{}
	for n := range 120 {
		db := dbs[random.IntN(len(dbs))]
		switch act := random.IntN(10); {
		case act < 5:
			request := fmt.Sprint("r", n)
			if m.reserve(t, db, request, now, random) {
				open = append(open, request)
				steps["reserved"]++
			} else {
				steps["refused"]++
			}
		case act < 8 && len(open) > 0:
			at := random.IntN(len(open))
			m.settle(t, db, open[at], now, random)
			open = slices.Delete(open, at, at+1)
			steps["settled"]++
		case act == 8 && random.IntN(4) == 0: // a process dies, and knows nothing of what it had reserved
			open = nil
			must(t, db.Close())
			*pick(dbs, db) = openAt(t, path)
			steps["crashed"]++
		default:
			now = now.Add(time.Duration(random.IntN(40)) * time.Minute)
		}
		m.compare(t, dbs[0], now)
		if t.Failed() {
			t.Fatalf("after %d steps", n+1)
		}
	}
	t.Log(steps)
}

func pick(dbs []*store.DB, db *store.DB) **store.DB { return &dbs[slices.Index(dbs, db)] }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (m *model) reserve(t *testing.T, db *store.DB, request string, now time.Time, random *rand.Rand) bool {
	t.Helper()
	charges := slices.Clone(m.charges)
	want, left := -1, int64(0)
	for i := range charges {
		charges[i].Amount = random.Int64N(200)
		if charges[i].Window == 0 {
			charges[i].Amount = 1
		}
		if left = max(0, charges[i].Most-m.total(i, now)); want < 0 && left < charges[i].Amount {
			want = i
			break
		}
	}
	refused, gotLeft, err := db.Reserve(t.Context(), request, now, charges)
	if err != nil || refused != want || want >= 0 && gotLeft != left {
		t.Errorf("%s at %v: refused %d with %d left, %v; want %d with %d", request, now, refused, gotLeft, err, want, left)
	}
	if want >= 0 {
		return false
	}
	for i, c := range charges {
		since := now
		if c.Window > 0 {
			since = now.Add(vault.ReservedFor)
		}
		m.entries = append(m.entries, modelEntry{request, i, c.Amount, since})
		if total := m.total(i, now); total > c.Most {
			t.Errorf("%s at %v: account %d holds %d, and may %d", request, now, i, total, c.Most)
		}
	}
	return true
}

// settle lets a request come to less, more, nothing, or what was reserved.
func (m *model) settle(t *testing.T, db *store.DB, request string, now time.Time, random *rand.Rand) {
	t.Helper()
	charges := slices.Clone(m.charges)
	for i := range m.entries {
		e := &m.entries[i]
		if e.request != request {
			continue
		}
		c := &charges[e.account]
		c.Amount = []int64{0, e.amount, random.Int64N(300)}[random.IntN(3)]
		if c.Window > 0 && !e.since.After(now.Add(-c.Window)) {
			c.Amount = 0 // it may or may not be put away already
		}
		e.amount, e.since = c.Amount, now
	}
	must(t, db.Settle(t.Context(), request, now, charges))
}

func (m *model) compare(t *testing.T, db *store.DB, now time.Time) {
	t.Helper()
	var spent []vault.Spent
	read(t, db, func(tx vault.Tx) (err error) {
		spent, err = tx.Spent("id-1", "api", now, map[string]time.Duration{"amount": time.Hour})
		return err
	})
	got := make(map[vault.Account]int64)
	for _, s := range spent {
		got[s.Account] = s.Total
	}
	for i, c := range m.charges {
		if want := m.total(i, now); got[c.Account] != want {
			t.Errorf("at %v account %d holds %d, want %d", now, i, got[c.Account], want)
		}
	}
}

// Two processes that race for one account never pass what it may hold, and use
// all of it.
func TestLedgerRace(t *testing.T) {
	path := dbPath(t)
	dbs := []*store.DB{openAt(t, path), openAt(t, path)}
	put(t, dbs[0], func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-1", "one-vault")) })
	charge := vault.Charge{Account: vault.Account{VaultID: "id-1", Service: "api", Name: "amount"}, Amount: 7, Most: 100, Window: time.Hour}
	var reserved atomic.Int64
	var agents sync.WaitGroup
	for n := range 40 {
		agents.Go(func() {
			refused, _, err := dbs[n%2].Reserve(t.Context(), fmt.Sprint(n), epoch, []vault.Charge{charge})
			if err != nil {
				t.Error(err)
			} else if refused < 0 {
				reserved.Add(charge.Amount)
			}
		})
	}
	agents.Wait()
	if reserved.Load() != 98 {
		t.Errorf("%d were reserved of 100, by sevens", reserved.Load())
	}
}

// What a settlement adds is never lost to the width of a number, and entries of
// long ago are put away in pieces without being counted.
func TestLedgerEdges(t *testing.T) {
	db := openAt(t, dbPath(t))
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-1", "one-vault")) })
	charge := vault.Charge{Account: vault.Account{VaultID: "id-1", Service: "api", Name: "amount"}, Most: 10, Window: time.Hour}
	reserve := func(request string, now time.Time, amount int64) (int, int64) {
		t.Helper()
		c := charge
		c.Amount = amount
		refused, left, err := db.Reserve(t.Context(), request, now, []vault.Charge{c})
		must(t, err)
		return refused, left
	}
	for _, request := range []string{"a", "b"} {
		if refused, _ := reserve(request, epoch, 1); refused >= 0 {
			t.Fatalf("%s is refused", request)
		}
	}
	for _, request := range []string{"a", "b"} {
		c := charge
		c.Amount = 1<<63 - 1
		must(t, db.Settle(t.Context(), request, epoch, []vault.Charge{c}))
	}
	if refused, left := reserve("c", epoch, 0); refused >= 0 && left != 0 {
		t.Errorf("refused %d, %d left", refused, left)
	}
	if refused, _ := reserve("d", epoch, 1); refused != 0 {
		t.Error("it is full, and takes more")
	}
	if refused, _ := reserve("e", epoch.Add(time.Hour), 9); refused >= 0 {
		t.Error("nothing counts any more, and it takes nothing")
	}
	put(t, db, func(tx vault.Tx) error { return tx.ForgetSpent("id-1", "api") })
	charge.Most = 1500
	for n := range 1500 {
		reserve(fmt.Sprint("n", n), epoch.Add(2*time.Hour), 1)
	}
	if refused, _ := reserve("more", epoch.Add(2*time.Hour), 1); refused != 0 {
		t.Error("it is full, and takes more")
	}
	if refused, left := reserve("all", epoch.Add(3*time.Hour+vault.ReservedFor), 1500); refused >= 0 {
		t.Errorf("nothing counts any more, and only %d are left", left)
	}
	for _, bad := range []vault.Charge{{Amount: -1, Most: 5}, {Amount: 1, Most: -1}, {Amount: 1, Most: vault.MaxSpent}} {
		bad.Account = charge.Account
		if _, _, err := db.Reserve(t.Context(), "bad", epoch, []vault.Charge{bad}); err == nil {
			t.Errorf("%d of %d was taken", bad.Amount, bad.Most)
		}
	}
}
