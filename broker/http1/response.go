package http1

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"agentvault/broker/ending"
)

// A response is the answer to one request. It does what handlers may rely on of
// net/http's, but for Hijack: what could be upgraded is not served here. Nor has it
// EnableFullDuplex: body and answer are never in each other's way.
type response struct {
	c       *conn
	ctx     ending.Context
	body    *body // of the request; nil: none
	head    bool  // the request's method is HEAD
	close   bool  // the connection ends behind this
	header  http.Header
	status  int    // 0: WriteHeader was not called
	begun   bool   // the header has been written to out
	length  int64  // that was declared; -1: none was
	written int64  // of the body
	chunked bool   //
	out     *outgo // what has not been sent
	err     error  // of a write to the agent
}

// An outgo is room for what is sent at once.
type outgo struct {
	b     []byte
	body  []byte   // held back until it is known how long it is
	names []string // of the fields
}

const (
	outSize  = 16 << 10
	heldBack = 2 << 10 // of a body without a length, as much as net/http holds back
)

var outgoes = sync.Pool{New: func() any { return &outgo{b: make([]byte, 0, outSize)} }}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	switch {
	case w.status != 0:
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		w.interim(status)
	default:
		w.status, w.length = status, -1
		if v := w.header["Content-Length"]; len(v) == 1 {
			if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n >= 0 {
				w.length = n
			} else {
				delete(w.header, "Content-Length")
			}
		}
	}
}

// interim sends an answer before the answer (RFC 9110 §15.2).
func (w *response) interim(status int) {
	w.statusLine(status)
	w.fields(func(name string) bool { return name != "Content-Length" && name != "Transfer-Encoding" })
	w.out.b = append(w.out.b, "\r\n"...)
	w.send()
}

func (w *response) statusLine(status int) {
	b := append(w.out.b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if text := http.StatusText(status); text != "" {
		b = append(b, text...)
	} else {
		b = strconv.AppendInt(append(b, "status code "...), int64(status), 10)
	}
	w.out.b = append(b, "\r\n"...)
}

// fields writes those of the header that pass, sorted by name.
func (w *response) fields(pass func(name string) bool) {
	names := w.out.names[:0]
	for name, values := range w.header {
		if len(values) > 0 && pass(name) && httpguts.ValidHeaderFieldName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range w.header[name] {
			w.field(name, v)
		}
	}
	w.out.names = names
}

func (w *response) field(name, value string) {
	b := append(append(w.out.b, name...), ": "...)
	if strings.ContainsAny(value, "\r\n") {
		value = lineBreaks.Replace(value)
	}
	w.out.b = append(append(b, strings.Trim(value, " \t")...), "\r\n"...)
}

// lineBreaks are no part of a value.
var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ")

// bodyAllowed: RFC 9110 §6.4.1.
func (w *response) bodyAllowed() bool {
	return w.status != http.StatusNoContent && w.status != http.StatusNotModified && w.status != http.StatusSwitchingProtocols
}

// begin writes the header. With whole, the body is what has been held back.
func (w *response) begin(whole bool) {
	if w.begun {
		return
	}
	w.begun = true
	carries := w.bodyAllowed() && !w.head
	counted := false
	switch {
	case w.length >= 0 || !w.bodyAllowed():
	case whole && w.header["Trailer"] == nil && (carries || len(w.out.body) > 0):
		counted, w.length = true, int64(len(w.out.body))
	case carries:
		w.chunked = true
	}
	w.statusLine(w.status)
	w.fields(func(name string) bool {
		return name != "Transfer-Encoding" && !strings.HasPrefix(name, http.TrailerPrefix) &&
			(name != "Content-Length" || w.bodyAllowed()) && (name != "Content-Type" || w.status != http.StatusNotModified)
	})
	w.ownFields(counted)
	w.out.b = append(w.out.b, "\r\n"...)
	if len(w.out.body) > 0 && carries {
		w.put(w.out.body)
	}
	w.out.body = w.out.body[:0]
}

// ownFields writes what the handler has not said, in net/http's order.
func (w *response) ownFields(counted bool) {
	if _, ok := w.header["Date"]; !ok {
		b := append(w.out.b, "Date: "...)
		w.out.b = append(time.Now().UTC().AppendFormat(b, http.TimeFormat), "\r\n"...)
	}
	if counted {
		b := append(w.out.b, "Content-Length: "...)
		w.out.b = append(strconv.AppendInt(b, w.length, 10), "\r\n"...)
	}
	if _, ok := w.header["Content-Type"]; !ok && len(w.out.body) > 0 && len(w.header["Content-Encoding"]) == 0 {
		w.field("Content-Type", http.DetectContentType(w.out.body))
	}
	said := httpguts.HeaderValuesContainsToken(w.header["Connection"], "close")
	w.close = w.close || said || w.c.s.draining.Load() || w.body.rest() > maxRest
	if w.close && !said {
		w.out.b = append(w.out.b, "Connection: close\r\n"...)
	}
	if w.chunked {
		w.out.b = append(w.out.b, "Transfer-Encoding: chunked\r\n"...)
	}
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.err != nil:
		return 0, w.err
	case len(p) == 0:
		return 0, nil
	case !w.bodyAllowed():
		return 0, http.ErrBodyNotAllowed
	}
	if w.written += int64(len(p)); w.length >= 0 && w.written > w.length {
		return 0, http.ErrContentLength // and the connection ends: the two do not agree
	}
	if !w.begun && w.length < 0 && len(w.out.body)+len(p) <= heldBack {
		w.out.body = append(w.out.body, p...)
		return len(p), nil
	}
	w.begin(false)
	if !w.head {
		w.put(p)
	}
	return len(p), w.err
}

// put writes a piece of the body, and sends what does not fit into the room.
func (w *response) put(p []byte) {
	const framing = len("ffffffffffffffff\r\n\r\n")
	if len(w.out.b)+len(p)+framing > outSize {
		w.send()
	}
	if w.chunked {
		w.out.b = strconv.AppendInt(w.out.b, int64(len(p)), 16)
		w.out.b = append(w.out.b, "\r\n"...)
	}
	if len(p)+framing > outSize {
		w.send()
		w.write(p)
	} else {
		w.out.b = append(w.out.b, p...)
	}
	if w.chunked {
		w.out.b = append(w.out.b, "\r\n"...)
	}
}

// send writes what there is to the agent.
func (w *response) send() {
	if len(w.out.b) > 0 {
		w.write(w.out.b)
		w.out.b = w.out.b[:0]
	}
}

func (w *response) write(p []byte) {
	if w.err == nil {
		_, w.err = w.c.Write(p)
	}
}

// FlushError is what http.ResponseController calls.
func (w *response) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.begin(false)
	w.send()
	return w.err
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() } // who wants to know calls that

// SetReadDeadline is what http.ResponseController calls.
func (w *response) SetReadDeadline(t time.Time) error { return w.c.SetReadDeadline(t) }

// SetWriteDeadline is what http.ResponseController calls.
func (w *response) SetWriteDeadline(t time.Time) error { return w.c.SetWriteDeadline(t) }

// finish ends the answer and reports whether it is whole.
func (w *response) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.begin(true)
	if w.chunked {
		w.out.b = append(w.out.b, "0\r\n"...)
		w.trailers()
		w.out.b = append(w.out.b, "\r\n"...)
	}
	w.send()
	return w.err == nil && (w.length < 0 || w.written == w.length || w.head || !w.bodyAllowed())
}

// trailers writes those that were announced, and those that were not
// (http.TrailerPrefix).
func (w *response) trailers() {
	announced := make(map[string]bool)
	for _, line := range w.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			announced[http.CanonicalHeaderKey(strings.TrimSpace(name))] = true
		}
	}
	values := make(map[string][]string)
	for name, v := range w.header {
		short, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		if (prefixed || announced[name]) && httpguts.ValidTrailerHeader(short) && httpguts.ValidHeaderFieldName(short) {
			values[short] = append(values[short], v...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, v := range values[name] {
			w.field(name, v)
		}
	}
}
