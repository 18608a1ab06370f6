package main

import (
	"math"
	"slices"
	"time"
)

// A spread is what a figure was over the turns.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

// ratios holds each turn against the other's of the same turn: what disturbs
// the machine for a while disturbs both.
func ratios(values, base []float64) []float64 {
	return pairwise(values, base, func(v, b float64) float64 { return v / b })
}

func differences(values, base []float64) []float64 {
	return pairwise(values, base, func(v, b float64) float64 { return v - b })
}

func pairwise(values, base []float64, f func(v, b float64) float64) []float64 {
	out := make([]float64, min(len(values), len(base)))
	for i := range out {
		out[i] = f(values[i], base[i])
	}
	return out
}

// quantile is the smallest of the durations that at least q of them do not exceed. It
// sorts them.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	i := int(math.Ceil(q*float64(len(d)))) - 1
	return d[min(max(i, 0), len(d)-1)]
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
