package mitm_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"agentvault/broker"
	"agentvault/vault"
)

// A switcher is an upstream that switches to whatever is asked for, as a
// Kubernetes API and docker's daemon do: bytes of the protocol stand directly
// behind its answer, it sends back what it gets, and says so when that has ended.
func switcher(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	protocol := r.Header.Get("Upgrade")
	if protocol == "" {
		fmt.Fprintf(w, "not asked; %s", body)
		return
	}
	if other := r.Header.Get("X-Answer"); other != "" {
		protocol = other
	}
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprintf(rw, "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: %s\r\nX-Key: %s\r\n\r\n", protocol, r.Header.Get("X-Api-Key"))
	fmt.Fprintf(rw, "%s %s %q;", r.Method, protocol, body)
	_ = rw.Flush()
	_, _ = io.Copy(c, rw.Reader)
	_, _ = io.WriteString(c, "; ended")
}

// allow sets what requests may switch to on key.example.com.
func (k *kit) allow(t *testing.T, upgrades ...string) {
	t.Helper()
	k.source.change(func(s *vault.Snapshot) {
		v := s.Vaults[0]
		v.Services = append([]vault.Service{}, v.Services...)
		for i := range v.Services {
			if v.Services[i].Name == "key" {
				v.Services[i].Upgrades = upgrades
			}
		}
		s.Vaults = append([]vault.Vault{v}, s.Vaults[1:]...)
	})
	must(t, k.broker.Refresh(t.Context()))
}

// ask sends a request that asks to switch, and reads the header of its answer.
func askUpgrade(t *testing.T, k *kit, way int, method, protocol, more, body string) (*wire, *http.Response) {
	t.Helper()
	w, target, fields := ways1[way].open(t, k)
	w.send(t, method+" "+target+"/exec HTTP/1.1\r\n"+fields+"Connection: Upgrade\r\nUpgrade: "+protocol+"\r\n"+more+
		fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body))+body)
	resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
	must(t, err)
	return w, resp
}

// endWriting half-closes.
func (w *wire) endWriting(t *testing.T) {
	t.Helper()
	must(t, w.Conn.(interface{ CloseWrite() error }).CloseWrite())
}

// Upgrades that a person allows reach the upstream with their credential and
// their body, carry bytes both ways, and each side may end before the other.
func TestUpgrades(t *testing.T) {
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(switcher)})
	k.allow(t, "spdy/3.1", "tcp")
	outcomes := 0
	for i, way := range ways1 {
		for _, r := range []struct{ method, protocol, more, body string }{
			{"POST", "SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n", ""},
			{"GET", "SPDY/3.1", "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n", ""},
			{"POST", "tcp", "Content-Type: text/plain\r\n", ""},
			{"POST", "tcp", "Content-Type: application/json\r\n", `{"Detach":false,"Tty":true}`},
		} {
			w, resp := askUpgrade(t, k, i, r.method, r.protocol, r.more, r.body)
			if resp.StatusCode != 101 || resp.Header.Get("Upgrade") != r.protocol || resp.Header.Get("Content-Type") != "application/vnd.docker.raw-stream" ||
				resp.Header.Get("X-Key") != strings.Repeat("*", len(credential)) {
				t.Fatalf("%s, %s %s: %s %v", way.name, r.method, r.protocol, resp.Status, resp.Header)
			}
			first := fmt.Sprintf("%s %s %q;", r.method, r.protocol, r.body)
			const said = "\x80\x03\x00\x01 ends with av_sess_"
			got := make([]byte, len(first)+len(said)-len("av_sess_"))
			w.send(t, said)
			if _, err := io.ReadFull(w.r, got[:len(first)+4]); err != nil {
				t.Fatalf("%s: %v", way.name, err)
			}
			w.endWriting(t)
			rest, err := io.ReadAll(w.r)
			if all := string(got[:len(first)+4]) + string(rest); err != nil || all != first+said+"; ended" {
				t.Errorf("%s, %s %s: %q, %v", way.name, r.method, r.protocol, all, err)
			}
			outcomes++
			if o := k.outcome(t, outcomes); o.Status != 101 || o.Upgrade != strings.ToLower(r.protocol) || o.BytesIn != int64(len(r.body)+len(said)) || o.BytesOut != int64(len(first)+len(said)+len("; ended")) {
				t.Errorf("%s: the outcome is %+v", way.name, o)
			}
		}
	}
}

// What is not allowed on the service, or could not be told apart, is dropped.
func TestUpgradesThatAreDropped(t *testing.T) {
	k := newKit(t, kitOptions{upstream: http.HandlerFunc(switcher)})
	for _, r := range []struct {
		name, protocol, body string
		allowed              []string
	}{
		{"none allowed", "SPDY/3.1", "", nil},
		{"another allowed", "tcp", "", []string{"spdy/3.1"}},
		{"another version", "SPDY/3", "", []string{"spdy/3.1"}},
		{"one of two", "tcp, h2c", "", []string{"tcp"}},
		{"HTTP/2", "h2c", "", []string{"tcp"}},
		{"a long body", "tcp", strings.Repeat("x", 64<<10+1), []string{"tcp"}},
	} {
		k.allow(t, r.allowed...)
		for i, way := range ways1 {
			_, resp := askUpgrade(t, k, i, "POST", r.protocol, "", r.body)
			if b, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(b) != "not asked; "+r.body || err != nil {
				t.Errorf("%s, %s: %s %.40q, %v", r.name, way.name, resp.Status, b, err)
			}
		}
	}
	k.allow(t, "spdy/3.1", "tcp")
	_, resp := askUpgrade(t, k, 0, "GET", "tcp", "X-Answer: spdy/3.1\r\n", "")
	if b, err := io.ReadAll(resp.Body); resp.StatusCode != 502 || err != nil || fault(t, resp, string(b)) != broker.CodeUpstreamError {
		t.Errorf("switched to another: %s %s %v", resp.Status, b, err)
	}
}

// A stream after an upgrade ends with what allowed it, and when a token of the
// vault is in it, which reaches no upstream.
func TestUpgradesAreCut(t *testing.T) {
	for name, r := range map[string]struct {
		cut  func(t *testing.T, k *kit, w *wire)
		code string
	}{
		"not allowed any more": {func(t *testing.T, k *kit, _ *wire) { k.allow(t, "spdy/3.1") }, broker.CodeUnavailable},
		"revoked": {func(t *testing.T, k *kit, _ *wire) {
			k.source.change(func(s *vault.Snapshot) { s.Sessions = s.Sessions[1:] })
			must(t, k.broker.Refresh(t.Context()))
		}, broker.CodeUnauthorized},
		"a token": {func(t *testing.T, k *kit, w *wire) { w.send(t, "stdin: "+k.token+"\n") }, broker.CodeBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1)
			k := newKit(t, kitOptions{upstream: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				c, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = io.WriteString(c, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
				b, _ := io.ReadAll(rw)
				got <- string(b)
			})})
			for i := range ways1 {
				if i > 0 && name != "a token" {
					break // the session is gone
				}
				k.allow(t, "tcp")
				w, resp := askUpgrade(t, k, i, "POST", "tcp", "", "")
				if resp.StatusCode != 101 {
					t.Fatal(resp.Status)
				}
				r.cut(t, k, w)
				ends(t, w.Conn)
				if sent := <-got; strings.Contains(sent, k.token[8:12]) {
					t.Errorf("the upstream got %q", sent)
				}
				if o := k.outcome(t, i+1); o.Fault != r.code {
					t.Errorf("the outcome has the fault %q, want %q", o.Fault, r.code)
				}
			}
		})
	}
}

// Over clear text to the upstream a half-close goes on too, and the upstream's
// comes back.
func TestUpgradeOverClearText(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	got := make(chan string, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nbye")
		_ = c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(r)
		got <- string(b)
	}()
	k := newKit(t, kitOptions{})
	port := ln.Addr().(*net.TCPAddr).Port
	k.source.change(func(s *vault.Snapshot) {
		s.Vaults[0].Services = append(s.Vaults[0].Services, vault.Service{Name: "plain", Host: fmt.Sprintf("127.0.0.1:%d", port), Scheme: "http",
			Enabled: true, Auth: s.Vaults[0].Services[0].Auth, Switches: vault.Switches{Upgrades: []string{"tcp"}}})
	})
	must(t, k.broker.Refresh(t.Context()))
	w := k.dial(t)
	w.send(t, fmt.Sprintf("GET http://127.0.0.1:%d/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", port, k.token))
	resp, err := http.ReadResponse(w.r, nil)
	must(t, err)
	rest, err := io.ReadAll(w.r)
	if resp.StatusCode != 101 || string(rest) != "bye" || err != nil {
		t.Fatalf("%s %q %v", resp.Status, rest, err)
	}
	w.send(t, "still here")
	w.endWriting(t)
	if sent := <-got; sent != "still here" {
		t.Errorf("the upstream got %q", sent)
	}
}
