package store

import (
	"math"
	"math/bits"
	"strings"
	"time"

	"agentvault/vault"
)

// RequestSeries reads the newest requests first, and no more blocks once it has
// counted the query's limit.
func (t *tx) RequestSeries(q vault.RequestQuery, points int, refusals []string) (vault.RequestSeries, error) {
	s, err := t.sieve(q)
	if err != nil {
		return vault.RequestSeries{}, err
	}
	refused := set(refusals)
	from, step := ms(q.Since), ms(q.Until)-ms(q.Since)
	counted, completeFrom := 0, from
	tallies := make([]tally, points)
	err = t.sift(s, newestFirst, func(b *block) bool {
		if counted < q.Limit {
			return true
		}
		completeFrom = b.newest + 1 // blocks come with the newest first
		return false
	}, func(c *class, e *entry) error {
		counted++
		at := &tallies[(e.time-from)*int64(points)/step]
		at.requests++
		switch {
		case c.fault != "" && refused[c.fault]:
			at.refused++
		case c.fault == "" && c.status >= 200 && !strings.HasPrefix(c.target, "tunnel://"):
			at.add(e.micros)
		}
		return nil
	})
	out := vault.RequestSeries{CompleteFrom: time.UnixMilli(completeFrom).UTC(), Points: make([]vault.RequestPoint, points)}
	for i := range tallies {
		at := &tallies[i]
		out.Points[i] = vault.RequestPoint{
			Time:     time.UnixMilli(from + step*int64(i)/int64(points)).UTC(),
			Requests: at.requests, Refused: at.refused, Timed: at.timed, P50: at.quantile(50), P95: at.quantile(95),
		}
	}
	return out, err
}

// A tally is what is counted of a stretch of time.
type tally struct {
	requests, refused, timed int64
	bins                     []int64 // of durations, by binOf
}

func (t *tally) add(micros int64) {
	if t.bins == nil {
		t.bins = make([]int64, binOf(math.MaxInt64)+1)
	}
	t.timed++
	t.bins[binOf(max(micros, 0))]++
}

// quantile is the duration, in microseconds, below which percent of those lie
// that were added: the middle of a bin, and so off by a sixteenth at most.
func (t *tally) quantile(percent int64) int64 {
	rank := (t.timed*percent + 99) / 100
	for bin := 0; rank > 0; bin++ {
		if rank -= t.bins[bin]; rank <= 0 {
			return middle(bin)
		}
	}
	return 0
}

// Bins of durations: eight for each doubling, and one for each number below
// eight.
func binOf(n int64) int {
	if n < 8 {
		return int(n)
	}
	shift := bits.Len64(uint64(n)) - 4
	return 8*shift + int(n>>shift)
}

func middle(bin int) int64 {
	if bin < 8 {
		return int64(bin)
	}
	shift := bin/8 - 1
	return int64(8+bin%8)<<shift + int64(1)<<shift/2
}
