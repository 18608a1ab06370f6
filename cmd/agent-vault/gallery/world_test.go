package gallery_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
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

var program = flag.String("program", "", "attack this binary; by default one that is built here, once")

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "agent-vault-gallery-")
	if err != nil {
		panic(err)
	}
	if *program == "" {
		*program = filepath.Join(dir, "agent-vault")
		if out, err := exec.Command("go", "build", "-o", *program, "agentvault/cmd/agent-vault").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			os.Exit(1)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// A world is a server with 64 credentials in its vault, and origins around it.
type world struct {
	t           testing.TB
	dir         string
	api, proxy  string         // host:port
	authority   *authority     // of the origins' certificates
	roots       *x509.CertPool // trusts the server's CA
	owner       string         // login token
	token       string         // of the session that the case under way has
	origins     map[string]*origin
	credentials map[string]string
	judge       *judge
	out         *output // stdout and stderr of the server
	cmd         *exec.Cmd
	done        chan struct{}
}

// An output keeps what is written to it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.b.Bytes())
}

// homes says which origin is behind which host. Some hosts belong to no
// service: nothing may ever reach evil.
var homes = map[string]string{
	"api.test": "api", "rich.test": "api", "key.test": "api", "query.test": "api", "basic.test": "api", "custom.test": "api",
	"rules.test": "api", "a.wild.test": "api", "port.test": "api", "xn--bcher-kva.test": "api",
	"other.test": "other", "open.test": "open", "modern.test": "modern",
	"evil.test": "evil", "elsewhere.test": "evil", "a.b.wild.test": "evil", "wild.test": "evil", "localhost": "evil",
	"api.test.evil.test": "evil", "xapi.test": "evil", "127.0.0.1": "evil", "off.test": "evil",
	"api.plain.test": "plain-api", "rich.plain.test": "plain-api", "key.plain.test": "plain-api", "query.plain.test": "plain-api",
	"rules.plain.test": "plain-api", "other.plain.test": "plain-other", "open.plain.test": "plain-open", "evil.plain.test": "plain-evil",
}

// mayHold are the credentials that an origin's services inject.
var mayHold = map[string][]string{
	"api":       {"API_KEY", "RICH_KEY", "USERNAME", "PASSWORD"},
	"plain-api": {"API_KEY", "RICH_KEY"},
	"modern":    {"API_KEY", "RICH_KEY"},
	"other":     {"OTHER_KEY"}, "plain-other": {"OTHER_KEY"},
}

const services = `
vaults:
  - name: default
    services:
      - {name: api, host: api.test, auth: {type: bearer, token: API_KEY}}
      - {name: rich, host: rich.test, auth: {type: bearer, token: RICH_KEY}}
      - {name: key, host: key.test, auth: {type: api-key, key: API_KEY, header: X-Api-Key}}
      - {name: query, host: query.test, auth: {type: query, key: API_KEY, parameter: api_key}}
      - {name: basic, host: basic.test, auth: {type: basic, username: USERNAME, password: PASSWORD}}
      - {name: custom, host: custom.test, auth: {type: custom, headers: {X-Custom-Key: "k={{ API_KEY }}"}}}
      - {name: wild, host: "*.wild.test", auth: {type: bearer, token: API_KEY}}
      - {name: port, host: "port.test:8443", auth: {type: bearer, token: API_KEY}}
      - {name: idn, host: "bücher.test", auth: {type: bearer, token: API_KEY}}
      - {name: other, host: other.test, auth: {type: bearer, token: OTHER_KEY}}
      - {name: open, host: open.test, auth: {type: passthrough}}
      - {name: modern, host: modern.test, auth: {type: bearer, token: API_KEY}}
      - {name: switched-off, host: off.test, enabled: false, auth: {type: bearer, token: API_KEY}}
      - name: rules
        host: rules.test
        auth: {type: bearer, token: API_KEY}
        rules: &rules
          - {methods: [DELETE], paths: ["/v1/keep/*"], action: deny}
          - {methods: [GET, HEAD, DELETE], paths: ["/v1/*"]}
          - {methods: [POST], paths: ["/v1/charges"]}
          - {methods: [GET], paths: ["/follow-up"]}
      - {name: plain-api, host: "api.plain.test:8080", scheme: http, auth: {type: bearer, token: API_KEY}}
      - {name: plain-rich, host: "rich.plain.test:8080", scheme: http, auth: {type: bearer, token: RICH_KEY}}
      - {name: plain-key, host: "key.plain.test:8080", scheme: http, auth: {type: api-key, key: API_KEY, header: X-Api-Key}}
      - {name: plain-query, host: "query.plain.test:8080", scheme: http, auth: {type: query, key: API_KEY, parameter: api_key}}
      - {name: plain-other, host: "other.plain.test:8080", scheme: http, auth: {type: bearer, token: OTHER_KEY}}
      - {name: plain-open, host: "open.plain.test:8080", scheme: http, auth: {type: passthrough}}
      - {name: plain-rules, host: "rules.plain.test:8080", scheme: http, auth: {type: bearer, token: API_KEY}, rules: *rules}
`

// ssrf are names that services have and that lead where nothing may go.
var ssrf = map[string]string{
	"aws": "169.254.169.254", "ecs": "169.254.170.2", "alibaba": "100.100.100.200", "azure": "168.63.129.16", "oracle": "192.0.0.192",
	"aws6": "fd00:ec2::254", "mapped-metadata": "::ffff:169.254.169.254", "nat64-metadata": "64:ff9b::a9fe:a9fe", "sixtofour-metadata": "2002:a9fe:a9fe::1",
	"private10": "10.1.2.3", "private172": "172.16.5.4", "private192": "192.168.1.1", "cgnat": "100.64.0.1", "linklocal": "169.254.7.7",
	"unspecified": "0.0.0.0", "unspecified6": "::", "broadcast": "255.255.255.255", "multicast": "224.0.0.1", "multicast6": "ff02::1", "classe": "240.0.0.1",
	"loopback6": "::1", "ula": "fd12:3456::1", "linklocal6": "fe80::1", "sitelocal": "fec0::1", "documentation": "192.0.2.1", "benchmark": "198.18.0.1",
	"mapped-private": "::ffff:10.0.0.1", "compatible": "::10.0.0.1", "nat64-private": "64:ff9b::a00:1", "sixtofour": "2002:a00:1::1", "teredo": "2001:0:5db8:d822::1",
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), origins: make(map[string]*origin), credentials: plantedCredentials(), judge: theJudge()}
	authority := newAuthority(t)
	cert := authority.leaf(t, slices.Collect(maps.Keys(homes))...)
	hosts := map[string]string{}
	for host, name := range homes {
		o := w.origins[name]
		if o == nil {
			switch {
			case name == "modern":
				o = startModern(t, name, cert)
			case strings.HasPrefix(name, "plain-"):
				o = startOrigin(t, name, nil)
			default:
				o = startOrigin(t, name, &cert)
			}
			w.origins[name] = o
		}
		hosts[host] = o.addr
	}
	for name, addr := range ssrf {
		hosts[name+".ssrf.test"] = addr
	}
	hosts["own.ssrf.test"] = "127.0.0.1" // with the target's port
	hosts["own6.ssrf.test"] = "::ffff:127.0.0.1"
	w.authority = authority
	w.start(hosts)
	w.declare()
	return w
}

var readyLine = regexp.MustCompile(`ready: API http://(\S+), proxy http://(\S+)\n`)

// start runs the server and waits until it says that it is ready.
func (w *world) start(hosts map[string]string) {
	w.t.Helper()
	spelled, err := json.Marshal(hosts) // JSON is YAML
	if err != nil {
		w.t.Fatal(err)
	}
	w.write("origin.pem", w.authority.pem)
	w.write("config.yaml", fmt.Appendf(nil, `listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}
data_dir: %s
upstream: {ca_file: %s, hosts: %s}
network: {allow: [127.0.0.0/8]}
limits: {session_rate: 0, agent_api_rate: 0}
log: {level: debug}
`, filepath.Join(w.dir, "data"), filepath.Join(w.dir, "origin.pem"), spelled))
	w.out = new(output)
	w.cmd = exec.Command(*program, "server", "--config", filepath.Join(w.dir, "config.yaml"))
	w.cmd.Env = w.env()
	w.cmd.Stdout, w.cmd.Stderr = w.out, w.out
	if err := w.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.done = make(chan struct{})
	go func() { w.cmd.Wait(); close(w.done) }()
	w.t.Cleanup(w.stop)
	for w.api == "" {
		if m := readyLine.FindSubmatch(w.out.Bytes()); m != nil {
			w.api, w.proxy = string(m[1]), string(m[2])
		}
		select {
		case <-w.done:
			w.t.Fatalf("the server ended:\n%s", w.out.Bytes())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop ends the server; it may be called again.
func (w *world) stop() {
	_ = w.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-w.done:
	case <-time.After(30 * time.Second):
		w.t.Errorf("the server did not end on SIGTERM: %v\n%s", w.cmd.Process.Kill(), w.out.Bytes())
	}
}

// declare makes an owner and the vault.
func (w *world) declare() {
	w.t.Helper()
	const email, passphrase = "owner@example.test", "correct horse battery staple"
	w.command(passphrase+"\n", "auth", "register", "--email", email, "--password-stdin")
	var declaration strings.Builder
	declaration.WriteString(services)
	for name := range ssrf {
		fmt.Fprintf(&declaration, "      - {name: ssrf-%s, host: %[1]s.ssrf.test, auth: {type: bearer, token: API_KEY}}\n", name)
		fmt.Fprintf(&declaration, "      - {name: ssrf-%s-plain, host: \"%[1]s.ssrf.test:8080\", scheme: http, auth: {type: bearer, token: API_KEY}}\n", name)
	}
	for _, name := range []string{"own", "own6"} {
		for i, addr := range []string{w.api, w.proxy} {
			_, port, _ := strings.Cut(addr, ":")
			fmt.Fprintf(&declaration, "      - {name: %s-%d, host: \"%[1]s.ssrf.test:%[3]s\", auth: {type: bearer, token: API_KEY}}\n", name, i, port)
			fmt.Fprintf(&declaration, "      - {name: %s-%d-plain, host: \"%[1]s.ssrf.test:%[3]s\", scheme: http, auth: {type: bearer, token: API_KEY}}\n", name, i, port)
		}
	}
	declaration.WriteString("    credentials:\n")
	for key, value := range w.credentials {
		w.write(key, []byte(value))
		fmt.Fprintf(&declaration, "      %s: {from: \"file:%s\"}\n", key, filepath.Join(w.dir, key))
	}
	w.command(declaration.String(), "apply", "-f", "-")
	for key := range w.credentials {
		_ = os.Remove(filepath.Join(w.dir, key)) // what is left on the disk is the server's doing
	}
	w.roots = x509.NewCertPool()
	w.roots.AppendCertsFromPEM([]byte(w.command("", "ca", "export")))
	var login struct{ Token string }
	w.call("POST", "/v1/auth/login", "", fmt.Sprintf(`{"email":%q,"password":%q}`, email, passphrase), &login)
	w.owner = login.Token
}

func (w *world) write(name string, content []byte) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), content, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) env() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "LANG=C.UTF-8", "TMPDIR=" + os.TempDir()}
	if w.api != "" {
		env = append(env, "AGENT_VAULT_ADDR=http://"+w.api)
	}
	return env
}

// command runs one of the product's commands as the owner.
func (w *world) command(stdin string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command(*program, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = w.env(), w.dir, strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("agent-vault %s: %v\n%s%s", strings.Join(args, " "), err, out.Bytes(), errs.Bytes())
	}
	return out.String()
}

// call asks the control plane.
func (w *world) call(method, path, token, body string, into any) {
	w.t.Helper()
	status, answer, err := w.ask(method, path, token, body)
	if err == nil && status/100 == 2 {
		err = json.Unmarshal(answer, into)
	}
	if err != nil || status/100 != 2 {
		w.t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
	}
}

func (w *world) ask(method, path, token, body string) (int, []byte, error) {
	req, err := http.NewRequest(method, "http://"+w.api+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("X-Vault", "default")
	resp, err := control.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

var control = &http.Transport{DisableCompression: true, IdleConnTimeout: time.Minute}

// mint gives the world a new session, and with it new connections upstream. What
// the one before has left open is cut.
func (w *world) mint() error {
	if w.token != "" {
		if status, body, err := w.ask("DELETE", "/v1/sessions/self", w.token, ""); err != nil || status/100 != 2 {
			return fmt.Errorf("the session before was not revoked: %d %s %v", status, body, err)
		}
	}
	status, body, err := w.ask("POST", "/v1/sessions", w.owner, `{"vault":"default"}`)
	var session struct{ Token string }
	if err == nil {
		err = json.Unmarshal(body, &session)
	}
	if err != nil || session.Token == "" {
		return fmt.Errorf("no session: %d %s %v", status, body, err)
	}
	w.token = session.Token
	return nil
}
