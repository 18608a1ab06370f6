package gallery_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// An answer is one that an origin gives by the rules, to HTTP/1.1 and HTTP/2
// alike. Text is a list of pieces: each is written by itself, so that it
// reaches the vault's reader by itself.
type answer struct {
	interim []field // of a 103 in front, if any
	status  int     // 0 is 200
	reason  []string
	header  []field
	body    []string
	framing string // "length" (the default), "chunked" or "close"
	trailer []field
	hangUp  bool // close afterwards
}

type field struct {
	name  []string
	value []string
}

func plainField(name string, value ...string) field { return field{[]string{name}, value} }

// writes returns the pieces of the HTTP/1.1 form.
func (a *answer) writes(method string) []string {
	var out []string
	fields := func(list []field) {
		for _, f := range list {
			out = append(append(out, f.name...), ": ")
			out = append(append(out, f.value...), "\r\n")
		}
		out = append(out, "\r\n")
	}
	if a.interim != nil {
		out = append(out, "HTTP/1.1 103 Early Hints\r\n")
		fields(a.interim)
	}
	out = append(out, fmt.Sprintf("HTTP/1.1 %d ", a.code()))
	if a.reason == nil {
		out = append(out, http.StatusText(a.code()))
	}
	out = append(append(out, a.reason...), "\r\n")
	header := a.header
	chunked := a.framing == "chunked" || a.trailer != nil
	switch {
	case a.code() == http.StatusSwitchingProtocols || a.framing == "close":
	case chunked:
		header = append(header, plainField("Transfer-Encoding", "chunked"))
		for _, f := range a.trailer {
			header = append(header, plainField("Trailer", strings.Join(f.name, "")))
		}
	default:
		header = append(header, plainField("Content-Length", fmt.Sprint(len(strings.Join(a.body, "")))))
	}
	fields(header)
	if method == http.MethodHead {
		return out
	}
	for _, piece := range a.body {
		if chunked && piece != "" {
			piece = fmt.Sprintf("%x\r\n%s\r\n", len(piece), piece)
		}
		out = append(out, piece)
	}
	if chunked {
		out = append(out, "0\r\n")
		fields(a.trailer)
	}
	return out
}

func (a *answer) code() int {
	if a.status == 0 {
		return http.StatusOK
	}
	return a.status
}

// writeTo sends it and reports whether the connection goes on.
func (a *answer) writeTo(s *stream, method string) bool {
	for _, piece := range a.writes(method) {
		if piece == "" {
			continue
		}
		if _, err := io.WriteString(s, piece); err != nil {
			return false
		}
	}
	return !a.hangUp && a.framing != "close" && a.code() != http.StatusSwitchingProtocols
}

// writeModern sends it over HTTP/2, where a field cannot be torn.
func (a *answer) writeModern(w http.ResponseWriter) {
	set := func(list []field, prefix string) {
		for _, f := range list {
			w.Header().Add(prefix+strings.Join(f.name, ""), strings.Join(f.value, ""))
		}
	}
	if a.interim != nil {
		set(a.interim, "")
		w.WriteHeader(http.StatusEarlyHints)
		clear(w.Header())
	}
	set(a.header, "")
	w.WriteHeader(a.code())
	for _, piece := range a.body {
		io.WriteString(w, piece)
		http.NewResponseController(w).Flush()
	}
	set(a.trailer, http.TrailerPrefix)
}

// codings are the content codings that pieces of a body are sent in. Each
// piece is flushed, so that it can be decoded as soon as it is there.
var codings = map[string]func([]string) []string{
	"identity":    func(pieces []string) []string { return pieces },
	"gzip":        coded(func(w io.Writer) flusher { return gzip.NewWriter(w) }),
	"deflate":     coded(func(w io.Writer) flusher { return zlib.NewWriter(w) }),
	"deflate-raw": coded(func(w io.Writer) flusher { f, _ := flate.NewWriter(w, 6); return f }),
	"br":          coded(func(w io.Writer) flusher { return brotli.NewWriter(w) }),
	"zstd":        coded(func(w io.Writer) flusher { z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)); return z }),
}

type flusher interface {
	io.WriteCloser
	Flush() error
}

func coded(open func(io.Writer) flusher) func([]string) []string {
	return func(pieces []string) []string {
		var out []string
		var b bytes.Buffer
		w := open(&b)
		for _, p := range pieces {
			io.WriteString(w, p)
			w.Flush()
			out = append(out, b.String())
			b.Reset()
		}
		w.Close()
		return append(out, b.String())
	}
}

// nameOfCoding is what Content-Encoding calls it.
func nameOfCoding(c string) string { return strings.TrimSuffix(c, "-raw") }

// decode undoes the content codings of a body, as far as they can be undone. It
// is what an agent could do with what it got.
func decode(contentEncoding string, body []byte) []byte {
	names := strings.Split(contentEncoding, ",")
	for i := len(names) - 1; i >= 0; i-- {
		var r io.Reader
		var err error
		switch src := bytes.NewReader(body); strings.ToLower(strings.TrimSpace(names[i])) {
		case "gzip", "x-gzip":
			r, err = gzip.NewReader(src)
		case "deflate":
			if r, err = zlib.NewReader(src); err != nil {
				src.Reset(body)
				r, err = flate.NewReader(src), nil
			}
		case "br":
			r = brotli.NewReader(src)
		case "zstd":
			r, err = zstd.NewReader(src, zstd.WithDecoderConcurrency(1))
		default:
			continue
		}
		if err != nil {
			return body
		}
		if body, err = io.ReadAll(io.LimitReader(r, 4<<20)); err != nil {
			return body // whatever was readable
		}
	}
	return body
}

// TestCodings: what is coded here can be decoded here.
func TestCodings(t *testing.T) {
	pieces := []string{"one ", "two ", strings.Repeat("three ", 1000)}
	for name, encode := range codings {
		if got := decode(nameOfCoding(name), []byte(strings.Join(encode(pieces), ""))); string(got) != strings.Join(pieces, "") {
			t.Errorf("%s: %.40q", name, got)
		}
	}
}
