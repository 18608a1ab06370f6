package http1

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// same holds what parse finds in a request against what net/http finds.
func same(t *testing.T, b []byte) {
	t.Helper()
	h, ok := parse(b)
	if !ok {
		return
	}
	br := bufio.NewReader(bytes.NewReader(b))
	r, err := http.ReadRequest(br)
	if err != nil {
		t.Fatalf("%q is plain, and net/http says: %v", b, err)
	}
	type found struct {
		Method, Target, Host, URL string
		Header                    http.Header
		Length                    int64
		Close                     bool
		Rest                      int
	}
	rest := len(b) - h.size
	theirs := found{r.Method, r.RequestURI, r.Host, r.URL.String(), r.Header, r.ContentLength, r.Close, br.Buffered()}
	if h.length > 0 {
		theirs.Rest = rest // its reader may have begun with the body
	}
	ours := found{h.method, h.target, h.host, h.url.String(), h.header, h.length, h.close, rest}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("%q: net/http finds -, parse finds +\n%s", b, diff)
	}
	if len(r.TransferEncoding) != 0 || len(r.Trailer) != 0 || r.ProtoMajor != 1 || r.ProtoMinor != 1 {
		t.Errorf("%q is not plain: %v %v %s", b, r.TransferEncoding, r.Trailer, r.Proto)
	}
}

var plainRequests = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a/b%2F?c=d&e HTTP/1.1\r\nHost: api.example.com:8443\r\nX-A: 1\r\nx-a: 2\r\nX_B:\t3 \r\nEmpty:\r\n\r\n",
	"POST /x HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabc",
	"DELETE /x?y HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\nCookie: a=b\r\nCookie: c=d\r\nX-Bytes: \xff\xfe\r\n\r\nGET /next",
}

func TestPlain(t *testing.T) {
	for _, s := range plainRequests {
		if _, ok := parse([]byte(s)); !ok {
			t.Errorf("%q is left", s)
		}
		same(t, []byte(s))
	}
}

// What can be read in more than one way, or asks for more than an answer, is
// net/http's.
func TestNotPlain(t *testing.T) {
	const good = "GET / HTTP/1.1\r\nHost: a\r\n"
	for name, s := range map[string]string{
		"no end":                  good,
		"HTTP/1.0":                "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
		"HTTP/2":                  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"no host":                 "GET / HTTP/1.1\r\nX: a\r\n\r\n",
		"two hosts":               good + "Host: b\r\n\r\n",
		"two equal hosts":         good + "Host: a\r\n\r\n",
		"empty host":              "GET / HTTP/1.1\r\nHost:\r\n\r\n",
		"bad host":                "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
		"CONNECT":                 "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
		"a method in lower case":  "get / HTTP/1.1\r\nHost: a\r\n\r\n",
		"absolute form":           "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"asterisk form":           "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"two slashes":             "GET //a/b HTTP/1.1\r\nHost: a\r\n\r\n",
		"a fragment":              "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
		"a bad escape":            "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
		"a space in the target":   "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
		"two spaces":              "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"bytes in the target":     "GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
		"a line before":           "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a bare LF":               "GET / HTTP/1.1\nHost: a\r\n\r\n",
		"a bare LF inside":        good + "X: a\nY: b\r\n\r\n",
		"a bare CR":               good + "X: a\rY: b\r\n\r\n",
		"a folded line":           good + "X: a\r\n b\r\n\r\n",
		"a space before":          good + " X: a\r\n\r\n",
		"a space before a colon":  good + "X : a\r\n\r\n",
		"no colon":                good + "X\r\n\r\n",
		"no name":                 good + ": a\r\n\r\n",
		"a control byte":          good + "X: a\x00b\r\n\r\n",
		"chunks":                  good + "Transfer-Encoding: chunked\r\n\r\n",
		"chunks and a length":     good + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"two lengths":             good + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"a list of lengths":       good + "Content-Length: 1, 1\r\n\r\n",
		"a signed length":         good + "Content-Length: +1\r\n\r\n",
		"a negative length":       good + "Content-Length: -1\r\n\r\n",
		"an empty length":         good + "Content-Length:\r\n\r\n",
		"a length in hex":         good + "Content-Length: 0x1\r\n\r\n",
		"a length beyond int64":   good + "Content-Length: 9999999999999999999\r\n\r\n",
		"an upgrade":              good + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"an upgrade by itself":    good + "Upgrade: h2c\r\n\r\n",
		"Connection with a name":  good + "Connection: close, X\r\n\r\n",
		"an expectation":          good + "Expect: 100-continue\r\n\r\n",
		"trailers":                good + "Trailer: X\r\n\r\n",
		"Pragma":                  good + "Pragma: no-cache\r\n\r\n",
		"what looks like the end": strings.Repeat("a", 100) + "\r\n\r\n",
	} {
		if _, ok := parse([]byte(s)); ok {
			t.Errorf("%s: %q is taken", name, s)
		}
	}
}

// FuzzParse: what is taken for plain, net/http reads in the same way.
func FuzzParse(f *testing.F) {
	for _, s := range plainRequests {
		f.Add([]byte(s))
	}
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nX:  a \t\r\n\r\nhello"))
	f.Fuzz(func(t *testing.T, b []byte) { same(t, b) })
}
