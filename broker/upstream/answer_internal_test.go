package upstream

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// found is what was found in an answer, and what is left behind it.
type found struct {
	Status, Proto string
	Code          int
	Header        http.Header
	Length        int64
	Close         bool
	Coding        []string
	Trailer       http.Header
	Body, Err     string
	Rest          string
}

func find(resp *http.Response, r *bufio.Reader) found {
	f := found{resp.Status, resp.Proto, resp.StatusCode, resp.Header, resp.ContentLength, resp.Close, resp.TransferEncoding, resp.Trailer, "", "", ""}
	b, err := io.ReadAll(resp.Body)
	f.Body = string(b)
	if err != nil {
		f.Err = err.Error()
	} else {
		rest, _ := io.ReadAll(r) // of what is in memory
		f.Rest = string(rest)
	}
	return f
}

// same holds what plainAnswer finds against what net/http finds, and reports
// whether it is a plain one.
func same(t *testing.T, b []byte) bool {
	t.Helper()
	req := &http.Request{Method: "GET"}
	ours := bufio.NewReader(bytes.NewReader(b))
	_, _ = ours.Peek(1) // what is at hand
	resp := plainAnswer(ours, req)
	if resp == nil {
		if rest, _ := io.ReadAll(ours); !bytes.Equal(rest, b) {
			t.Errorf("%q is not plain, and %q is left of it", b, rest)
		}
		return false
	}
	r := bufio.NewReader(bytes.NewReader(b))
	theirs, err := http.ReadResponse(r, req)
	if err != nil {
		t.Fatalf("%q is plain, and net/http says: %v", b, err)
	}
	if diff := cmp.Diff(find(theirs, r), find(resp, ours)); diff != "" {
		t.Errorf("%q: net/http finds -, plainAnswer finds +\n%s", b, diff)
	}
	return true
}

var plainAnswers = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
	"HTTP/1.1 404 Not  Found\r\ncontent-length:0\r\nX-A: 1\r\nx-a: 2\r\nX_B:\t3 \r\nEmpty:\r\nConnection: close\r\n\r\n",
	"HTTP/1.1 503 x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-Bytes: \xff\xfe\r\nContent-Length: 3\r\nConnection: Keep-Alive\r\n\r\nabcHTTP/1.1",
	"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nbreaks off",
	"HTTP/1.1 999 x \r\nContent-Length: 1\r\n\r\n1",
}

func TestPlainAnswers(t *testing.T) {
	for _, s := range plainAnswers {
		if !same(t, []byte(s)) {
			t.Errorf("%q is not plain", s)
		}
	}
}

// What has no length, or can be read in more than one way, is net/http's.
func TestAnswersThatAreNotPlain(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
	for name, s := range map[string]string{
		"no end":                good,
		"HTTP/1.0":              strings.Replace(good, "1.1", "1.0", 1) + "\r\nok",
		"an interim one":        "HTTP/1.1 103 x\r\nContent-Length: 2\r\n\r\nok",
		"204":                   "HTTP/1.1 204 x\r\nContent-Length: 2\r\n\r\nok",
		"304":                   "HTTP/1.1 304 x\r\nContent-Length: 2\r\n\r\nok",
		"no reason":             "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
		"empty reason":          "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok",
		"two spaces":            "HTTP/1.1 200  OK\r\nContent-Length: 2\r\n\r\nok",
		"a long code":           "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
		"a signed code":         "HTTP/1.1 +20 OK\r\nContent-Length: 2\r\n\r\nok",
		"no length":             "HTTP/1.1 200 OK\r\n\r\nok",
		"two lengths":           good + "Content-Length: 2\r\n\r\nok",
		"a signed length":       "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
		"a list of lengths":     "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
		"an empty length":       "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok",
		"a very long length":    "HTTP/1.1 200 OK\r\nContent-Length: 1234567890123456789\r\n\r\nok",
		"chunks":                good + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		"trailers":              good + "Trailer: X\r\n\r\nok",
		"an upgrade":            good + "Upgrade: h2c\r\n\r\nok",
		"a list of connections": good + "Connection: close, x\r\n\r\nok",
		"two connections":       good + "Connection: close\r\nConnection: keep-alive\r\n\r\nok",
		"a pragma":              good + "Pragma: no-cache\r\n\r\nok",
		"a folded line":         good + "X: a\r\n b\r\n\r\nok",
		"a space in a name":     good + "X : a\r\n\r\nok",
		"no colon":              good + "X\r\n\r\nok",
		"no name":               good + ": x\r\n\r\nok",
		"a line feed alone":     good + "X: a\n\r\nok",
		"a carriage return":     good + "X: a\rb\r\n\r\nok",
		"a zero byte":           good + "X: a\x00b\r\n\r\nok",
	} {
		if same(t, []byte(s)) {
			t.Errorf("%s: %q is plain", name, s)
		}
	}
	for _, method := range []string{"HEAD", "CONNECT"} {
		r := bufio.NewReader(strings.NewReader(plainAnswers[0]))
		_, _ = r.Peek(1) // what is at hand
		if plainAnswer(r, &http.Request{Method: method}) != nil {
			t.Errorf("an answer to %s is plain", method)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, s := range plainAnswers {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b) })
}
