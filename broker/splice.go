package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Wrapped connection changes nothing of the bytes that it carries. A blind
// tunnel takes it off, so that the kernel can move them by itself.
type Wrapped interface {
	// Beneath returns the connection inside, and what was read from it already.
	// The wrapper is only closed afterwards, or half-closed.
	Beneath() (inside net.Conn, early []byte)
}

func beneath(c net.Conn) (inside net.Conn, early []byte) {
	for {
		w, ok := c.(Wrapped)
		if !ok {
			return c, early
		}
		var more []byte
		c, more = w.Beneath()
		early = append(early, more...) // what the outer has, it read first
	}
}

// splice says the opening to agent, and copies both ways until both sides have
// ended, or nothing moves for so long, or ctx ends.
func splice(ctx context.Context, agent, upstream net.Conn, opening []byte, standstill time.Duration) (in, out int64) {
	end := func() {
		_ = agent.Close()    // errors of a close tell nothing here
		_ = upstream.Close() // likewise
	}
	defer end()
	defer context.AfterFunc(ctx, end)()
	if _, err := agent.Write(opening); err != nil {
		return 0, 0
	}
	near, early := beneath(agent)
	far, late := beneath(upstream)
	idle := time.AfterFunc(standstill, end)
	defer idle.Stop()
	moves := func() { idle.Reset(standstill) }
	var there sync.WaitGroup
	there.Go(func() {
		in = carry(far, near, early, moves)
		closeWrite(far)
	})
	out = carry(near, far, late, moves)
	closeWrite(near)
	there.Wait()
	return in, out
}

// spliceTurn is how long the kernel moves bytes before it is asked how many.
const spliceTurn = 100 * time.Millisecond

// carry copies until there is no more, what was read early before the rest, and
// tells when something moves. Between TCP connections on Linux it is splice(2) that moves the bytes, by turns: within
// one nothing is known of them. A turn begins when something has come, so that
// who is silent holds neither a buffer nor a pipe.
func carry(dst, src net.Conn, early []byte, moves func()) (n int64) {
	if len(early) > 0 {
		written, err := dst.Write(early)
		if n = int64(written); err != nil {
			return n
		}
	}
	system, ok := src.(syscall.Conn)
	if !ok {
		copied, _ := io.Copy(dst, &moving{src, moves}) // an error is an end like others
		return n + copied
	}
	raw, err := system.SyscallConn()
	if err != nil {
		return n
	}
	for await(raw) == nil {
		// Errors of deadlines are those of a closed connection, which is found next.
		_ = src.SetReadDeadline(time.Now().Add(spliceTurn))
		moved, err := io.Copy(dst, src)
		_ = src.SetReadDeadline(time.Time{})
		n += moved
		if moved > 0 {
			moves()
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
	}
	return n
}

// await returns when there is something to read, or the end.
func await(raw syscall.RawConn) error {
	var b [1]byte
	return raw.Read(func(fd uintptr) bool {
		for {
			switch _, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT); {
			case errors.Is(err, syscall.EINTR):
			default:
				return !errors.Is(err, syscall.EAGAIN)
			}
		}
	})
}

// moving tells of every read that brings something.
type moving struct {
	io.Reader
	moves func()
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if n > 0 {
		m.moves()
	}
	return n, err
}

// closeWrite passes a half-close on where the connection knows it.
func closeWrite(c io.Closer) {
	if h, ok := c.(interface{ CloseWrite() error }); ok && h.CloseWrite() == nil {
		return
	}
	_ = c.Close()
}
