package broker

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"agentvault/vault"
)

// Whatever comes in whatever order, a stretch makes of it what is made by reading
// every line whole.
func TestStretchReadsAsIfWhole(t *testing.T) {
	begin := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		oldest := begin.Add(time.Duration(rnd.IntN(20)) * time.Second)
		var dec decoder
		s := newStretch(vault.LogTail{}, oldest, math.MaxUint64, &dec, 4)
		want := vault.RequestBatch{Uses: make(map[vault.CredentialUse]time.Time)}
		came := make(map[string]bool)
		for n := range rnd.IntN(60) {
			id := rnd.IntN(20)
			r := &Record{
				Seq: uint64(n + 1), Time: begin.Add(time.Duration(n) * 999_999 * time.Microsecond), Kind: []string{"intent", "outcome", "change"}[rnd.IntN(20)/9],
				Request: strings.Repeat("x", id), VaultID: []string{"v", "w"}[id%2], Target: "https://[::1]:443", Path: []string{"/", "/\u2028"}[rnd.IntN(2)],
				Credentials: []string{"A", "B"}[:id%3], Micros: rnd.Int64N(5_000_000), Upgrade: []string{"", "tcp"}[rnd.IntN(2)],
			}
			if r.Kind == "intent" && came[r.Request] {
				continue // never: it comes first, and once
			}
			came[r.Request] = true
			if err := s.add(spell(t, r)); err != nil {
				t.Fatal(err)
			}
			addNaively(&want, r, oldest)
		}
		if bad := s.end(); len(bad) > 0 {
			t.Fatal(bad)
		}
		if diff := cmp.Diff(want.Requests, s.b.Requests, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		if diff := cmp.Diff(want.Fresh, s.b.Fresh, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
		if diff := cmp.Diff(want.Uses, s.b.Uses); diff != "" {
			t.Fatalf("seed %d: %s", seed, diff)
		}
	}
}

func addNaively(b *vault.RequestBatch, rec *Record, oldest time.Time) {
	r := rec.request()
	if rec.Kind == "intent" {
		for _, key := range rec.Credentials {
			if use := (vault.CredentialUse{VaultID: rec.VaultID, Key: key}); r.Time.After(b.Uses[use]) {
				b.Uses[use] = r.Time
			}
		}
	}
	if rec.Kind == "change" || rec.Request == "" || r.Time.Before(oldest) {
		return
	}
	i := slices.IndexFunc(b.Requests, func(o vault.Request) bool { return o.ID == r.ID })
	if i < 0 {
		b.Requests, b.Fresh = append(b.Requests, r), append(b.Fresh, r.Status == nil)
	} else if r.Status != nil && b.Requests[i].Status == nil {
		r.Time = b.Requests[i].Time
		b.Requests[i] = r
	}
}

// Of an intent that cannot be read, what its outcome says is enough; without one it
// is left out, and the others stay.
func TestStretchLeavesOutWhatItCannotRead(t *testing.T) {
	var dec decoder
	s := newStretch(vault.LogTail{}, time.Time{}, math.MaxUint64, &dec, 0)
	broken := func(r *Record) []byte {
		return []byte(strings.Replace(string(spell(t, r)), `"bytes_in":12`, `"bytes_in":no`, 1))
	}
	for i, id := range []string{"a", "b", "c"} {
		r := testRecord()
		r.Kind, r.Request, r.Seq = "intent", id, uint64(i+1)
		line := spell(t, r)
		if id != "c" {
			line = broken(r)
		}
		if err := s.add(line); err != nil {
			t.Fatal(err)
		}
	}
	r := testRecord()
	r.Request = "b"
	if err := s.add(spell(t, r)); err != nil {
		t.Fatal(err)
	}
	bad := s.end()
	if len(bad) != 1 {
		t.Errorf("%v is left out, want one line", bad)
	}
	var ids []string
	for i := range s.b.Requests {
		ids = append(ids, s.b.Requests[i].ID)
	}
	if !slices.Equal(ids, []string{"b", "c"}) {
		t.Errorf("requests %q", ids)
	}
	if s.add([]byte("{}x")) == nil {
		t.Error("what is no record is taken for one")
	}
}
