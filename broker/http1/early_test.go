package http1_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"agentvault/broker/http1"
)

// Requests that came together stay whole and in order, also when more comes while
// the first is served and the server looks for an agent that goes.
func TestRequestsComeEarly(t *testing.T) {
	get := func(n int) string { return fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", n) }
	post := func(n int) string {
		return fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: h\r\nContent-Length: 64\r\n\r\n%-64s", n, get(9))
	}
	const last = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	for _, first := range []string{get(1), post(1)} {
		long := first
		for len(long) < 20<<10 { // more than a buffer
			long += get(2)
		}
		for _, all := range []string{first + last, first + get(2) + last, first + post(2) + last, long + last} {
			for _, at := range []int{len(first), len(first) + 1, len(first) + 30, len(all) - len(last) - 5, len(all) - len(last), len(all) - 1} {
				testEarly(t, all, max(at, len(first)))
			}
		}
	}
}

// testEarly sends what stands behind a place while the first request is served.
func testEarly(t *testing.T, all string, at int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	began := make(chan struct{})
	looked := make(chan struct{}, 1)
	s := http1.New(http1.Options{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			must(t, err)
			if r.RequestURI == "/1" {
				close(began)
				<-looked
			}
			fmt.Fprintf(w, "<%s>", r.RequestURI)
		}),
		HeaderTimeout: time.Minute, IdleTimeout: time.Minute, StallTimeout: time.Minute, Leave: func(c net.Conn) { c.Close() },
	})
	c := dial(t, ln.Addr().String())
	nc, err := ln.Accept()
	must(t, err)
	must(t, ln.Close())
	s.Serve(&lookedAt{Conn: nc, began: began, looked: looked})
	_, err = io.WriteString(c, all[:at])
	must(t, err)
	<-began
	_, err = io.WriteString(c, all[at:])
	must(t, err)
	answers, err := io.ReadAll(c)
	var got, want []string
	for _, answer := range strings.SplitAfter(string(answers), ">") {
		if _, target, ok := strings.Cut(answer, "<"); ok {
			got = append(got, strings.TrimSuffix(target, ">"))
		}
	}
	for _, line := range strings.Split(all, "\r\n") {
		if f := strings.Fields(line); len(f) == 3 && f[1] != "/9" {
			want = append(want, f[1])
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || err != nil {
		t.Errorf("%d bytes, then %.100q:\n got %.100q\nwant %.100q, %v", at, all[at:], got, want, err)
	}
	must(t, s.Shutdown(t.Context()))
}

// lookedAt tells when a byte was read while a request was served.
type lookedAt struct {
	net.Conn
	began, looked chan struct{}
}

func (c *lookedAt) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.began:
		if len(p) == 1 && n == 1 {
			select {
			case c.looked <- struct{}{}:
			default: // a wait for the next request
			}
		}
	default:
	}
	return n, err
}
