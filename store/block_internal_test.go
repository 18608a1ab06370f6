package store

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/vault"
)

func packedRequest(n int64) vault.Request {
	status := int(200 + n%7)
	r := vault.Request{
		ID: fmt.Sprintf("id-%d", n), Time: time.UnixMilli(1_700_000_000_000 + n*7%100).UTC(), Entrance: "mitm", SessionID: fmt.Sprint("s-", n%3), Agent: "robot",
		AgentKind: vault.KindAgent, VaultID: "v-1", Vault: "main", Service: "api", Target: "https://api.example.com:443", Host: "api.example.com",
		Method: "GET", Path: fmt.Sprintf("/v1/things/%d", n%5), Credentials: []string{"A_KEY", ""}, Status: &status,
		BytesIn: n, BytesOut: n * 1000, Micros: n * 17, Scrubbed: int(n % 2), Seq: uint64(2 * n), Row: n, Change: n,
	}
	switch n % 4 {
	case 1:
		r.Credentials, r.Fault, r.Path = []string{}, "forbidden", ""
	case 2:
		r.Row, r.Status = n-1, nil
	}
	return r
}

func TestABlockComesBackWhole(t *testing.T) {
	var want []vault.Request
	for n := range int64(3000) {
		want = append(want, packedRequest(n+1))
	}
	least, most := math.MinInt64, math.MaxInt64
	want = append(want, vault.Request{
		ID: "\x00\xff", Time: time.UnixMilli(-1).UTC(), Status: &most, Credentials: []string{}, BytesIn: math.MinInt64, BytesOut: math.MaxInt64,
		Micros: -1, Scrubbed: least, Seq: math.MaxUint64, Row: math.MaxInt64, Change: math.MinInt64,
	}, packedRequest(3))
	b := makeBlock(want)
	got, err := b.unpack()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if b.requests != len(want) || b.first != math.MinInt64 || b.last != 3000 || b.oldest != -1 || b.newest != 1_700_000_000_099 || b.lowSeq != 2 || b.topSeq != math.MaxUint64 {
		t.Errorf("%d requests, changes %d to %d, times %d to %d, seqs %d to %d", b.requests, b.first, b.last, b.oldest, b.newest, b.lowSeq, b.topSeq)
	}
}

// What was cut, or goes on, is no block, wherever that happens.
func TestAPartOfABlockIsNone(t *testing.T) {
	var requests []vault.Request
	for n := range int64(20) {
		requests = append(requests, packedRequest(n))
	}
	whole := makeBlock(requests)
	refuse := func(what string, classes, entries []byte) {
		t.Helper()
		b := block{classes: classes, entries: entries}
		if _, err := b.unpack(); !errors.Is(err, errPacked) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range whole.classes {
		refuse(fmt.Sprintf("%d bytes of the classes", n), whole.classes[:n], whole.entries)
	}
	for n := range whole.entries {
		refuse(fmt.Sprintf("%d bytes of the entries", n), whole.classes, whole.entries[:n])
	}
	refuse("more classes", append(whole.classes[:len(whole.classes):len(whole.classes)], 0), whole.entries)
	refuse("more entries", whole.classes, append(whole.entries[:len(whole.entries):len(whole.entries)], 0))
	refuse("classes of another format", append([]byte{blockFormat + 1}, whole.classes[1:]...), whole.entries)
	refuse("entries of another format", whole.classes, append([]byte{blockFormat + 1}, whole.entries[1:]...))
	refuse("the classes of another block", makeBlock(requests[:1]).classes, whole.entries)
	refuse("a count that nothing stands behind", whole.classes, []byte{blockFormat, 0xff, 0xff, 0xff, 0xff, 0x0f})
}

// Whatever is read packs again, and says the same then.
func FuzzBlock(f *testing.F) {
	for _, n := range []int{1, 2, 9} {
		var requests []vault.Request
		for i := range n {
			requests = append(requests, packedRequest(int64(i)))
		}
		b := makeBlock(requests)
		f.Add(b.classes, b.entries)
	}
	f.Add([]byte{blockFormat, 0, 0}, []byte{blockFormat, 0})
	f.Fuzz(func(t *testing.T, classes, entries []byte) {
		b := block{classes: classes, entries: entries}
		want, err := b.unpack()
		if err != nil || len(want) == 0 {
			if err != nil && !errors.Is(err, errPacked) {
				t.Fatal(err)
			}
			return
		}
		again := makeBlock(want)
		got, err := again.unpack()
		if err != nil {
			t.Fatalf("%q, %q: %v", again.classes, again.entries, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}
