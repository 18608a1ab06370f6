package vault

import "sync"

// Bounds of calls that wait: of the whole node, and of one caller.
const (
	maxWaiting    = 256
	maxWaitingOne = 4
)

// waits counts the calls that wait for something to happen. The zero waits is
// ready for use.
type waits struct {
	mu    sync.Mutex
	total int
	by    map[string]int // by caller's ID
}

// enter takes a place, unless there is none. leave gives it back.
func (w *waits) enter(id string) (leave func(), ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.total >= maxWaiting || w.by[id] >= maxWaitingOne {
		return nil, false
	}
	if w.by == nil {
		w.by = make(map[string]int)
	}
	w.total++
	w.by[id]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.total--
		if w.by[id]--; w.by[id] == 0 {
			delete(w.by, id)
		}
	}, true
}
