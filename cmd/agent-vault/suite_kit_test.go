package main_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Suites that others wrote, run against the built server. Most of their
// programs know no proxy: a relay on 127.0.0.1 takes each of their connections
// into a tunnel of its own, and what they reach is localhost on the very port
// of the relay, which the vault finds on 127.0.0.2. So an authority is the same
// on either side, and no name has to be in /etc/hosts.

// suitePorts is how many upstreams a suite may have at a time.
const suitePorts = 8

// suitesVariable names the folder of the suites' programs. make fills it and
// sets the variable; without, nothing of this runs.
const suitesVariable = "AGENT_VAULT_SUITES"

// suiteProgram finds a program of a suite, in that folder or installed.
func suiteProgram(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv(suitesVariable)
	if dir == "" {
		t.Skipf("needs %s, which the Makefile's targets bring (docs/suites.md)", name)
	}
	path, err := exec.LookPath(filepath.Join(dir, name))
	if err != nil {
		path, err = exec.LookPath(name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// suiteHost is the service for programs that do know a proxy: as Go does, most
// of them reach localhost without.
const suiteHost = "suite.test"

// A suiteWorld is a server whose services are localhost on some ports, and
// suiteHost on the first of them; and an agent.
type suiteWorld struct {
	*instance
	ports []int
	token string

	caFile            string // the vault's root
	originCAFile      string // of the upstream's certificate
	certFile, keyFile string // the upstream's
}

// injected is what most suites run with: a credential that is put on requests
// and looked for in answers.
const injected = "auth: {type: bearer, token: SUITE_KEY}"

// The credentials of a suiteWorld.
const (
	suiteID  = "SUITEID8C41F7E3B296"
	suiteKey = "sk-suite-5c0d8a41f7e3b296"
)

// newSuiteWorld makes a world whose services have the auth and the switches that
// are given; SUITE_KEY, and SUITE_ID, are looked for in answers whether they are
// injected or not.
// Sessions have no limits: suites open thousands of streams.
func newSuiteWorld(t *testing.T, auth string) *suiteWorld {
	t.Helper()
	w := &suiteWorld{ports: freePorts(t, suitePorts)}
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca := newAuthority(t, "Origin CA")
	w.originCAFile = write("origin-ca.pem", ca.pem)
	cert, key := pemOf(t, ca.leaf(t, "localhost", suiteHost))
	w.certFile, w.keyFile = write("cert.pem", cert), write("key.pem", key)
	w.instance = newInstance(t, fmt.Sprintf(`
development: true
upstream: {ca_file: %s, hosts: {localhost: 127.0.0.2, %s: "127.0.0.2:%d"}}
network: {allow: [127.0.0.2/32]}
limits: {session_rate: 0, session_concurrent: 0, session_tunnels: 0}
`, w.originCAFile, suiteHost, w.ports[0]))
	w.register()
	declaration := fmt.Sprintf("vaults:\n  - name: default\n    services:\n      - {name: proxied, host: %s, %s}\n", suiteHost, auth)
	for _, port := range w.ports {
		declaration += fmt.Sprintf("      - {name: relayed-%d, host: \"localhost:%[1]d\", %s}\n", port, auth)
	}
	declaration += "    credentials:\n      SUITE_KEY: {from: \"file:SUITE_KEY\"}\n      SUITE_ID: {from: \"file:SUITE_ID\"}\n"
	w.apply(declaration, map[string]string{"SUITE_KEY": suiteKey, "SUITE_ID": suiteID})
	w.token = w.instance.token("--ttl", "1h")
	w.caFile = write("vault-ca.pem", []byte(w.must("", "ca", "export")))
	return w
}

func pemOf(t *testing.T, cert tls.Certificate) (chain, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// freePorts returns ports that are free on both loopback addresses.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for tries := 0; len(ports) < n && tries < 100; tries++ {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // the next one is another
		port := ln.Addr().(*net.TCPAddr).Port
		if other, err := net.Listen("tcp", upstreamAt(port)); err == nil {
			other.Close()
			ports = append(ports, port)
		}
	}
	if len(ports) < n {
		t.Fatal("needs ports that are free on 127.0.0.1 and on 127.0.0.2, which Linux has")
	}
	return ports
}

func upstreamAt(port int) string { return fmt.Sprintf("127.0.0.2:%d", port) }

// proxyURL is the proxy entrance as an agent is told it.
func (w *suiteWorld) proxyURL() string {
	return strings.Replace(w.Proxy, "://", "://"+w.token+":default@", 1)
}

// startRelay takes each connection to the first port into a tunnel, until the
// test ends.
func (w *suiteWorld) startRelay(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", w.ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { relay(ln, w.proxyURL()) })
	t.Cleanup(func() {
		ln.Close()
		running.Wait()
	})
}

// relay takes each connection into a tunnel to localhost on the same port until
// ln is closed, and then cuts what is open.
func relay(ln net.Listener, proxyURL string) {
	authority := fmt.Sprintf("localhost:%d", ln.Addr().(*net.TCPAddr).Port)
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	var running sync.WaitGroup
	for {
		client, err := ln.Accept()
		if err != nil {
			break
		}
		running.Go(func() {
			defer client.Close()
			tunnel, err := openTunnel(proxyURL, authority)
			if err != nil {
				fmt.Fprintf(os.Stderr, "relay: %v\n", err)
				return
			}
			mu.Lock()
			open[tunnel] = true
			mu.Unlock()
			splice(client, tunnel)
			mu.Lock()
			delete(open, tunnel)
			mu.Unlock()
		})
	}
	mu.Lock()
	for c := range open {
		c.Close()
	}
	mu.Unlock()
	running.Wait()
}

// openTunnel asks a proxy for a tunnel.
func openTunnel(proxyURL, authority string) (net.Conn, error) {
	credentials, address, _ := strings.Cut(strings.TrimPrefix(proxyURL, "http://"), "@")
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\nProxy-Authorization: Basic %s\r\n\r\n", authority, base64.StdEncoding.EncodeToString([]byte(credentials)))
	// In a tunnel the client speaks first: nothing but the answer is buffered.
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: "CONNECT"})
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("CONNECT %s: %s", authority, resp.Status)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// splice carries bytes both ways, each way until its end, and closes both.
func splice(a, b net.Conn) {
	var running sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		running.Go(func() {
			if _, err := io.Copy(way[0], way[1]); err != nil {
				way[1].Close() // a reset on one side is one on the other
				way[0].Close()
				return
			}
			_ = way[0].(*net.TCPConn).CloseWrite() // it may be closed by then
		})
	}
	running.Wait()
	a.Close()
	b.Close()
}

// startUpstream runs a suite's server, and ends it with the test.
func startUpstream(t *testing.T, address, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	out := new(syncBuffer)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }() // it is killed: its error says nothing
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	for range 2000 {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", program, out)
		case <-time.After(5 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not listen on %s:\n%s", program, address, out)
}
