package upstream

import (
	"bufio"
	"errors"
	"fmt"
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
	err := w.header(call.Request)
	if err == nil {
		err = w.Flush()
	}
	w.Reset(nil)
	writers.Put(w)
	if err != nil {
		if !errors.Is(err, errUnsendable) {
			err = unaskedError{err}
		}
		return nil, err
	}
	if call.Request.Body == nil {
		return nil, nil
	}
	return c.upload(call), nil
}

// header writes what RFC 9112 §3 and §5 describe. Field names are sorted, so
// that the same request is the same bytes.
func (w *writer) header(r *http.Request) error {
	target := r.URL.RequestURI()
	if !httpguts.ValidHeaderFieldName(r.Method) || !plain(target) || !plain(r.Host) {
		return errUnsendable
	}
	w.put(r.Method, " ", target, " HTTP/1.1\r\nHost: ", r.Host, "\r\n")
	w.names = w.names[:0]
	for name := range r.Header {
		if !framing(name) {
			w.names = append(w.names, name)
		}
	}
	slices.Sort(w.names)
	for _, name := range w.names {
		if err := w.field(name, r.Header[name]); err != nil {
			return err
		}
	}
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
		if len(r.Trailer) > 0 {
			w.names = w.names[:0]
			for name := range r.Trailer {
				w.names = append(w.names, name)
			}
			slices.Sort(w.names)
			if err := w.field("Trailer", []string{strings.Join(w.names, ",")}); err != nil {
				return err
			}
		}
	}
	w.put("\r\n")
	return nil
}

// field writes a field for each value.
func (w *writer) field(name string, values []string) error {
	if !httpguts.ValidHeaderFieldName(name) {
		return errUnsendable
	}
	for _, v := range values {
		if !httpguts.ValidHeaderFieldValue(v) {
			return errUnsendable
		}
		w.put(name, ": ", v, "\r\n")
	}
	return nil
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
	w := writers.Get().(*writer)
	w.Reset(to)
	w.put("0\r\n")
	w.names = w.names[:0]
	for name := range trailer {
		w.names = append(w.names, name)
	}
	slices.Sort(w.names)
	var err error
	for _, name := range w.names {
		if err = w.field(name, trailer[name]); err != nil {
			break
		}
	}
	w.put("\r\n")
	if err == nil {
		err = w.Flush()
	}
	w.Reset(nil)
	writers.Put(w)
	if err != nil {
		return fmt.Errorf("trailer: %w", err)
	}
	return nil
}
