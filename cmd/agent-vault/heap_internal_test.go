package main

import "testing"

func TestHeapPercent(t *testing.T) {
	for _, r := range []struct {
		live uint64
		want int
	}{
		{0, 1600}, {1 << 20, 1600}, {4 << 20, 1600}, {16 << 20, 400}, {64 << 20, 100}, {65 << 20, 100}, {1 << 40, 100},
	} {
		if got := heapPercent(r.live); got != r.want {
			t.Errorf("%d: %d, want %d", r.live, got, r.want)
		}
	}
}
