// Package heads reads the heads of plain messages of HTTP/1.1: those that are
// spelled in the one way that nobody reads differently (RFC 9112 §2.1 and §5).
// For everything else there is net/http.
package heads

import (
	"bytes"
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// end of a head: that of its last line, and the empty one.
var end = []byte("\r\n\r\n")

// Lines returns the head that b begins with, every line with its end but without
// the empty one, and its size in bytes with that. False: there is none, or no
// whole one yet.
func Lines(b []byte) (lines string, size int, ok bool) {
	n := bytes.Index(b, end)
	if n < 0 {
		return "", 0, false
	}
	return string(b[:n+2]), n + len(end), true
}

// CutLine cuts the first line off, whose end is CR LF and nothing else.
func CutLine(s string) (line, rest string, ok bool) {
	line, rest, ok = strings.Cut(s, "\n")
	if !ok || !strings.HasSuffix(line, "\r") {
		return "", "", false
	}
	line = line[:len(line)-1]
	return line, rest, strings.IndexByte(line, '\r') < 0
}

// Fields reads the lines behind the first. Of each field take says whether the
// header gets it, and whether the message is still a plain one. The values share
// memory with the lines.
func Fields(lines string, take func(name, value string) (keep, ok bool)) (h http.Header, ok bool) {
	n := strings.Count(lines, "\n")
	h = make(http.Header, n)
	values := make([]string, n) // one for each field, cut up
	for lines != "" {
		var line string
		if line, lines, ok = CutLine(lines); !ok {
			return nil, false
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !httpguts.ValidHeaderFieldName(name) {
			return nil, false
		}
		value = textproto.TrimString(value)
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, false
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		keep, ok := take(name, value)
		if !ok {
			return nil, false
		}
		if !keep {
			continue
		}
		values[0] = value
		if have := h[name]; have != nil {
			h[name] = append(have, value)
		} else {
			h[name] = values[:1:1]
		}
		values = values[1:]
	}
	return h, true
}

// Length is a Content-Length (RFC 9110 §8.6) of at most 18 digits.
func Length(value string) (n int64, ok bool) {
	if value == "" || len(value) > 18 {
		return 0, false
	}
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(value[i]-'0')
	}
	return n, true
}
