package main_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A load asks one thing over and over and counts what fails.
type load struct {
	name          string
	every         time.Duration
	ask           func() error
	asked, failed atomic.Int64
}

// run asks until stop is closed.
func (l *load) run(t *testing.T, stop <-chan struct{}) {
	tick := time.NewTicker(l.every)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		l.asked.Add(1)
		if err := l.ask(); err != nil && l.failed.Add(1) < 4 {
			t.Errorf("%s: %v", l.name, err)
		}
	}
}

// await returns when each has asked n times more.
func await(t *testing.T, loads []*load, n int64) {
	t.Helper()
	for _, l := range loads {
		until := l.asked.Load() + n
		deadline := time.Now().Add(60 * time.Second)
		for l.asked.Load() < until {
			if time.Now().After(deadline) {
				t.Fatalf("%s: asks no more", l.name)
			}
			<-time.After(l.every)
		}
	}
}

// asks is a client that trusts some roots; one that does not keep its tunnels
// shakes hands for each request.
func (w *world) asks(t *testing.T, roots *x509.CertPool, keep bool) func() error {
	tr := &http.Transport{
		Proxy:             http.ProxyURL(mustURL(t, strings.Replace(w.Proxy, "http://", "http://"+w.token+":default@", 1))),
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DisableKeepAlives: !keep, ForceAttemptHTTP2: keep,
	}
	t.Cleanup(tr.CloseIdleConnections)
	client := &http.Client{Transport: tr, Timeout: 30 * time.Second}
	return func() error {
		resp, err := client.Get("https://api.test/rotation")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != 200 {
			err = errors.Join(err, errors.New(resp.Status))
		}
		return err
	}
}

// asksByPath is a client of the path entrance.
func (w *world) asksByPath() func() error {
	return func() error {
		req, err := http.NewRequest("GET", w.API+"/proxy/api.test/rotation", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+w.token)
		req.Header.Set("X-Vault", "default")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != 200 {
			err = errors.Join(err, errors.New(resp.Status))
		}
		return err
	}
}

// longTunnel is one connection that asks again and again, opened now.
func (w *world) longTunnel(t *testing.T) func() error {
	conn, err := w.dial(byProxy, w.token, "default", "api.test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })

	reader := bufio.NewReader(conn)
	return func() error {
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return err
		}
		if _, err := io.WriteString(conn, w.spell(byProxy, w.token, "default", call{host: "api.test", target: "/rotation"})); err != nil {
			return err
		}
		a, err := readAnswer(reader, "GET")
		if err == nil && a.status != 200 {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	}
}

func pool(t *testing.T, bundle string) *x509.CertPool {
	t.Helper()
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM([]byte(bundle)) {
		t.Fatalf("no certificate: %q", bundle)
	}
	return p
}

// TestRotationUnderLoad replaces the root while fifty requests a second and more
// come through both entrances, by clients that trust the old root, the new one, or
// both, in tunnels that stay and in new ones. None may fail, but after the end
// those that trust the old root only.
func TestRotationUnderLoad(t *testing.T) {
	w := newWorld(t)
	old := w.must("", "ca", "export")
	var all sync.WaitGroup
	began := time.Now()
	start := func(loads ...*load) (stop func()) {
		end := make(chan struct{})
		for _, l := range loads {
			all.Go(func() { l.run(t, end) })
		}
		return sync.OnceFunc(func() { close(end) })
	}
	defer all.Wait()
	const every = 50 * time.Millisecond
	path := &load{name: "the path entrance", every: every, ask: w.asksByPath()}
	long := &load{name: "a tunnel opened before", every: every, ask: w.longTunnel(t)}
	oldKeeps := &load{name: "who trusts the old root, kept tunnels", every: every, ask: w.asks(t, pool(t, old), true)}
	oldNew := &load{name: "who trusts the old root, new tunnels", every: every, ask: w.asks(t, pool(t, old), false)}
	stopLasting := start(path, long)
	defer stopLasting()
	stopOld := start(oldKeeps, oldNew)
	defer stopOld()
	await(t, []*load{path, long, oldKeeps, oldNew}, 5)

	w.must("", "ca", "rotate", "--overlap", "1h")
	both := w.must("", "ca", "export")
	next := both[:strings.Index(both, "-----END")] + "-----END CERTIFICATE-----\n"
	if !strings.HasSuffix(both, old) || strings.Count(both, "BEGIN") != 2 {
		t.Fatalf("in a rotation ca export gives\n%s", both)
	}
	newNew := &load{name: "who trusts the new root, new tunnels", every: every, ask: w.asks(t, pool(t, next), false)}
	newKeeps := &load{name: "who trusts the new root, kept tunnels", every: every, ask: w.asks(t, pool(t, next), true)}
	bothNew := &load{name: "who trusts both, new tunnels", every: every, ask: w.asks(t, pool(t, both), false)}
	stopNew := start(newNew, newKeeps, bothNew)
	defer stopNew()
	await(t, []*load{path, long, oldKeeps, oldNew, newNew, newKeeps, bothNew}, 10)
	w.opensslTakes(t, old, next, both)

	stopOld()
	w.must("", "ca", "rotate", "--finish")
	await(t, []*load{path, long, newNew, newKeeps, bothNew}, 10)
	stopNew()
	stopLasting()
	all.Wait()
	took, sum := time.Since(began), int64(0)
	for _, l := range []*load{path, long, oldKeeps, oldNew, newNew, newKeeps, bothNew} {
		t.Logf("%s: %d requests, %d failed", l.name, l.asked.Load(), l.failed.Load())
		sum += l.asked.Load()
	}
	t.Logf("%d requests in %v", sum, took)
	if err := w.asks(t, pool(t, old), false)(); err == nil {
		t.Error("after the end the old root is still enough")
	}
	if got := w.must("", "ca", "export"); got != next {
		t.Errorf("after the end ca export gives\n%s", got)
	}
}

// opensslTakes shows the chain in a rotation to openssl, with each root alone.
func (w *world) opensslTakes(t *testing.T, bundles ...string) {
	t.Helper()
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Log("openssl is not asked: needs openssl")
		return
	}
	chain := w.chain(t)
	for i, bundle := range bundles {
		roots := w.path(fmt.Sprintf("roots-%d.pem", i))
		sent := w.path("sent.pem")
		leaf := w.path("leaf.pem")
		write := func(path string, certs ...*x509.Certificate) {
			var b strings.Builder
			for _, c := range certs {
				_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a Builder takes all
			}
			if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(leaf, chain[0])
		write(sent, chain[1:]...)
		if err := os.WriteFile(roots, []byte(bundle), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), program, "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "api.test",
			"-no-CApath", "-no-CAstore", "-CAfile", roots, "-untrusted", sent, leaf).CombinedOutput()
		if err != nil {
			t.Errorf("openssl with bundle %d: %v\n%s", i, err, out)
		}
	}
}

// chain is what the proxy entrance sends for api.test.
func (w *world) chain(t *testing.T) []*x509.Certificate {
	t.Helper()
	conn := w.connect(t, "api.test:443", w.token)
	defer conn.Close()
	return handshake(t, conn, "api.test")
}

// handshake returns the certificates that are sent to somebody who looks at them
// and goes away.
func handshake(t *testing.T, conn net.Conn, host string) (certs []*x509.Certificate) {
	t.Helper()
	seen := errors.New("seen")
	c := tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error { // it is only looked at
		certs = s.PeerCertificates
		return seen
	}})
	if err := c.HandshakeContext(t.Context()); !errors.Is(err, seen) {
		t.Fatalf("handshake: %v", err)
	}
	return certs
}
