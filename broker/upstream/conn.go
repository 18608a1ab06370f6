package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"agentvault/broker/ending"
)

// A conn is a connection that speaks HTTP/1.1. One goroutine at a time has it,
// and while there is a request body, the upload writes to it.
type conn struct {
	t      *Transport
	key    key
	socket *socket
	stream net.Conn // TLS on the socket, or the socket

	r      *bufio.Reader // nil while the connection waits for a request
	left   int64         // bytes of header that may still be read
	until  time.Time     // deadline of reading
	reused bool
	since  time.Time // it waits for a request
	one    [1]byte
	cut    func() // close, as a value
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 16<<10) }}

func newConn(t *Transport, k key, s *socket, stream net.Conn) *conn {
	c := &conn{t: t, key: k, socket: s, stream: stream}
	c.cut = c.close
	return c
}

// close ends the connection without a word: what is under way is broken off. It
// may be called by any goroutine, more than once.
func (c *conn) close() { _ = c.socket.Close() } // there is nobody to tell

// waits reports whether a connection that nobody uses can carry a request: its
// upstream has not closed it, and has said nothing unasked, such as more of an
// answer than belonged to it.
func (c *conn) waits() bool {
	now := time.Now()
	if now.Sub(c.since) > idleTimeout {
		return false
	}
	if c.socket.raw == nil {
		return now.Sub(c.since) < unseen
	}
	if c.within(now, c.t.o.HeaderTimeout) != nil {
		return false
	}
	c.socket.looking = true
	n, err := c.stream.Read(c.one[:])
	c.socket.looking = false
	return n == 0 && errors.Is(err, errNothing)
}

// unseen is how long a connection may wait for a request that cannot be looked
// at.
const unseen = time.Second

// within gives the upstream some time for the next bytes. The deadline is moved
// only when it is off by more than a little: moving it costs as much as a read.
func (c *conn) within(now time.Time, d time.Duration) error {
	if left := c.until.Sub(now); left >= d && left <= d+d/8 {
		return nil
	}
	c.until = now.Add(d + d/8)
	return c.socket.Conn.SetReadDeadline(c.until)
}

// Read implements io.Reader for the connection's bufio.Reader.
func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeaderTooLong
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.stream.Read(p)
	c.left -= int64(n)
	return n, err
}

var (
	errHeaderTooLong = errors.New("upstream: the header of the answer is too long")
	errEarlySwitch   = errors.New("upstream: switches protocols before it has the request")
)

// do sends a request and reads the answer's header. Where again is true, another
// connection may try: nothing of this one was heard, and nothing can have come
// of the request that would come twice.
func (c *conn) do(ctx context.Context, call *Call) (resp *http.Response, again bool, err error) {
	stop := ending.AfterFunc(ctx, c.cut)
	c.r = readers.Get().(*bufio.Reader)
	c.r.Reset(c)
	up, err := c.send(call)
	if err == nil {
		resp, err = c.answer(call, up)
	}
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols && !up.sent(true) {
		err = errEarlySwitch // RFC 9110 §7.8: the request comes first
	}
	if err != nil {
		c.close()
		again = c.again(call.Request, err)
		call.Unsent = isUnasked(err)
		if own := up.end(); own != nil {
			err = own
		}
		if !stop() {
			err, again = context.Cause(ctx), false
		}
		c.release()
		return nil, again, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = &switched{c: c, stop: stop}
		return resp, false, nil
	}
	b := &body{ReadCloser: resp.Body, c: c, ctx: ctx, up: up, stop: stop,
		// What was asked to switch and did not may be taken for switched over there.
		keep: !resp.Close && call.Request.Header["Upgrade"] == nil}
	if resp.Body == http.NoBody {
		b.finish(true)
		return resp, false, nil
	}
	resp.Body = b
	return resp, false, nil
}

// An unaskedError kept the header of a request from being sent: whatever came of
// it, the upstream has no request.
type unaskedError struct{ error }

func (e unaskedError) Unwrap() error { return e.error }

// An unheardError kept the first byte of an answer from coming.
type unheardError struct{ error }

func (e unheardError) Unwrap() error { return e.error }

// again reports whether a request may be sent once more, on another connection:
// this one was used before, so its upstream may just have closed it.
func (c *conn) again(r *http.Request, err error) bool {
	var unheard unheardError
	return c.reused && (isUnasked(err) || errors.As(err, &unheard) && repeatable(r))
}

func isUnasked(err error) bool {
	var unasked unaskedError
	return errors.As(err, &unasked)
}

// repeatable reports whether a request may be sent a second time without being
// asked (RFC 9110 §9.2.2), as net/http sees it.
func repeatable(r *http.Request) bool {
	if r.Body != nil {
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil
}

// answer reads the header of the answer, and of those before it.
func (c *conn) answer(call *Call, up *upload) (*http.Response, error) {
	c.left = maxHeader
	if err := c.within(time.Now(), c.t.o.HeaderTimeout); err != nil {
		return nil, err
	}
	if _, err := c.r.Peek(1); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		return nil, unheardError{err}
	}
	for range maxInterim + 1 {
		resp, err := plainAnswer(c.r, call.Request), error(nil)
		if resp == nil {
			resp, err = http.ReadResponse(c.r, call.Request)
		}
		switch {
		case err != nil && c.left <= 0:
			return nil, errHeaderTooLong
		case err != nil:
			return nil, err
		case resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols:
			c.left = 1<<63 - 1
			up.proceed(false)
			return resp, nil
		case resp.StatusCode < 100:
			return nil, errors.New("upstream: an impossible status")
		}
		if resp.StatusCode == http.StatusContinue {
			up.proceed(true)
		}
		if call.Interim != nil {
			if err := call.Interim(resp.StatusCode, resp.Header); err != nil {
				return nil, err
			}
		}
		c.left = maxHeader
	}
	return nil, ErrInterim
}

// release gives back what a connection has while it is used.
func (c *conn) release() {
	c.r.Reset(nil)
	readers.Put(c.r)
	c.r = nil
}

// A body is that of an answer. When it has been read to its end, the connection
// is kept.
type body struct {
	io.ReadCloser
	c    *conn
	ctx  context.Context
	up   *upload
	stop func() bool
	keep bool // the upstream does not close the connection behind this
	done bool
	err  error // of a read after done
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.done {
		return 0, b.err
	}
	if b.c.r.Buffered() == 0 {
		if err := b.c.within(time.Now(), b.c.t.o.BodyIdle); err != nil {
			return 0, b.failed(err)
		}
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case errors.Is(err, io.EOF):
		b.err = err
		b.finish(true)
	case err != nil:
		err = b.failed(err)
	}
	return n, err
}

// failed is why the body broke off.
func (b *body) failed(err error) error {
	if b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	b.err = err
	b.finish(false)
	return err
}

// Ready reports whether a read would return at once.
func (b *body) Ready() bool { return b.done || b.c.r.Buffered() > 0 }

// Close implements io.Closer. A body that was not read to its end takes the
// connection with it.
func (b *body) Close() error {
	if !b.done {
		b.err = http.ErrBodyReadAfterClose
		b.finish(false)
	}
	return nil
}

// finish keeps the connection or closes it. A whole answer was read.
func (b *body) finish(whole bool) {
	b.done = true
	sent := b.up.sent(whole)
	if b.stop() && whole && sent && b.keep && b.c.r.Buffered() == 0 {
		b.c.release()
		b.c.reused, b.c.since = true, time.Now()
		b.c.t.put(b.c)
		return
	}
	b.c.close()
	_ = b.up.end() // the answer has been given
	b.c.release()
}

// A switched is the connection behind a 101.
type switched struct {
	c    *conn
	stop func() bool
}

// Read implements io.Reader.
func (s *switched) Read(p []byte) (int, error) {
	if s.c.r.Buffered() > 0 {
		return s.c.r.Read(p)
	}
	return s.c.stream.Read(p)
}

// Write implements io.Writer.
func (s *switched) Write(p []byte) (int, error) { return s.c.stream.Write(p) }

// CloseWrite tells the upstream that nothing more comes.
func (s *switched) CloseWrite() error {
	if h, ok := s.c.stream.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements io.Closer.
func (s *switched) Close() error {
	s.stop()
	return s.c.socket.Close()
}
