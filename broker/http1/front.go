package http1

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"agentvault/broker/readahead"
)

// Front puts a Server before srv: what arrives on ln it serves, with the handler
// and the timeouts of srv, as far as it fits; what it leaves, the listener that
// is returned hands to srv. It sets srv's ConnContext. Both are to be shut down.
func Front(srv *http.Server, ln net.Listener, fits func(target string) bool, log *slog.Logger) (*Server, net.Listener) {
	f := &front{Listener: ln, left: make(chan net.Conn), closed: make(chan struct{})}
	s := New(Options{
		Handler: srv.Handler, Fits: fits, ConnContext: srv.ConnContext, Log: log,
		HeaderTimeout: srv.ReadHeaderTimeout, IdleTimeout: srv.IdleTimeout, Leave: f.leave,
	})
	if connContext := srv.ConnContext; connContext != nil {
		srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			if l, ok := c.(*readahead.Conn); ok {
				c = l.Conn
			}
			return connContext(ctx, c)
		}
	}
	s.running.Go(func() { f.accept(s) })
	return s, f
}

// A front is a listener for what a Server has left.
type front struct {
	net.Listener
	left   chan net.Conn
	closed chan struct{} // Accept returns err
	once   sync.Once
	err    error

	closing  sync.Once
	closeErr error
}

func (f *front) accept(s *Server) {
	wait := firstWait
	for {
		c, err := f.Listener.Accept()
		switch {
		case err == nil:
			s.Serve(c)
			wait = firstWait
		case passes(err):
			select {
			case <-time.After(wait):
			case <-f.closed:
				return
			}
			wait = min(2*wait, lastWait)
		default:
			f.end(err)
			return
		}
	}
}

// passes reports whether accepting may do better in a while (accept(2)).
func passes(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR:
		return true
	}
	return false
}

// How long to wait after an error that passes, before the next attempt.
const (
	firstWait = 5 * time.Millisecond
	lastWait  = time.Second
)

func (f *front) leave(c net.Conn) {
	select {
	case f.left <- c:
	case <-f.closed:
		_ = c.Close() // there is nobody to tell
	}
}

func (f *front) end(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.closed)
	})
}

// Accept implements net.Listener.
func (f *front) Accept() (net.Conn, error) {
	select {
	case c := <-f.left:
		return c, nil
	case <-f.closed:
		return nil, f.err
	}
}

// Close implements net.Listener. It may be called more than once.
func (f *front) Close() error {
	f.end(net.ErrClosed)
	f.closing.Do(func() { f.closeErr = f.Listener.Close() })
	return f.closeErr
}
