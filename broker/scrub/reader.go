package scrub

import (
	"io"
	"slices"
)

// A Reader passes a text on with every credential masked, also where one lies
// across reads. It holds back no more than the longest end that could begin
// one, so that an event is not delayed.
type Reader struct {
	src io.Reader
	err error // from src, given out after the rest
	masker
}

// Reader returns a Reader of src. The Set must not be empty.
func (s *Set) Reader(src io.Reader) *Reader {
	return &Reader{src: src, masker: masker{table: s.clear}}
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
		if n > 0 || err != nil {
			r.scan(err != nil)
		}
	}
	n := r.take(p)
	if r.ready == 0 && r.err != nil {
		return n, r.err
	}
	return n, nil
}

// Places is how many places were masked so far.
func (r *Reader) Places() int { return r.places }
