package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// heapRoom is by how much the heap may at least grow from one garbage collection
// to the next. A vault keeps some 10 MB, and an exchange makes some 10 KB of
// garbage: collecting when the heap has doubled, as the runtime does by itself,
// marks those 10 MB again every thousand requests, which is a tenth of what they
// cost (5 of 58 µs on the proxy port, 9 of 64 on the path entrance). A vault that
// keeps more than this is collected when its heap has doubled.
const heapRoom = 64 << 20

// giveHeapRoom says so to the runtime, now and after each collection. Who sets
// GOGC knows better.
func giveHeapRoom() {
	debug.FreeOSMemory() // what the master password's key took, 64 MiB
	if os.Getenv("GOGC") == "" {
		(&heapPace{}).next()
	}
}

type heapPace struct{ percent int }

// next comes after a collection.
func (p *heapPace) next() {
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	percent := heapPercent(live[0].Value.Uint64())
	if percent < p.percent*9/10 || percent > p.percent*10/9 { // it stops the world
		p.percent = percent
		debug.SetGCPercent(percent)
	}
	runtime.AddCleanup(new([64]byte), (*heapPace).next, p) // the next one finds it garbage
}

// heapPercent is the GOGC that gives a heap its room.
func heapPercent(live uint64) int {
	const least = 4 << 20 // the runtime takes a smaller heap for one of this size
	return max(100, int(heapRoom*100/max(live, least)))
}
