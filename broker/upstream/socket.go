package upstream

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// A socket is the bare connection to an upstream. It can be looked at without
// waiting, which no deadline can do: one that has passed keeps what has arrived
// from being read.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil: what the dialer returned is no socket
	look    func(fd uintptr) bool
	looking bool   // of the goroutine that has the connection
	p       []byte // of look
	n       int
	err     error
}

func newSocket(c net.Conn) *socket {
	s := &socket{Conn: c}
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw = raw
		}
	}
	s.look = func(fd uintptr) bool {
		s.n, s.err = syscall.Read(int(fd), s.p)
		return true // do not wait
	}
	return s
}

// errNothing says that nothing has arrived. crypto/tls goes on after an error
// that is temporary.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing has arrived" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// Read implements io.Reader. While the connection is looked at, it does not
// wait.
func (s *socket) Read(p []byte) (int, error) {
	if !s.looking {
		return s.Conn.Read(p)
	}
	s.p = p
	err := s.raw.Read(s.look)
	s.p = nil
	switch {
	case err != nil:
		return 0, err
	case s.err != nil && (errors.Is(s.err, syscall.EAGAIN) || errors.Is(s.err, syscall.EINTR)):
		return 0, errNothing
	case s.err != nil:
		return 0, s.err
	case s.n <= 0:
		return 0, io.EOF
	}
	return s.n, nil
}
