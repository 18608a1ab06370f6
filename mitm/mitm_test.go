package mitm_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"agentvault/broker"
	"agentvault/mitm"
)

func TestInterception(t *testing.T) {
	k := newKit(t, kitOptions{})
	for name, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		client := k.client(t, k.token, h2)
		for range 2 { // the second on the same tunnel
			resp, err := client.Post("https://api.example.com/a%2Fb//c;d?x=1+2&y=%3F", "text/plain", strings.NewReader("hello"))
			must(t, err)
			body, err := io.ReadAll(resp.Body)
			must(t, err)
			must(t, resp.Body.Close())
			if resp.Proto != name || resp.StatusCode != 200 || string(body) != "hello" {
				t.Errorf("%s: %s %s %q", name, resp.Proto, resp.Status, body)
			}
			if got, want := resp.Header.Get("X-Saw-Target"), "/a%2Fb//c;d?x=1+2&y=%3F"; got != want {
				t.Errorf("%s: upstream saw %s, want %s", name, got, want)
			}
			if got, want := resp.Header.Get("X-Saw-Host"), "api.example.com"; got != want {
				t.Errorf("%s: upstream saw Host %s, want %s", name, got, want)
			}
			// The credential arrived, and does not come back.
			if got, want := resp.Header.Get("X-Saw-Authorization"), "Bearer "+strings.Repeat("*", len(credential)); got != want {
				t.Errorf("%s: upstream's echo of Authorization is %q, want %q", name, got, want)
			}
		}
	}
}

// What policy denies is answered inside the tunnel, where agents can read it.
func TestPolicyIsAnsweredInside(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, tt := range []struct{ host, code string }{
		{"unmatched.example.com", "forbidden"},
		{"off.example.com", "service_disabled"},
	} {
		resp, err := k.client(t, k.token, true).Get("https://" + tt.host + "/")
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		must(t, resp.Body.Close())
		if got := fault(t, resp, string(body)); resp.StatusCode != 403 || got != tt.code {
			t.Errorf("%s: %s %q, want 403 %s", tt.host, resp.Status, got, tt.code)
		}
		var hint struct {
			ProposalHint struct{ Host string } `json:"proposal_hint"`
		}
		must(t, json.Unmarshal(body, &hint))
		if tt.code == "forbidden" && hint.ProposalHint.Host != tt.host {
			t.Errorf("%s: proposal_hint for %q", tt.host, hint.ProposalHint.Host)
		}
	}
}

func TestProxyAuthorization(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, tt := range []struct {
		name, header string
		want         int
	}{
		{"bearer", "Proxy-Authorization: Bearer " + k.token, 200},
		{"bearer in capitals", "Proxy-Authorization: BEARER " + k.token, 200},
		{"basic of TOKEN", "Proxy-Authorization: " + basic(k.token), 200},
		{"basic of TOKEN:", "Proxy-Authorization: " + basic(k.token+":"), 200},
		{"basic of TOKEN:VAULT", "proxy-authorization: bAsIc " + basic(k.token + ":default")[6:], 200},
		{"basic without padding", "Proxy-Authorization: " + strings.TrimRight(basic(k.token+":x"), "="), 200},
		{"a session's vault is its own", "Proxy-Authorization: " + basic(k.token+":elsewhere"), 200},
		{"agent with its vault", "Proxy-Authorization: " + basic(k.agent+":default"), 200},
		{"agent with X-Vault", "X-Vault: default\r\nProxy-Authorization: Bearer " + k.agent, 200},
		{"agent without a vault", "Proxy-Authorization: Bearer " + k.agent, 400},
		{"agent with another vault", "Proxy-Authorization: " + basic(k.agent+":loose"), 403},
		{"agent with an unknown vault", "Proxy-Authorization: " + basic(k.agent+":nowhere"), 404},
		{"none", "X-Nothing: 1", 407},
		{"Authorization instead", "Authorization: Bearer " + k.token, 407},
		{"unknown token", "Proxy-Authorization: Bearer av_sess_" + strings.Repeat("0", 49), 407},
		{"not base64", "Proxy-Authorization: Basic !!!", 407},
		{"another scheme", "Proxy-Authorization: Digest " + k.token, 407},
		{"no scheme", "Proxy-Authorization: " + k.token, 407},
		{"twice", "Proxy-Authorization: Bearer " + k.token + "\r\nProxy-Authorization: Bearer " + k.agent, 407},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := k.dial(t)
			w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n"+tt.header+"\r\n\r\n")
			resp, body := w.answer(t, "CONNECT")
			if resp.StatusCode != tt.want {
				t.Fatalf("%s %s, want %d", resp.Status, body, tt.want)
			}
			if tt.want == 407 && resp.Header.Get("Proxy-Authenticate") != `Basic realm="agent-vault"` {
				t.Errorf("Proxy-Authenticate: %q", resp.Header.Get("Proxy-Authenticate"))
			}
			// Absolute form takes the same credentials.
			w = k.dial(t)
			w.send(t, "GET https://api.example.com/ HTTP/1.1\r\nHost: api.example.com\r\n"+tt.header+"\r\n\r\n")
			if resp, body := w.answer(t, "GET"); resp.StatusCode != tt.want {
				t.Errorf("absolute form: %s %s, want %d", resp.Status, body, tt.want)
			}
		})
	}
}

func TestAbsoluteForm(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, tt := range []struct {
		name, target string
		status       int
		code         string
	}{
		{"https", "https://api.example.com/x?y", 200, ""},
		{"https, no path", "https://api.example.com", 200, ""},
		{"https, default port", "HTTPS://API.example.com:443/", 200, ""},
		{"http is another service", "http://api.example.com/", 403, "forbidden"},
		{"userinfo", "https://user@api.example.com/", 400, "bad_request"},
		{"another scheme", "ftp://api.example.com/", 400, "bad_request"},
		{"percent in the host", "https://api%2eexample.com/", 400, "bad_request"},
		{"no host", "https:///x", 400, "bad_request"},
	} {
		w := k.dial(t)
		w.send(t, "GET "+tt.target+" HTTP/1.1\r\nHost: elsewhere.example\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
		resp, body := w.answer(t, "GET")
		if got := fault(t, resp, body); resp.StatusCode != tt.status || got != tt.code {
			t.Errorf("%s: %s %q, want %d %q", tt.name, resp.Status, got, tt.status, tt.code)
		}
		if got := resp.Header.Get("X-Saw-Host"); tt.status == 200 && got != "api.example.com" {
			t.Errorf("%s: upstream saw Host %q", tt.name, got)
		}
	}
}

// Absolute form streams: goproxy's own way back would hold the event until the
// end.
func TestAbsoluteFormFlushes(t *testing.T) {
	release := make(chan struct{})
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-release
	})})
	defer close(release)
	w := k.dial(t)
	w.send(t, "GET https://api.example.com/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
	resp, err := http.ReadResponse(w.r, nil)
	must(t, err)
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "data: 1\n" {
		t.Errorf("first event: %q, %v", line, err)
	}
}

func TestThePortIsNoWebServer(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, raw := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"} {
		w := k.dial(t)
		w.send(t, raw)
		resp, body := w.answer(t, "GET")
		if fault(t, resp, body) != "bad_request" || resp.StatusCode != 400 || !strings.Contains(body, "proxy") {
			t.Errorf("%q: %s %s", raw, resp.Status, body)
		}
	}
}

func TestBadAuthorities(t *testing.T) {
	k := newKit(t, kitOptions{})
	for _, authority := range []string{
		"api.example.com", "api.example.com:", "api.example.com:0", "api.example.com:99999", "api.example.com:0443", "api_x.example.com:443",
		"api%2eexample.com:443", "user@api.example.com:443", "0x7f.1:443", "127.1:443", "fe80::1:443", "[::ffff:127.0.0.1%25x]:443", ":443", "/x", "*", "*.example.com:443",
	} {
		w := k.dial(t)
		w.send(t, "CONNECT "+authority+" HTTP/1.1\r\nHost: x:443\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
		resp, body := w.answer(t, "CONNECT")
		if resp.StatusCode != 400 || fault(t, resp, body) != "bad_request" {
			t.Errorf("CONNECT %s: %s %s, want 400 bad_request", authority, resp.Status, body)
		}
	}
	w := k.dial(t)
	w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\nabcd")
	if resp, body := w.answer(t, "CONNECT"); resp.StatusCode != 400 {
		t.Errorf("CONNECT with content: %s %s, want 400", resp.Status, body)
	}
}

func TestTunnelLimit(t *testing.T) {
	k := newKit(t, kitOptions{limits: broker.Limits{SessionTunnels: 2}})
	first := k.connect(t, k.token, "api.example.com:443")
	k.connect(t, k.token, "api.example.com:443")
	w := k.dial(t)
	w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
	resp, body := w.answer(t, "CONNECT")
	if resp.StatusCode != 429 || fault(t, resp, body) != "rate_limited" || resp.Header.Get("Retry-After") == "" {
		t.Errorf("third tunnel: %s %s (Retry-After %q)", resp.Status, body, resp.Header.Get("Retry-After"))
	}
	must(t, first.Close())
	// The place comes back as soon as the proxy notices.
	eventually(t, func() bool {
		w := k.dial(t)
		w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
		resp, _ := w.answer(t, "CONNECT")
		return resp.StatusCode == 200
	})
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	if _, err := mitm.New(mitm.Options{}); err == nil || err.Error() != "mitm: Options.Broker is required" {
		t.Errorf("New without a broker: %v", err)
	}
	if _, err := mitm.New(mitm.Options{Broker: new(broker.Broker)}); err == nil || err.Error() != "mitm: Options.Authority is required" {
		t.Errorf("New without an authority: %v", err)
	}
}

func BenchmarkRequest(b *testing.B) {
	k := newKit(b, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok")
	})})
	for name, h2 := range map[string]bool{"http1": false, "http2": true} {
		b.Run(name, func(b *testing.B) {
			client := k.client(b, k.token, h2)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.Get("https://api.example.com/")
				must(b, err)
				_, _ = io.Copy(io.Discard, resp.Body)
				must(b, resp.Body.Close())
			}
		})
	}
}

func BenchmarkNewTunnel(b *testing.B) {
	k := newKit(b, kitOptions{})
	cache := tls.NewLRUClientSessionCache(8)
	b.ReportAllocs()
	for b.Loop() {
		c := k.open(b, "api.example.com:443", func(t *tls.Config) { t.ClientSessionCache = cache })
		must(b, c.Close())
	}
}
