package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"agentvault/api"
	"agentvault/broker"
	"agentvault/vault"
)

const demoHost = "api.demo.example"

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show an agent using a key that it cannot read; needs no network",
		Long: `Start a real server in a temporary folder, and beside it an API that demands a
key. An agent, a process of its own that holds nothing but a session token,
calls the API by the path entrance and by HTTPS_PROXY; then it tries a host that
is not allowed. Everything is on loopback, and removed at the end.`,
		Example: "  agent-vault demo",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			std := stdioOf(c)
			// A reader that goes away must not end it before it has cleaned up.
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			defer stop()
			if err := runDemo(ctx, std.out); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return fmt.Errorf("the demo failed: %w", err)
			}
			return nil
		},
	}
}

// A demo is what the story needs.
type demo struct {
	out   io.Writer
	dir   string // everything that is written is in it
	key   string // that the API demands, and no agent may see
	api   *demoAPI
	inst  *instance
	agent bytes.Buffer // everything that agents saw

	unsaid error // of the first line that could not be written
}

func runDemo(ctx context.Context, out io.Writer) (err error) {
	d := &demo{out: out, key: "demo_key_" + rand.Text()}
	if d.dir, err = os.MkdirTemp("", "agent-vault-demo-"); err != nil { // mode 0700
		return fmt.Errorf("temporary folder: %w", err)
	}
	defer os.RemoveAll(d.dir)
	if d.api, err = startDemoAPI(demoHost, d.key); err != nil {
		return err
	}
	defer d.api.close()
	cfg, err := d.config()
	if err != nil {
		return err
	}
	// Its key is kept in a file: neither a person nor a variable is asked for a
	// master password.
	if d.inst, err = startInstance(ctx, cfg, masterSource{}, io.Discard); err != nil {
		return err
	}
	err = d.story(ctx)
	return errors.Join(err, d.unsaid, d.inst.shutdown())
}

func (d *demo) say(line string) { d.print("\n%s\n", line) }

func (d *demo) print(format string, args ...any) {
	if _, err := fmt.Fprintf(d.out, format, args...); err != nil && d.unsaid == nil {
		d.unsaid = err
	}
}

func (d *demo) show(label, format string, args ...any) {
	d.print("   %-15s %s\n", label, fmt.Sprintf(format, args...))
}

// write puts a file into the demo's folder and returns its path.
func (d *demo) write(name, content string) (string, error) {
	path := filepath.Join(d.dir, name)
	return path, os.WriteFile(path, []byte(content), 0o600)
}

// config is read from a file, as a server's is: free ports, and where the API
// is found and by whom it is vouched for.
func (d *demo) config() (*config, error) {
	caFile, err := d.write("demo-ca.pem", string(d.api.caPEM))
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(map[string]any{
		"listen":   map[string]string{"api": "127.0.0.1:0", "proxy": "127.0.0.1:0"},
		"data_dir": filepath.Join(d.dir, "data"),
		"upstream": map[string]any{"ca_file": caFile, "hosts": map[string]string{demoHost: d.api.listener.Addr().String()}},
		"network":  map[string]any{"allow": []string{"127.0.0.1/32"}},
	})
	if err != nil {
		return nil, err
	}
	path, err := d.write("config.json", string(text))
	if err != nil {
		return nil, err
	}
	flags := pflag.NewFlagSet("demo", pflag.ContinueOnError)
	addConfigFlags(flags)
	if err := flags.Set("config", path); err != nil {
		return nil, err
	}
	return loadConfig(flags, nil)
}

func (d *demo) story(ctx context.Context) error {
	d.say("1. A vault, and beside it an API that demands a key")
	d.show("API", "https://%s demands Authorization: Bearer %s", demoHost, d.short(d.key))
	session, caPEM, err := d.prepare(ctx)
	if err != nil {
		return err
	}
	child := childOf{session: session, vault: vault.DefaultVault, caPEM: caPEM, environ: []string{"PATH=" + os.Getenv("PATH")}}

	d.say("2. An agent calls the API by the path entrance. It holds a session token, and no key")
	byPath := session.ProxyURL + "/" + demoHost + "/v1/balance"
	d.show("agent sends", "GET %s", byPath)
	d.show("", "Authorization: Bearer %s", d.short(session.Token))
	if err := d.allowed(child, byPath); err != nil {
		return err
	}
	d.say("3. A program that knows nothing of the vault runs under HTTPS_PROXY")
	byProxy := "https://" + demoHost + "/v1/balance"
	d.show("agent sends", "GET %s", byProxy)
	d.show("", "HTTPS_PROXY=http://%s:%s@%s", d.short(session.Token), vault.DefaultVault, strings.TrimPrefix(session.MITMURL, "http://"))
	if err := d.allowed(child, byProxy); err != nil {
		return err
	}
	d.say("4. A host that nobody allowed")
	if err := d.refused(child, session.ProxyURL+"/api.elsewhere.example/v1/data"); err != nil {
		return err
	}
	d.say("5. Where is the key?")
	return d.search(session)
}

// short shows the beginning of what should not be shown.
func (d *demo) short(s string) string { return s[:14] + "…" }

const demoDeclaration = `
vaults:
  - name: default
    services:
      - name: demo-api
        host: ` + demoHost + `
        description: The demo's API
        auth: {type: bearer, token: DEMO_KEY}
        rules:
          - {methods: [GET], paths: ["/v1/*"]}
    credentials:
      DEMO_KEY: {from: "file:%s"}
`

// prepare does what an owner does, over the API.
func (d *demo) prepare(ctx context.Context) (s api.SessionResponse, caPEM []byte, err error) {
	client := &api.Client{Address: d.inst.baseURL(), Name: clientName()}
	owner, err := client.Register(ctx, api.LoginRequest{Email: "owner@demo.example", Password: rand.Text()})
	if err != nil {
		return s, nil, err
	}
	client.Token = owner.Token
	keyFile, err := d.write("key", d.key+"\n")
	if err != nil {
		return s, nil, err
	}
	request, err := readDeclaration("-", strings.NewReader(fmt.Sprintf(demoDeclaration, keyFile)))
	if err != nil {
		return s, nil, err
	}
	if _, err := client.Apply(ctx, request); err != nil {
		return s, nil, err
	}
	d.show("owner", "puts the key into the vault at %s", d.inst.baseURL())
	d.show("", "allows agents GET https://%s/v1/*", demoHost)
	if s, err = client.MintSession(ctx, api.SessionRequest{Vault: vault.DefaultVault, Label: "demo"}); err != nil {
		return s, nil, err
	}
	caPEM, err = client.CAPEM(ctx)
	return s, caPEM, err
}

// ask runs the agent as `vault run` would, and keeps all that it saw.
func (d *demo) ask(child childOf, url string) (agentReport, error) {
	var report agentReport
	self, err := os.Executable()
	if err != nil {
		return report, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return report, err
	}
	defer null.Close()
	var out bytes.Buffer
	err = runChild(self, []string{self, demoAgentName, url}, child, nil, stdio{null, &out, &out})
	d.agent.Write(out.Bytes())
	if err != nil {
		return report, fmt.Errorf("the agent failed: %v: %s", err, strings.TrimSpace(out.String()))
	}
	return report, json.Unmarshal(out.Bytes(), &report)
}

// allowed asks for what is allowed, and checks what the API received and what
// the agent got.
func (d *demo) allowed(child childOf, url string) error {
	answer, err := d.ask(child, url)
	if err != nil {
		return err
	}
	got := d.api.next()
	d.show("API receives", "%s", got.line)
	d.show("", "Authorization: %s", strings.Replace(got.authorization, d.key, d.short(d.key), 1))
	d.show("agent gets", "%d %s", answer.Status, answer.Body)
	switch {
	case got.authorization != "Bearer "+d.key || got.line != "GET https://"+demoHost+"/v1/balance":
		return fmt.Errorf("the API received %q, and not the key", got.line)
	case answer.Status != http.StatusOK || answer.Body != `{"balance": 1200, "currency": "eur"}`:
		return fmt.Errorf("the agent got %d %s", answer.Status, answer.Body)
	}
	return nil
}

// refused asks for a host that is not allowed.
func (d *demo) refused(child childOf, url string) error {
	d.show("agent sends", "GET %s", url)
	answer, err := d.ask(child, url)
	if err != nil {
		return err
	}
	var fault struct {
		Error string               `json:"error"`
		Hint  *broker.ProposalHint `json:"proposal_hint"`
	}
	if err := json.Unmarshal([]byte(answer.Body), &fault); err != nil || answer.Status != http.StatusForbidden || fault.Hint == nil {
		return fmt.Errorf("a host that is not allowed got %d %s", answer.Status, answer.Body)
	}
	if got := d.api.next(); got.line != "" {
		return fmt.Errorf("the API received %q", got.line)
	}
	hint, err := json.Marshal(fault.Hint)
	d.show("agent gets", "%d %s", answer.Status, fault.Error)
	d.show("", "proposal_hint: %s", hint)
	return err
}

// search looks for the key on the agent's side, and for the session token on
// the API's.
func (d *demo) search(s api.SessionResponse) error {
	for _, form := range []string{d.key, base64.StdEncoding.EncodeToString([]byte(d.key)), base64.StdEncoding.EncodeToString([]byte("Bearer " + d.key))} {
		if bytes.Contains(d.agent.Bytes(), []byte(form)) {
			return errors.New("the key was on the agent's side")
		}
	}
	received := d.api.everything()
	if bytes.Contains(received, []byte(s.Token)) {
		return errors.New("the session token reached the API")
	}
	d.show("agent's side", "not in the %d bytes of its environment, requests and answers", d.agent.Len())
	d.show("API's side", "the session token is not in the %d bytes that it received", len(received))
	d.say(`It worked. Next: "The real thing" in the README.`)
	return nil
}
