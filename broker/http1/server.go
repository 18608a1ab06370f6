// Package http1 serves what agents send most: plain requests of HTTP/1.1, each
// with a length or without a body, one after the other.
//
// It does that on one goroutine per connection. net/http starts another one for
// every request, which reads from the connection to notice an agent that goes
// away, and interrupts it again at the end; here a request is watched only once
// it has taken a while (ADR 8). Whatever is not plain (another version, chunks,
// an upgrade, an expectation, a head that is long, odd or wrong) stands
// untouched on its connection, which goes to net/http for good.
package http1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"agentvault/broker/readahead"
)

// Options say how a Server works.
type Options struct {
	// Handler serves requests. Required. It may rely on what http.Server gives
	// it, but for Hijack, and for EnableFullDuplex, which it does not need.
	Handler http.Handler

	// Fits reports whether a request target is the Handler's. Nil: all are.
	Fits func(target string) bool

	// ConnContext returns the context of a connection's requests. Nil: that of
	// the background.
	ConnContext func(ctx context.Context, c net.Conn) context.Context

	// HeaderTimeout bounds how long a head may take, IdleTimeout how long a
	// connection may wait for one. Required.
	HeaderTimeout, IdleTimeout time.Duration

	// StallTimeout bounds how long an agent may leave the last of an answer, which
	// the handler no longer sees. Zero means two minutes.
	StallTimeout time.Duration

	// Leave takes a connection with which this package has no more to do. It
	// begins with the request that was too much. Required.
	Leave func(net.Conn)

	// Log receives operational messages. Nil discards them.
	Log *slog.Logger
}

// A Server serves connections until [Server.Shutdown].
type Server struct {
	o        Options
	draining atomic.Bool

	mu      sync.Mutex
	conns   map[*conn]struct{}
	running sync.WaitGroup
}

// New returns a Server. Its Options must be whole.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.StallTimeout == 0 {
		o.StallTimeout = 2 * time.Minute
	}
	return &Server{o: o, conns: make(map[*conn]struct{})}
}

// Serve takes a connection over, and returns at once.
func (s *Server) Serve(nc net.Conn) {
	ctx := context.Background()
	if s.o.ConnContext != nil {
		ctx = s.o.ConnContext(ctx, nc)
	}
	c := &conn{HalfClosed: HalfClosed{Conn: nc}, s: s, ctx: ctx, remote: nc.RemoteAddr().String()}
	if sc, ok := nc.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		_ = nc.Close() // there is nobody to tell
		return
	}
	s.conns[c] = struct{}{}
	s.running.Go(func() { s.run(c) })
}

// run serves a connection until it ends or is left.
func (s *Server) run(c *conn) {
	left := s.requests(c)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	if c.watch.timer != nil {
		c.watch.timer.Stop()
	}
	var rest []byte
	if left {
		rest = bytes.Clone(c.buf[c.begin:c.end])
	}
	if c.buf != nil {
		buffers.Put(c.buf)
		c.buf = nil
	}
	if left {
		s.o.Leave(&readahead.Conn{Conn: c.Conn, Rest: rest})
		return
	}
	_ = c.Close() // there is nobody to tell
}

// requests serves one request after the other, and reports whether there is one
// to be left.
func (s *Server) requests(c *conn) (left bool) {
	for !s.draining.Load() {
		if c.await() != nil {
			return false
		}
		c.read()
		if err := c.readHead(); err != nil {
			c.ended()
			return errors.Is(err, errLong) || errors.Is(err, errOdd)
		}
		h, ok := parse(c.buf[c.begin:c.end])
		if !ok || s.o.Fits != nil && !s.o.Fits(h.target) {
			c.ended()
			return true
		}
		c.begin += h.size
		if !s.exchange(c, &h) {
			return false
		}
	}
	return false
}

// readHead returns once a whole head is in the buffer, whose lines end as they
// should.
func (c *conn) readHead() error {
	for line := 0; ; { // bytes before the line that is read
		n := bytes.IndexByte(c.buf[c.begin+line:c.end], '\n')
		if n < 0 {
			if err := c.fill(); err != nil {
				return err
			}
			continue
		}
		if n == 0 || c.buf[c.begin+line+n-1] != '\r' {
			return errOdd
		}
		if n == 1 {
			return nil
		}
		line += n + 1
	}
}

// exchange serves one request and reports whether another one may follow.
func (s *Server) exchange(c *conn, h *head) bool {
	w := &response{c: c, header: make(http.Header, 12), head: h.method == http.MethodHead, close: h.close, length: -1, out: outgoes.Get().(*outgo)}
	w.ctx.Begin(c.ctx)
	defer w.ctx.End()
	r := (&http.Request{
		Method: h.method, URL: h.url, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h.header, Body: http.NoBody,
		ContentLength: h.length, Host: h.host, RemoteAddr: c.remote, RequestURI: h.target, Close: h.close,
	}).WithContext(&w.ctx)
	defer w.release()
	if h.length > 0 {
		w.body = &body{c: c}
		w.body.left.Store(h.length)
		r.Body = w.body
	}
	c.serve(&w.ctx, h.length == 0)
	whole := s.handle(w, r)
	w.body.takeBack()
	c.served()
	if whole {
		whole = w.finish()
	}
	c.ended()
	switch {
	case !whole:
		return false
	case w.body.rest() == 0:
		return !w.close
	case !w.close && c.drain(w.body):
		return true
	}
	Linger(c.Conn)
	return false
}

// handle calls the handler and reports whether it returned.
func (s *Server) handle(w *response, r *http.Request) (whole bool) {
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // as net/http does
			s.o.Log.Error("panic in a handler", "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		}
	}()
	s.o.Handler.ServeHTTP(w, r)
	return true
}

// What an agent may go on sending behind an answer that came before its body was
// read.
const (
	maxRest     = 256 << 10
	restTime    = 2 * time.Second
	lingerPause = 500 * time.Millisecond // between two reads
	lingerTime  = 5 * time.Second        // in all
)

// drain reads what is left of a body, so that the next request can be read.
func (c *conn) drain(b *body) bool {
	if b.rest() > maxRest || c.SetReadDeadline(time.Now().Add(restTime)) != nil {
		return false
	}
	for b.rest() > 0 { // what the buffer has is the body's, and is used up first
		if _, err := b.read(c.buf[:]); err != nil && !errors.Is(err, io.EOF) {
			return false
		}
	}
	return true
}

// Linger lets an agent that is still sending take its answer before c is closed:
// closing at once would make the kernel send a reset, and the answer would be
// lost. What comes meanwhile is thrown away, however much it is: many clients
// look for an answer only once they have sent everything.
func Linger(c net.Conn) {
	h, ok := c.(interface{ CloseWrite() error })
	if !ok || h.CloseWrite() != nil {
		return
	}
	var rest [16 << 10]byte
	for end := time.Now().Add(lingerTime); ; {
		now := time.Now()
		if now.After(end) || c.SetReadDeadline(now.Add(lingerPause)) != nil {
			return
		}
		if _, err := c.Read(rest[:]); err != nil {
			return
		}
	}
}

// rest is how much of the body has not been read.
func (b *body) rest() int64 {
	if b == nil {
		return 0
	}
	return b.left.Load()
}

// release gives back what a response has while it is made.
func (w *response) release() {
	w.out.b, w.out.body = w.out.b[:0], w.out.body[:0]
	outgoes.Put(w.out)
	w.out = nil
}

// Shutdown takes no more connections and requests, and returns when those that
// are served have ended; when ctx ends, it cuts them first, and returns its
// error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining.Store(true)
	for c := range s.conns {
		c.endIfWaiting()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close() // there is nobody to tell
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}

func (c *conn) endIfWaiting() {
	w := &c.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase == waiting {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // one that is closed is what is wanted
	}
}
