package broker

import (
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

// A new connection takes the place of the longest idle one of whoever has most.
func TestConnsAreShared(t *testing.T) {
	cs := newConns(6)
	greedy, honest := [32]byte{1}, [32]byte{2}
	open := func(owner [32]byte) *agentConn {
		t.Helper()
		theirs, ours := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		ac := &agentConn{Conn: ours, conns: cs}
		if victim, wait := cs.add(ac); victim == ac || wait > 0 {
			t.Fatal("no place")
		}
		ac.since.Add(-int64(time.Hour))
		ac.begin()
		if owner != ([32]byte{}) {
			ac.belongs(owner, false)
		}
		ac.end()
		ac.since.Add(-int64(time.Hour))
		return ac
	}
	mine := open(honest)
	oldest := open(greedy)
	for range 50 {
		open(greedy)
	}
	if mine.gone || !oldest.gone || cs.open != 6 {
		t.Fatalf("honest gone %t, first of the greedy gone %t, %d open", mine.gone, oldest.gone, cs.open)
	}
	for range 50 {
		open([32]byte{}) // nobody's: as one more session
	}
	if mine.gone || cs.open != 6 {
		t.Fatalf("honest gone %t, %d open", mine.gone, cs.open)
	}
	second := open(honest)
	if mine.gone || second.gone {
		t.Error("an honest connection gave its place to another")
	}

	// Where something is open, the place is kept.
	busy := newConns(3)
	for range 3 {
		ac := &agentConn{conns: busy}
		if victim, wait := busy.add(ac); victim != nil || wait > 0 {
			t.Fatal("no place")
		}
		ac.begin()
	}
	ac := &agentConn{conns: busy}
	if victim, wait := busy.add(ac); victim != ac || wait > 0 {
		t.Errorf("%v, %v: nobody had a place to give", victim, wait)
	}

	// Who has come just now is waited for.
	young := newConns(1)
	first := &agentConn{conns: young}
	if victim, wait := young.add(first); victim != nil || wait > 0 {
		t.Fatal("no place")
	}
	if victim, wait := young.add(ac); victim != nil || wait <= 0 || wait > firstRequest {
		t.Errorf("%v, %v: want a wait", victim, wait)
	}
	first.since.Add(-int64(firstRequest))
	if victim, wait := young.add(ac); victim != first || wait > 0 {
		t.Errorf("%v, %v: want its place", victim, wait)
	}
}

// Whatever happens in whatever order, what is counted is what is there.
func TestConnsCount(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 5))
	cs := newConns(20)
	theirs, ours := net.Pipe()
	defer theirs.Close()
	var all []*agentConn
	busy := make(map[*agentConn]int)
	for range 20_000 {
		if len(all) == 0 || r.IntN(3) == 0 {
			ac := &agentConn{Conn: ours, conns: cs}
			if victim, wait := cs.add(ac); wait == 0 && victim != ac {
				ac.since.Add(-int64(time.Hour))
				all = append(all, ac)
				if victim != nil && (busy[victim] > 0 || !victim.gone) {
					t.Fatal("a victim that was busy, or is still counted")
				}
			}
			continue
		}
		i := r.IntN(len(all))
		ac := all[i]
		switch r.IntN(4) {
		case 0:
			ac.begin()
			busy[ac]++
			ac.belongs([32]byte{byte(r.IntN(4))}, false)
		case 1:
			if busy[ac] > 0 {
				busy[ac]--
				ac.end()
			}
		case 2:
			_ = ac.Close()
			_ = ac.Close()
			if busy[ac] > 0 {
				ac.end() // net/http's handler ends after its connection
			}
			delete(busy, ac)
			all = append(all[:i], all[i+1:]...)
		case 3:
			if ac.gone && busy[ac] == 0 {
				all = append(all[:i], all[i+1:]...)
			}
		}
		open := 0
		for digest, o := range cs.owners {
			open += len(o.conns)
			if len(o.conns) == 0 || o.digest != digest {
				t.Fatalf("an owner of %d", len(o.conns))
			}
			for ac := range o.conns {
				if ac.gone || ac.owner.Load() != o {
					t.Fatal("a connection that has gone, or is another's")
				}
			}
		}
		if open != cs.open || open > 20 {
			t.Fatalf("%d are counted, %d by owner", cs.open, open)
		}
	}
	for _, ac := range all {
		_ = ac.Close()
	}
	if cs.open != 0 || len(cs.owners) != 0 {
		t.Errorf("%d are left of %d owners", cs.open, len(cs.owners))
	}
}
