package main_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const tunnelBudgetKiB = 60 // of resident memory, each

// A scaled server is one whose memory is looked at, with an origin and, beside
// it, a host without a service that takes connections and says nothing.
type scaled struct {
	*instance
	socket string
	token  string
}

func newScaled(t *testing.T) *scaled {
	t.Helper()
	const files = 2*idleTunnels + 500
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < files {
		t.Skipf("needs %d file descriptors, and may have %d: %v", files, limit.Cur, err)
	}
	ca := newAuthority(t, "Origin CA")
	origin := startOrigin(t, ca.leaf(t, "api.test"), false, originHandler())
	roots := t.TempDir() + "/origin.pem"
	if err := os.WriteFile(roots, ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &scaled{socket: socketFolder(t) + "/pprof"}
	s.instance = newInstance(t, fmt.Sprintf(`upstream: {ca_file: %s, hosts: {api.test: '%s', silent.test: '%s'}}
network: {allow: [127.0.0.0/8]}
debug: {pprof_socket: %s}
limits: {session_tunnels: 0, session_concurrent: 0, session_rate: 0}
`, roots, origin.Addr, startSilence(t), s.socket))
	s.register()
	s.apply(`vaults: [{name: default, unmatched_hosts: tunnel, services: [{name: api, host: api.test, auth: {type: bearer, token: KEY}}], credentials: {KEY: {from: "file:KEY"}}}]`,
		map[string]string{"KEY": "sk-live-3f9a77c1e2d4b6a8"})
	s.token = s.instance.token()
	return s
}

// startSilence takes connections until they end, and returns its address.
func startSilence(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				_, _ = io.Copy(io.Discard, c) // it ends either way
				c.Close()
			})
		}
	})
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

// metric reads one number from /metrics.
func (s *scaled) metric(name string) int {
	s.t.Helper()
	for line := range strings.Lines(s.send("GET", "/metrics", "", "").body) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			return int(n)
		}
	}
	s.t.Fatalf("no metric %s", name)
	return 0
}

// resident is the server's memory without garbage, in bytes (proc_pid_statm(5)).
func (s *scaled) resident() int {
	s.t.Helper()
	for range 2 { // what a finalizer lets go of, the second finds
		get(s.t, onSocket(s.socket), "http://pprof/debug/pprof/heap?gc=1")
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	fields := strings.Fields(string(raw))
	pages, err := strconv.Atoi(fields[1])
	if err != nil {
		s.t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// settles waits until goroutines and descriptors are back where they were, but
// for those of a few connections to the origin that are kept for a next request.
func (s *scaled) settles(goroutines, files int) {
	s.t.Helper()
	const kept = 10
	deadline := time.Now().Add(60 * time.Second)
	for {
		g, f := s.metric("go_goroutines"), s.metric("process_open_fds")
		if g <= goroutines+2*kept && f <= files+kept {
			s.t.Logf("%d goroutines, %d when it began; %d descriptors, %d when it began", g, goroutines, f, files)
			return
		}
		if time.Now().After(deadline) {
			_, stacks := get(s.t, onSocket(s.socket), "http://pprof/debug/pprof/goroutine?debug=1")
			s.t.Fatalf("%d goroutines, %d when it began; %d descriptors, %d when it began\n%.5000s", g, goroutines, f, files, stacks)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// connect opens a tunnel and does nothing in it.
func (s *scaled) connect(host string) (net.Conn, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.Proxy, "http://"))
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "CONNECT %s:443 HTTP/1.1\r\nHost: %s:443\r\nProxy-Authorization: Basic %s\r\n\r\n",
		host, host, base64.StdEncoding.EncodeToString([]byte(s.token+":default")))
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 512), &http.Request{Method: "CONNECT"})
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("CONNECT: %+v", resp), err, conn.Close())
	}
	return conn, nil
}

// An opener opens one tunnel of a kind.
type opener func(s *scaled) (net.Conn, error)

// inTLS opens a tunnel and speaks TLS in it.
func inTLS(protocol string) opener {
	config := sync.OnceValue(func() *tls.Config { return new(tls.Config) })
	return func(s *scaled) (net.Conn, error) {
		conn, err := s.connect("api.test")
		if err != nil {
			return nil, err
		}
		c := config().Clone()
		c.ServerName, c.RootCAs, c.NextProtos = "api.test", s.roots, []string{protocol}
		tc := tls.Client(conn, c)
		return tc, tc.Handshake()
	}
}

// TestIdleTunnels: 2,000 tunnels in which nothing happens cost at most 60 KiB of
// resident memory each, and nothing once they have gone.
func TestIdleTunnels(t *testing.T) {
	s := newScaled(t)
	s.trust()
	for _, kind := range []struct {
		name string
		open opener
	}{
		{"bare CONNECT", func(s *scaled) (net.Conn, error) { return s.connect("api.test") }},
		{"blind", func(s *scaled) (net.Conn, error) { return s.connect("silent.test") }},
		{"after the TLS handshake", inTLS("http/1.1")},
		{"after a request", func(s *scaled) (net.Conn, error) {
			conn, err := inTLS("http/1.1")(s)
			if err != nil {
				return nil, err
			}
			fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: api.test\r\n\r\n")
			_, err = readAnswer(bufio.NewReader(conn), "GET")
			return conn, err
		}},
		{"HTTP/2", func(s *scaled) (net.Conn, error) {
			conn, err := inTLS("h2")(s)
			if err != nil {
				return nil, err
			}
			// Preface, and an empty SETTINGS (RFC 9113 §3.4).
			if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
				return nil, err
			}
			_, err = conn.Read(make([]byte, 1)) // of the server's own
			return conn, err
		}},
	} {
		t.Run(kind.name, func(t *testing.T) { s.idle(t, kind.open) })
	}
}

// idle opens tunnels, looks at what they cost, and closes them.
func (s *scaled) idle(t *testing.T, open opener) {
	defer func(outer testing.TB) { s.t = outer }(s.t)
	s.t = t
	warm, err := open(s) // leaf, ticket keys, pools
	if err != nil {
		t.Fatal(err)
	}
	warm.Close()
	before, goroutines, files := s.resident(), s.metric("go_goroutines"), s.metric("process_open_fds")
	conns := make([]net.Conn, idleTunnels)
	var openers sync.WaitGroup
	for n := range 8 {
		openers.Go(func() {
			for i := n; i < idleTunnels; i += 8 {
				var err error
				if conns[i], err = open(s); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	openers.Wait()
	there := s.metric("agent_vault_tunnels_open") // a bare one lasts for ten seconds
	each := float64(s.resident()-before) / float64(there) / 1024
	t.Logf("%d tunnels: %.1f KiB and %.1f goroutines each", there, each, float64(s.metric("go_goroutines")-goroutines)/float64(there))
	if there < idleTunnels/2 {
		t.Errorf("only %d tunnels are open", there)
	}
	if each > tunnelBudgetKiB {
		t.Errorf("%.1f KiB each, budget %d", each, tunnelBudgetKiB)
	}
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
	s.settles(goroutines, files)
}

const slowClients = 300

// TestSlowClients: who trickles requests, or reads answers slowly, does not make
// others wait. The figures are for people: only what is out of all proportion
// fails.
func TestSlowClients(t *testing.T) {
	s := newScaled(t)
	s.trust()
	s.exchange(t)
	goroutines, files := s.metric("go_goroutines"), s.metric("process_open_fds")
	var alone, among []time.Duration
	for range 2 {
		alone = s.honest(t, alone)
		stop := s.slowDown(t)
		s.honest(t, nil) // so many who come at once are a burst: this is about what they do then
		among = s.honest(t, among)
		stop()
	}
	slices.Sort(alone)
	slices.Sort(among)
	half, most := len(alone)/2, len(alone)*99/100
	t.Logf("an honest client alone: half of its requests within %v, 99 of 100 within %v; among %d slow ones: %v and %v",
		alone[half], alone[most], slowClients, among[half], among[most])
	a, b := alone[most], among[most]
	t.Logf("that is %.2f times as long", float64(b)/float64(a))
	if b > 10*a && b > time.Second {
		t.Error("slow clients hold up others")
	}
	s.settles(goroutines, files)
}

// exchange sends one request as an honest client does.
func (s *scaled) exchange(t *testing.T) {
	t.Helper()
	if a := s.do(byPath, s.token, call{host: "api.test", target: "/"}); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

// honest sends requests one after the other, and adds how long each took.
func (s *scaled) honest(t *testing.T, took []time.Duration) []time.Duration {
	t.Helper()
	for range 200 {
		start := time.Now()
		s.exchange(t)
		took = append(took, time.Since(start))
	}
	return took
}

// slowDown starts the slow clients, of three kinds by both entrances, and returns when all of them
// have begun. stop ends them.
func (s *scaled) slowDown(t *testing.T) (stop func()) {
	t.Helper()
	kinds := []func(net.Conn, entrance, <-chan struct{}){s.trickleHeader, s.trickleBody, s.sipAnswer}
	ended := make(chan struct{})
	var begun, clients sync.WaitGroup
	for n := range slowClients {
		e := entrances[n%2]
		begun.Add(1)
		clients.Go(func() {
			conn, err := s.dial(e, s.token, "default", "api.test")
			begun.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			kinds[n%3](conn, e, ended)
		})
	}
	begun.Wait()
	return func() {
		close(ended)
		clients.Wait()
	}
}

// A slowPace is one of a slow client's steps; false means that it is over.
func slowPace(ended <-chan struct{}) bool {
	select {
	case <-ended:
		return false
	case <-time.After(250 * time.Millisecond):
		return true
	}
}

// trickleHeader sends a header byte by byte.
func (s *scaled) trickleHeader(conn net.Conn, e entrance, ended <-chan struct{}) {
	for _, b := range []byte(s.spell(e, s.token, "default", call{host: "api.test", target: "/slow", header: []string{"X-Long: " + strings.Repeat("x", 4096)}})) {
		if _, err := conn.Write([]byte{b}); err != nil || !slowPace(ended) {
			return
		}
	}
}

// trickleBody sends an upload byte by byte.
func (s *scaled) trickleBody(conn net.Conn, e entrance, ended <-chan struct{}) {
	head := s.spell(e, s.token, "default", call{method: "POST", host: "api.test", target: "/upload", header: []string{"Content-Length: 1000000"}})
	if _, err := io.WriteString(conn, head); err != nil {
		return
	}
	for slowPace(ended) {
		if _, err := conn.Write([]byte("x")); err != nil {
			return
		}
	}
}

// sipAnswer reads a long answer in sips, with little room for more.
func (s *scaled) sipAnswer(conn net.Conn, e entrance, ended <-chan struct{}) {
	raw := conn
	if tc, ok := conn.(*tls.Conn); ok {
		raw = tc.NetConn()
	}
	if err := raw.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		return
	}
	if _, err := io.WriteString(conn, s.spell(e, s.token, "default", call{host: "api.test", target: "/download?bytes=100000000"})); err != nil {
		return
	}
	for sip := make([]byte, 512); slowPace(ended); {
		if _, err := conn.Read(sip); err != nil {
			return
		}
	}
}
