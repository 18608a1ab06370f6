package mitm_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"agentvault/vault"
)

func (k *kit) revoke(t *testing.T) {
	t.Helper()
	k.source.change(func(s *vault.Snapshot) { s.Sessions = nil })
	must(t, k.broker.Refresh(t.Context()))
}

// ends reports whether the connection ends soon.
func ends(t *testing.T, c net.Conn) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
	var netErr net.Error
	if _, err := io.Copy(io.Discard, c); errors.As(err, &netErr) && netErr.Timeout() {
		t.Errorf("the connection is still open after 5 seconds")
	}
}

// R14: revocation reaches tunnels in every state.
func TestRevocationCutsTunnels(t *testing.T) {
	started := make(chan struct{}, 1)
	cut := make(chan struct{}, 1)
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		started <- struct{}{}
		<-r.Context().Done()
		cut <- struct{}{}
	})})
	connected := k.connect(t, k.token, "api.example.com:443")
	idle := k.open(t, "api.example.com:443", nil)
	streaming := k.open(t, "api.example.com:443", nil)
	_, err := io.WriteString(streaming, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	must(t, err)
	<-started
	blind := k.connect(t, k.loose, "unmatched.example.com:443")
	must(t, tls.Client(blind.Conn, &tls.Config{RootCAs: k.origin, ServerName: "unmatched.example.com"}).Handshake())

	k.revoke(t)
	for _, c := range []net.Conn{connected, idle, streaming, blind} {
		ends(t, c)
	}
	<-cut
	w := k.dial(t)
	w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
	if resp, body := w.answer(t, "CONNECT"); resp.StatusCode != 407 {
		t.Errorf("after revocation: %s %s", resp.Status, body)
	}
}

func TestBlindTunnel(t *testing.T) {
	k := newKit(t, kitOptions{})
	w := k.connect(t, k.loose, "unmatched.example.com:443")
	c := tls.Client(w.Conn, &tls.Config{RootCAs: k.origin, ServerName: "unmatched.example.com"})
	if err := c.Handshake(); err != nil {
		t.Fatalf("the upstream's own certificate does not come through: %v", err)
	}
	in := &wire{Conn: c, r: bufio.NewReader(c)}
	in.send(t, "GET /x HTTP/1.1\r\nHost: unmatched.example.com\r\nAuthorization: Bearer mine\r\n\r\n")
	if resp, body := in.answer(t, "GET"); resp.Header.Get("X-Saw-Authorization") != "Bearer mine" {
		t.Errorf("%s %q %s", resp.Status, resp.Header.Get("X-Saw-Authorization"), body)
	}
	// A host with a service is intercepted in such a vault too.
	w = k.connect(t, k.loose, "api.example.com:443")
	must(t, tls.Client(w.Conn, &tls.Config{RootCAs: k.roots, ServerName: "api.example.com"}).Handshake())
	// What the guard blocks is answered instead of the 200.
	w = k.dial(t)
	w.send(t, "CONNECT private.example.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer "+k.loose+"\r\n\r\n")
	if resp, body := w.answer(t, "CONNECT"); resp.StatusCode != 403 || fault(t, resp, body) != "network_blocked" {
		t.Errorf("CONNECT to a private address: %s %s", resp.Status, body)
	}
}

// R4: an address is no name, so it is never let through blindly.
// Nor to a name that cannot exist, which is refused inside as well.
func TestNoBlindTunnelToAnAddress(t *testing.T) {
	k := newKit(t, kitOptions{})
	address := k.upstream.Listener.Addr().String()
	for authority, name := range map[string]string{address: "127.0.0.1", "doctor.agent-vault.invalid:443": "doctor.agent-vault.invalid"} {
		w := k.connect(t, k.loose, authority)
		c := tls.Client(w.Conn, &tls.Config{RootCAs: k.roots, ServerName: name})
		if err := c.Handshake(); err != nil {
			t.Fatalf("the tunnel to %s is not intercepted: %v", authority, err)
		}
		in := &wire{Conn: c, r: bufio.NewReader(c)}
		in.send(t, "GET / HTTP/1.1\r\nHost: "+authority+"\r\n\r\n")
		if resp, body := in.answer(t, "GET"); resp.StatusCode != 403 || fault(t, resp, body) != "forbidden" {
			t.Errorf("%s: %s %s", authority, resp.Status, body)
		}
	}
}

// An agent that resets its streams while 1xx answers come does not harm the
// process. (net/http's HTTP/2 server encodes the header of a 1xx on another
// goroutine, and no longer waits for it once the stream is reset.)
func TestInterimAnswersToResetStreams(t *testing.T) {
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for i := range 500 {
			w.Header().Set(fmt.Sprintf("X-Field-%d", i), strings.Repeat("v", 200))
		}
		for range 3 {
			w.WriteHeader(http.StatusEarlyHints)
		}
		_, _ = io.WriteString(w, "done")
	})})
	client := k.client(t, k.token, true)
	var streams sync.WaitGroup
	for range 8 {
		streams.Go(func() {
			for n := range 25 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(n)*200*time.Microsecond)
				req, err := http.NewRequestWithContext(ctx, "GET", "https://api.example.com/", nil)
				if err == nil {
					var resp *http.Response
					if resp, err = client.Do(req); err == nil {
						_ = resp.Body.Close()
					}
				}
				cancel()
			}
		})
	}
	streams.Wait()
	resp, err := client.Get("https://api.example.com/")
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != 200 || string(body) != "done" {
		t.Errorf("%s %q", resp.Status, body)
	}
}

func TestUpgradeInsideATunnel(t *testing.T) {
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02%s", r.Header.Get("Sec-WebSocket-Key"))
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(c, "\x81\x06"+line)
	})})
	c := k.open(t, "api.example.com:443", nil)
	w := &wire{Conn: c, r: bufio.NewReader(c)}
	w.send(t, "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k1\r\n\r\n")
	resp, err := http.ReadResponse(w.r, nil)
	must(t, err)
	w.send(t, "hello\n")
	rest, err := io.ReadAll(w.r)
	must(t, err)
	if resp.StatusCode != 101 || string(rest) != "\x81\x02k1\x81\x06hello\n" {
		t.Errorf("%s %q", resp.Status, rest)
	}
}

// A tunnel in which no byte moves for ten minutes ends, whatever waits in it.
func TestIdleTunnelEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		block := make(chan struct{})
		ln := newPipeListener()
		k := newKit(t, kitOptions{listener: ln, newID: func() string {
			<-block
			return "id"
		}})
		k.upstream.Close() // its listener is of the real world
		theirs, ours := net.Pipe()
		ln.conns <- ours
		c := &wire{Conn: theirs, r: bufio.NewReader(theirs)}
		connectOn(t, k, c)
		secure := tls.Client(c.Conn, &tls.Config{RootCAs: k.roots, ServerName: "api.example.com"})
		must(t, secure.Handshake())
		<-time.After(5 * time.Second) // of the bubble's time
		_, err := io.WriteString(secure, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
		must(t, err)
		start := time.Now()
		_, _ = io.Copy(io.Discard, c.Conn)
		if took := time.Since(start); took < 10*time.Minute || took > 10*time.Minute+time.Second {
			t.Errorf("ended after %v, want 10m", took)
		}
		close(block)
	})
}

// The handshake's deadline does not reach into what comes after it.
func TestSlowAnswerOutlivesTheHandshakesDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		settle(t)
		ln := newPipeListener()
		k := newKit(t, kitOptions{listener: ln, newID: func() string {
			<-time.After(20 * time.Second) // of the bubble's time
			return "id"
		}})
		k.upstream.Close() // its listener is of the real world
		theirs, ours := net.Pipe()
		ln.conns <- ours
		c := &wire{Conn: theirs, r: bufio.NewReader(theirs)}
		connectOn(t, k, c)
		secure := tls.Client(c.Conn, &tls.Config{RootCAs: k.roots, ServerName: "api.example.com"})
		w := &wire{Conn: secure, r: bufio.NewReader(secure)}
		w.send(t, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
		if resp, body := w.answer(t, "GET"); resp.StatusCode != 502 {
			t.Errorf("after 20 seconds: %s %s, want 502 (the upstream is down)", resp.Status, body)
		}
		// An agent that stays and does not read would hold Shutdown's alert up, and
		// with it a lock of net/http's for which the bubble's time stands still.
		must(t, theirs.Close())
	})
}

// settle lets what net/http does behind a connection's end come to its own, at
// the end of a bubble.
func settle(t *testing.T) { t.Cleanup(func() { <-time.After(time.Minute) }) }

func TestShutdownDrains(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-release
		_, _ = io.WriteString(w, "whole")
	})})
	idle := k.open(t, "api.example.com:443", func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
	blind := k.connect(t, k.loose, "unmatched.example.com:443")
	got := make(chan string, 1)
	go func() {
		resp, err := k.client(t, k.token, true).Get("https://api.example.com/")
		if err != nil {
			got <- err.Error()
			return
		}
		b, err := io.ReadAll(resp.Body)
		got <- fmt.Sprint(string(b), err)
	}()
	<-started
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { done <- k.proxy.Shutdown(ctx) }()
	ends(t, blind)
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned (%v) while a request is under way", err)
	default:
	}
	close(release)
	if s := <-got; s != "whole<nil>" {
		t.Errorf("the request under way got %q", s)
	}
	if err := <-done; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	ends(t, idle)
	if _, err := net.Dial("tcp", k.addr); err == nil {
		t.Errorf("the port still accepts")
	}
}

func TestShutdownCutsStragglers(t *testing.T) {
	started := make(chan struct{})
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(started)
		<-r.Context().Done()
	})})
	c := k.open(t, "api.example.com:443", nil)
	_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	must(t, err)
	<-started
	half := k.connect(t, k.token, "api.example.com:443") // in the midst of its handshake
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.proxy.Shutdown(ctx); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "api.example.com") {
		t.Errorf("Shutdown: %v, want context.Canceled", err)
	}
	ends(t, c)
	ends(t, half)
}
