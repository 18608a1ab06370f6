package mitm_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/proxy"

	"agentvault/broker"
	"agentvault/mitm"
	"agentvault/vault"
)

// openSOCKS opens a tunnel by SOCKS, with the client that Go programs use, and
// speaks TLS in it.
func (k *kit) openSOCKS(t testing.TB, token, host string) *tls.Conn {
	t.Helper()
	dialer, err := proxy.SOCKS5("tcp", k.addr, &proxy.Auth{User: token, Password: "default"}, nil)
	must(t, err)
	raw, err := dialer.Dial("tcp", net.JoinHostPort(host, "443"))
	must(t, err)
	t.Cleanup(func() { _ = raw.Close() })
	must(t, raw.SetDeadline(time.Now().Add(20*time.Second)))
	c := tls.Client(raw, &tls.Config{RootCAs: k.roots, ServerName: strings.ToLower(host)})
	must(t, c.Handshake())
	return c
}

// Messages of SOCKS5, as a client spells them.

func greeting(methods ...byte) string { return "\x05" + counted(string(methods)) }

func password(user, password string) string { return "\x01" + counted(user) + counted(password) }

func counted(s string) string { return string([]byte{byte(len(s))}) + s }

func connectName(name string, port uint16) string {
	return "\x05\x01\x00\x03" + counted(name) + portBytes(port)
}

func connectAddress(address string, port uint16) string {
	ip := net.ParseIP(address)
	if ip4 := ip.To4(); ip4 != nil && !strings.Contains(address, ":") {
		return "\x05\x01\x00\x01" + string(ip4) + portBytes(port)
	}
	return "\x05\x01\x00\x04" + string(ip.To16()) + portBytes(port)
}

func portBytes(port uint16) string { return string([]byte{byte(port >> 8), byte(port)}) }

// reply is the server's to a request.
func reply(code byte) string {
	return "\x05" + string([]byte{code}) + "\x00\x01\x00\x00\x00\x00\x00\x00"
}

// methodSession is the private method by which a connection becomes a session's.
const methodSession = 0x80

const welcome = "\x05\x02\x01\x00" // user name and password, and success

// everything reads until the other side closes.
func (w *wire) everything(t testing.TB) string {
	t.Helper()
	b, err := io.ReadAll(w.r)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return string(b)
}

func (w *wire) expect(t testing.TB, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(w.r, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// TestSOCKSReplies: each fault has its reply, and after one that is no success
// the connection ends.
func TestSOCKSReplies(t *testing.T) {
	k := newKit(t, kitOptions{})
	user := password(k.token, "default")
	for _, tt := range []struct{ name, sent, want string }{
		{"not SOCKS5 but SOCKS4", "\x04\x01\x01\xbb\x7f\x00\x00\x01me\x00", "\x00\x5b\x00\x00\x00\x00\x00\x00"},
		{"no method", greeting(), "\x05\xff"},
		{"without a password", greeting(0), "\x05\xff"},
		{"GSSAPI and private methods", greeting(1, 0x81, 0xfe), "\x05\xff"},
		{"every method but ours", greeting(0, 1, 3, 4, 5, 6, 7, 8, 9, 0xff), "\x05\xff"},
		{"unknown token", greeting(2) + password("av_sess_unknown", "default"), "\x05\x02\x01\x01"},
		{"empty token", greeting(2) + password("", ""), "\x05\x02\x01\x01"},
		{"vault and token exchanged", greeting(2) + password("default", k.token), "\x05\x02\x01\x01"},
		{"another version of the password's message", greeting(2) + "\x05\x00\x00", "\x05\x02"},
		{"open", greeting(0, 2) + user + connectName("api.example.com", 443), welcome + reply(0)},
		{"open, whatever vault a session names", greeting(2) + password(k.token, "") + connectName("api.example.com", 443), welcome + reply(0)},
		{"what is denied is denied inside, where the agent reads why", greeting(2) + user + connectName("nobody.example.com", 443), welcome + reply(0)},
		{"upper case", greeting(2) + user + connectName("API.Example.COM", 443), welcome + reply(0)},
		{"an address that a service names", greeting(2) + user + connectAddress("127.0.0.1", 8443), welcome + reply(0)},
		{"the same as a name", greeting(2) + user + connectName("127.0.0.1", 8443), welcome + reply(0)},
		{"an address that none names", greeting(2) + user + connectAddress("192.0.2.1", 443), welcome + reply(2)},
		{"the same on another port", greeting(2) + user + connectAddress("127.0.0.1", 443), welcome + reply(2)},
		{"IPv6", greeting(2) + user + connectAddress("2001:db8::1", 443), welcome + reply(2)},
		{"IPv4 in IPv6", greeting(2) + user + connectAddress("::ffff:127.0.0.1", 8443), welcome + reply(1)},
		{"BIND", greeting(2) + user + "\x05\x02\x00\x01\x7f\x00\x00\x01\x01\xbb", welcome + reply(7)},
		{"UDP ASSOCIATE", greeting(2) + user + "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", welcome + reply(7)},
		{"no command", greeting(2) + user + "\x05\x00\x00\x01\x7f\x00\x00\x01\x01\xbb", welcome + reply(7)},
		{"a kind of address that there is not", greeting(2) + user + "\x05\x01\x00\x02\x7f\x00\x00\x01\x01\xbb", welcome + reply(8)},
		{"another version of the request", greeting(2) + user + "\x04\x01\x00\x01\x7f\x00\x00\x01\x20\xfb", welcome + reply(1)},
		{"a reserved byte", greeting(2) + user + "\x05\x01\x01\x01\x7f\x00\x00\x01\x20\xfb", welcome + reply(1)},
		{"port 0", greeting(2) + user + connectName("api.example.com", 0), welcome + reply(1)},
		{"no name", greeting(2) + user + connectName("", 443), welcome + reply(1)},
		{"trailing dot", greeting(2) + user + connectName("api.example.com.", 443), welcome + reply(1)},
		{"NUL", greeting(2) + user + connectName("api.example.com\x00.evil.test", 443), welcome + reply(1)},
		{"line feed", greeting(2) + user + connectName("api.example.com\r\nX: y", 443), welcome + reply(1)},
		{"a port of its own", greeting(2) + user + connectName("api.example.com:443", 443), welcome + reply(1)},
		{"userinfo", greeting(2) + user + connectName("api.example.com:443@evil.test", 443), welcome + reply(1)},
		{"brackets", greeting(2) + user + connectName("[::1]", 8443), welcome + reply(1)},
		{"IPv6 as a name", greeting(2) + user + connectName("2001:db8::1", 443), welcome + reply(1)},
		{"a zone", greeting(2) + user + connectName("fe80::1%eth0", 443), welcome + reply(1)},
		{"an address in another spelling", greeting(2) + user + connectName("0x7f000001", 8443), welcome + reply(1)},
		{"UTF-8", greeting(2) + user + connectName("bücher.example", 443), welcome + reply(1)},
		{"the longest name", greeting(2) + user + connectName(strings.Repeat("a.", 127)+"a", 443), welcome + reply(1)},
		{"an agent's token and no vault", greeting(2) + password(k.agent, "") + connectName("api.example.com", 443), welcome + reply(2)},
		{"an agent's token and a vault that there is not", greeting(2) + password(k.agent, "no") + connectName("api.example.com", 443), welcome + reply(2)},
		{"an agent's token and a vault of others", greeting(2) + password(k.agent, "loose") + connectName("api.example.com", 443), welcome + reply(2)},
		{"an agent's token", greeting(2) + password(k.agent, "default") + connectName("api.example.com", 443), welcome + reply(0)},
		{"a broken greeting", "\x05", ""},
		{"a broken request", greeting(2) + user + "\x05\x01\x00\x03\xffapi", welcome},
		{"HTTP behind a greeting", greeting(2) + "GET http://api.example.com/ HTTP/1.1\r\n\r\n", "\x05\x02"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := k.dial(t)
			w.send(t, tt.sent)
			must(t, w.Conn.(*net.TCPConn).CloseWrite())
			if got := w.everything(t); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestSOCKSBytePerByte: how the bytes come does not matter, and what follows the
// request at once is the tunnel's.
func TestSOCKSBytePerByte(t *testing.T) {
	k := newKit(t, kitOptions{})
	var hello bytes.Buffer
	_ = tls.Client(recorder{w: &hello}, &tls.Config{RootCAs: k.roots, ServerName: "api.example.com"}).Handshake() // ends when it would read
	all := greeting(2) + password(k.token, "default") + connectName("api.example.com", 443) + hello.String()
	for _, size := range []int{1, 7, len(all)} {
		w := k.dial(t)
		for rest := all; rest != ""; rest = rest[min(size, len(rest)):] {
			w.send(t, rest[:min(size, len(rest))])
		}
		w.expect(t, welcome+reply(0))
		if first, err := w.r.ReadByte(); err != nil || first != 22 { // a TLS handshake's record
			t.Errorf("%d bytes at a time: %d, %v", size, first, err)
		}
	}
}

// A recorder is a connection that is written to, and has nothing to read.
type recorder struct {
	net.Conn
	w io.Writer
}

func (r recorder) Write(p []byte) (int, error)      { return r.w.Write(p) }
func (recorder) Read([]byte) (int, error)           { return 0, io.EOF }
func (recorder) SetDeadline(time.Time) error        { return nil }
func (recorder) SetReadDeadline(time.Time) error    { return nil }
func (recorder) SetWriteDeadline(t time.Time) error { return nil }
func (recorder) Close() error                       { return nil }

// TestSOCKSTunnel: what a SOCKS client gets is what a CONNECT gets.
func TestSOCKSTunnel(t *testing.T) {
	k := newKit(t, kitOptions{})
	get := func(host, target, hostField string) got {
		c := k.openSOCKS(t, k.token, host)
		return sendHTTP1(t, &wire{Conn: c, r: bufio.NewReader(c)}, ask{method: "GET"}, target, hostField)
	}
	if g := get("api.example.com", "/x", "api.example.com"); g.status != 200 || g.header.Get("X-Saw-Target") != "/x" || g.header.Get("X-Saw-Authorization") != "Bearer "+strings.Repeat("*", len(credential)) {
		t.Errorf("%+v", g)
	}
	if g := get("nobody.example.com", "/", "nobody.example.com"); g.status != 403 || g.code != broker.CodeForbidden {
		t.Errorf("a host that is not allowed: %+v", g)
	}
	if g := get("api.example.com", "/", "other.example.com"); g.status != 421 {
		t.Errorf("another Host: %+v", g)
	}
	if g := get("api.example.com", "http://other.example.com/", "other.example.com"); g.status != 421 {
		t.Errorf("absolute form: %+v", g)
	}
	if g := get("api.example.com", "socks.invalid:443", "socks.invalid:443"); g.status != 400 {
		t.Errorf("what net/http is told: %+v", g)
	}

	// Clear text is told so in the language that it speaks.
	w := k.dial(t)
	w.send(t, greeting(2)+password(k.token, "x")+connectName("plain.example.com", 80)+"GET / HTTP/1.1\r\nHost: plain.example.com\r\n\r\n")
	w.expect(t, welcome+reply(0))
	if resp, body := w.answer(t, "GET"); resp.StatusCode != 400 || fault(t, resp, body) != broker.CodeBadRequest {
		t.Errorf("clear text: %s %s", resp.Status, body)
	}
}

// TestSOCKSBlindTunnel: the reply waits for the connection upstream, and says
// what became of it.
func TestSOCKSBlindTunnel(t *testing.T) {
	k := newKit(t, kitOptions{})
	open := func(name string) *wire {
		w := k.dial(t)
		w.send(t, greeting(2)+password(k.loose, "loose")+connectName(name, 443))
		w.expect(t, welcome)
		return w
	}
	w := open("unmatched.example.com")
	w.expect(t, reply(0))
	c := tls.Client(w.Conn, &tls.Config{RootCAs: k.origin, ServerName: "unmatched.example.com"})
	must(t, c.Handshake()) // with the upstream itself
	if g := sendHTTP1(t, &wire{Conn: c, r: bufio.NewReader(c)}, ask{method: "GET"}, "/", "unmatched.example.com"); g.status != 200 {
		t.Errorf("%+v", g)
	}
	must(t, c.Close())
	if r := k.outcome(t, 1); r.Method != http.MethodConnect || r.Entrance != "mitm" || r.Status != 200 || r.BytesOut == 0 {
		t.Errorf("%+v", r)
	}
	open("private.example.com").expect(t, reply(2))
	if r := k.outcome(t, 2); r.Fault != broker.CodeNetworkBlocked {
		t.Errorf("%+v", r)
	}
	k.upstream.Close()
	open("unmatched.example.com").expect(t, reply(5))
	if r := k.outcome(t, 3); r.Fault != broker.CodeUpstreamError {
		t.Errorf("%+v", r)
	}
}

// TestSOCKSFailedAttemptsAreSlowed as those over HTTP are, and with them.
func TestSOCKSFailedAttemptsAreSlowed(t *testing.T) {
	k := newKit(t, kitOptions{limits: broker.Limits{FailedAttempts: 3}})
	for range 3 {
		w := k.dial(t)
		w.send(t, greeting(2)+password("av_sess_guess", ""))
		w.expect(t, "\x05\x02\x01\x01")
	}
	w := k.dial(t)
	w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\nProxy-Authorization: Bearer av_sess_guess\r\n\r\n")
	if resp, _ := w.answer(t, "CONNECT"); resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the fourth, over HTTP: %s", resp.Status)
	}
	_ = k.openSOCKS(t, k.token, "api.example.com") // a valid one is not
}

// TestSOCKSRevocation cuts the tunnel, and a limit of tunnels counts it.
func TestSOCKSRevocation(t *testing.T) {
	k := newKit(t, kitOptions{limits: broker.Limits{SessionTunnels: 1}})
	c := k.openSOCKS(t, k.token, "api.example.com")
	w := k.dial(t)
	w.send(t, greeting(2)+password(k.token, "")+connectName("api.example.com", 443))
	w.expect(t, welcome+reply(1))
	revoke(t, k)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the tunnel outlived its session")
	}
	w = k.dial(t)
	w.send(t, greeting(2)+password(k.token, ""))
	w.expect(t, "\x05\x02\x01\x01")
}

// A session's own connection: what is asked for on it needs no credentials, and
// those that are presented count for nothing.
func TestBoundConnection(t *testing.T) {
	k := newKit(t, kitOptions{})
	bind := func(token, vault string) *wire {
		w := k.dial(t)
		must(t, mitm.Bind(w.Conn, token, vault))
		return w
	}
	const request = "GET https://api.example.com/x HTTP/1.1\r\nHost: api.example.com\r\n"
	w := bind(k.token, "")
	for _, more := range []string{"", "Proxy-Authorization: " + basic("av_sess_guess:default") + "\r\n", "X-Vault: loose\r\n"} {
		w.send(t, request+more+"\r\n")
		if resp, body := w.answer(t, "GET"); resp.StatusCode != 200 || resp.Header.Get("X-Saw-Target") != "/x" {
			t.Errorf("absolute form, %q: %s %s", more, resp.Status, body)
		}
	}
	w = bind(k.agent, "default")
	w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n")
	if resp, body := w.answer(t, "CONNECT"); resp.StatusCode != 200 {
		t.Errorf("CONNECT: %s %s", resp.Status, body)
	}
	must(t, tls.Client(w.Conn, &tls.Config{RootCAs: k.roots, ServerName: "api.example.com"}).Handshake())
	w = bind(k.token, "")
	w.send(t, greeting(0)+connectName("api.example.com", 443))
	w.expect(t, "\x05\x00"+reply(0))
	must(t, tls.Client(w.Conn, &tls.Config{RootCAs: k.roots, ServerName: "api.example.com"}).Handshake())
	w = bind(k.token, "")
	w.send(t, greeting(2)+password("somebody", "else")+connectName("api.example.com", 443))
	w.expect(t, welcome+reply(0))

	// It is bound once.
	w = bind(k.token, "")
	w.send(t, greeting(methodSession)+password(k.loose, ""))
	w.expect(t, "\x05\xff")
	// The binding does not open the port's other side.
	w = bind(k.token, "")
	w.send(t, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	if resp, body := w.answer(t, "GET"); resp.StatusCode != 400 {
		t.Errorf("origin form: %s %s", resp.Status, body)
	}
	// Nobody is told so by the client's own protocol.
	for _, token := range []string{"av_sess_unknown", ""} {
		w = bind(token, "")
		w.send(t, request+"\r\n")
		if resp, body := w.answer(t, "GET"); resp.StatusCode != 407 || fault(t, resp, body) != broker.CodeUnauthorized {
			t.Errorf("token %q: %s %s", token, resp.Status, body)
		}
		w = bind(token, "")
		w.send(t, greeting(0)+connectName("api.example.com", 443))
		w.expect(t, "\x05\x00"+reply(2))
	}
}

// TestBoundConnectionEndsWithItsSession, for the requests that come later too.
func TestBoundConnectionEndsWithItsSession(t *testing.T) {
	k := newKit(t, kitOptions{limits: broker.Limits{FailedAttempts: 2}})
	w := k.dial(t)
	w.send(t, greeting(methodSession)+password(k.token, ""))
	w.expect(t, "\x05\x80\x01\x00")
	want := []int{200, 407, 407, 429}
	for n, status := range want {
		w.send(t, "GET https://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
		if resp, body := w.answer(t, "GET"); resp.StatusCode != status {
			t.Errorf("request %d: %s %s, want %d", n, resp.Status, body, status)
		}
		if n == 0 {
			revoke(t, k)
		}
	}
}

// TestSOCKSLeavesHTTPAlone: later requests on a connection of HTTP are HTTP's,
// whatever they begin with.
func TestSOCKSLeavesHTTPAlone(t *testing.T) {
	k := newKit(t, kitOptions{})
	w := k.dial(t)
	w.send(t, "GET https://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
	if resp, _ := w.answer(t, "GET"); resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	w.send(t, greeting(2)+password(k.token, "")+connectName("api.example.com", 443)+"\r\n\r\n")
	if got := w.everything(t); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Errorf("%q", got)
	}
}

// revoke ends the session of k.token.
func revoke(t testing.TB, k *kit) {
	t.Helper()
	k.source.change(func(s *vault.Snapshot) { s.Sessions = s.Sessions[1:] })
	must(t, k.broker.Refresh(t.Context()))
}
