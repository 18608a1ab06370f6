package main_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestBytesReachUpstreamAsSent: R13 and the contract's byte fidelity.
func TestBytesReachUpstreamAsSent(t *testing.T) {
	w := newWorld(t)
	for _, target := range []string{
		"/%2F", "/%3F", "/%23", "/a;b", "//", "//x", "/a//b", "/+", "/a+b?c+d=%2B", "/%2f%3f%23;//+",
		"/?", "/?a=%2F&b=%zz", "/%e2%82%ac", "/~tilde/!$&'()*,=:@", "/..;/x", "/\"<>^`{|}", "/a%20b", "/[x]",
	} {
		for _, e := range entrances {
			a := w.do(e, w.token, call{host: "api.test", target: target})
			if a.status != 200 {
				t.Errorf("%s %s: %d %s", e, target, a.status, a.body)
				continue
			}
			line, _, _ := strings.Cut(w.origin.received(), "\r\n")
			if want := "GET " + target + " HTTP/1.1"; line != want {
				t.Errorf("%s: origin got %q, want %q", e, line, want)
			}
		}
	}
}

// TestNothingIsInvented: no header that the agent did not send, but the
// credential, Host and what frames the body.
func TestNothingIsInvented(t *testing.T) {
	w := newWorld(t)
	for _, e := range entrances {
		w.do(e, w.token, call{host: "api.test", target: "/"})
		want := "GET / HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer " + worldCredentials["API_KEY"] + "\r\n\r\n"
		if got := w.origin.received(); got != want {
			t.Errorf("%s: origin got\n%q, want\n%q", e, got, want)
		}
		w.do(e, w.token, call{method: "POST", host: "open.test", target: "/", body: "12345"})
		if got := w.origin.received(); !strings.Contains(got, "Content-Length: 5\r\n") || !strings.HasSuffix(got, "\r\n\r\n12345") {
			t.Errorf("%s: a body with a length lost it: %q", e, got)
		}
		w.do(e, w.token, call{method: "POST", host: "open.test", target: "/", body: "12345", header: []string{"Transfer-Encoding: chunked"}})
		if got := w.origin.received(); !strings.Contains(got, "Transfer-Encoding: chunked\r\n") || strings.Contains(got, "Content-Length") {
			t.Errorf("%s: a chunked body did not stay chunked: %q", e, got)
		}
	}
}

// TestResponsesComeBackAsTheyAre: redirects, early hints, trailers, and what
// must not come back.
func TestResponsesComeBackAsTheyAre(t *testing.T) {
	w := newWorld(t)
	for _, e := range entrances {
		a := w.do(e, w.token, call{host: "api.test", target: "/redirect"})
		if a.status != 302 || a.header.Get("Location") != "https://elsewhere.test/steal" {
			t.Errorf("%s: redirect: %d %v", e, a.status, a.header)
		}
		a = w.do(e, w.token, call{host: "api.test", target: "/headers"})
		for _, name := range []string{"Alt-Svc", "X-Agent-Vault-Proxy-Error", "Content-Security-Policy", "X-Frame-Options", "Content-Type"} {
			if v, ok := a.header[name]; ok {
				t.Errorf("%s: %s: %q came back", e, name, v)
			}
		}
		if got := a.header.Get("X-Echo"); got != "Bearer "+strings.Repeat("*", len(worldCredentials["API_KEY"])) {
			t.Errorf("%s: echoed credential came back as %q", e, got)
		}

		conn, err := w.dial(e, w.token, "default", "api.test")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, w.spell(e, w.token, "default", call{host: "api.test", target: "/hints"}))
		br := bufio.NewReader(conn)
		early, err := http.ReadResponse(br, nil)
		if err != nil || early.StatusCode != 103 || early.Header.Get("Link") == "" {
			t.Fatalf("%s: early hints: %v %v", e, early, err)
		}
		if final, err := readAnswer(br, "GET"); err != nil || final.body != "after hints" || final.header.Get("Link") != "" {
			t.Errorf("%s: after hints: %v %v", e, final, err)
		}
		io.WriteString(conn, w.spell(e, w.token, "default", call{host: "api.test", target: "/trailers"}))
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		if resp.Trailer.Get("X-Sum") != "announced" || resp.Trailer.Get("X-Late") != "unannounced" {
			t.Errorf("%s: trailers %v", e, resp.Trailer)
		}
	}
}

// TestUpstreamDiesMidBody: what is not whole never looks whole.
func TestUpstreamDiesMidBody(t *testing.T) {
	w := newWorld(t)
	for _, e := range entrances {
		conn, err := w.dial(e, w.token, "default", "api.test")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, w.spell(e, w.token, "default", call{host: "api.test", target: "/midbody"}))
		a, err := readAnswer(bufio.NewReader(conn), "GET")
		conn.Close()
		if a.status != 200 || !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) && err == nil {
			t.Errorf("%s: %d %v with %d bytes, want a broken body", e, a.status, err, len(a.body))
		}
		if next := w.do(e, w.token, call{host: "api.test", target: "/"}); next.status != 200 {
			t.Errorf("%s: the next request got %d", e, next.status)
		}
	}
}

// TestEventsArriveAtOnce: an event reaches the agent when the upstream flushes
// it, within 100 ms, while the stream stays open. Each event is sent only when
// the one before has arrived, so none can wait for a next one; and of ten the
// fastest counts, so that a busy machine does not matter but any timer would.
func TestEventsArriveAtOnce(t *testing.T) {
	w := newWorld(t)
	for _, e := range entrances {
		t.Run(string(e), func(t *testing.T) {
			conn, err := w.dial(e, w.token, "default", "api.test")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			id := string(e) + w.token[len(w.token)-8:]
			io.WriteString(conn, w.spell(e, w.token, "default", call{host: "api.test", target: "/events?id=" + id}))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			events := bufio.NewReader(resp.Body)
			fastest := time.Hour
			for n := range 10 {
				line, err := events.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				sent, err := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(line, "data: ")), 10, 64)
				if err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				fastest = min(fastest, time.Since(time.Unix(0, sent)))
				if _, err := events.ReadString('\n'); err != nil {
					t.Fatalf("event %d: %v", n, err)
				}
				w.do(byPath, w.token, call{host: "api.test", target: "/events/next?id=" + id})
			}
			t.Logf("an event arrives after %v", fastest)
			if fastest > 100*time.Millisecond {
				t.Errorf("the fastest of ten events took %v", fastest)
			}
		})
	}
}

// TestBigBodies: 1 GiB each way on each entrance; the server's memory grows by
// less than 64 MiB.
func TestBigBodies(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the time to move 4 GiB; run without -short")
	}
	w := newWorld(t)
	const size = 1 << 30
	before := w.peakMemory(t)
	for _, e := range entrances {
		conn, err := w.dial(e, w.token, "default", "api.test")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		br := bufio.NewReader(conn)
		io.WriteString(conn, w.spell(e, w.token, "default", call{host: "api.test", target: fmt.Sprintf("/download?bytes=%d", size)}))
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil || resp.ContentLength != size {
			t.Errorf("%s: down: %d bytes, %v", e, n, err)
		}
		head := w.spell(e, w.token, "default", call{method: "POST", host: "api.test", target: "/upload", header: []string{fmt.Sprintf("Content-Length: %d", size)}})
		io.WriteString(conn, head)
		if _, err := io.CopyN(conn, zeros{}, size); err != nil {
			t.Fatalf("%s: up: %v", e, err)
		}
		a, err := readAnswer(br, "POST")
		if err != nil || a.body != fmt.Sprintf("%d %d <nil>", size, size) {
			t.Errorf("%s: up: %q %v", e, a.body, err)
		}
	}
	grown := w.peakMemory(t) - before
	t.Logf("peak memory grew by %d MiB", grown>>20)
	if grown > 64<<20 {
		t.Errorf("peak memory grew by %d MiB", grown>>20)
	}
}

// peakMemory is the server's VmHWM in bytes.
func (i *instance) peakMemory(t *testing.T) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", i.cmd.Process.Pid))
	if err != nil {
		t.Skipf("needs /proc to read a process's memory: %v", err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// TestHTTP2 speaks HTTP/2 to the vault and from it, in all combinations.
func TestHTTP2(t *testing.T) {
	w := newWorld(t)
	for _, host := range []string{"api.test", "modern.test"} {
		for _, modern := range []bool{false, true} {
			resp, err := w.client(w.token, modern).Post("https://"+host+"/x", "text/plain", strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			var seen struct {
				Proto, Body string
				Length      int
			}
			err = json.NewDecoder(resp.Body).Decode(&seen)
			resp.Body.Close()
			if err != nil || resp.ProtoMajor == 2 != modern || strings.HasPrefix(seen.Proto, "HTTP/2") != (host == "modern.test") || seen.Body != "hello" || seen.Length != 5 {
				t.Errorf("%s, HTTP/2 to the vault %v: got %s, origin saw %+v, %v", host, modern, resp.Proto, seen, err)
			}
		}
	}
}

// TestInsideTheTunnel: R2. Every request is pinned to the host of its CONNECT.
func TestInsideTheTunnel(t *testing.T) {
	w := newWorld(t)
	rows := []struct {
		name, head string
		status     int
		code       string
	}{
		{"another Host", "GET / HTTP/1.1\r\nHost: open.test\r\n\r\n", 421, "misdirected_request"},
		{"another port", "GET / HTTP/1.1\r\nHost: api.test:8443\r\n\r\n", 421, "misdirected_request"},
		{"absolute form, another host", "GET https://open.test/ HTTP/1.1\r\nHost: open.test\r\n\r\n", 421, "misdirected_request"},
		{"absolute form, host differs from Host", "GET https://open.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n", 421, "misdirected_request"},
		{"absolute form, clear text", "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n", 421, "misdirected_request"},
		{"CONNECT", "CONNECT open.test:443 HTTP/1.1\r\nHost: open.test:443\r\n\r\n", 400, "bad_request"},
		{"no such host", "GET / HTTP/1.1\r\nHost: a_b\r\n\r\n", 421, "misdirected_request"},
		{"malformed", "GET /%zz HTTP/1.1\r\nHost: api.test\r\n\r\n", 400, "bad_request"},
		{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, "bad_request"},
		{"the default port, spelled", "GET / HTTP/1.1\r\nHost: api.test:443\r\n\r\n", 200, ""},
		{"absolute form, same host", "GET https://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n", 200, ""},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			conn, err := w.dial(byProxy, w.token, "default", "api.test")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, r.head)
			a, err := readAnswer(bufio.NewReader(conn), "GET")
			if err != nil || a.status != r.status || r.code != "" && a.fault(t)["error"] != r.code {
				t.Errorf("%d %s %v, want %d %s", a.status, a.body, err, r.status, r.code)
			}
			if strings.Contains(w.origin.received(), "Host: open.test") {
				t.Errorf("the request reached another host:\n%s", w.origin.received())
			}
		})
	}
	t.Run("clear text in a :443 tunnel", func(t *testing.T) {
		conn := w.connect(t, "api.test:443", w.token)
		io.WriteString(conn, "GET /clear HTTP/1.1\r\nHost: api.test\r\n\r\n")
		conn.SetReadDeadline(time.Now().Add(15 * time.Second))
		if got, _ := io.ReadAll(conn); strings.Contains(string(got), "200 OK") {
			t.Errorf("clear text was served: %q", got)
		}
		if strings.Contains(w.origin.received(), "/clear") {
			t.Error("clear text reached the origin")
		}
	})
	t.Run("SNI of another host", func(t *testing.T) {
		conn := w.connect(t, "api.test:443", w.token)
		err := tls.Client(conn, &tls.Config{ServerName: "open.test", RootCAs: w.trust()}).Handshake()
		if err == nil {
			t.Error("the handshake succeeded")
		}
	})
	t.Run("bad authorities", func(t *testing.T) {
		for _, authority := range []string{"[::]:port", "api.test", "api.test:0", "api.test:70000", "api_test:443", "user@api.test:443", "api.test:443:443", "[fe80::1%25eth0]:443", "0x7f.1:443", "127.1:443"} {
			a := w.refusedConnect(t, authority)
			if a.status != 400 || !strings.Contains(a.body, `"bad_request"`) {
				t.Errorf("CONNECT %s: %d %s", authority, a.status, a.body)
			}
		}
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.Proxy, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET http://[::]:port/ HTTP/1.1\r\nHost: x\r\n\r\n")
		if a, err := readAnswer(bufio.NewReader(conn), "GET"); err != nil || a.status != 400 || a.fault(t)["error"] != "bad_request" {
			t.Errorf("http://[::]:port: %d %s %v", a.status, a.body, err)
		}
	})
}

// connect opens a tunnel and leaves it bare.
func (w *world) connect(t *testing.T, authority, token string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.Proxy, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: bearer %s\r\n\r\n", authority, authority, token)
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: "CONNECT"})
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("CONNECT %s: %v %v", authority, resp, err)
	}
	return conn
}

func (w *world) refusedConnect(t *testing.T, authority string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.Proxy, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Bearer %s\r\n\r\n", authority, authority, w.token)
	a, err := readAnswer(bufio.NewReader(conn), "CONNECT")
	if err != nil {
		t.Fatalf("CONNECT %s: %v", authority, err)
	}
	return a
}

// TestAbsoluteForm: http:// on the proxy port reaches a service only where a
// person set clear text for it and named its port (R7).
func TestAbsoluteForm(t *testing.T) {
	w := newWorld(t)
	send := func(url, token string) answer {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		tr := &http.Transport{DisableKeepAlives: true}
		proxy := w.Proxy
		if token != "" {
			proxy = strings.Replace(proxy, "http://", "http://"+token+":default@", 1)
		}
		tr.Proxy = http.ProxyURL(mustURL(t, proxy))
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{resp.StatusCode, resp.Header, string(body)}
	}
	if a := send("http://plain.test:8080/a%2Fb?c", w.token); a.status != 200 || !strings.Contains(a.body, `"uri":"/a%2Fb?c"`) || !strings.Contains(a.body, strings.Repeat("*", 24)) {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := send("http://api.test/", w.token); a.status != 403 || a.fault(t)["error"] != "forbidden" {
		t.Errorf("clear text to an https service: %d %s", a.status, a.body)
	}
	if a := send("http://plain.test:8080/", ""); a.status != 407 || a.fault(t)["error"] != "unauthorized" {
		t.Errorf("without a token: %d %s", a.status, a.body)
	}
	if a := w.do(byPath, w.token, call{host: "plain.test:8080", target: "/"}); a.status != 403 {
		t.Errorf("the path entrance speaks https only: %d %s", a.status, a.body)
	}
}

// TestCuts: R14. What is open ends when its session or its service does, and
// never looks whole.
func TestCuts(t *testing.T) {
	w := newWorld(t)
	for _, e := range entrances {
		for _, r := range []struct {
			name string
			cut  func(token string)
		}{
			{"the session is revoked", w.revoke},
			{"the service is disabled", func(string) {
				w.must(`vaults: [{name: default, services: [{name: api, host: api.test, enabled: false, auth: {type: bearer, token: API_KEY}}]}]`, "apply", "-f", "-")
			}},
			{"the vault is deleted", func(string) {
				if a := w.send("DELETE", "/v1/vaults/default", w.login(), ""); a.status != 200 {
					t.Errorf("%d %s", a.status, a.body)
				}
			}},
		} {
			t.Run(string(e)+"/"+r.name, func(t *testing.T) {
				w.apply(worldDeclaration, worldCredentials)
				token := w.mint("to be cut")
				conn, err := w.dial(e, token, "default", "api.test")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				io.WriteString(conn, w.spell(e, token, "default", call{host: "api.test", target: "/events?id=" + token[len(token)-8:]}))
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				body := bufio.NewReader(resp.Body)
				if _, err := body.ReadString('\n'); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				r.cut(token)
				conn.SetReadDeadline(time.Now().Add(20 * time.Second))
				_, err = io.Copy(io.Discard, body)
				if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the stream went on, or ended cleanly: %v", err)
				}
				t.Logf("cut %v after the change was asked for", time.Since(began))
			})
		}
	}
}
