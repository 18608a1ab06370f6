package upstream

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"

	"agentvault/broker/heads"
)

// plainAnswer reads the header of a plain answer that is at hand as a whole: one
// with a body of a length that it says, and nothing to be read in more than one
// way. It finds in it what net/http's ReadResponse finds; a test holds the two
// against each other. Otherwise it returns nil, and nothing has been read.
func plainAnswer(r *bufio.Reader, request *http.Request) *http.Response {
	if request.Method == http.MethodHead || request.Method == http.MethodConnect {
		return nil
	}
	b, err := r.Peek(r.Buffered())
	if err != nil {
		return nil
	}
	lines, size, ok := heads.Lines(b)
	if !ok {
		return nil
	}
	line, lines, ok := heads.CutLine(lines)
	if !ok {
		return nil
	}
	a := answer{resp: http.Response{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: request, ContentLength: -1}}
	if !a.statusLine(line) {
		return nil
	}
	if a.resp.Header, ok = heads.Fields(lines, a.takes); !ok || a.resp.ContentLength < 0 {
		return nil
	}
	if _, err := r.Discard(size); err != nil {
		return nil
	}
	a.body = counted{r, a.resp.ContentLength}
	if a.resp.Body = &a.body; a.resp.ContentLength == 0 {
		a.resp.Body = http.NoBody
	}
	return &a.resp
}

// An answer is in one piece of memory with its body.
type answer struct {
	resp       http.Response
	body       counted
	connection bool // the field was there
}

// statusLine takes those of answers that may have a body (RFC 9112 §4).
func (a *answer) statusLine(line string) bool {
	const version = "HTTP/1.1 "
	status, ok := strings.CutPrefix(line, version)
	if !ok || len(status) < len("200 O") || status[3] != ' ' || status[4] == ' ' {
		return false
	}
	code, ok := heads.Length(status[:3])
	if !ok || code < 200 || code == http.StatusNoContent || code == http.StatusNotModified {
		return false
	}
	a.resp.Status, a.resp.StatusCode = status, int(code)
	return true
}

// takes heeds a field that says something about the message or the connection.
func (a *answer) takes(name, value string) (keep, ok bool) {
	switch name {
	case "Content-Length":
		if a.resp.ContentLength >= 0 {
			return false, false
		}
		a.resp.ContentLength, ok = heads.Length(value)
		return true, ok
	case "Connection":
		a.resp.Close = strings.EqualFold(value, "close")
		keep, ok = !a.resp.Close, !a.connection && (a.resp.Close || strings.EqualFold(value, "keep-alive"))
		a.connection = true
		return keep, ok
	case "Transfer-Encoding", "Trailer", "Upgrade", "Pragma": // of the last net/http makes a second field
		return false, false
	}
	return true, true
}

// A counted body has a length.
type counted struct {
	r    *bufio.Reader
	left int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	switch c.left -= int64(n); {
	case c.left == 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements io.Closer.
func (c *counted) Close() error { return nil }
