package upstream

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An upload is a request's body on its way. It is written beside the answer's
// reading, since an upstream may answer before it has read everything. A nil
// upload is that of a request without a body.
type upload struct {
	c    *conn
	call *Call
	want chan bool     // whether to begin, after Expect: 100-continue; nil: at once
	done chan struct{} // closed when nothing more is read or written
	err  error         // why the body is not whole; after done
	read bool          // err is the body's own; likewise
}

// errNotSent is that the upstream answered and did not want the body.
var errNotSent = errors.New("upstream: the answer came before the body")

// chunk is how much of a body is written at once, with room around it for the
// framing of RFC 9112 §7.1.
const (
	chunkSize = 32 << 10
	chunkHead = len("8000\r\n")
)

var chunks = sync.Pool{New: func() any { return new([chunkHead + chunkSize + 2]byte) }}

func (c *conn) upload(call *Call) *upload {
	u := &upload{c: c, call: call, done: make(chan struct{})}
	if strings.EqualFold(call.Request.Header.Get("Expect"), "100-continue") {
		u.want = make(chan bool, 1)
	}
	go u.run()
	return u
}

// run ends before the exchange does: whoever asked waits for it in sent or end.
func (u *upload) run() {
	defer close(u.done)
	if u.err = u.begin(); u.err == nil {
		u.err = u.copy()
	}
	if u.read {
		u.c.close() // or the answer to half a body would be waited for
	}
}

func (u *upload) begin() error {
	if u.want == nil {
		return nil
	}
	timeout := time.NewTimer(continueTimeout)
	defer timeout.Stop()
	select {
	case wanted := <-u.want:
		if !wanted {
			return errNotSent
		}
	case <-timeout.C:
	}
	return nil
}

// proceed says whether the upstream wants the body.
func (u *upload) proceed(wanted bool) {
	if u == nil || u.want == nil {
		return
	}
	select {
	case u.want <- wanted:
	default: // said already
	}
}

func (u *upload) copy() error {
	r := u.call.Request
	buf := chunks.Get().(*[chunkHead + chunkSize + 2]byte)
	defer chunks.Put(buf)
	data := buf[chunkHead : chunkHead+chunkSize]
	var sent int64
	for {
		n, err := r.Body.Read(data)
		if sent += int64(n); r.ContentLength >= 0 && sent > r.ContentLength {
			u.read = true
			return fmt.Errorf("body: longer than its length of %d", r.ContentLength)
		}
		if n > 0 {
			if werr := u.write(buf, n); werr != nil {
				return werr
			}
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			u.read = true
			return err
		case r.ContentLength < 0:
			err := writeTrailer(u.c.stream, r.Trailer)
			u.read = errors.Is(err, errUnsendable)
			return err
		case sent < r.ContentLength:
			u.read = true
			return io.ErrUnexpectedEOF
		default:
			return nil
		}
	}
}

// write sends n bytes, which stand behind chunkHead.
func (u *upload) write(buf *[chunkHead + chunkSize + 2]byte, n int) error {
	out := buf[chunkHead : chunkHead+n]
	if u.call.Request.ContentLength < 0 {
		head := strconv.AppendInt(make([]byte, 0, chunkHead), int64(n), 16)
		head = append(head, "\r\n"...)
		begin := chunkHead - len(head)
		copy(buf[begin:], head)
		copy(buf[chunkHead+n:], "\r\n")
		out = buf[begin : chunkHead+n+2]
	}
	_, err := u.c.stream.Write(out)
	return err
}

// sent reports whether the whole body was sent, once the answer has been read. An
// upstream that answers as soon as it has read everything is quicker than the word
// that it was written.
func (u *upload) sent(answered bool) bool {
	if u == nil {
		return true
	}
	select {
	case <-u.done:
		return u.err == nil
	default:
	}
	if !answered {
		return false
	}
	rest := time.NewTimer(uploadRest)
	defer rest.Stop()
	select {
	case <-u.done:
		return u.err == nil
	case <-rest.C:
		return false
	}
}

// end breaks the upload off, and returns the error of the body itself, if it had
// one. The connection has been closed.
func (u *upload) end() error {
	if u == nil {
		return nil
	}
	u.proceed(false)
	interrupted := false
	select {
	case <-u.done:
	default:
		interrupted = true
		u.call.Interrupt()
		<-u.done
	}
	if !u.read || interrupted && errors.Is(u.err, os.ErrDeadlineExceeded) { // that was us
		return nil
	}
	return u.err
}
