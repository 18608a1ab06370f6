package http1

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// An endedConn is one whose agent has ended its own side.
type endedConn struct{ net.Conn }

func (endedConn) Read([]byte) (int, error)        { return 0, io.EOF }
func (endedConn) Write(p []byte) (int, error)     { return len(p), nil }
func (endedConn) SetReadDeadline(time.Time) error { return nil }
func (endedConn) Close() error                    { return nil }

// The look for an agent that goes sees the end once nothing was written for the
// grace, and can be called off; a read sees it at once.
func TestHalfClosed(t *testing.T) {
	for _, r := range []struct {
		name string
		look bool
		do   func(c *HalfClosed)
		want error
		took time.Duration
	}{
		{"a read of the body", false, nil, io.EOF, 0},
		{"nothing is written", true, nil, io.EOF, halfClosedGrace},
		{"something is written", true, func(c *HalfClosed) {
			<-time.After(2 * time.Second) // of the bubble's time
			_, _ = c.Write([]byte("x"))
		}, io.EOF, 2 * halfClosedGrace},
		{"called off while it waits", true, func(c *HalfClosed) {
			<-time.After(time.Second)
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}, os.ErrDeadlineExceeded, time.Second},
		{"called off before", true, func(c *HalfClosed) { _ = c.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded, 0},
		{"a deadline to come", true, func(c *HalfClosed) { _ = c.SetReadDeadline(time.Now().Add(time.Minute)) }, io.EOF, halfClosedGrace},
		{"closed", true, func(c *HalfClosed) {
			<-time.After(time.Second)
			_ = c.Close()
		}, os.ErrDeadlineExceeded, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &HalfClosed{Conn: endedConn{}}
			if r.do != nil {
				go r.do(c)
				synctest.Wait()
			}
			began := time.Now()
			read := c.Read
			if r.look {
				read = c.Look
			}
			n, err := read(make([]byte, 1))
			if took := time.Since(began); n != 0 || !errors.Is(err, r.want) || took != r.took {
				t.Errorf("%s: %d, %v after %v, want %v after %v", r.name, n, err, took, r.want, r.took)
			}
		})
	}
}
