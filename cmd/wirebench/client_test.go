package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadHead(t *testing.T) {
	for _, tt := range []struct {
		head           string
		status, length int
		keep           bool
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", 200, 12, true},
		{"HTTP/1.1 200 OK\r\ncontent-length:0\r\nX: y\r\n\r\n", 200, 0, true},
		{"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n", 403, chunked, false},
		{"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, untilClose, true},
	} {
		status, length, keep, err := readHead(bufio.NewReader(strings.NewReader(tt.head)))
		if err != nil || status != tt.status || length != tt.length || keep != tt.keep {
			t.Errorf("%q: %d, %d, %v, %v", tt.head, status, length, keep, err)
		}
	}
	for _, bad := range []string{"", "\r\n", "HTTP/2 200 OK\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b"} {
		if _, _, _, err := readHead(bufio.NewReader(strings.NewReader(bad))); err == nil {
			t.Errorf("%q is taken for a head", bad)
		}
	}
}

func TestChunks(t *testing.T) {
	for body, want := range map[string]string{
		"0\r\n\r\n":               "",
		"5\r\nhello\r\n0\r\n\r\n": "hello",
		"5;x=y\r\nhello\r\nA\r\n, everyone\r\n0\r\nT: u\r\n\r\n": "hello, everyone",
	} {
		r := bufio.NewReader(iotest.OneByteReader(strings.NewReader(body + "next")))
		got, err := io.ReadAll(&chunks{r: r})
		if err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", body, got, err)
		}
		if rest, err := io.ReadAll(r); err != nil || string(rest) != "next" {
			t.Errorf("%q: what follows it is %q, %v", body, rest, err)
		}
	}
	for _, bad := range []string{"", "x\r\n", "5\r\nhel", "5\r\nhello\r\n", "0\r\n"} {
		if got, err := io.ReadAll(&chunks{r: bufio.NewReader(strings.NewReader(bad))}); err == nil {
			t.Errorf("%q passes as %q", bad, got)
		}
	}
}

// TestExchange: only 200 with the very bytes wanted passes.
func TestExchange(t *testing.T) {
	const want = "right"
	for answer, ok := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright":                            true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n\r\n": true,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong":                            false,
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nrights":                           false,
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrigh":                             false,
		"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nright":                            false,
		"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nright":                            false,
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nright":       false,
	} {
		near, far := net.Pipe()
		done := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(far, make([]byte, len("ask")))
			if err == nil {
				_, err = io.WriteString(far, answer)
			}
			far.Close()
			done <- err
		}()
		err := (&client{near, bufio.NewReader(near)}).exchange([]byte("ask"), []byte(want), make([]byte, len(want)+1))
		near.Close()
		<-done // that nobody read to the end is as it should be
		if (err == nil) != ok {
			t.Errorf("%q: %v", answer, err)
		}
	}
}

func TestFrames(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 256, 65535} {
		for _, masked := range []bool{false, true} {
			text := bytes.Repeat([]byte("x"), n)
			frame := appendFrame(nil, text, masked)
			got, err := readFrame(bufio.NewReader(bytes.NewReader(frame)), nil)
			if err != nil || !bytes.Equal(got, text) {
				t.Errorf("%d bytes, masked %v: %d bytes, %v", n, masked, len(got), err)
			}
			if _, err := readFrame(bufio.NewReader(bytes.NewReader(frame[:len(frame)-1])), nil); err == nil {
				t.Errorf("%d bytes, masked %v: a short frame passes", n, masked)
			}
		}
	}
	// RFC 6455 §1.3
	if got := accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Errorf("accept = %q", got)
	}
}

func TestArrivals(t *testing.T) {
	const two = "data: {\"sent\": 1, \"delta\": \"a\"}\n\ndata: {\"sent\": 2, \"delta\": \"b\"}\n\n"
	if took, err := arrivals(strings.NewReader(two)); err != nil || len(took) != 2 {
		t.Errorf("arrivals = %v, %v", took, err)
	}
	for _, bad := range []string{"event: x\n\n", "data: {\"sent\": x, \n\n", "data: {\"sent\": 1, \"delta\": \"a\"}\n\n!\n"} {
		if took, err := arrivals(strings.NewReader(bad)); err == nil {
			t.Errorf("%q passes as %v", bad, took)
		}
	}
}
