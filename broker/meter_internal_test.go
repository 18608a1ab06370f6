package broker

import (
	"math/rand/v2"
	"testing"
	"time"
)

// In no stretch of time as long as the window is more let through than there may
// be, whenever it begins, and what waits as long as it is told to is let through.
func TestCounterHoldsEveryWindow(t *testing.T) {
	const most, window = 10, 7 * time.Second
	type passed struct {
		at time.Time
		n  int64
	}
	for _, kind := range []string{"requests", "bytes"} {
		var c counter
		var all []passed
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		told := time.Time{}
		for range 20_000 {
			n, wait, ok := int64(1), time.Duration(0), false
			if kind == "requests" {
				wait, ok = c.admit(now, most, window)
			} else {
				n = 1 + rand.Int64N(3)
				wait, ok = c.take(now, n, most, window)
			}
			switch {
			case ok:
				all, told = append(all, passed{now, n}), time.Time{}
			case wait <= 0 || wait > window+window/windowParts+time.Millisecond:
				t.Fatalf("%s: told to wait %v", kind, wait)
			case kind == "requests" && !told.IsZero() && !now.Before(told):
				t.Fatalf("%s: at %v nothing is let through, and it was to be since %v", kind, now, told)
			default:
				told = now.Add(wait)
			}
			now = now.Add(time.Duration(rand.IntN(300)) * time.Millisecond)
		}
		for i := range all {
			sum := int64(0)
			for j := i; j < len(all) && all[j].at.Sub(all[i].at) < window; j++ {
				sum += all[j].n
			}
			if sum > most {
				t.Fatalf("%s: %d within a window from %v", kind, sum, all[i].at)
			}
		}
		if len(all) < 1000 {
			t.Errorf("%s: only %d were let through", kind, len(all))
		}
	}
}
