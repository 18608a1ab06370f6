package http1

import (
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// A head is a request line with its fields, and how long they are in bytes.
type head struct {
	method, target, host string
	url                  *url.URL
	header               http.Header
	length               int64 // of the body
	close                bool  // the agent wants no other request on the connection
	size                 int
}

var (
	endOfHead = []byte("\r\n\r\n")
	version   = " HTTP/1.1"
)

// parse takes a request apart whose head, with its empty line, b begins with. It
// understands the one way to spell a request of HTTP/1.1 (RFC 9112 §3 and §5)
// and reports false for everything else: what can be read in more than one way,
// what asks for more than a request and an answer, and what is wrong. It finds
// in a request what net/http finds; a test holds the two against each other.
func parse(b []byte) (h head, ok bool) {
	end := bytes.Index(b, endOfHead)
	if end < 0 {
		return h, false
	}
	h.size = end + len(endOfHead)
	s := string(b[:end+2]) // every line with its end; the only copy
	line, s, ok := cutLine(s)
	if !ok || !h.requestLine(line) {
		return h, false
	}
	n := strings.Count(s, "\n")
	h.header = make(http.Header, n)
	values := make([]string, n) // one for each field, cut up
	for s != "" {
		if line, s, ok = cutLine(s); !ok {
			return h, false
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !httpguts.ValidHeaderFieldName(name) {
			return h, false
		}
		value = textproto.TrimString(value)
		if !httpguts.ValidHeaderFieldValue(value) {
			return h, false
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if !h.takes(name, value) {
			return h, false
		}
		if name == "Host" {
			continue
		}
		values[0] = value
		if have := h.header[name]; have != nil {
			h.header[name] = append(have, value)
		} else {
			h.header[name] = values[:1:1]
		}
		values = values[1:]
	}
	return h, h.host != ""
}

// cutLine cuts the first line off, whose end is CR LF and nothing else.
func cutLine(s string) (line, rest string, ok bool) {
	line, rest, ok = strings.Cut(s, "\n")
	if !ok || !strings.HasSuffix(line, "\r") {
		return "", "", false
	}
	line = line[:len(line)-1]
	return line, rest, strings.IndexByte(line, '\r') < 0
}

func (h *head) requestLine(line string) bool {
	line, ok := strings.CutSuffix(line, version)
	if !ok {
		return false
	}
	if h.method, h.target, ok = strings.Cut(line, " "); !ok || !plainMethod(h.method) || !plainTarget(h.target) {
		return false
	}
	var err error
	h.url, err = url.ParseRequestURI(h.target)
	return err == nil
}

// plainMethod takes every method but CONNECT, whose target has a form of its own.
func plainMethod(s string) bool {
	for i := range len(s) {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return s != "" && s != http.MethodConnect
}

// plainTarget takes origin form (RFC 9112 §3.2.1).
func plainTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '#' {
			return false
		}
	}
	return strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "//")
}

// takes heeds a field that says something about the message or the connection.
// It reports false for those that this package has no answer to.
func (h *head) takes(name, value string) bool {
	switch name {
	case "Host":
		if h.host != "" || value == "" || !httpguts.ValidHostHeader(value) {
			return false
		}
		h.host = value
	case "Content-Length":
		if h.header[name] != nil {
			return false
		}
		return h.takesLength(value)
	case "Connection":
		switch {
		case strings.EqualFold(value, "close"):
			h.close = true
		case !strings.EqualFold(value, "keep-alive"):
			return false
		}
	case "Transfer-Encoding", "Trailer", "Expect", "Upgrade", "Http2-Settings", "Proxy-Connection",
		"Pragma": // of which net/http makes a second field
		return false
	}
	return true
}

// takesLength takes what RFC 9110 §8.6 calls a Content-Length.
func (h *head) takesLength(value string) bool {
	if value == "" || len(value) > 18 {
		return false
	}
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return false
		}
		h.length = h.length*10 + int64(value[i]-'0')
	}
	return true
}
