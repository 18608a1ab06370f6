package scrub

import (
	"io"
	"slices"
	"sync"
)

// A Reader passes a text on with every credential masked, also where one lies
// across reads. It holds back the end that could go on as one, whatever the
// values are; a line, and so an event, is not delayed.
type Reader struct {
	src  io.Reader
	err  error   // from src, given out after the rest
	own  *[]byte // of buffers: where buf began; nil once it has been given back
	used int     // bytes of it that text stood in
	masker
}

// bufferSize is of a buffer that is used again: a read of the usual 32 KiB, and
// what was held before it.
const bufferSize = 40 << 10

var buffers = sync.Pool{New: func() any { return new(make([]byte, 0, bufferSize)) }}

// Reader returns a Reader of src. The Set must not be empty.
func (s *Set) Reader(src io.Reader) *Reader {
	own := buffers.Get().(*[]byte)
	return &Reader{src: src, own: own, masker: masker{tables: s.tables, buf: (*own)[:0]}}
}

// Read implements io.Reader. A longer p costs less.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.ready == 0 && r.err == nil {
		held := len(r.buf)
		r.buf = slices.Grow(r.buf, len(p))[:held+len(p)]
		n, err := r.src.Read(r.buf[held:])
		r.buf, r.err = r.buf[:held+n], err
		r.used = max(r.used, len(r.buf))
		if n > 0 || err != nil {
			r.scan(err != nil)
		}
	}
	n := r.take(p)
	if r.ready == 0 && r.err != nil {
		r.giveBack()
		return n, r.err
	}
	return n, nil
}

// Mask overwrites every credential in a text that is whole, where it lies, and
// returns how many places that were. It looks for what now returns too, as with
// Follow. The Set must not be empty.
func (s *Set) Mask(text []byte, now func() *Set) (places int) {
	m := masker{tables: s.tables, now: now, buf: text}
	m.scan(true)
	return m.places
}

// giveBack ends the use of the buffer. One whose text was not read to its end
// is left to the garbage collector.
func (r *Reader) giveBack() {
	if r.own != nil {
		clear((*r.own)[:min(r.used, bufferSize)])
		buffers.Put(r.own)
		r.own, r.buf = nil, nil
	}
}
