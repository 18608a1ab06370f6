package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// A client of HTTP/1.1 that is cheap beside a proxy: requests are spelled
// beforehand, answers are read in place.

// Lengths of bodies that are not said in a head.
const (
	chunked    = -1
	untilClose = -2
)

// readHead reads the head of an answer, and how long its body is. keep says
// whether the connection stays.
func readHead(r *bufio.Reader) (status, length int, keep bool, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, 0, false, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, 0, false, fmt.Errorf("%q is no status line", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, false, fmt.Errorf("%q is no status line", line)
	}
	length, keep = untilClose, true
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, 0, false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return status, length, keep, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == 14 && bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, 0, false, fmt.Errorf("%q is no length", value)
			}
		case len(name) == 17 && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			length = chunked
		case len(name) == 10 && bytes.EqualFold(name, []byte("Connection")) && bytes.EqualFold(value, []byte("close")):
			keep = false
		}
	}
}

// body is the reader of a body of such a length.
func (c *client) body(length int) io.Reader {
	switch length {
	case chunked:
		return &chunks{r: c.r}
	case untilClose:
		return c.r
	}
	return io.LimitReader(c.r, int64(length))
}

// exchange sends a request and reads the answer into buf, which must be large
// enough. Everything but 200 with the very bytes wanted is an error.
func (c *client) exchange(request, want, buf []byte) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write(request); err != nil {
		return err
	}
	return c.receive(want, buf)
}

func (c *client) receive(want, buf []byte) error {
	status, length, keep, err := readHead(c.r)
	if err != nil {
		return err
	}
	n, err := fill(c.body(length), buf)
	if err != nil {
		return err
	}
	if n < length && n < len(buf) {
		return io.ErrUnexpectedEOF
	}
	if status != 200 || !bytes.Equal(buf[:n], want) {
		return fmt.Errorf("answered %d %.200q, want 200 %.40q", status, buf[:n], want)
	}
	if !keep || length == untilClose {
		return errors.New("the connection does not stay open")
	}
	return nil
}

// fill reads until the end of r, or of buf.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var k int
		k, err = r.Read(buf[n:])
		n += k
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// chunks reads a chunked body (RFC 9112 §7.1) up to its end.
type chunks struct {
	r    *bufio.Reader
	left int
	done bool
}

func (c *chunks) Read(p []byte) (n int, err error) {
	if c.left == 0 && !c.done {
		err = c.next()
	}
	if c.done && err == nil {
		return 0, io.EOF
	}
	if err == nil {
		n, err = c.r.Read(p[:min(len(p), c.left)])
		if c.left -= n; c.left == 0 && err == nil {
			_, err = c.r.Discard(len("\r\n"))
		}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// next reads the line before a chunk; before the last one, trailers too.
func (c *chunks) next() error {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return err
	}
	size, _, _ := bytes.Cut(bytes.TrimSpace(line), []byte(";"))
	n, err := strconv.ParseInt(string(size), 16, 32)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no chunk", line)
	}
	if c.left = int(n); n > 0 {
		return nil
	}
	for len(bytes.TrimSpace(line)) > 0 {
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return err
		}
	}
	c.done = true
	return nil
}
