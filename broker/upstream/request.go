package upstream

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http/httpguts"
)

var writers = sync.Pool{New: func() any { return &writer{Writer: bufio.NewWriterSize(nil, 8<<10)} }}

// A writer spells requests.
type writer struct {
	*bufio.Writer
	names []string // of the fields, in order
}

// framing fields are written from what the request says itself.
func framing(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer":
		return true
	}
	return false
}

var errUnsendable = errors.New("upstream: the request cannot be sent as HTTP/1.1")

// send writes the request's header, and its body beside the answer.
func (c *conn) send(call *Call) (*upload, error) {
	w := writers.Get().(*writer)
	w.Reset(c.stream)
	w.header(call.Request, call.target)
	err := w.Flush()
	w.Reset(nil)
	writers.Put(w)
	if err != nil {
		return nil, unaskedError{err}
	}
	if call.Request.Body == nil {
		return nil, nil
	}
	return c.upload(call), nil
}

// sendable reports whether HTTP/1.1 can carry the request, and nothing in it
// would be read as something else. It keeps what it has spelled.
func (c *Call) sendable() bool {
	r := c.Request
	c.target = r.URL.RequestURI()
	return httpguts.ValidHeaderFieldName(r.Method) && plain(c.target) && plain(r.Host) && valid(r.Header) && valid(r.Trailer)
}

// valid holds a header against RFC 9110 §5.1 and §5.5.
func valid(h http.Header) bool {
	for name, values := range h {
		if !httpguts.ValidHeaderFieldName(name) {
			return false
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return false
			}
		}
	}
	return true
}

// header writes what RFC 9112 §3 and §5 describe, of a request that is sendable.
// Field names are sorted, so that the same request is the same bytes.
func (w *writer) header(r *http.Request, target string) {
	w.put(r.Method, " ", target, " HTTP/1.1\r\nHost: ", r.Host, "\r\n")
	w.fields(r.Header)
	switch {
	case r.Body == nil:
		// RFC 9110 §8.6: methods whose requests usually have a body say that this
		// one has none.
		switch r.Method {
		case http.MethodPost, http.MethodPut, http.MethodPatch:
			w.put("Content-Length: 0\r\n")
		}
	case r.ContentLength >= 0:
		w.put("Content-Length: ", strconv.FormatInt(r.ContentLength, 10), "\r\n")
	default:
		w.put("Transfer-Encoding: chunked\r\n")
		if w.sort(r.Trailer); len(w.names) > 0 {
			w.put("Trailer: ", strings.Join(w.names, ","), "\r\n")
		}
	}
	w.put("\r\n")
}

// fields writes a field for each value.
func (w *writer) fields(h http.Header) {
	w.sort(h)
	for _, name := range w.names {
		for _, v := range h[name] {
			w.put(name, ": ", v, "\r\n")
		}
	}
}

func (w *writer) sort(h http.Header) {
	w.names = w.names[:0]
	for name := range h {
		if !framing(name) {
			w.names = append(w.names, name)
		}
	}
	slices.Sort(w.names)
}

// put leaves the error to Flush.
func (w *writer) put(parts ...string) {
	for _, s := range parts {
		_, _ = w.WriteString(s) // a bufio.Writer keeps its error
	}
}

// plain reports whether s can stand in a request line.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return s != ""
}

// writeTrailer writes what follows the last chunk.
func writeTrailer(to io.Writer, trailer http.Header) error {
	if !valid(trailer) { // its values have come since
		return errUnsendable
	}
	w := writers.Get().(*writer)
	w.Reset(to)
	w.put("0\r\n")
	w.fields(trailer)
	w.put("\r\n")
	err := w.Flush()
	w.Reset(nil)
	writers.Put(w)
	return err
}
