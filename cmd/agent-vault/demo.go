package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/broker"
	"agentvault/vault"
)

const demoHost = "api.demo.example"

func demoCommand(io stdio) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show an agent using a key that it cannot read; needs no network",
		Long: `Start a real server in a temporary folder, and beside it an API that demands a
key. An agent that holds nothing but a session token calls the API by the path
entrance and, as a child process, by HTTPS_PROXY; then it tries a host that is
not allowed. Everything is on loopback, and removed at the end.`,
		Example: "  agent-vault demo",
		Args:    noArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runDemo(c.Context(), io) },
	}
}

// A demo is what the story needs.
type demo struct {
	out   io.Writer
	key   string // that the API demands, and no agent may see
	api   *demoAPI
	inst  *instance
	agent *bytes.Buffer // everything that agents saw
}

func runDemo(ctx context.Context, std stdio) error {
	dir, err := os.MkdirTemp("", "agent-vault-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	d := &demo{out: std.out, key: "demo_key_" + rand.Text(), agent: new(bytes.Buffer)}
	if d.api, err = startDemoAPI(d.key); err != nil {
		return err
	}
	defer d.api.close()

	d.say("1. Start a vault, and an API beside it that demands a key")
	quiet := stdio{in: std.in, out: io.Discard, err: io.Discard}
	d.inst, err = startInstance(ctx, d.config(filepath.Join(dir, "data")), false, quiet)
	if err != nil {
		return err
	}
	err = errors.Join(d.story(ctx, dir), d.inst.shutdown())
	if err != nil {
		return fmt.Errorf("the demo failed: %w", err)
	}
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "\n"+format+"\n", args...) }

func (d *demo) show(label, format string, args ...any) {
	fmt.Fprintf(d.out, "   %-18s %s\n", label, fmt.Sprintf(format, args...))
}

// config is an ordinary configuration: free ports, and where the API is.
func (d *demo) config(dir string) *config {
	addr := netip.MustParseAddrPort(d.api.listener.Addr().String())
	return &config{
		ListenAPI: "127.0.0.1:0", ListenProxy: "127.0.0.1:0", DataDir: dir, Roots: d.api.roots,
		Hosts:     map[string]broker.HostAddress{demoHost: {Addr: addr.Addr(), Port: addr.Port()}},
		Allow:     []netip.Prefix{netip.PrefixFrom(addr.Addr(), addr.Addr().BitLen())},
		LogFormat: "text", LogLevel: slog.LevelError,
	}
}

func (d *demo) story(ctx context.Context, dir string) error {
	d.show("vault", "%s, proxy entrance %s", d.inst.baseURL(), d.inst.mitmURL())
	d.show("API", "https://%s demands Authorization: Bearer %s", demoHost, shortKey(d.key))
	session, caPEM, err := d.prepare(ctx)
	if err != nil {
		return err
	}

	d.say("2. An agent calls the API by the path entrance. All it holds is a session token")
	if err := d.byPath(ctx, session); err != nil {
		return err
	}
	d.say("3. An unmodified program, in a process of its own, uses HTTPS_PROXY")
	if err := d.byProxy(dir, session, caPEM); err != nil {
		return err
	}
	d.say("4. A host that nobody allowed")
	if err := d.refused(ctx, session); err != nil {
		return err
	}
	d.say("5. Where is the key?")
	if strings.Contains(d.agent.String(), d.key) {
		return errors.New("the key was on the agent's side")
	}
	d.show("agent's side", "%d bytes of environment, answers and output: the key is nowhere in them", d.agent.Len())
	d.say("It worked. Next: the README's \"The real thing\".")
	return nil
}

func shortKey(key string) string { return key[:12] + "…" }

// prepare does what an owner does, over the API.
func (d *demo) prepare(ctx context.Context) (api.SessionResponse, []byte, error) {
	client := &api.Client{Address: d.inst.baseURL()}
	owner, err := client.Register(ctx, api.LoginRequest{Email: "owner@demo.example", Password: rand.Text()})
	if err != nil {
		return api.SessionResponse{}, nil, err
	}
	client.Token = owner.Token
	var service vault.Service
	if err := json.Unmarshal([]byte(`{"name": "demo-api", "host": "`+demoHost+`", "description": "The demo's API",
		"auth": {"type": "bearer", "token": "DEMO_KEY"}, "rules": [{"methods": ["GET"], "paths": ["/v1/*"]}]}`), &service); err != nil {
		return api.SessionResponse{}, nil, err
	}
	if _, err := client.Apply(ctx, api.ApplyRequest{Vaults: []api.ApplyVault{{
		Name: "default", Services: []vault.Service{service}, Credentials: map[string]string{"DEMO_KEY": d.key},
	}}}); err != nil {
		return api.SessionResponse{}, nil, err
	}
	d.show("owner", "stores the key in the vault, and allows GET https://%s/v1/*", demoHost)
	session, err := client.MintSession(ctx, api.SessionRequest{Vault: "default", Label: "demo"})
	if err != nil {
		return api.SessionResponse{}, nil, err
	}
	pem, err := client.CAPEM(ctx)
	return session, pem, err
}

// byPath is an agent that was written for the vault.
func (d *demo) byPath(ctx context.Context, s api.SessionResponse) error {
	url := s.ProxyURL + "/" + demoHost + "/v1/balance"
	d.show("agent sends", "GET %s", url)
	d.show("", "Authorization: Bearer %s…", s.Token[:14])
	status, body, err := d.get(ctx, url, s.Token)
	if err != nil {
		return err
	}
	return d.answered(status, body)
}

// get is an agent's request; what came back is kept for the last check.
func (d *demo) get(ctx context.Context, url, token string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	tr := &http.Transport{Proxy: nil, DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	fmt.Fprintf(d.agent, "%v\n%v\n%s\n", req.Header, resp.Header, b)
	return resp.StatusCode, strings.TrimSpace(string(b)), err
}

// answered checks what the API received and what the agent got.
func (d *demo) answered(status int, body string) error {
	got := d.api.received()
	d.show("API received", "%s, Authorization: %s", got.line, strings.Replace(got.authorization, d.key, shortKey(d.key), 1))
	d.show("agent gets", "%d %s", status, body)
	switch {
	case got.authorization != "Bearer "+d.key:
		return errors.New("the API did not receive the key")
	case status != http.StatusOK || !strings.Contains(body, `"balance"`):
		return fmt.Errorf("the agent got %d %s", status, body)
	}
	return nil
}

// byProxy runs this binary as an unmodified client, the way `vault run` would.
func (d *demo) byProxy(dir string, s api.SessionResponse, caPEM []byte) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	of := childOf{session: s, vault: "default", caPEM: caPEM, environ: os.Environ()}
	url := "https://" + demoHost + "/v1/balance"
	d.show("agent sends", "GET %s   (HTTPS_PROXY=http://%s…:default@%s)", url, s.Token[:14], strings.TrimPrefix(s.MITMURL, "http://"))
	// The environment that the child gets is the agent's to see, too.
	env, err := of.environment(dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(d.agent, strings.Join(env, "\n"))
	var out bytes.Buffer
	err = runChild(self, []string{self, demoAgentName, url}, of, stdio{in: nil, out: &out, err: &out})
	d.agent.Write(out.Bytes())
	if err != nil {
		return fmt.Errorf("the child failed: %w: %s", err, out.String())
	}
	status, body, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
	if status != "200" {
		return fmt.Errorf("the child got %s %s", status, body)
	}
	return d.answered(http.StatusOK, body)
}

func (d *demo) refused(ctx context.Context, s api.SessionResponse) error {
	url := s.ProxyURL + "/api.elsewhere.example/v1/data"
	d.show("agent sends", "GET %s", url)
	status, body, err := d.get(ctx, url, s.Token)
	if err != nil {
		return err
	}
	var fault struct {
		Error string               `json:"error"`
		Hint  *broker.ProposalHint `json:"proposal_hint"`
	}
	if err := json.Unmarshal([]byte(body), &fault); err != nil || status != http.StatusForbidden || fault.Hint == nil {
		return fmt.Errorf("a host that is not allowed got %d %s", status, body)
	}
	hint, err := json.Marshal(fault.Hint)
	d.show("agent gets", "%d %s", status, fault.Error)
	d.show("", "proposal_hint: %s", hint)
	return err
}

const demoAgentName = "demo-agent"

// demoAgentCommand is the unmodified client: it knows nothing of the vault, and
// takes proxy and roots from the environment as any Go program does.
func demoAgentCommand(std stdio) *cobra.Command {
	return &cobra.Command{
		Use: demoAgentName + " URL", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}, Timeout: 30 * time.Second}
			resp, err := client.Get(args[0])
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			fmt.Fprintf(std.out, "%d %s\n", resp.StatusCode, body)
			return err
		},
	}
}

// A demoAPI is a TLS server that demands a key.
type demoAPI struct {
	listener net.Listener
	server   *http.Server
	roots    *x509.CertPool

	mu   sync.Mutex
	last demoRequest
}

type demoRequest struct{ line, authorization string }

func startDemoAPI(key string) (*demoAPI, error) {
	cert, err := selfSigned(demoHost)
	if err != nil {
		return nil, err
	}
	a := &demoAPI{roots: x509.NewCertPool()}
	a.roots.AddCert(cert.Leaf)
	if a.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	a.server = &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{*cert}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a.mu.Lock()
			a.last = demoRequest{r.Method + " " + r.RequestURI, r.Header.Get("Authorization")}
			a.mu.Unlock()
			if r.Header.Get("Authorization") != "Bearer "+key {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"balance": 1200, "currency": "eur"}`)
		}),
	}
	go a.server.ServeTLS(a.listener, "", "") // ends with close
	return a, nil
}

func (a *demoAPI) close() { _ = a.server.Close() }

// received returns the last request, once.
func (a *demoAPI) received() demoRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.last
	a.last = demoRequest{}
	return last
}

// selfSigned makes a certificate that lasts for the demo.
func selfSigned(host string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}
