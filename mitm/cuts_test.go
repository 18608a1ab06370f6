package mitm_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/vault"
)

// lasting is an upstream of which nothing ends by itself. It knows what is open.
type lasting struct {
	mu   sync.Mutex
	open map[string]bool
}

func (l *lasting) set(name string, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = make(map[string]bool)
	}
	l.open[name] = open
}

func (l *lasting) is(name string, open bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, known := l.open[name]
	return known && now == open
}

func (l *lasting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.Header.Get("X-Name")
	defer l.set(name, false)
	switch r.URL.Path {
	case "/stream":
		l.set(name, true)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "/upload":
		_, _ = io.ReadFull(r.Body, make([]byte, 5))
		l.set(name, true)
		_, _ = io.Copy(io.Discard, r.Body)
	case "/waiting":
		l.set(name, true)
		<-r.Context().Done()
	case "/ws":
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		l.set(name, true)
		_, _ = io.Copy(io.Discard, rw)
	}
}

// A holder is who has things open: a session, or an agent in a vault.
type holder struct{ token, vault string }

func (h holder) proxy() string { return "Proxy-Authorization: " + basic(h.token+":"+h.vault) + "\r\n" }

// opened is something that is open, and how its agent sees that it ended.
type opened struct {
	name string
	ends func() error // nil when it ended, or broke
}

// openEverything opens one of each on every entrance.
func (k *kit) openEverything(t *testing.T, l *lasting, h holder) (open []opened) {
	t.Helper()
	until := func(w *wire) func() error {
		return func() error {
			_ = w.SetReadDeadline(time.Now().Add(10 * time.Second))
			resp, err := http.ReadResponse(w.r, nil)
			if err == nil {
				if _, err = io.Copy(io.Discard, resp.Body); resp.StatusCode == http.StatusSwitchingProtocols {
					_, err = io.Copy(io.Discard, w.r)
				}
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			return nil
		}
	}
	tunnel := func() *wire {
		w := k.dial(t)
		w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\n"+h.proxy()+"\r\n")
		if resp, body := w.answer(t, "CONNECT"); resp.StatusCode != 200 {
			t.Fatal(resp.Status, body)
		}
		c := tls.Client(w.Conn, &tls.Config{RootCAs: k.roots, ServerName: "api.example.com"})
		must(t, c.Handshake())
		return &wire{Conn: c, r: bufio.NewReader(c)}
	}
	for _, kind := range []struct{ path, head, body string }{
		{"/stream", "", ""},
		{"/waiting", "", ""},
		{"/upload", "Content-Length: 100000\r\n", "first"},
		{"/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n", ""},
	} {
		for _, way := range []string{"path", "absolute", "connect"} {
			name := way + kind.path
			method := "GET"
			if kind.body != "" {
				method = "POST"
			}
			rest := kind.head + "X-Name: " + name + "\r\n\r\n" + kind.body
			var w *wire
			switch way {
			case "path":
				w = k.dialPath(t)
				w.send(t, fmt.Sprintf("%s /proxy/api.example.com%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nX-Vault: %s\r\n", method, kind.path, h.token, h.vault)+rest)
			case "absolute":
				w = k.dial(t)
				w.send(t, fmt.Sprintf("%s https://api.example.com%s HTTP/1.1\r\nHost: x\r\n", method, kind.path)+h.proxy()+rest)
			case "connect":
				w = tunnel()
				w.send(t, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: api.example.com\r\n", method, kind.path)+rest)
			}
			open = append(open, opened{name, until(w)})
		}
		if kind.path == "/ws" {
			continue // HTTP/2 has none
		}
		open = append(open, k.openHTTP2(t, h, kind.path, kind.body))
	}
	for _, o := range open {
		eventually(t, func() bool { return l.is(o.name, true) })
	}
	return open
}

func (k *kit) openHTTP2(t *testing.T, h holder, path, body string) opened {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	req, err := http.NewRequestWithContext(t.Context(), "POST", "https://api.example.com"+path, r)
	must(t, err)
	if body == "" {
		req.Method, req.Body = "GET", nil
	} else {
		go io.WriteString(w, body)
	}
	req.Header.Set("X-Name", "http2"+path)
	client := k.clientOf(t, h, true)
	ended := make(chan error, 1)
	go func() {
		resp, err := client.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		ended <- nil
	}()
	return opened{"http2" + path, func() error {
		select {
		case err := <-ended:
			return err
		case <-time.After(10 * time.Second):
			return os.ErrDeadlineExceeded
		}
	}}
}

// TestCutsReachEverything: R14. Whatever ends a session's right to something ends
// what is open of it, on the agent's side and on the upstream's.
func TestCutsReachEverything(t *testing.T) {
	const lifetime = 6 * time.Second
	for _, r := range []struct {
		name  string
		agent bool // held by an agent rather than by a session
		life  time.Duration
		end   func(s *vault.Snapshot) // nil: time does
		stays bool                    // tunnels in which nothing is open
	}{
		{"revoked", false, time.Hour, func(s *vault.Snapshot) { s.Sessions = nil }, false},
		{"expired", false, lifetime, nil, false},
		{"agent deleted", true, 0, func(s *vault.Snapshot) { s.Agents = nil }, false},
		{"lost the grant", true, 0, func(s *vault.Snapshot) {
			a := s.Agents[0]
			a.Vaults = map[string]vault.Grant{"v2": {Role: "proxy"}}
			s.Agents = []vault.Agent{a}
		}, false},
		{"service disabled", false, time.Hour, func(s *vault.Snapshot) {
			v := s.Vaults[0]
			v.Services = append([]vault.Service{}, v.Services...)
			v.Services[0].Enabled = false
			s.Vaults = append([]vault.Vault{v}, s.Vaults[1:]...)
		}, true},
		{"another credential", false, time.Hour, func(s *vault.Snapshot) {
			v := s.Vaults[0]
			v.Services = append([]vault.Service{}, v.Services...)
			for _, other := range v.Services {
				if other.Name == "key" {
					v.Services[0].Auth = other.Auth
				}
			}
			s.Vaults = append([]vault.Vault{v}, s.Vaults[1:]...)
		}, true},
		{"vault deleted", false, time.Hour, func(s *vault.Snapshot) { s.Vaults = s.Vaults[1:] }, false},
	} {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			l := &lasting{}
			k := newKit(t, kitOptions{upstream: l})
			h := holder{k.agent, "default"}
			if !r.agent {
				h.token = vault.NewToken(vault.PrefixSession)
				k.source.change(func(s *vault.Snapshot) {
					s.Sessions = append(s.Sessions, vault.Session{ID: "cut", Digest: vault.DigestToken(h.token), VaultID: "v1", ExpiresAt: time.Now().Add(r.life)})
				})
				must(t, k.broker.Refresh(t.Context()))
			}
			open := k.openEverything(t, l, h)
			idle := k.dial(t)
			idle.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\n"+h.proxy()+"\r\n")
			if resp, body := idle.answer(t, "CONNECT"); resp.StatusCode != 200 {
				t.Fatal(resp.Status, body)
			}
			if r.end != nil {
				k.source.change(r.end)
				must(t, k.broker.Refresh(t.Context()))
			}
			began := time.Now()
			for _, o := range open {
				if err := o.ends(); err != nil {
					t.Errorf("%s goes on for the agent: %v", o.name, err)
				}
				eventually(t, func() bool { return l.is(o.name, false) })
			}
			if r.end != nil {
				t.Logf("%d things ended within %v", len(open), time.Since(began))
			}
			if !r.stays {
				ends(t, idle.Conn)
			}
		})
	}
}

// R14 for the tunnels that nobody looks into.
func TestCutsReachBlindTunnels(t *testing.T) {
	for name, end := range map[string]func(s *vault.Snapshot){
		"revoked":       func(s *vault.Snapshot) { s.Sessions = s.Sessions[:1] },
		"vault deleted": func(s *vault.Snapshot) { s.Vaults = s.Vaults[:1] },
		"denied": func(s *vault.Snapshot) {
			v := s.Vaults[1]
			v.UnmatchedHosts = ""
			s.Vaults = []vault.Vault{s.Vaults[0], v}
		},
		"covered by a service": func(s *vault.Snapshot) {
			v := s.Vaults[1]
			v.Services = append([]vault.Service{{Name: "new", Host: "unmatched.example.com", Enabled: true, Auth: v.Services[0].Auth}}, v.Services...)
			s.Vaults = []vault.Vault{s.Vaults[0], v}
		},
	} {
		k := newKit(t, kitOptions{})
		blind := k.connect(t, k.loose, "unmatched.example.com:443")
		must(t, tls.Client(blind.Conn, &tls.Config{RootCAs: k.origin, ServerName: "unmatched.example.com"}).Handshake())
		k.source.change(end)
		must(t, k.broker.Refresh(t.Context()))
		t.Log(name)
		ends(t, blind.Conn)
	}
}

// A token that stands behind the beginning of an answer breaks the answer off.
func TestTokenBehindAnAnswer(t *testing.T) {
	got := make(chan string, 8)
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_, _ = io.WriteString(w, "begun\n")
		_ = rc.Flush()
		var body bytes.Buffer
		_, _ = io.Copy(&body, r.Body)
		got <- body.String()
		_, _ = io.WriteString(w, "ended\n")
	})})
	for _, h2 := range []bool{false, true} {
		for _, whole := range []bool{false, true} {
			r, w := io.Pipe()
			req, err := http.NewRequestWithContext(t.Context(), "POST", "https://api.example.com/", r)
			must(t, err)
			go io.WriteString(w, "first, ")
			resp, err := k.client(t, k.token, h2).Do(req)
			must(t, err)
			answer := bufio.NewReader(resp.Body)
			if line, err := answer.ReadString('\n'); err != nil || line != "begun\n" {
				t.Fatalf("h2 %t: %q, %v", h2, line, err)
			}
			text := "a text that ends with av_sess_"
			if whole {
				text = "and now " + k.token
			}
			go func() {
				_, _ = io.WriteString(w, text)
				_ = w.Close()
			}()
			rest, err := io.ReadAll(answer)
			_ = resp.Body.Close()
			sent := <-got
			if whole && (err == nil || strings.Contains(sent, k.token[8:12])) {
				t.Errorf("h2 %t: the answer ended with %q, %v; the upstream got %q", h2, rest, err, sent)
			}
			if !whole && (err != nil || string(rest) != "ended\n" || sent != "first, "+text) {
				t.Errorf("h2 %t: %q, %v; the upstream got %q", h2, rest, err, sent)
			}
		}
	}
}

// A text that could begin a token keeps nobody waiting: what ends with its first
// letters reaches the upstream at once. The upstream ends its lines, since what
// could begin a credential is held back on its way here.
func TestBodiesAreNotHeldBack(t *testing.T) {
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		buf := make([]byte, 100)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(append(buf[:n:n], '\n'))
			if _ = rc.Flush(); err != nil {
				return
			}
		}
	})})
	for _, h2 := range []bool{false, true} {
		r, w := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), "POST", "https://api.example.com/", r)
		must(t, err)
		go io.WriteString(w, "banana")
		resp, err := k.client(t, k.token, h2).Do(req)
		must(t, err)
		answer := bufio.NewReader(resp.Body)
		for _, said := range []string{"banana", "lav", "av_", "av_sess_"} {
			if said != "banana" {
				go io.WriteString(w, said)
			}
			echoed := ""
			for len(echoed) < len(said) {
				line, err := answer.ReadString('\n')
				must(t, err)
				echoed += strings.TrimSuffix(line, "\n")
			}
			if echoed != said {
				t.Errorf("h2 %t: %q came back as %q", h2, said, echoed)
			}
		}
		_ = w.Close()
		_ = resp.Body.Close()
	}
}

// A token in a WebSocket message reaches no upstream, and ends the WebSocket.
func TestTokensInWebSockets(t *testing.T) {
	got := make(chan string, 8)
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		b, _ := io.ReadAll(rw)
		got <- string(b)
	})})
	frame := func(first byte, payload string) string {
		b := []byte{first, 0x80 | byte(len(payload)), 1, 2, 3, 4}
		for i := range len(payload) {
			b = append(b, payload[i]^b[2+i%4])
		}
		return string(b)
	}
	outcomes := 0
	for _, way := range ways1 {
		for _, frames := range []string{frame(0x81, k.token), frame(0x01, k.token[:20]) + frame(0x80, k.token[20:]), frame(0x89, k.token)} {
			conn, target, first := way.open(t, k)
			conn.send(t, "GET "+target+"/ HTTP/1.1\r\n"+first+"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			resp, err := http.ReadResponse(conn.r, nil)
			must(t, err)
			hello := frame(0x81, "hello")
			conn.send(t, hello+frames)
			ends(t, conn.Conn)
			if sent := <-got; resp.StatusCode != 101 || !strings.HasPrefix(hello+frames, sent) || len(sent) > len(hello)+6+len("av_sess_") {
				t.Errorf("%s: %s; the upstream got %q", way.name, resp.Status, sent)
			}
			outcomes++
			if r := k.outcome(t, outcomes); r.Fault != broker.CodeBadRequest {
				t.Errorf("%s: the outcome has the fault %q", way.name, r.Fault)
			}
		}
	}
}
