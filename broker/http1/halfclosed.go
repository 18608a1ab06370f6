package http1

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// halfClosedGrace is how long an agent that has ended its own side may wait for
// bytes. One that has gone looks the same until something is written to it, and
// its call upstream goes on for so long.
const halfClosedGrace = 3 * time.Second

// A HalfClosed connection lets an agent end its own side behind a request and
// still get the answer (RFC 9112 §9.6 closes in such steps). While a handler
// works, a server looks for an agent that goes, and takes the end of what an
// agent sends for that. With [HalfClosed.Look] it does not see the end as long as
// the answer is written on.
type HalfClosed struct {
	net.Conn
	writes atomic.Int64

	mu       sync.Mutex
	deadline time.Time     // of reads; zero for none
	wake     chan struct{} // closed when the deadline moves; nil unless a read waits
}

// Look reads from an agent whose answer is under way.
func (c *HalfClosed) Look(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n == 0 && errors.Is(err, io.EOF) {
		err = c.wait()
	}
	return n, err
}

// wait returns what the look for an agent that goes is to find.
func (c *HalfClosed) wait() error {
	timer := time.NewTimer(halfClosedGrace)
	defer timer.Stop()
	for seen := c.writes.Load(); ; {
		c.mu.Lock()
		if !c.deadline.IsZero() && time.Until(c.deadline) <= 0 { // it is called off
			c.mu.Unlock()
			return os.ErrDeadlineExceeded
		}
		if c.wake == nil {
			c.wake = make(chan struct{})
		}
		wake := c.wake
		c.mu.Unlock()
		select {
		case <-wake:
		case <-timer.C:
			now := c.writes.Load()
			if now == seen {
				return io.EOF
			}
			seen = now
			timer.Reset(halfClosedGrace)
		}
	}
}

// Write implements net.Conn.
func (c *HalfClosed) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil {
		c.writes.Add(1)
	}
	return n, err
}

// SetReadDeadline implements net.Conn.
func (c *HalfClosed) SetReadDeadline(t time.Time) error {
	c.moved(t)
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *HalfClosed) SetDeadline(t time.Time) error {
	c.moved(t)
	return c.Conn.SetDeadline(t)
}

// Close implements net.Conn.
func (c *HalfClosed) Close() error {
	c.moved(time.Unix(1, 0)) // whoever waits waits no more
	return c.Conn.Close()
}

// readUntil is the deadline of reads, zero for none.
func (c *HalfClosed) readUntil() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deadline
}

func (c *HalfClosed) moved(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = deadline
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}
