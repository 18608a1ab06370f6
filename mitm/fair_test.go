package mitm_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/vault"
)

// Failed authentication is slowed on both entrances together, and valid tokens
// from the same address are not.
func TestFailedAttemptsAreSlowed(t *testing.T) {
	k := newKit(t, kitOptions{limits: broker.Limits{FailedAttempts: 20}})
	kinds := []func(auth string) (*http.Response, string){
		func(auth string) (*http.Response, string) {
			w := k.dial(t)
			w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n")
			return w.answer(t, "CONNECT")
		},
		func(auth string) (*http.Response, string) {
			w := k.dial(t)
			w.send(t, "GET https://api.example.com/ HTTP/1.1\r\nHost: x\r\n"+auth+"\r\n")
			return w.answer(t, "GET")
		},
		func(auth string) (*http.Response, string) {
			w := k.dialPath(t)
			w.send(t, "GET /proxy/api.example.com/ HTTP/1.1\r\nHost: x\r\n"+strings.TrimPrefix(auth, "Proxy-")+"\r\n")
			return w.answer(t, "GET")
		},
	}
	wrong := []string{"Proxy-Authorization: Bearer " + vault.NewToken(vault.PrefixSession), "Proxy-Authorization: Basic Zm9vOmJhcg==", "Proxy-Authorization: nonsense"}
	slowed, began := 0, time.Now()
	for n := range 60 {
		resp, body := kinds[n%3](wrong[(n/3)%3] + "\r\n")
		if resp.StatusCode == 429 && fault(t, resp, body) == "rate_limited" && resp.Header.Get("Retry-After") != "" {
			slowed++
		} else if resp.StatusCode != 401 && resp.StatusCode != 407 {
			t.Fatalf("attempt %d: %s %s", n+1, resp.Status, body)
		}
		for i, kind := range kinds {
			if resp, body := kind("Proxy-Authorization: Bearer " + k.token + "\r\n"); resp.StatusCode != 200 {
				t.Fatalf("a valid token after %d failures: %s %s", n+1, resp.Status, body)
			}
			if resp, _ := kind(""); resp.StatusCode != map[int]int{0: 407, 1: 407, 2: 401}[i] {
				t.Fatalf("no token after %d failures: %s", n+1, resp.Status)
			}
		}
	}
	if most := 20 + 1 + int(time.Since(began)/(3*time.Second)); 60-slowed > most { // one more every three seconds
		t.Errorf("%d of 60 attempts were slowed, want all but %d", slowed, most)
	}
}

// One session with more connections than there may be closes its own: another's
// stay, and new ones of another are let in.
func TestConnectionsAreShared(t *testing.T) {
	k := newKit(t, kitOptions{limits: broker.Limits{Connections: 40}})
	greedy := k.token
	keep := func(token string) (net.Conn, error) {
		w := k.dialPath(t)
		if _, err := io.WriteString(w, "GET /proxy/api.example.com/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+token+"\r\nX-Vault: default\r\n\r\n"); err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(w.r, nil)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != 200 {
			err = fmt.Errorf("%s", resp.Status)
		}
		return w.Conn, err
	}
	mine := k.dialPath(t)
	again := func() {
		t.Helper()
		mine.send(t, "GET /proxy/api.example.com/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+k.agent+"\r\nX-Vault: default\r\n\r\n")
		if resp, body := mine.answer(t, "GET"); resp.StatusCode != 200 {
			t.Fatalf("%s %s", resp.Status, body)
		}
	}
	again()
	tunnel := k.connect(t, k.agent+"\r\nX-Vault: default", "api.example.com:443")
	for range 200 { // of the greedy session, and of nobody
		if _, err := keep(greedy); err != nil {
			t.Fatal(err)
		}
		k.dialPath(t)
		k.dial(t)
	}
	again()
	if _, err := keep(k.agent); err != nil {
		t.Error(err)
	}
	_ = tunnel.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := tunnel.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("the tunnel was closed: %v", err)
	}
}

// A session that sends more than it may, reads nothing of what it asked for, and
// holds its uploads, takes nothing from another.
func TestFloodsStayTheirOwn(t *testing.T) {
	hold := make(chan struct{})
	k := newKit(t, kitOptions{
		limits: broker.Limits{SessionRate: 50, SessionBurst: 50, SessionConcurrent: 20, SessionTunnels: 20, Connections: 400},
		upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/big":
				_, _ = io.CopyN(w, zeroes{}, 64<<20)
			case "/held":
				<-hold
			default:
				_, _ = io.Copy(w, r.Body)
			}
		}),
	})
	defer close(hold)
	var flood sync.WaitGroup
	stop := make(chan struct{})
	for i := range 8 {
		flood.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.Dial("tcp", k.addr)
				if err != nil {
					continue
				}
				t.Cleanup(func() { _ = c.Close() })
				target := []string{"/big", "/held", "/x"}[(i+n)%3]
				fmt.Fprintf(c, "POST https://api.example.com%s HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer %s\r\nContent-Length: 1000000\r\n\r\nslow", target, k.token)
				if n > 60 {
					return
				}
			}
		})
	}
	for range 20 { // each within the hang limit of the connection
		w := k.dial(t)
		w.send(t, "GET https://api.example.com/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer "+k.agent+"\r\nX-Vault: default\r\n\r\n")
		if resp, body := w.answer(t, "GET"); resp.StatusCode != 200 {
			t.Errorf("another session got %s %s", resp.Status, body)
		}
	}
	close(stop)
	flood.Wait()
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Tunnels are opened no faster than requests are sent.
func TestTunnelsAreOpenedAtTheSessionsRate(t *testing.T) {
	k := newKit(t, kitOptions{limits: broker.Limits{SessionRate: 1, SessionBurst: 5}})
	refused := false
	for n := 0; n < 100 && !refused; n++ {
		w := k.dial(t)
		w.send(t, "CONNECT api.example.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
		resp, body := w.answer(t, "CONNECT")
		refused = resp.StatusCode == 429 && fault(t, resp, body) == "rate_limited" && resp.Header.Get("Retry-After") != ""
	}
	if !refused {
		t.Error("no tunnel was refused")
	}
	w := k.dial(t)
	w.send(t, "GET https://api.example.com/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Bearer "+k.token+"\r\n\r\n")
	if resp, body := w.answer(t, "GET"); resp.StatusCode != 200 {
		t.Errorf("requests are counted by themselves: %s %s", resp.Status, body)
	}
}
