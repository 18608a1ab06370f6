package upstream_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

var switches = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"tcp"}}

// A connection that was asked to switch, and did not, is not used again: its two
// ends may not agree on what it speaks.
func TestAskedToSwitch(t *testing.T) {
	o := talks(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for {
			if _, ok := request(t, br); !ok {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
		}
	}, nil)
	for range 3 {
		resp, err := o.do(t.Context(), &http.Request{Method: "GET", Header: switches})
		must(t, err)
		if b, err := io.ReadAll(resp.Body); string(b) != "no" || err != nil {
			t.Errorf("%q %v", b, err)
		}
		must(t, resp.Body.Close())
	}
	if n := o.conns.Load(); n != 3 {
		t.Errorf("%d connections for three requests", n)
	}
}

// An upstream that switches before it has the body has not read the request: the
// call fails, and nobody reads the body any more. One that switches behind the
// body gets what is written next behind it.
func TestSwitchUnderAnUpload(t *testing.T) {
	early := talks(t, func(_ int, c net.Conn, br *bufio.Reader) {
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = br.ReadString('\n'); err != nil {
				return
			}
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
		_, _ = io.Copy(io.Discard, br) // until it is closed
	}, nil)
	for _, expect := range []bool{false, true} {
		header := switches.Clone()
		if expect {
			header.Set("Expect", "100-continue")
		}
		pr, pw := io.Pipe()
		if resp, err := early.do(t.Context(), &http.Request{Method: "POST", Body: pr, ContentLength: 9, Header: header}); err == nil {
			t.Errorf("expect %t: %s", expect, resp.Status)
			must(t, resp.Body.Close())
		}
		if expect {
			continue // it was never read
		}
		if _, err := pw.Write([]byte("late")); err == nil {
			t.Error("the body is read still")
		}
	}
	late := talks(t, func(_ int, c net.Conn, br *bufio.Reader) {
		if r, ok := request(t, br); ok {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
			_, _ = io.Copy(c, io.MultiReader(r.Body, strings.NewReader(";"), br))
		}
	}, nil)
	resp, err := late.do(t.Context(), &http.Request{Method: "POST", Body: io.NopCloser(strings.NewReader("body")), ContentLength: 4, Header: switches})
	must(t, err)
	stream := resp.Body.(io.ReadWriteCloser)
	_, err = io.WriteString(stream, "more")
	must(t, err)
	got := make([]byte, len("body;more"))
	if _, err := io.ReadFull(stream, got); string(got) != "body;more" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	must(t, stream.Close())
}
