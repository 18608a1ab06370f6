package audit

import (
	"bytes"
	"errors"
	"sync"
	"time"
)

// Bounds of what waits to be written.
const (
	laterDelay = 30 * time.Millisecond // for the next record's write, at most
	laterRetry = time.Second           // after a write that failed
	laterMost  = 1 << 20               // bytes
	laterChunk = 32 << 10              // bytes of a write: what little room there is gets used
)

var (
	errFull   = errors.New("too much waits to be written")
	errClosed = errors.New("the log is closed")
)

// A later holds records that leave with the next one's write, in their order.
// They have no place in the chain before that.
type later struct {
	write func() error // writes what waits; called by the timer

	mu      sync.Mutex // taken last
	rests   []byte     // of each what stands behind its seq, and a line break
	size    int        // of rests and of what was taken and not put down yet
	spare   []byte     // room for the next rests
	timer   *time.Timer
	armed   bool // the timer will call, or its call runs: so whenever something waits
	closed  bool
	running sync.WaitGroup // the timer's call that is to come, or runs
}

// add lets a record wait.
func (w *later) add(rest []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return errClosed
	case w.size+len(rest) >= laterMost:
		return errFull
	}
	w.rests = append(append(w.rests, rest...), '\n')
	w.size += len(rest) + 1
	w.arm(laterDelay)
	return nil
}

// take returns what waits. It is put down before the next call.
func (w *later) take() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.rests
	w.rests, w.spare = w.spare[:0], nil
	return taken
}

// put takes back what was taken, of which some was written: what was not stands
// before all that came meanwhile.
func (w *later) put(taken []byte, written int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size -= written
	if left := taken[written:]; len(left) > 0 {
		w.first(left)
	} else {
		w.spare = taken
	}
}

// restore lets records wait again that had been written.
func (w *later) restore(rests []byte) {
	if len(rests) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size += len(rests)
	w.first(rests)
}

// first puts records before those that wait. Their room is the later's now. Its
// caller holds mu.
func (w *later) first(rests []byte) {
	w.spare, w.rests = w.rests, append(rests, w.rests...)
	w.arm(laterRetry)
}

// arm sets the timer, unless it is. Its caller holds mu.
func (w *later) arm(d time.Duration) {
	if w.armed || w.closed {
		return
	}
	w.armed = true
	w.running.Add(1)
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.ring)
	} else {
		w.timer.Reset(d)
	}
}

// ring writes what nobody's record took along.
func (w *later) ring() {
	defer w.running.Done()
	w.mu.Lock()
	waits := len(w.rests) > 0
	w.mu.Unlock()
	again := laterDelay
	if waits && w.write() != nil { // which says so
		again = laterRetry
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	if len(w.rests) > 0 {
		w.arm(again)
	}
}

// close ends the timer and waits for its call. Nothing is let wait any more.
func (w *later) close() {
	w.mu.Lock()
	w.closed = true
	if w.armed && w.timer.Stop() {
		w.armed = false
		w.running.Done() // it will not
	}
	w.mu.Unlock()
	w.running.Wait()
}

// drop forgets what waits, and returns how many records it was.
func (w *later) drop() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := bytes.Count(w.rests, lineEnd)
	w.rests, w.size = nil, 0
	return n
}

var lineEnd = []byte{'\n'}

// chunk parts some of what was taken, at least one record, from the rest of it.
func chunk(taken []byte) (some, left []byte) {
	if len(taken) <= laterChunk {
		return taken, nil
	}
	n := bytes.LastIndexByte(taken[:laterChunk], '\n') + 1
	if n == 0 {
		n = bytes.IndexByte(taken, '\n') + 1
	}
	return taken[:n], taken[n:]
}
