package http1

import (
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"agentvault/broker/heads"
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

const version = " HTTP/1.1"

// parse takes a request apart whose head, with its empty line, b begins with. It
// understands the one way to spell a request of HTTP/1.1 (RFC 9112 §3 and §5)
// and reports false for everything else: what can be read in more than one way,
// what asks for more than a request and an answer, and what is wrong. It finds
// in a request what net/http finds; a test holds the two against each other.
func parse(b []byte) (h head, ok bool) {
	lines, size, ok := heads.Lines(b)
	if !ok {
		return h, false
	}
	h.size, h.length = size, -1
	line, lines, ok := heads.CutLine(lines)
	if !ok || !h.requestLine(line) {
		return h, false
	}
	h.header, ok = heads.Fields(lines, h.takes)
	h.length = max(h.length, 0)
	return h, ok && h.host != ""
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

// takes heeds a field that says something about the message or the connection,
// and keeps all but Host. Those that this package has no answer to are not plain.
func (h *head) takes(name, value string) (keep, ok bool) {
	switch name {
	case "Host":
		if h.host != "" || value == "" || !httpguts.ValidHostHeader(value) {
			return false, false
		}
		h.host = value
		return false, true
	case "Content-Length":
		if h.length >= 0 {
			return false, false
		}
		h.length, ok = heads.Length(value)
		return true, ok
	case "Connection":
		switch {
		case strings.EqualFold(value, "close"):
			h.close = true
		case !strings.EqualFold(value, "keep-alive"):
			return false, false
		}
	case "Transfer-Encoding", "Trailer", "Expect", "Upgrade", "Http2-Settings", "Proxy-Connection",
		"Pragma": // of which net/http makes a second field
		return false, false
	}
	return true, true
}
