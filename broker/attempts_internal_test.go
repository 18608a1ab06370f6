package broker

import (
	"net/netip"
	"testing"
	"time"
)

// What is remembered of failures is bounded, and who fails all the time is kept.
func TestAttemptsAreBounded(t *testing.T) {
	a, now := newAttempts(1), time.Now()
	at := func(n int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, byte(n >> 16), byte(n >> 8), byte(n)}), 64)
	}
	busy := at(0)
	a.failure(busy, now)
	for n := 1; n < 3*maxAddresses; n++ {
		if wait := a.failure(at(n), now); wait != 0 {
			t.Fatalf("%v has to wait %v after one failure", at(n), wait)
		}
		if wait := a.failure(busy, now); wait != time.Minute {
			t.Fatalf("who fails all the time has to wait %v", wait)
		}
	}
	a.failed.CleanUp()
	if n := a.failed.EstimatedSize(); n > maxAddresses {
		t.Errorf("%d addresses are remembered", n)
	}
}
