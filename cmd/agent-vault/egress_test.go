package main_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const egressPassword = "hunter22-of-the-proxy"

// A connectProxy is an HTTP proxy that knows CONNECT and one login. It leads
// names that it does not know to one place.
type connectProxy struct {
	addr      string
	elsewhere string

	mu    sync.Mutex
	asked []string
	open  sync.WaitGroup
}

func startConnectProxy(t testing.TB) *connectProxy {
	t.Helper()
	p := &connectProxy{}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr().String()
	srv := &http.Server{Handler: http.HandlerFunc(p.serve)}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return p
}

func (p *connectProxy) serve(w http.ResponseWriter, r *http.Request) {
	login := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	if user, password, _ := login.BasicAuth(); r.Method != http.MethodConnect || user != "vault" || password != egressPassword {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, r.RequestURI)
	to := r.RequestURI
	if !strings.HasPrefix(to, "127.") {
		to = p.elsewhere
	}
	p.mu.Unlock()
	up, err := net.Dial("tcp", to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer up.Close()
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	p.open.Add(1)
	defer p.open.Done()
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
	var there sync.WaitGroup
	there.Go(func() {
		_, _ = io.Copy(up, rw)
		_ = up.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(c, up)
	_ = c.(*net.TCPConn).CloseWrite()
	there.Wait()
}

// wasAsked returns what the proxy was asked for until now, and forgets it.
func (p *connectProxy) wasAsked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

// newEgressWorld is a world that is reached through a proxy, whose vault tunnels
// what is not configured.
func newEgressWorld(t *testing.T, proxy string) *world {
	t.Helper()
	password := t.TempDir() + "/password"
	if err := os.WriteFile(password, []byte(egressPassword+"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	w := newWorldWith(t, fmt.Sprintf("egress:\n  proxy: %s\n  password: file:%s\n", strings.Replace(proxy, "://", "://vault@", 1), password))
	w.apply(strings.Replace(worldDeclaration, "name: default\n", "name: default\n    unmatched_hosts: tunnel\n", 1), worldCredentials)
	return w
}

// TestEgress: all that goes to an upstream goes through the proxy, by whatever
// entrance and protocol, and nothing that the guard refuses.
func TestEgress(t *testing.T) {
	p := startConnectProxy(t)
	w := newEgressWorld(t, "http://"+p.addr)
	// A proxy of the environment is not one.
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	w.before = []string{"env"}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
		w.before = append(w.before, name+"=http://"+closedPort(t))
	}
	w.start()

	if want := "upstreams are reached through the egress proxy http://" + p.addr + "; names are resolved by the vault\n"; !strings.Contains(w.stderr.String(), want) {
		t.Errorf("said at start:\n%s", w.stderr)
	}
	for _, e := range entrances {
		for _, r := range []struct {
			host, asked string
			status      int
			want        string
		}{
			{"api.test", w.origin.Addr, 200, `"proto":"HTTP/1.1"`},
			{"modern.test", w.modern.Addr, 200, `"proto":"HTTP/2.0"`},
			{"wrongname.test", w.origin.Addr, 502, "upstream_tls"},
			{"private.test", "", 403, "network_blocked"},
			{"metadata.test", "", 403, "network_blocked"},
		} {
			a := w.do(e, w.token, call{host: r.host, target: "/"})
			if a.status != r.status || !strings.Contains(a.body, r.want) {
				t.Errorf("%s %s: %d %s", e, r.host, a.status, a.body)
			}
			for _, asked := range p.wasAsked() { // or none, if a connection was there
				if asked != r.asked {
					t.Errorf("%s %s: the proxy was asked for %s", e, r.host, asked)
				}
			}
		}
		w.echoes(t, e)
	}
	t.Run("clear text", func(t *testing.T) { w.clearText(t, p) })
	t.Run("blind tunnel", func(t *testing.T) { w.blindTunnel(t, "other.test:443", w.origin.Addr, p) })
	t.Run("cuts", func(t *testing.T) { w.cutThrough(t, p) })
	if text := w.stderr.String(); strings.Contains(text, "hunter22") || strings.Contains(text, "vault@") {
		t.Errorf("the log holds the proxy's login:\n%s", text)
	}
}

// echoes sends a WebSocket's message there and back.
func (w *world) echoes(t *testing.T, e entrance) {
	t.Helper()
	conn, err := w.dial(e, w.token, "default", "api.test")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, w.spell(e, w.token, "default", call{host: "api.test", target: "/websocket", header: []string{"Connection: Upgrade", "Upgrade: websocket"}}))
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%s: %v %v", e, resp, err)
	}
	io.WriteString(conn, "\x81\x85\x00\x00\x00\x00hello")
	got := make([]byte, 7)
	if _, err := io.ReadFull(br, got); err != nil || string(got) != "\x81\x05hello" {
		t.Errorf("%s: %q %v", e, got, err)
	}
}

// clearText: a service of http is asked for by CONNECT too.
func (w *world) clearText(t *testing.T, p *connectProxy) {
	_ = p.wasAsked()
	tr := &http.Transport{Proxy: http.ProxyURL(mustURL(t, strings.Replace(w.Proxy, "http://", "http://"+w.token+":default@", 1)))}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://plain.test:8080/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if asked := p.wasAsked(); resp.StatusCode != 200 || len(asked) != 1 || !strings.HasPrefix(asked[0], "127.0.0.1:") {
		t.Errorf("%d, asked for %q", resp.StatusCode, asked)
	}
}

// blindTunnel opens one that goes through the proxy, and speaks TLS with whom
// the vault does not stand for.
func (w *world) blindTunnel(t *testing.T, authority, asked string, p *connectProxy) {
	t.Helper()
	conn := w.connect(t, authority, w.token)
	defer conn.Close()
	if got := p.wasAsked(); !slices.Equal(got, []string{asked}) {
		t.Errorf("asked for %q, want %q", got, asked)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	tc := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // whose certificate it is, is what is looked at
	if err := tc.Handshake(); err != nil {
		t.Fatal(err)
	}
	if issuer := tc.ConnectionState().PeerCertificates[0].Issuer.CommonName; issuer != "Origin CA" {
		t.Errorf("a certificate of %q", issuer)
	}
}

// cutThrough: what is open through the proxy ends with its session, on both
// sides of the vault.
func (w *world) cutThrough(t *testing.T, p *connectProxy) {
	for _, e := range []entrance{byPath, byProxy, "blind"} {
		token := w.mint("to be cut")
		var conn net.Conn
		if e == "blind" {
			conn = w.connect(t, "other.test:443", token)
		} else {
			var err error
			if conn, err = w.dial(e, token, "default", "api.test"); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, w.spell(e, token, "default", call{host: "api.test", target: "/events?id=" + token[len(token)-8:]}))
			if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		w.revoke(token)
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s went on", e)
		}
	}
	// Those of the first session stay open for later requests.
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	p.open.Wait() // or the test never ends
}

// TestEgressResolves: names are asked for as they are, and decided on by
// themselves.
func TestEgressResolves(t *testing.T) {
	p := startConnectProxy(t)
	w := newEgressWorld(t, "http://"+p.addr)
	config, err := os.ReadFile(w.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	config = append(config, "  resolve: proxy\n  direct: [direct.test]\n"...)
	if err := errors.Join(w.halt(), os.WriteFile(w.path("config.yaml"), config, 0o600)); err != nil {
		t.Fatal(err)
	}
	w.start()
	p.elsewhere = w.origin.Addr
	w.blindTunnel(t, "blind.example.net:443", "blind.example.net:443", p)
	for _, authority := range []string{"db.corp.internal:443", "metadata.google.internal:80", "printer.local:443"} {
		if a := w.refusedConnect(t, authority); a.status != 403 || a.fault(t)["error"] != "network_blocked" {
			t.Errorf("%s: %d %s", authority, a.status, a.body)
		}
	}
	if asked := p.wasAsked(); asked != nil {
		t.Errorf("the proxy was asked for %q", asked)
	}
	if want := "names are resolved by that proxy, so that their addresses are not checked\n"; !strings.Contains(w.stderr.String(), want) {
		t.Errorf("said at start:\n%s", w.stderr)
	}
}

// TestEgressRefuses: a proxy that does not take the vault leaves it ready, and
// agents with an error that says who refused.
func TestEgressRefuses(t *testing.T) {
	w := newEgressWorld(t, "http://"+closedPort(t))
	for _, e := range entrances {
		a := w.do(e, w.token, call{host: "api.test", target: "/"})
		if f := a.fault(t); a.status != 502 || f["error"] != "upstream_error" || f["message"] != "the egress proxy cannot be reached; a person can check egress.proxy" {
			t.Errorf("%s: %d %s", e, a.status, a.body)
		}
	}
	if a := w.refusedConnect(t, "other.test:443"); a.status != 502 || !strings.Contains(a.body, "the egress proxy cannot be reached") {
		t.Errorf("blind tunnel: %d %s", a.status, a.body)
	}
	if a := w.send("GET", "/ready", "", ""); a.status != 200 {
		t.Errorf("/ready: %d %s", a.status, a.body)
	}
}
