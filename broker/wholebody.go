package broker

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Bounds of bodies that are needed whole.
const (
	bodyTime    = 2 * time.Minute // for the agent to send one
	heldAll     = 256 << 20       // bytes of all that are held at once
	heldSession = 64 << 20        // of those of a session
)

// wholeBody reads the agent's body to its end, for what must see all of it before
// anything is sent, and puts it back. A longer one than limit bytes is refused,
// and stays to be read. The slice must not be changed.
func (e *exchange) wholeBody(limit int) ([]byte, *Fault) {
	switch {
	case e.hasWhole && len(e.whole) > limit, e.r.ContentLength > int64(limit):
		return nil, tooLong(limit)
	case e.hasWhole:
		return e.whole, nil
	case e.r.Body == nil || e.r.Body == http.NoBody || e.r.ContentLength == 0:
		e.whole, e.hasWhole = []byte{}, true
		return e.whole, nil
	}
	if f := e.makeRoom(int64(limit)); f != nil {
		return nil, f
	}
	rc := http.NewResponseController(e.w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime)) // not every writer has one
	body, err := readUpTo(e.r.Body, limit, e.r.ContentLength)
	_ = rc.SetReadDeadline(time.Time{}) // likewise
	e.holds(int64(len(body)))
	switch {
	case err != nil && e.r.Context().Err() != nil:
		return nil, NewFault(CodeAgentGone)
	case err != nil:
		return nil, badRequest("the body broke off, or took too long")
	case len(body) > limit:
		e.r.Body = putBack{io.MultiReader(bytes.NewReader(body), e.r.Body), e.r.Body}
		return nil, tooLong(limit)
	}
	e.r.Body = putBack{bytes.NewReader(body), e.r.Body}
	e.whole, e.hasWhole = body, true
	return body, nil
}

// makeRoom takes room for a body: its length, or as much as it may have.
func (e *exchange) makeRoom(most int64) *Fault {
	if n := e.r.ContentLength; n >= 0 {
		most = min(n, most)
	}
	e.holds(most)
	if e.session.live.bodies.Load() <= heldSession && e.bodies.Load() <= heldAll {
		return nil
	}
	e.holds(0)
	f := NewFault(CodeRateLimited)
	f.Message = "too many bodies that must be seen whole are under way at once; wait for one to end"
	return f
}

// holds says how many bytes of its body the exchange holds.
func (e *exchange) holds(n int64) {
	e.session.live.bodies.Add(n - e.room)
	e.bodies.Add(n - e.room)
	e.room = n
}

// readUpTo reads to the end, or one byte beyond the limit.
func readUpTo(r io.Reader, limit int, length int64) ([]byte, error) {
	room := int64(512)
	if length > 0 {
		room = length + 1 // ReadFrom looks for the end
	}
	body := bytes.NewBuffer(make([]byte, 0, min(room, 64<<10)))
	_, err := body.ReadFrom(io.LimitReader(r, int64(limit)+1))
	return body.Bytes(), err
}

func tooLong(limit int) *Fault {
	f := NewFault(CodeRequestTooLarge)
	f.Message = fmt.Sprintf("this service must see the body whole before it is sent, and takes at most %d bytes of it", limit)
	return f
}

// putBack is a body of which something was read.
type putBack struct {
	io.Reader
	io.Closer
}

// sameBytes reports whether two slices are one.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
