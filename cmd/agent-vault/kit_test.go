package main_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// These tests build the binary, start it, and talk to it as agents and people
// do: over its ports and by its commands. Nothing of the server runs in the
// test's own process.

// builtVariable names a binary that was built already, for a test that runs
// itself in a process of its own.
const builtVariable = "AGENT_VAULT_TEST_BINARY"

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(builtVariable); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "agent-vault-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "agent-vault")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	if os.Getenv(conformanceVariable) != "" {
		os.Exit(serveConformance())
	}
	code := m.Run()
	if path, err := binary(); err == nil && os.Getenv(builtVariable) == "" {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func builtBinary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// needs skips a test that drives a program which is not installed.
func needs(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is not installed, and CI runs every client", program)
		}
		t.Skipf("needs %s, which is not installed", program)
	}
	return path
}

// ---- an authority and TLS origins ----

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) leaf(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	return a.issue(t, x509.ExtKeyUsageServerAuth, names...)
}

// client is a certificate for a client.
func (a *authority) client(t testing.TB, name string) tls.Certificate {
	t.Helper()
	return a.issue(t, x509.ExtKeyUsageClientAuth, name)
}

func (a *authority) issue(t testing.TB, usage x509.ExtKeyUsage, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(12 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// An origin is a TLS server that remembers every byte it is sent.
type origin struct {
	Addr string // 127.0.0.1:port

	mu   sync.Mutex
	wire map[net.Conn]*bytes.Buffer
	last []byte // of the request that was answered last, as it came
}

type recordedConn struct {
	net.Conn
	o *origin
}

func (c recordedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.o.mu.Lock()
	if b := c.o.wire[c]; b != nil && b.Len() < 1<<20 {
		b.Write(p[:n])
	}
	c.o.mu.Unlock()
	return n, err
}

type recordedListener struct {
	net.Listener
	o *origin
}

func (l recordedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	rc := recordedConn{c, l.o}
	l.o.mu.Lock()
	l.o.wire[rc] = new(bytes.Buffer)
	l.o.mu.Unlock()
	return rc, nil
}

// startOrigin serves handler. With http2 it offers both protocols and records
// no bytes; without, HTTP/1.1 only.
func startOrigin(t testing.TB, cert tls.Certificate, http2 bool, handler http.Handler) *origin {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{Addr: ln.Addr().String(), wire: make(map[net.Conn]*bytes.Buffer)}
	srv := &http.Server{ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second}
	config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}
	if http2 {
		config.NextProtos = []string{"h2", "http/1.1"}
		srv.Handler = handler
		srv.TLSConfig = config
		go srv.ServeTLS(ln, "", "")
	} else {
		srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		}
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(w, r)
			c := r.Context().Value(connKey{}).(net.Conn)
			o.mu.Lock()
			o.last = bytes.Clone(o.wire[c].Bytes())
			o.wire[c].Reset()
			o.mu.Unlock()
		})
		go srv.Serve(recordedListener{tls.NewListener(ln, config), o})
	}
	t.Cleanup(func() { srv.Close() })
	return o
}

type connKey struct{}

// received returns the last request's bytes as they came over the wire.
func (o *origin) received() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.last)
}

// ---- a running instance ----

type instance struct {
	t          testing.TB
	dir        string // home of the operator; the server's data is in dir/data
	API, Proxy string // base URLs
	cmd        *exec.Cmd
	stderr     *syncBuffer
	done       chan struct{}
	roots      *x509.CertPool // trusts the instance's CA
	before     []string       // put before the server's command, such as a shell that sets a limit
	attr       *syscall.SysProcAttr
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const (
	ownerEmail    = "owner@example.test"
	ownerPassword = "correct horse battery staple"
)

// newInstance writes a configuration and starts a server with it. extra is
// YAML put behind the parts that every test needs.
func newInstance(t testing.TB, extra string) *instance {
	t.Helper()
	return newInstanceIn(t, t.TempDir(), extra)
}

func newInstanceIn(t testing.TB, dir, extra string) *instance {
	t.Helper()
	i := &instance{t: t, dir: dir}
	config := "listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}\ndata_dir: " + filepath.Join(i.dir, "data") + "\n" + extra
	if err := os.WriteFile(i.path("config.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	i.start()
	t.Cleanup(i.stop)
	return i
}

func (i *instance) path(name string) string { return filepath.Join(i.dir, name) }

var addressOf = regexp.MustCompile(`http://127\.0\.0\.1:\d+`)

func (i *instance) start() {
	i.t.Helper()
	if err := i.launch(builtBinary(i.t)); err != nil {
		i.t.Fatal(err)
	}
}

// launch runs the server and waits for the line that says it is ready.
func (i *instance) launch(binary string) error {
	words := append(slices.Clone(i.before), binary, "server", "--config", i.path("config.yaml"))
	i.cmd = exec.Command(words[0], words[1:]...)
	i.cmd.Env, i.cmd.SysProcAttr = i.env(), i.attr
	i.stderr = new(syncBuffer)
	i.cmd.Stderr = i.stderr
	i.cmd.Stdout = i.stderr
	if err := i.cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	i.done = done
	cmd := i.cmd
	go func() { cmd.Wait(); close(done) }()
	for {
		select {
		case <-done:
			return fmt.Errorf("server ended before it was ready:\n%s", i.stderr)
		case <-time.After(5 * time.Millisecond):
		}
		for line := range strings.Lines(i.stderr.String()) {
			urls := addressOf.FindAllString(line, -1)
			if len(urls) == 2 && strings.HasSuffix(line, "\n") {
				i.API, i.Proxy = urls[0], urls[1]
				return nil
			}
		}
	}
}

func (i *instance) stop() {
	if err := i.halt(); err != nil {
		i.t.Error(err)
	}
}

func (i *instance) halt() error {
	_ = i.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-i.done:
		return nil
	case <-time.After(15 * time.Second):
		return fmt.Errorf("server did not end on SIGTERM: %v\n%s", i.cmd.Process.Kill(), i.stderr)
	}
}

func (i *instance) env(more ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + i.dir, "LANG=C.UTF-8", "TMPDIR=" + os.TempDir()}
	if i.API != "" {
		env = append(env, "AGENT_VAULT_ADDR="+i.API)
	}
	return append(env, more...)
}

// run executes one of our commands as the operator.
func (i *instance) run(stdin string, args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command(builtBinary(i.t), args...)
	cmd.Env = i.env()
	cmd.Dir = i.dir
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func (i *instance) must(stdin string, args ...string) string {
	i.t.Helper()
	out, errs, err := i.run(stdin, args...)
	if err != nil {
		i.t.Fatalf("agent-vault %s: %v\nstdout: %s\nstderr: %s\nserver: %s", strings.Join(args, " "), err, out, errs, i.stderr)
	}
	return out
}

func (i *instance) register() {
	i.t.Helper()
	i.must(ownerPassword+"\n", "auth", "register", "--email", ownerEmail, "--password-stdin")
}

// apply declares a vault. Credentials are given as files.
func (i *instance) apply(declaration string, credentials map[string]string) string {
	i.t.Helper()
	for key, value := range credentials {
		if err := os.WriteFile(i.path(key), []byte(value), 0o600); err != nil {
			i.t.Fatal(err)
		}
	}
	return i.must(declaration, "apply", "-f", "-")
}

func (i *instance) token(args ...string) string {
	i.t.Helper()
	return strings.TrimSpace(i.must("", append([]string{"vault", "token"}, args...)...))
}

// trust fetches the instance's root as an agent would.
func (i *instance) trust() *x509.CertPool {
	i.t.Helper()
	if i.roots != nil {
		return i.roots
	}
	i.roots = x509.NewCertPool()
	if out := i.must("", "ca", "export"); !i.roots.AppendCertsFromPEM([]byte(out)) {
		i.t.Fatalf("ca export is no certificate: %q", out)
	}
	return i.roots
}

// ---- requests of agents, byte by byte ----

type entrance string

const (
	byPath  entrance = "path"
	byProxy entrance = "mitm"

	// Other ways into the proxy entrance.
	byAbsolute entrance = "absolute form"
	bySOCKS    entrance = "socks"
)

var (
	entrances = []entrance{byPath, byProxy}
	ways      = []entrance{byPath, byProxy, byAbsolute, bySOCKS}
)

// A call is a request as it stands on the wire, but for the parts in which the
// entrances differ.
type call struct {
	method string // "" is GET
	host   string
	target string   // path and query
	header []string // "Name: value"
	body   string   // sent with Content-Length unless header says Transfer-Encoding
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) fault(t testing.TB) map[string]any {
	t.Helper()
	var f map[string]any
	if err := json.Unmarshal([]byte(a.body), &f); err != nil {
		t.Fatalf("answer %d is not JSON: %q", a.status, a.body)
	}
	return f
}

// dial opens what an agent would send its request over.
func (i *instance) dial(e entrance, token, vaultName, host string) (net.Conn, error) {
	base := i.Proxy
	if e == byPath {
		base = i.API
	}
	base = strings.TrimPrefix(base, "http://")
	if !strings.Contains(host, ":") {
		host += ":443"
	}
	if e == bySOCKS {
		return i.dialSOCKS(base, token, vaultName, host)
	}
	conn, err := net.DialTimeout("tcp", base, 5*time.Second)
	if err != nil || e != byProxy {
		return conn, err
	}
	auth := ""
	if token != "" {
		auth = "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(token+":"+vaultName)) + "\r\n"
	}
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", host, host, auth)
	br := bufio.NewReader(conn)
	resp, err := http.ReadResponse(br, &http.Request{Method: "CONNECT"})
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		conn.Close()
		return nil, &refusedConnect{answer{resp.StatusCode, resp.Header, string(body)}}
	}
	return i.secured(conn, host)
}

type refusedConnect struct{ answer answer }

func (e *refusedConnect) Error() string { return fmt.Sprintf("CONNECT: %d", e.answer.status) }

// do sends one call. On the proxy entrance a refusal of the CONNECT is the
// answer, as it is for an agent.
func (i *instance) do(e entrance, token string, c call) answer {
	i.t.Helper()
	return i.doIn(e, token, "default", c)
}

func (i *instance) doIn(e entrance, token, vaultName string, c call) answer {
	i.t.Helper()
	conn, err := i.dial(e, token, vaultName, c.host)
	var refused *refusedConnect
	if errors.As(err, &refused) {
		return refused.answer
	}
	if err != nil {
		i.t.Fatalf("%s %s: %v", e, c.host, err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	go io.WriteString(conn, i.spell(e, token, vaultName, c))
	a, err := readAnswer(bufio.NewReader(conn), c.method)
	if err != nil {
		i.t.Fatalf("%s %s %s%s: %v", e, c.method, c.host, c.target, err)
	}
	return a
}

// spell writes the call for one entrance.
func (i *instance) spell(e entrance, token, vaultName string, c call) string {
	method := c.method
	if method == "" {
		method = "GET"
	}
	var b strings.Builder
	switch e {
	case byPath:
		fmt.Fprintf(&b, "%s /proxy/%s%s HTTP/1.1\r\nHost: %s\r\n", method, c.host, c.target, strings.TrimPrefix(i.API, "http://"))
		if token != "" {
			fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", token)
		}
		if vaultName != "" {
			fmt.Fprintf(&b, "X-Vault: %s\r\n", vaultName)
		}
	case byAbsolute:
		fmt.Fprintf(&b, "%s https://%s%s HTTP/1.1\r\nHost: %s\r\n", method, c.host, c.target, c.host)
		if token != "" {
			fmt.Fprintf(&b, "Proxy-Authorization: Basic %s\r\n", base64.StdEncoding.EncodeToString([]byte(token+":"+vaultName)))
		}
	default:
		fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, c.target, c.host)
	}
	chunked := false
	for _, line := range c.header {
		b.WriteString(line + "\r\n")
		chunked = chunked || strings.HasPrefix(line, "Transfer-Encoding:")
	}
	switch {
	case chunked:
		fmt.Fprintf(&b, "\r\n%x\r\n%s\r\n0\r\n\r\n", len(c.body), c.body)
	case c.body != "":
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(c.body), c.body)
	default:
		b.WriteString("\r\n")
	}
	return b.String()
}

func readAnswer(br *bufio.Reader, method string) (answer, error) {
	resp, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// client returns an ordinary HTTP client of an agent that uses the proxy.
func (i *instance) client(token string, http2 bool) *http.Client {
	tr := &http.Transport{
		Proxy:             http.ProxyURL(mustURL(i.t, strings.Replace(i.Proxy, "http://", "http://"+token+":default@", 1))),
		TLSClientConfig:   &tls.Config{RootCAs: i.trust()},
		ForceAttemptHTTP2: http2, DisableCompression: true,
	}
	i.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
