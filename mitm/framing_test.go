package mitm_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"agentvault/vault"
)

// ways1 open a connection for raw HTTP/1.1 and say how a request begins on it.
var ways1 = []struct {
	name string
	open func(t *testing.T, k *kit) (w *wire, target, fields string)
}{
	{"path", func(t *testing.T, k *kit) (*wire, string, string) {
		t.Helper()
		return k.dialPath(t), "/proxy/key.example.com", "Host: vault.test\r\nAuthorization: Bearer " + k.token + "\r\n"
	}},
	{"absolute", func(t *testing.T, k *kit) (*wire, string, string) {
		t.Helper()
		return k.dial(t), "https://key.example.com", "Host: key.example.com\r\nProxy-Authorization: Bearer " + k.token + "\r\n"
	}},
	{"connect", func(t *testing.T, k *kit) (*wire, string, string) {
		t.Helper()
		c := k.open(t, "key.example.com:443", nil)
		return &wire{Conn: c, r: bufio.NewReader(c)}, "", "Host: key.example.com\r\n"
	}},
}

// What two readers could part into messages in different ways is refused, or
// reaches the upstream as the one message that the vault decided on.
func TestFraming(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: key.example.com\r\n\r\n"
	const chunks = "5\r\nhello\r\n0\r\n\r\n"
	for _, r := range []struct {
		name   string
		fields string // behind the first ones, with what ends the header and the body
		want   string // body that the upstream gets; "refused"
		either bool   // refusing would do as well
	}{
		{"length", "Content-Length: 5\r\n\r\nhello", "hello", false},
		{"chunks", "Transfer-Encoding: chunked\r\n\r\n" + chunks, "hello", false},
		{"length and chunks", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + smuggled, "hello", true},
		{"chunks and length", "Transfer-Encoding: chunked\r\nContent-Length: 100\r\n\r\n" + chunks + smuggled, "hello", true},
		{"two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "refused", false},
		{"the same length twice", "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "hello", true},
		{"lengths in a list", "Content-Length: 5, 5\r\n\r\nhello", "refused", false},
		{"length with a sign", "Content-Length: +5\r\n\r\nhello", "refused", false},
		{"negative length", "Content-Length: -5\r\n\r\nhello", "refused", false},
		{"hexadecimal length", "Content-Length: 0x5\r\n\r\nhello", "refused", false},
		{"huge length", "Content-Length: 99999999999999999999\r\n\r\nhello", "refused", false},
		{"empty length", "Content-Length: \r\n\r\nhello", "refused", false},
		{"space before the colon", "Content-Length : 5\r\n\r\nhello", "refused", false},
		{"identity", "Transfer-Encoding: identity\r\n\r\n" + smuggled, "refused", false},
		{"chunked behind identity", "Transfer-Encoding: identity, chunked\r\n\r\n" + chunks, "refused", false},
		{"chunked twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks, "refused", false},
		{"gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks, "refused", false},
		{"xchunked", "Transfer-Encoding: xchunked\r\n\r\n" + chunks, "refused", false},
		{"vertical tab", "Transfer-Encoding: \vchunked\r\n\r\n" + chunks, "refused", false},
		{"chunked and no more", "Transfer-Encoding: chunked,\r\n\r\n" + chunks, "refused", false},
		{"capitals", "Transfer-Encoding: CHUNKED\r\n\r\n" + chunks, "hello", true},
		{"underscores", "Transfer_Encoding: chunked\r\nContent_Length: 5\r\nContent-Length: 5\r\n\r\nhello", "hello", false},
		{"chunk of a huge size", "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n", "refused", false},
		{"chunk of a negative size", "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", "refused", false},
		{"chunk size that ends in LF", "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", "refused", true},
		{"chunk extension with LF", "Transfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n", "refused", false},
		{"chunk extension", "Transfer-Encoding: chunked\r\n\r\n5;name=value\r\nhello\r\n0\r\n\r\n", "hello", true},
		{"chunk longer than its size", "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", "refused", false},
		{"length among the trailers", "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", "refused", false},
		{"folded line", "X-A: one\r\n two\r\nContent-Length: 5\r\n\r\nhello", "hello", true},
		{"folded length", "Content-Length:\r\n 5\r\n\r\nhello", "hello", true},
		{"bare LF", "X-A: one\nX-Api-Key: mine\nContent-Length: 5\r\n\r\nhello", "hello", true},
		{"bare CR", "X-A: one\rX-Api-Key: mine\r\nContent-Length: 5\r\n\r\nhello", "refused", false},
		{"NUL", "X-A: one\x00\r\nContent-Length: 5\r\n\r\nhello", "refused", false},
		{"second host", "Host: other.example.com\r\nContent-Length: 5\r\n\r\nhello", "refused", false},
		{"name with a space", "X A: one\r\nContent-Length: 5\r\n\r\nhello", "refused", false},
		{"line without a colon", "X-A\r\nContent-Length: 5\r\n\r\nhello", "refused", false},
		{"no name", ": one\r\nContent-Length: 5\r\n\r\nhello", "refused", false},
		{"name beyond ASCII", "X-\xc3\xa4: one\r\nContent-Length: 5\r\n\r\nhello", "refused", false},
	} {
		for _, way := range ways1 {
			w := &witness{}
			k := newKit(t, kitOptions{upstream: w})
			conn, target, first := way.open(t, k)
			conn.send(t, "POST "+target+"/one HTTP/1.1\r\n"+first+r.fields)
			resp, err := http.ReadResponse(conn.r, nil)
			status := 0
			if err == nil {
				status = resp.StatusCode
				_, _ = io.Copy(io.Discard, resp.Body)
			}
			_ = conn.Close()
			whole := 0
			for _, s := range w.all(t, k) {
				if s.target == "/smuggled" && way.name != "connect" { // inside a tunnel it is one more request of the agent
					t.Errorf("%s, %s: a second request reached the upstream", r.name, way.name)
				}
				if s.target != "/one" || !s.whole {
					continue
				}
				if whole++; s.body != r.want || s.header.Get("X-Api-Key") != credential || len(s.header["X-Api-Key"]) != 1 || s.host != "key.example.com" {
					t.Errorf("%s, %s: the upstream got %s", r.name, way.name, s.all())
				}
				for name, values := range s.header {
					if strings.ContainsAny(name+strings.Join(values, ""), "\r\n\x00_") {
						t.Errorf("%s, %s: the upstream got %q: %q", r.name, way.name, name, values)
					}
				}
			}
			refused := status >= 400 && whole == 0
			if passed := status == 200 && whole == 1; !(refused && (r.want == "refused" || r.either) || passed && (r.want != "refused" || r.either)) {
				t.Errorf("%s, %s: status %d, %d requests reached the upstream, want %q", r.name, way.name, status, whole, r.want)
			}
		}
	}
}

// Each stream is decided by what it says itself, and anew.
func TestStreamsAreDecidedAnew(t *testing.T) {
	w := &witness{}
	k := newKit(t, kitOptions{upstream: w})
	client := k.client(t, k.token, true)
	ask := func(method, host, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://methods.example.com"+path, nil)
		must(t, err)
		req.Host = host
		resp, err := client.Do(req)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		if resp.ProtoMajor != 2 {
			t.Fatal(resp.Proto)
		}
		return resp.StatusCode, fault(t, resp, string(body))
	}
	for range 2 {
		for _, r := range []struct {
			method, host string
			status       int
			code         string
		}{
			{"GET", "", 200, ""},
			{"DELETE", "", 403, "method_not_allowed"},
			{"GET", "api.example.com", 421, "misdirected_request"},
			{"TRACE", "", 400, "bad_request"},
			{"POST", "methods.example.com:443", 200, ""},
			{"GET", "methods.example.com:8443", 421, "misdirected_request"},
		} {
			if status, code := ask(r.method, r.host, "/"); status != r.status || code != r.code {
				t.Errorf("%s %s: %d %s, want %d %s", r.method, r.host, status, code, r.status, r.code)
			}
		}
	}
	k.changeService(t, "methods", false)
	if status, code := ask("GET", "", "/"); status != 403 || code != "service_disabled" {
		t.Errorf("after the service was disabled: %d %s", status, code)
	}
	k.changeService(t, "methods", true)
	if status, _ := ask("GET", "", "/"); status != 200 {
		t.Errorf("after it was enabled again: %d", status)
	}
	for _, s := range w.all(t, k) {
		if s.host != "methods.example.com" {
			t.Errorf("the upstream was asked for %s", s.host)
		}
	}
}

// changeService enables or disables a service of the first vault.
func (k *kit) changeService(t testing.TB, name string, enabled bool) {
	t.Helper()
	k.source.change(func(s *vault.Snapshot) {
		s.Vaults = append([]vault.Vault{}, s.Vaults...)
		s.Vaults[0].Services = append([]vault.Service{}, s.Vaults[0].Services...)
		for i := range s.Vaults[0].Services {
			if s.Vaults[0].Services[i].Name == name {
				s.Vaults[0].Services[i].Enabled = enabled
			}
		}
	})
	must(t, k.broker.Refresh(t.Context()))
}

// HTTP/2 says how much of it may be open at once, and how long a header may be.
func TestHTTP2Settings(t *testing.T) {
	k := newKit(t, kitOptions{})
	c := k.open(t, "api.example.com:443", func(c *tls.Config) { c.NextProtos = []string{"h2"} })
	_, err := io.WriteString(c, http2.ClientPreface)
	must(t, err)
	framer := http2.NewFramer(c, c)
	must(t, framer.WriteSettings())
	for {
		frame, err := framer.ReadFrame()
		must(t, err)
		settings, ok := frame.(*http2.SettingsFrame)
		if !ok || settings.IsAck() {
			continue
		}
		if v, ok := settings.Value(http2.SettingMaxConcurrentStreams); !ok || v != 250 {
			t.Errorf("%d streams at once, want 250", v)
		}
		if v, ok := settings.Value(http2.SettingMaxHeaderListSize); !ok || v > 80<<10 {
			t.Errorf("headers of %d bytes, want about 64 KiB", v)
		}
		return
	}
}
