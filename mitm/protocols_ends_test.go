package mitm_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A watched body tells whether it was read.
type watched struct {
	io.Reader
	read atomic.Bool
}

func (w *watched) Read(p []byte) (int, error) {
	w.read.Store(true)
	return w.Reader.Read(p)
}

func checkExpectMet(t *testing.T, c *cell) {
	body := &watched{Reader: strings.NewReader("hello")}
	req := c.request(t, "POST", "/echo", body)
	req.Header.Set("Expect", "100-continue")
	if resp, got := c.do(t, req); resp.StatusCode != 200 || got != "hello" {
		t.Errorf("%s %q", resp.Status, got)
	}
}

// Who is refused before his body was asked for need not send it. net/http's
// HTTP/2 server keeps the expectation to itself, and asks when the body is read.
func checkExpectRefused(t *testing.T, c *cell) {
	body := &watched{Reader: strings.NewReader("hello")}
	req := c.request(t, "POST", "/unread", body)
	req.Header.Set("Expect", "100-continue")
	resp, got := c.do(t, req)
	if resp.StatusCode != 401 || got != "not read" {
		t.Errorf("%s %q", resp.Status, got)
	}
	if !c.h2 && body.read.Load() {
		t.Errorf("the body was sent")
	}
}

// The whole answer comes while the upload goes on.
func checkEarlyAnswer(t *testing.T, c *cell) {
	r, w := io.Pipe()
	defer w.Close() // always nil
	go io.WriteString(w, "begun")
	resp, err := c.round.RoundTrip(c.request(t, "POST", "/unread", r))
	must(t, err)
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); resp.StatusCode != 401 || string(b) != "not read" || err != nil {
		t.Errorf("%s %q %v", resp.Status, b, err)
	}
}

func checkAnswerToTheEnd(t *testing.T, c *cell) {
	if resp, body := c.do(t, c.request(t, "GET", "/to-the-end", nil)); resp.StatusCode != 200 || body != "to the end" {
		t.Errorf("%s %q", resp.Status, body)
	}
}

// HTTP/1.0 knows no chunks: an answer whose length nobody knows ends with the
// connection, and the connection stays only where the agent asked for it.
func checkHTTP10(t *testing.T, c *cell) {
	w, head := c.raw(t)
	w.send(t, head("POST", "/echo", "HTTP/1.0")+"Connection: keep-alive\r\nContent-Length: 5\r\n\r\nhello")
	if resp, body := w.answer(t, "POST"); resp.StatusCode != 200 || body != "hello" || resp.ContentLength != 5 {
		t.Errorf("kept: %s %q %d", resp.Status, body, resp.ContentLength)
	}
	w.send(t, head("GET", "/stream?type=none", "HTTP/1.0")+"\r\n")
	raw, err := io.ReadAll(w.r)
	must(t, err)
	if s := string(raw); !strings.HasPrefix(s, "HTTP/1.0 200 ") && !strings.HasPrefix(s, "HTTP/1.1 200 ") || strings.Contains(s, "chunked") || !strings.HasSuffix(s, "\r\n\r\n") {
		t.Errorf("empty: %q", s)
	}
	w, head = c.raw(t)
	w.send(t, head("GET", "/trailers", "HTTP/1.0")+"\r\n")
	raw, err = io.ReadAll(w.r)
	must(t, err)
	if s := string(raw); strings.Contains(s, "chunked") || strings.Contains(s, "X-Announced: yes") {
		t.Errorf("trailers: %q", s)
	}
}

func checkWebSocket(t *testing.T, c *cell) {
	w, head := c.raw(t)
	w.send(t, head("GET", "/ws", "HTTP/1.1")+"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Version: 13\r\n\r\n")
	resp, err := http.ReadResponse(w.r, nil)
	must(t, err)
	w.send(t, "\x81\x85\x01\x02\x03\x04igohn") // "hello", masked
	rest, err := io.ReadAll(w.r)
	if want := "\x82\x02hi\x81\x05hello"; resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s" || string(rest) != want || err != nil {
		t.Errorf("%s %q %v, want %q", resp.Status, rest, err, want)
	}
}

// Who has ended his own side gets his answer all the same: one that waits a
// little, and a stream.
func checkHalfClosed(t *testing.T, c *cell) {
	w, head := c.raw(t)
	w.send(t, head("POST", "/stream?type=text/event-stream", "HTTP/1.1")+"Content-Length: 5\r\n\r\nhello")
	w.endWriting(t)
	resp, err := http.ReadResponse(w.r, nil)
	must(t, err)
	for _, piece := range pieces["text/event-stream"] {
		got := make([]byte, len(piece))
		if n, err := io.ReadFull(resp.Body, got); err != nil || string(got) != piece {
			t.Fatalf("%q, %v, want %q", got[:n], err, piece)
		}
		c.goOn(t)
	}
	if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v at the end", rest, err)
	}
	if rest, err := io.ReadAll(w.r); len(rest) > 0 || err != nil {
		t.Errorf("%q, %v behind the answer", rest, err)
	}
}
