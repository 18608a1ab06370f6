package seal

import (
	"errors"
	"testing"
)

// Not black-box: from outside, the bound shows only when hashing is slow.
func TestQueue(t *testing.T) {
	q := queue{slots: make(chan struct{}, 2), waiting: 0}
	for range 2 {
		if err := q.enter(); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.enter(); !errors.Is(err, ErrBusy) {
		t.Errorf("third caller: %v, want ErrBusy", err)
	}
	q.leave()
	if err := q.enter(); err != nil {
		t.Errorf("after one left: %v", err)
	}
}

// What parses prints the same, so that one hash has one spelling.
func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=65536,t=3,p=4$$")
	f.Add("$argon2id$v=19$m=+8,t=3,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Fuzz(func(t *testing.T, s string) {
		h, ok := parsePHC(s)
		if !ok {
			return
		}
		if h.String() != s {
			t.Errorf("parsePHC(%q) prints %q", s, h)
		}
		if h.memoryKiB > maxArgonMemoryKiB || h.time > maxArgonTime || h.time == 0 || h.threads == 0 || len(h.hash) < 16 {
			t.Errorf("parsePHC(%q) is out of bounds: %+v", s, h)
		}
	})
}
