package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// A vault is an agent-vault, set up and used over its own API as a person
// would: SQLite and audit log in a folder on disk, a bearer credential for the
// origin's hosts, rules, answers searched for the credential. Only what limits
// one session is off, since that would be measured instead.
type vault struct {
	*process
	api    string // http://host:port
	proxy  string // host:port
	caPEM  []byte
	tokens []string // one per session
	pprof  string   // unix socket
}

const vaultConfig = `listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}
data_dir: %s
upstream: {ca_file: %s, hosts: {%s}}
network: {allow: [127.0.0.1/32]}
limits: {session_rate: 0, session_concurrent: 0, session_tunnels: 0, connections: 0}
debug: {pprof_socket: pprof}
`

var vaultReady = regexp.MustCompile(`ready: API (http://\S+), proxy http://(\S+)$`)

// startVault starts a binary in a folder of its own below dir.
func startVault(ctx context.Context, binary, dir string, w wiring, hosts []string, as variant) (*vault, error) {
	home, err := os.MkdirTemp(dir, "vault-")
	if err != nil {
		return nil, err
	}
	v := &vault{pprof: filepath.Join(home, "data", "pprof")}
	var found []string
	for _, host := range hosts {
		found = append(found, fmt.Sprintf("%s: '%s'", host, w.origin(host)))
	}
	config := filepath.Join(home, "config.yaml")
	text := fmt.Sprintf(vaultConfig, filepath.Join(home, "data"), filepath.Join(w.Dir, caFile), strings.Join(found, ", "))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "server", "--config", config)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "AGENT_VAULT_MASTER_PASSWORD=a password of the benchmark"}
	p, m, err := start(ctx, cmd, vaultReady)
	if err != nil {
		return nil, err
	}
	v.process, v.api, v.proxy = p, m[1], m[2]
	if err := v.setUp(ctx, as); err != nil {
		v.stop()
		return nil, fmt.Errorf("%s: %w", binary, err)
	}
	return v, nil
}

// setUp is what an owner does.
func (v *vault) setUp(ctx context.Context, as variant) error {
	var login, session struct{ Token string }
	if err := v.call(ctx, "POST", "/v1/auth/register", "", map[string]any{"email": "owner@bench.example", "password": "a password of the benchmark"}, &login); err != nil {
		return err
	}
	declared := map[string]any{"vaults": []any{map[string]any{
		"name": "default", "services": declaration(as.services), "credentials": map[string]string{"KEY": credential}}}}
	if err := v.call(ctx, "POST", "/v1/apply", login.Token, declared, nil); err != nil {
		return err
	}
	for range as.sessions {
		if err := v.call(ctx, "POST", "/v1/sessions", login.Token, map[string]any{"vault": "default"}, &session); err != nil {
			return err
		}
		v.tokens = append(v.tokens, session.Token)
	}
	return v.call(ctx, "GET", "/v1/mitm/ca.pem", "", nil, &v.caPEM)
}

// declaration is the services: three for the origin, the others for hosts that
// no request names.
func declaration(services int) []any {
	one := func(name, host string) any {
		return map[string]any{"name": name, "host": host, "auth": map[string]string{"type": "bearer", "token": "KEY"},
			"rules": []any{
				map[string]any{"methods": []string{"DELETE"}, "paths": []string{"/v1/*"}, "action": "deny"},
				map[string]any{"methods": []string{"GET", "POST"}, "paths": []string{"/v1/*"}},
			}}
	}
	list := []any{one("origin-h1", hostH1), one("origin-h2", hostH2), one("origin-any", "*."+domain)}
	for i := len(list); i < services; i++ {
		list = append(list, one(fmt.Sprintf("other-%d", i), fmt.Sprintf("api-%d.other.example", i)))
	}
	return list
}

// call sends one request to the API and decodes its answer: as bytes into
// *[]byte, as JSON into anything else.
func (v *vault) call(ctx context.Context, method, path, token string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, v.api+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	t := &http.Transport{DisableKeepAlives: true}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	switch out := out.(type) {
	case nil:
		return nil
	case *[]byte:
		*out = answer
		return nil
	}
	return json.Unmarshal(answer, out)
}

// collect has the server collect its garbage.
func (v *vault) collect(ctx context.Context) error {
	var d net.Dialer
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "unix", v.pprof)
	}}
	return get(ctx, t, "http://pprof/debug/pprof/heap?gc=1")
}

// get asks for a URL and throws the answer away.
func get(ctx context.Context, t *http.Transport, url string) error {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(url + ": " + resp.Status)
	}
	return nil
}

// buildVault builds agent-vault as the README does, default.pgo included.
func buildVault(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "agent-vault")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "agentvault/cmd/agent-vault").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// targets are the two entrances.
func (v *vault) targets(name string) ([]*target, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(v.caPEM) {
		return nil, errors.New("the root certificate is none")
	}
	u, err := url.Parse(v.api)
	if err != nil {
		return nil, err
	}
	return []*target{
		{name: "path/" + name, entrance: entrancePath, pid: v.pid(), addr: u.Host, wide: true, tokens: v.tokens, collect: v.collect},
		{name: "mitm/" + name, entrance: entranceMITM, pid: v.pid(), addr: v.proxy, connect: true, http2: true, wide: true, tokens: v.tokens, tls: clientTLS(pool), collect: v.collect},
	}, nil
}

// injects asks the origin whether it gets the credential.
func injects(ctx context.Context, t *target) error {
	c, err := t.dial(ctx, hostH1, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.exchange(t.request("GET", hostH1, pathAuth, 0, nil), answerJSON, make([]byte, len(answerJSON)+1))
}
