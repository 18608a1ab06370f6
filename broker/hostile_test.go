package broker_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/vault"
)

// TestWebSocketWithABody: a handshake has no body. One that has would go on
// being read from a connection that is the WebSocket's by then.
func TestWebSocketWithABody(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				conn.Close()
			}
			return
		}
		_ = http.NewResponseController(w).EnableFullDuplex() // answers without reading the body
		io.WriteString(w, "no upgrade")
	}), nil)
	addr := k.listen(t, k.request(t, "example.com", "/"))
	const upgrade = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	for _, head := range []string{
		"GET / HTTP/1.1\r\n" + upgrade + "Content-Length: 999999999\r\n\r\n",
		"GET / HTTP/1.1\r\n" + upgrade + "Transfer-Encoding: chunked\r\n\r\n",
		"POST / HTTP/1.1\r\n" + upgrade + "\r\n",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			io.WriteString(conn, head)
			for range 200 { // a flood, until somebody closes
				if _, err := io.WriteString(conn, strings.Repeat("5\r\nhello\r\n", 100)); err != nil {
					return
				}
			}
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%.20q: %v %v, want an answer without upgrade", head, resp, err)
		}
		conn.Close()
	}
	if w := k.get(t, "example.com", "/"); w.Code != 200 {
		t.Errorf("the next request: %d", w.Code)
	}
}

// TestCredentialInNames: R10 holds for the names of header fields and trailers,
// whatever their case, for 1xx answers, and for the Upgrade of a WebSocket.
func TestCredentialInNames(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ws":
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket, %s\r\nX-%[1]s: a\r\n\r\n", credential)
		default:
			w.Header().Set("X-"+credential, "in a name")
			w.Header().Set("Link", credential)
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Trailer", "X-T-"+credential)
			io.WriteString(w, "body")
			w.Header().Set("X-T-"+credential, "announced")
			w.Header().Set(http.TrailerPrefix+"X-L-"+credential, "late")
			w.Header().Set(http.TrailerPrefix+"X-Value", credential)
		}
	}), nil)
	addr := k.listen(t, k.request(t, "example.com", "/"))
	for _, head := range []string{
		"GET /plain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
		"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, head)
		got, err := io.ReadAll(conn)
		if err != nil || len(got) == 0 {
			t.Errorf("%.12q: %d bytes, %v", head, len(got), err)
		}
		if strings.Contains(strings.ToLower(string(got)), credential) {
			t.Errorf("%.12q: the credential came back:\n%s", head, got)
		}
	}
}

// TestImpossibleStatus: what net/http would panic on is an error of the upstream.
func TestImpossibleStatus(t *testing.T) {
	for _, status := range []string{"042", "000", "099"} {
		k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "HTTP/1.1 %s Odd\r\nContent-Length: 0\r\n\r\n", status)
		}), nil)
		if w := k.get(t, "example.com", "/"); w.Code != 502 || code(t, w) != broker.CodeUpstreamError {
			t.Errorf("%s: %d %s", status, w.Code, w.Body)
		}
	}
}

// TestLogHoldsNoCredential: R17. An upstream that answers with the credential
// where an answer cannot be understood does not get it into the log.
func TestLogHoldsNoCredential(t *testing.T) {
	for name, answer := range map[string]string{
		"status":            "HTTP/1.1 %s\r\n\r\n",
		"status line":       "%s\r\n\r\n",
		"field":             "HTTP/1.1 200 OK\r\n%s\r\n\r\n",
		"length":            "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"transfer encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n",
		"chunk":             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
		"trailer":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n%s\r\n\r\n",
		"redirect":          "HTTP/1.1 302 Found\r\nLocation: https://%s:x/\r\nContent-Length: 0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				fmt.Fprintf(conn, answer, credential)
			}), func(o *broker.Options) {
				o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			func() {
				defer func() { _ = recover() }() // an answer that breaks off ends so
				if w := k.get(t, "example.com", "/"); strings.Contains(w.Body.String(), credential) || strings.Contains(fmt.Sprint(w.Header()), credential) {
					t.Errorf("came back: %v %s", w.Header(), w.Body)
				}
			}()
			if strings.Contains(log.String(), credential) {
				t.Errorf("logged: %s", &log)
			}
		})
	}
}

// TestStarIsSentWithoutAQuery: where the credential is a parameter, "*" has no
// place for it.
func TestStarIsSentWithoutAQuery(t *testing.T) {
	k := newKit(t, echo, nil)
	k.changeVault(t, func(v *vault.Vault) {
		v.Services[0].Auth = auth(t, `{"type":"query","key":"API_KEY","parameter":"key"}`)
	})
	w := httptest.NewRecorder()
	k.Serve(w, httptest.NewRequest("OPTIONS", "/", nil), k.request(t, "example.com", "*"))
	if w.Code != 400 || code(t, w) != broker.CodeBadRequest {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestBytesNoRequestLineHolds: HTTP/2 carries what would part an HTTP/1 request
// line.
func TestBytesNoRequestLineHolds(t *testing.T) {
	k := newKit(t, echo, nil)
	for _, path := range []string{"/x HTTP/1.0", "/a\tb", "/a\rb", "/a\nb", "/a\x00", "/a\x7f"} {
		x := k.request(t, "example.com", path)
		for range 2 {
			w := httptest.NewRecorder()
			k.Serve(w, httptest.NewRequest("GET", "/", nil), x)
			if w.Code != 400 || code(t, w) != broker.CodeBadRequest {
				t.Errorf("%q %q: %d %s", x.Path, x.RawQuery, w.Code, w.Body)
			}
			x.Path, x.RawQuery, x.HasQuery = "/", path, true
		}
	}
}

// TestRecordsHoldNoToken: nor are they longer than what could have been sent.
func TestRecordsHoldNoToken(t *testing.T) {
	k := newKit(t, echo, nil)
	for _, path := range []string{"/" + k.token, "/" + strings.Replace(k.token, "_", "%5F", 1), "/" + strings.Repeat("&<", 100_000)} {
		if w := k.get(t, "example.com", path); w.Code != 400 {
			t.Errorf("%.40s: %d", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Method = strings.Repeat("A", 50_000)
	k.Serve(w, r, k.request(t, "example.com", "/"))
	k.Close() // which writes the outcomes
	raw, err := os.ReadFile(k.audit)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), k.token[8:]) {
		t.Errorf("the token was recorded:\n%s", raw)
	}
	for line := range strings.Lines(string(raw)) {
		if len(line) > 20<<10 {
			t.Errorf("a record of %d bytes", len(line))
		}
	}
}

// TestStalledUploads: an upload that stands still ends when the exchange is cut,
// and when the upstream goes away; either way the agent is told and the outcome
// recorded.
func TestStalledUploads(t *testing.T) {
	start := func(t *testing.T, k *kit) (net.Conn, *bufio.Reader) {
		conn, err := net.Dial("tcp", k.listen(t, k.request(t, "example.com", "/")))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
		return conn, bufio.NewReader(conn)
	}
	t.Run("cut", func(t *testing.T) {
		arrived := make(chan struct{}, 1)
		k := newKit(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 3))
			arrived <- struct{}{}
			_, _ = io.Copy(io.Discard, r.Body)
		}), nil)
		_, br := start(t, k)
		<-arrived
		snap := k.snapshot
		snap.Sessions = nil
		k.source.set(snap, nil)
		if err := k.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 401 {
			t.Errorf("%v %v, want 401", resp, err)
		}
		k.wantOutcome(t, broker.CodeUnauthorized)
	})
	t.Run("upstream goes away", func(t *testing.T) {
		k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.ReadFull(r.Body, make([]byte, 3))
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		}), nil)
		_, br := start(t, k)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 502 {
			t.Errorf("%v %v, want 502", resp, err)
		}
		k.wantOutcome(t, broker.CodeUpstreamError)
	})
}

// TestUploadsOnOneConnection: an upstream that closes after each answer does not
// harm the agent's connection, which goes on.
func TestUploadsOnOneConnection(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.Copy(w, r.Body)
	}), nil)
	conn, err := net.Dial("tcp", k.listen(t, k.request(t, "example.com", "/")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	for n := range 50 {
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("request %d: %v", n, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
			t.Fatalf("request %d: %d %q %v", n, resp.StatusCode, body, err)
		}
	}
}

// TestUnwantedBodies: who is refused before the body was read does not hold its
// connection by sending nothing.
func TestUnwantedBodies(t *testing.T) {
	srv := &http.Server{Handler: broker.BoundUploads(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	}))}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the connection is still open: %v", err)
	}
}

// TestUnreadAnswersStopNobodyElse: sessions do not share the window of an
// HTTP/2 connection.
func TestUnreadAnswersStopNobodyElse(t *testing.T) {
	var k *kit
	other := vault.NewToken(vault.PrefixSession)
	big := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("upstream got %s", r.Proto)
		}
		n := 5
		if r.URL.Path == "/big" {
			n = 16 << 20
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), n))
	}))
	big.EnableHTTP2 = true
	big.TLS = &tls.Config{NextProtos: []string{"h2"}}
	big.StartTLS()
	t.Cleanup(big.Close)
	at := netip.MustParseAddrPort(big.Listener.Addr().String())
	k = newKit(t, echo, func(o *broker.Options) {
		o.Dialer.Hosts["example.com"] = broker.HostAddress{Addr: at.Addr(), Port: at.Port()}
	})
	snap := k.snapshot
	snap.Sessions = append(snap.Sessions, vault.Session{ID: "s2", Digest: vault.DigestToken(other), VaultID: "v1", ExpiresAt: k.clock.Now().Add(time.Hour)})
	k.source.set(snap, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	addr := k.listen(t, k.request(t, "example.com", "/"))
	var greedy sync.WaitGroup
	for range 8 {
		greedy.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { conn.Close() })
			io.WriteString(conn, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
			if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil { // and nothing of the body
				t.Error(err)
			}
		})
	}
	greedy.Wait()
	x := k.request(t, "example.com", "/small")
	x.Identity = broker.Identify(other, "")
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		w := httptest.NewRecorder()
		k.Serve(w, httptest.NewRequest("GET", "/small", nil), x)
		done <- w
	}()
	select {
	case w := <-done:
		if w.Code != 200 || w.Body.String() != "xxxxx" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	case <-time.After(20 * time.Second):
		t.Error("another session gets no answer")
	}
}

// An upstream cannot sign its agent in at the control plane, or out of it: the
// path entrance shares an origin with that.
func TestUpstreamSetsNoCookieOfTheVault(t *testing.T) {
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Set-Cookie"] = []string{"agent_vault_login=a; Path=/", "mine=kept", " __Host-agent_vault_login =b; Secure", "=agent_vault_login=c"}
	}), nil)
	if got := k.get(t, "example.com", "/").Header()["Set-Cookie"]; len(got) != 1 || got[0] != "mine=kept" {
		t.Errorf("%q", got)
	}
}

// Interim answers without end are an upstream's error.
func TestEndlessInterimAnswers(t *testing.T) {
	for _, status := range []int{100, 103} {
		k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for err == nil {
				_, err = fmt.Fprintf(conn, "HTTP/1.1 %d Wait\r\n\r\n", status)
			}
		}), nil)
		if w := k.get(t, "example.com", "/"); code(t, w) != broker.CodeUpstreamError {
			t.Errorf("%d: %d %s", status, w.Code, w.Body)
		}
	}
}
