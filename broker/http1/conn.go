package http1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"agentvault/broker/ending"
)

// A conn is an agent's connection. Its goroutine reads a request, serves it,
// and then the next.
type conn struct {
	HalfClosed
	s      *Server
	raw    syscall.RawConn // nil: not a bare socket
	ctx    context.Context
	remote string

	buf        *buffer // nil while nothing is under way
	begin, end int     // what of it has been read from the connection and not been used
	first      [1]byte // read while there was no buffer, and, behind what is in it, while a request was served

	watch watch
}

// bufferSize bounds a head.
const bufferSize = 16 << 10

type buffer [bufferSize]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// await returns when the agent has sent something, which is in the buffer then.
func (c *conn) await() error {
	patience := c.s.o.IdleTimeout
	if c.watch.timer == nil { // nothing has come yet
		patience = c.s.o.HeaderTimeout
	}
	if err := c.within(time.Now(), patience); err != nil {
		return err
	}
	if c.s.draining.Load() { // it may have ended the wait before the deadline was moved
		return net.ErrClosed
	}
	if c.end > c.begin {
		return nil
	}
	if c.buf != nil {
		buffers.Put(c.buf)
		c.buf = nil
	}
	if c.raw != nil {
		return c.awaitRaw()
	}
	n, err := c.Conn.Read(c.first[:])
	if n == 0 {
		return err
	}
	c.buf = buffers.Get().(*buffer)
	c.buf[0] = c.first[0]
	c.begin, c.end = 0, 1
	return c.fill() // what came with it: TLS hands out records
}

// awaitRaw waits without a buffer, and without reading a first byte by itself.
func (c *conn) awaitRaw() error {
	var n int
	var rerr error
	err := c.raw.Read(func(fd uintptr) bool {
		buf := buffers.Get().(*buffer)
		for {
			n, rerr = syscall.Read(int(fd), buf[:])
			if !errors.Is(rerr, syscall.EINTR) {
				break
			}
		}
		if n > 0 {
			c.buf, c.begin, c.end = buf, 0, n
			return true
		}
		buffers.Put(buf)
		return !errors.Is(rerr, syscall.EAGAIN)
	})
	switch {
	case err != nil:
		return err
	case rerr != nil:
		return rerr
	case n <= 0:
		return io.EOF
	}
	return nil
}

// fill reads more behind what is in the buffer.
func (c *conn) fill() error {
	if c.begin > 0 {
		copy(c.buf[:], c.buf[c.begin:c.end])
		c.begin, c.end = 0, c.end-c.begin
	}
	if c.end == bufferSize {
		return errLong
	}
	n, err := c.Conn.Read(c.buf[c.end:])
	c.end += n
	if n > 0 {
		return nil
	}
	return err
}

// What is left to net/http before there is a whole head.
var (
	errLong = errors.New("http1: the head is longer than the buffer")
	errOdd  = errors.New("http1: a line ends in a line feed alone")
)

// within gives the agent some time for its next bytes. The deadline is moved only
// when it is off by more than a little.
func (c *conn) within(now time.Time, d time.Duration) error {
	if left := c.readUntil().Sub(now); left >= d-d/4 && left <= d+d/8 {
		return nil
	}
	return c.SetReadDeadline(now.Add(d))
}

// A phase is what a connection does.
type phase int

const (
	waiting phase = iota // for a request
	reading              // a head
	serving
	finishing // the last of the answer is written
)

// A watch is over what takes longer than most: a head that does not come, an
// agent that goes away while its request is served, or one that does not take the
// last of its answer. One timer starts with each
// request, and seldom fires.
type watch struct {
	timer *time.Timer // nil before the first request

	mu    sync.Mutex
	phase phase
	fired bool            // in this phase
	open  bool            // serving: the body has been read, so what comes is another request or the end
	gone  *ending.Context // the request's, for the agent's end
	done  chan struct{}   // serving: a read is under way until it is closed; nil: none

	got   bool // that read brought a byte of the next request, in conn.first
	hurry bool // there is a deadline of writes
}

// watchAfter is how long a request is nobody's business.
const watchAfter = 50 * time.Millisecond

// read begins the phase after the first bytes.
func (c *conn) read() {
	w := &c.watch
	w.mu.Lock()
	w.phase, w.fired = reading, false
	w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(watchAfter, c.tick)
		return
	}
	w.timer.Reset(watchAfter)
}

// serve begins the next phase. The context's end is that the agent has gone.
func (c *conn) serve(gone *ending.Context, bodiless bool) {
	w := &c.watch
	w.mu.Lock()
	again := w.fired
	w.phase, w.fired, w.open, w.gone = serving, false, bodiless, gone
	w.mu.Unlock()
	if again {
		w.timer.Reset(watchAfter)
	}
}

// bodyRead says that the body has been read.
func (c *conn) bodyRead() {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == serving {
		w.open = true
		w.timer.Reset(watchAfter)
	}
}

func (c *conn) tick() {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fired = true
	switch {
	case w.phase == reading:
		_ = c.SetReadDeadline(time.Now().Add(c.s.o.HeaderTimeout - watchAfter)) // a connection without is closed
	case w.phase == finishing:
		w.hurry = true
		_ = c.Conn.SetWriteDeadline(time.Now().Add(c.s.o.StallTimeout)) // likewise
	case w.phase == serving && w.open && w.done == nil:
		_ = c.SetReadDeadline(time.Time{}) // likewise
		w.done = make(chan struct{})
		go func(done chan struct{}, gone *ending.Context) {
			defer close(done)
			n, err := c.Look(c.first[:])
			if w.got = n > 0; !w.got && !errors.Is(err, os.ErrDeadlineExceeded) {
				gone.End()
			}
		}(w.done, w.gone)
	}
}

// served ends the phase of the handler, and returns when nothing is read any more.
func (c *conn) served() {
	w := &c.watch
	w.mu.Lock()
	again := w.fired
	w.phase, w.fired = finishing, false
	done := w.done
	w.done = nil
	w.mu.Unlock()
	if again {
		w.timer.Reset(watchAfter)
	}
	if done == nil {
		return
	}
	_ = c.SetReadDeadline(time.Unix(1, 0)) // an error is the read's, too
	<-done
	if w.got {
		w.got = false
		n := copy(c.buf[:], c.buf[c.begin:c.end]) // requests that came before it; the head of this one leaves room
		c.buf[n] = c.first[0]
		c.begin, c.end = 0, n+1
	}
}

// ended ends the last phase.
func (c *conn) ended() {
	w := &c.watch
	w.timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase = waiting
	if w.hurry {
		w.hurry = false
		_ = c.Conn.SetWriteDeadline(time.Time{}) // a connection without is closed
	}
}

// A body is that of a request with a length. It is the handler's, and of whoever
// reads for it, until it is taken back.
type body struct {
	c    *conn
	mu   sync.Mutex   // held while it is read
	left atomic.Int64 // written by who reads; an answer may begin meanwhile
	back atomic.Bool  // taken back
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.back.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

// takeBack returns when nobody reads any more: what is left is the connection's.
func (b *body) takeBack() {
	if b == nil {
		return
	}
	b.back.Store(true)
	if !b.mu.TryLock() {
		_ = b.c.SetReadDeadline(time.Unix(1, 0)) // an error is the read's, too
		b.mu.Lock()
	}
	b.mu.Unlock()
}

func (b *body) read(p []byte) (n int, err error) {
	left := b.left.Load()
	if left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > left {
		p = p[:left]
	}
	if c := b.c; c.end > c.begin {
		n = copy(p, c.buf[c.begin:c.end])
		c.begin += n
	} else {
		n, err = c.Conn.Read(p)
	}
	switch left = b.left.Add(-int64(n)); {
	case left == 0:
		b.c.bodyRead()
		return n, io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error { return nil }
