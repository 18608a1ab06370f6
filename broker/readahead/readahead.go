// Package readahead has a connection of which something was read already.
package readahead

import (
	"errors"
	"net"
)

// A Conn begins with Rest, which had been read from it before. One goroutine at a
// time may read.
type Conn struct {
	net.Conn
	Rest []byte
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.Rest) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.Rest)
	if c.Rest = c.Rest[n:]; len(c.Rest) == 0 {
		c.Rest = nil
	}
	return n, nil
}

// Beneath returns the connection, which changes none of the bytes, and the rest.
func (c *Conn) Beneath() (net.Conn, []byte) { return c.Conn, c.Rest }

// CloseWrite says that no more will be written. Not every connection can.
func (c *Conn) CloseWrite() error {
	if h, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}
