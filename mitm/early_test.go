package mitm_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A connection whose request was not read to its end carries no other: what is
// left of the body is nobody's request, and the server does not break.
func TestUnreadRequestsEndTheConnection(t *testing.T) {
	for i, r := range []struct {
		name  string
		early bool   // the upstream answers without reading
		body  string // with what ends the header; "$" is a whole request
		rest  string // sent behind the answer
		next  bool   // the body was whole: a request may follow, and is answered
	}{
		{name: "whole", body: "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", rest: "$", next: true},
		{name: "whole, with trailers", body: "Transfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n3\r\nabc\r\n0\r\nX-A: 1\r\n\r\n", rest: "$", next: true},
		{name: "not a chunk", body: "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n$$"},
		{name: "a chunk without its end", body: "Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n$$"},
		{name: "a trailer that is none", body: "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nno trailer\r\n\r\n$$"},
		{name: "nothing but extensions", body: "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1;"+strings.Repeat("x", 3000)+"\r\na\r\n", 20) + "0\r\n\r\n$$"},
		{name: "a token in the body", body: "Transfer-Encoding: chunked\r\n\r\n3d\r\nav_sess_0000000000000000000000000000000000000000000000000000\r\n\r\n$$"},
		{name: "early, chunks to come, HTTP/1.1 upstream", early: true, body: "Transfer-Encoding: chunked\r\n\r\n", rest: "200\r\n$$"},
		{name: "early, chunks to come", early: true, body: "Transfer-Encoding: chunked\r\n\r\n", rest: "200\r\n$$"},
		{name: "early, the end to come", early: true, body: "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", rest: "0\r\n\r\n$$"},
		{name: "early, with an expectation", early: true, body: "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", rest: "$$"},
		{name: "early, with a length alone", early: true, body: "Content-Length: 9\r\n\r\nabc", rest: "defghi$", next: true},
		{name: "early, with a length", early: true, body: "Connection: x\r\nContent-Length: 9\r\n\r\nabc", rest: "defghi$$"},
	} {
		for _, way := range ways1 {
			var asked atomic.Int32
			k := newKit(t, kitOptions{http1: i%2 == 0, upstream: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				asked.Add(1)
				if r.early && req.ContentLength != 0 {
					_ = http.NewResponseController(w).EnableFullDuplex() // answers without reading the body
					w.Header().Set("Connection", "close")
				} else if _, err := io.Copy(io.Discard, req.Body); err != nil {
					return
				}
				_, _ = io.WriteString(w, "answer")
			})})
			w, target, fields := way.open(t, k)
			second := "GET " + target + "/second HTTP/1.1\r\n" + fields + "\r\n"
			w.send(t, "POST "+target+"/first HTTP/1.1\r\n"+fields+strings.ReplaceAll(r.body, "$", second))
			resp, err := http.ReadResponse(w.r, nil)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
			}
			if r.rest != "" && err != nil {
				t.Fatalf("%s, %s: %v", r.name, way.name, err)
			}
			_, _ = io.WriteString(w, strings.ReplaceAll(r.rest, "$", second)) // it may be closed
			_ = w.SetReadDeadline(time.Now().Add(10 * time.Second))
			answer, err := http.ReadResponse(w.r, nil)
			next := r.next && (!r.early || way.name != "absolute") // which is net/http's
			if (err == nil) != next {
				t.Errorf("%s, %s: first %v, and then %v %v", r.name, way.name, resp, answer, err)
			}
			if n := asked.Load(); next && n != 2 || !next && n > 1 {
				t.Errorf("%s, %s: the upstream was asked %d times", r.name, way.name, n)
			}
			if log := k.log.String(); strings.Contains(log, "panic") {
				t.Errorf("%s, %s: %.900s", r.name, way.name, log)
			}
			_ = w.Close()
		}
	}
}

// Who is still sending when an early answer comes is not cut off by a reset, by
// which an answer can be lost.
func TestEarlyAnswersAreNotLost(t *testing.T) {
	k := newKit(t, kitOptions{http1: true, upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // answers without reading the body
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "enough")
	})})
	for _, way := range ways1[:2] { // in a tunnel TLS ends before it
		for range 10 {
			w, target, fields := way.open(t, k)
			w.send(t, "POST "+target+"/ HTTP/1.1\r\n"+fields+"Transfer-Encoding: chunked\r\n\r\n")
			if resp, body := w.answer(t, "POST"); body != "enough" {
				t.Fatalf("%s: %s %s", way.name, resp.Status, body)
			}
			for range 4 {
				w.send(t, "4000\r\n"+strings.Repeat("a", 0x4000)+"\r\n")
			}
			if rest, err := io.ReadAll(w.r); len(rest) > 0 || err != nil {
				t.Errorf("%s: %q, %v", way.name, rest, err)
			}
			_ = w.Close()
		}
	}
}
