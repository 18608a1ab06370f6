package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"agentvault/vault/seal"
)

// proxyThat talks with whoever connects, one after the other.
func proxyThat(t *testing.T, scheme string, talk func(n int, c net.Conn)) *Egress {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ; n++ {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			talk(n, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	at := netip.MustParseAddrPort(ln.Addr().String())
	return &Egress{Scheme: scheme, Host: at.Addr().String(), Port: at.Port()}
}

// request reads up to the end of a CONNECT's header.
func request(c net.Conn) string {
	var b []byte
	for one := make([]byte, 1); !bytes.HasSuffix(b, []byte("\r\n\r\n")); b = append(b, one...) {
		if _, err := c.Read(one); err != nil {
			break
		}
	}
	return string(b)
}

// A proxy that says nothing, wherever it stops, holds the dial no longer than
// its time, and a cut ends it at once.
func TestEgressStalls(t *testing.T) {
	for scheme, begin := range map[string]string{"http": "HTTP/1.1 200 OK\r\n", "https": "\x16\x03\x03", "socks5": "\x05\x00"} {
		heard := make(chan struct{}, 2)
		e := proxyThat(t, scheme, func(_ int, c net.Conn) {
			_, _ = io.WriteString(c, begin)
			_, _ = c.Read(make([]byte, 1))
			heard <- struct{}{}
			_, _ = io.Copy(io.Discard, c)
		})
		d := &Dialer{Egress: e}
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := d.DialContext(short, "tcp", "93.184.216.34:443")
		cancel()
		<-heard
		var egress *EgressError
		if !errors.As(err, &egress) || egress.code() != CodeUpstreamTimeout || egress.Message != "the egress proxy did not answer in time" {
			t.Errorf("%s: %v", scheme, err)
		}
		cut, cancel := context.WithCancel(t.Context())
		go func() { <-heard; cancel() }()
		if _, err := d.DialContext(cut, "tcp", "93.184.216.34:443"); !errors.As(err, &egress) {
			t.Errorf("%s, cut: %v", scheme, err)
		}
		cancel()
	}
}

// Bytes of the upstream that come in one packet with the proxy's answer are the
// connection's first, and one half of it can be closed.
func TestEgressBytesBehindTheAnswer(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 Connection established\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		got := make(chan string, 1)
		e := proxyThat(t, "http", func(_ int, c net.Conn) {
			_ = request(c)
			_, _ = io.WriteString(c, answer+"220 hello")
			_, _ = io.WriteString(c, " and more")
			b, _ := io.ReadAll(c)
			got <- string(b)
		})
		c, err := (&Dialer{Egress: e}).DialContext(t.Context(), "tcp", "93.184.216.34:25")
		if err != nil {
			t.Errorf("%q: %v", answer, err)
			continue
		}
		_, _ = io.WriteString(c, "EHLO")
		closeWrite(c)
		b, err := io.ReadAll(c)
		if there := <-got; string(b) != "220 hello and more" || err != nil || there != "EHLO" {
			t.Errorf("%q: %q %v, there %q", answer, b, err, there)
		}
		c.Close()
	}
}

// What the proxy could not reach may have another address; what it refuses has
// not.
func TestEgressAsksForTheNextAddress(t *testing.T) {
	addrs := []netip.Addr{netip.MustParseAddr("2606:2800::1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("93.184.216.34")}
	for _, r := range []struct {
		status int
		asked  string
	}{{502, "[2606:2800::1]:443 93.184.216.34:443"}, {403, "[2606:2800::1]:443"}, {407, "[2606:2800::1]:443"}} {
		lines := make(chan string, len(addrs))
		e := proxyThat(t, "http", func(n int, c net.Conn) {
			line, _, _ := strings.Cut(request(c), "\r\n")
			lines <- strings.Fields(line)[1]
			status := 200
			if n == 0 {
				status = r.status
			}
			fmt.Fprintf(c, "HTTP/1.1 %d x\r\n\r\n", status)
			_, _ = c.Read(make([]byte, 1)) // until it was read
		})
		c, err := (&Dialer{Egress: e}).firstOf(t.Context(), addrs, 443)
		if err == nil {
			c.Close()
		}
		asked := make([]string, len(lines))
		for i := range asked {
			asked[i] = <-lines
		}
		if got := strings.Join(asked, " "); got != r.asked || (err == nil) != (r.status == 502) {
			t.Errorf("%d: asked for %s, want %s; %v", r.status, got, r.asked, err)
		}
	}
}

func TestEgressRequest(t *testing.T) {
	e := &Egress{Scheme: "http", Host: "proxy.example.com", Port: 3128, User: "Aladdin", Password: seal.NewPlaintext([]byte("open sesame"))}
	want := "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n" // RFC 7617 §2
	if got := e.connectRequest("[2001:db8::1]:443"); got != want {
		t.Errorf("%q", got)
	}
	if got := fmt.Sprintf("%v %+v %#v %s", e, *e, *e, e); strings.Contains(got, "sesame") || !strings.HasPrefix(got, "http://proxy.example.com:3128 ") {
		t.Error(got)
	}
}

// inMemory is a connection that gives its bytes and ends.
type inMemory struct {
	net.Conn
	io.Reader
}

func (c inMemory) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// FuzzConnectAnswer: whatever a proxy sends, an answer that is taken ends with
// an empty line within the bound, and what stands behind it is lost in no byte.
func FuzzConnectAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 Connection established\r\nVia: x\r\n\r\nhello", "HTTP/1.1 407 x\r\n\r\n", "HTTP/1.1 200 OK\n\n\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello", "\x05\x00", "",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", maxConnectAnswer),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		status, c, err := readConnectAnswer(inMemory{Reader: bytes.NewReader(sent)})
		if err != nil {
			return
		}
		rest, err := io.ReadAll(c)
		head, ok := bytes.CutSuffix(sent, rest)
		if err != nil || !ok || status < 0 || status > 999 || len(head) > maxConnectAnswer ||
			!bytes.HasSuffix(head, []byte("\n\r\n")) && !bytes.HasSuffix(head, []byte("\n\n")) {
			t.Errorf("%q: %d, then %q %v", sent, status, rest, err)
		}
	})
}
