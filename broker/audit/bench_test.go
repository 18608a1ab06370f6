package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// BenchmarkAppend is of requests that come together, each with a record before
// it and one behind it that may wait; without anything else to do, and with 40
// µs of work between. CPU is of the whole process, the system's included.
func BenchmarkAppend(b *testing.B) {
	record := &spelled{[]byte(`{"seq":0,"kind":"intent","request":"` + strings.Repeat("x", 400) + `"}`)}
	work := make([]byte, 64<<10)
	for _, blocks := range []int{0, 1} {
		for _, goroutines := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("work-%d/%d", blocks, goroutines), func(b *testing.B) {
				l, err := Open(Options{Path: filepath.Join(b.TempDir(), "audit.log"), Key: make([]byte, 32)})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { _ = l.Close() })
				var all sync.WaitGroup
				var left atomic.Int64
				left.Store(int64(b.N))
				began := cpuTime(b)
				for range goroutines {
					all.Go(func() {
						for left.Add(-1) >= 0 {
							if err := errors.Join(l.Append(record), l.AppendLater(record)); err != nil {
								b.Error(err)
							}
							for range blocks {
								sha256.Sum256(work)
							}
						}
					})
				}
				all.Wait()
				b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
