package main_test

import (
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Unmodified programs, run under `agent-vault vault run` against the built
// server, with a real TLS origin behind it.

// underVault runs a command as `vault run` would for a person.
func (w *world) underVault(t *testing.T, argv ...string) string {
	t.Helper()
	out, errs, err := w.run("", append([]string{"vault", "run", "--"}, argv...)...)
	if err != nil {
		t.Fatalf("vault run -- %s: %v\nstdout: %s\nstderr: %s\nserver: %s", strings.Join(argv, " "), err, out, errs, w.stderr)
	}
	for key, value := range worldCredentials {
		if strings.Contains(out+errs, value) {
			t.Errorf("%s saw the value of %s", argv[0], key)
		}
	}
	return out
}

func (w *world) wantInjected(t *testing.T, out string) {
	t.Helper()
	// The origin repeats what it was sent; the key comes back masked.
	if want := "Bearer " + strings.Repeat("*", len(worldCredentials["API_KEY"])); !strings.Contains(out, want) {
		t.Errorf("the origin got no credential:\n%s", out)
	}
}

func TestCurl(t *testing.T) {
	curl := needs(t, "curl")
	w := newWorld(t)
	w.wantInjected(t, w.underVault(t, curl, "-sS", "--fail-with-body", "--http1.1", "https://api.test/curl?x=%2F"))
	if got := w.origin.received(); !strings.HasPrefix(got, "GET /curl?x=%2F HTTP/1.1\r\n") || !strings.Contains(got, "Bearer "+worldCredentials["API_KEY"]) {
		t.Errorf("origin got %q", got)
	}
	out := w.underVault(t, curl, "-sS", "--fail-with-body", "--http2", "-w", "%{http_version}", "-d", "a=b", "https://modern.test/curl")
	w.wantInjected(t, out)
	if !strings.HasSuffix(out, "2") || !strings.Contains(out, `"proto":"HTTP/2.0"`) {
		t.Errorf("not HTTP/2 on both sides: %s", out)
	}
	// A refusal can be read by the person who runs curl.
	out = w.underVault(t, curl, "-sS", "https://unknown.test/")
	if !strings.Contains(out, `"proposal_hint"`) {
		t.Errorf("a host that is not allowed: %s", out)
	}
}

func TestPythonUrllib(t *testing.T) {
	python := needs(t, "python3")
	w := newWorld(t)
	script := `
import json, os, urllib.request, urllib.error
r = json.load(urllib.request.urlopen("https://api.test/python"))
print(r["header"]["Authorization"], r["uri"])
try:
    urllib.request.urlopen("https://unknown.test/")
except urllib.error.HTTPError as e:
    print(e.code, json.load(e)["error"])
print(sorted(k for k in os.environ if "MASTER" in k or "LOGIN" in k))
`
	out := w.underVault(t, python, "-c", script)
	w.wantInjected(t, out)
	if !strings.Contains(out, "403 forbidden\n[]\n") {
		t.Errorf("%s", out)
	}
}

// TestGitClone clones over HTTPS from git's own server program, which demands
// the credential.
func TestGitClone(t *testing.T) {
	git := needs(t, "git")
	dir := t.TempDir()
	exe := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(git, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.test", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.test", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	exe("init", "-q", "source")
	if err := os.WriteFile(filepath.Join(dir, "source", "file.bin"), []byte(strings.Repeat("some content\n", 100_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	exe("-C", "source", "add", ".")
	exe("-C", "source", "commit", "-q", "-m", "first")
	exe("clone", "-q", "--bare", "source", "repo.git")
	backend := filepath.Join(exe("--exec-path"), "git-http-backend")

	var unauthorized int
	handler := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != worldCredentials["USERNAME"] || password != worldCredentials["PASSWORD"] {
			unauthorized++
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		(&cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}).ServeHTTP(rw, r)
	})
	ca := newAuthority(t, "Git CA")
	o := startOrigin(t, ca.leaf(t, "git.test"), false, handler)
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{instance: newInstance(t, "upstream: {ca_file: "+dir+"/ca.pem, hosts: {git.test: '"+o.Addr+"'}}\nnetwork: {allow: [127.0.0.0/8]}\n")}
	w.register()
	w.apply(`
vaults:
  - name: default
    services: [{name: git, host: git.test, auth: {type: basic, username: USERNAME, password: PASSWORD}}]
    credentials: {USERNAME: {from: "file:USERNAME"}, PASSWORD: {from: "file:PASSWORD"}}
`, worldCredentials)
	w.underVault(t, git, "-c", "credential.helper=", "clone", "-q", "https://git.test/repo.git", w.path("cloned"))
	got, err := os.ReadFile(w.path("cloned/file.bin"))
	if err != nil || len(got) != 1_300_000 {
		t.Errorf("cloned file: %d bytes, %v", len(got), err)
	}
	if unauthorized != 0 {
		t.Errorf("the origin refused %d requests", unauthorized)
	}
}

// TestNodeFetch uses the path entrance, as agents that need no CA do.
func TestNodeFetch(t *testing.T) {
	node := needs(t, "node")
	w := newWorld(t)
	script := `
const base = process.env.AGENT_VAULT_ADDR + "/proxy/";
const headers = {Authorization: "Bearer " + process.env.AGENT_VAULT_SESSION_TOKEN};
(async () => {
  const r = await fetch(base + "api.test/node%2Ffetch?x=1", {method: "POST", headers, body: "hello"});
  const j = await r.json();
  console.log(r.status, j.uri, j.body, j.header.Authorization[0]);
  const refused = await fetch(base + "unknown.test/", {headers});
  console.log(refused.status, (await refused.json()).error, refused.headers.get("x-agent-vault-proxy-error"));
})();
`
	out := w.underVault(t, node, "-e", script)
	w.wantInjected(t, out)
	if !strings.Contains(out, "200 /node%2Ffetch?x=1 hello Bearer") || !strings.Contains(out, "403 forbidden true") {
		t.Errorf("%s", out)
	}
}

// TestVaultRun: the child's environment, exit status and end.
func TestVaultRun(t *testing.T) {
	w := newWorld(t)
	sh := needs(t, "sh")
	out := w.underVault(t, sh, "-c", "env")
	vars := map[string]string{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		vars[name] = value
	}
	token := vars["AGENT_VAULT_SESSION_TOKEN"]
	want := map[string]string{
		"AGENT_VAULT_ADDR": w.API, "AGENT_VAULT_VAULT": "default", "AGENT_VAULT_TOKEN": token,
		"HTTPS_PROXY": strings.Replace(w.Proxy, "http://", "http://"+token+":default@", 1), "NODE_USE_ENV_PROXY": "1",
	}
	want["HTTP_PROXY"], want["https_proxy"], want["http_proxy"] = want["HTTPS_PROXY"], want["HTTPS_PROXY"], want["HTTPS_PROXY"]
	for name, value := range want {
		if vars[name] != value {
			t.Errorf("%s=%q, want %q", name, vars[name], value)
		}
	}
	for _, name := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE", "PIP_CERT", "CARGO_HTTP_CAINFO", "DENO_CERT", "NODE_EXTRA_CA_CERTS", "NO_PROXY", "no_proxy"} {
		if vars[name] == "" {
			t.Errorf("%s is not set", name)
		}
	}
	if _, err := os.Stat(vars["SSL_CERT_FILE"]); !os.IsNotExist(err) {
		t.Errorf("the bundle %s is still there after the child's end: %v", vars["SSL_CERT_FILE"], err)
	}
	if a := w.do(byPath, token, call{host: "api.test", target: "/"}); a.status != 401 {
		t.Errorf("the session outlived its child: %d", a.status)
	}
	_, _, err := w.run("", "vault", "run", "--", sh, "-c", "exit 42")
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 42 {
		t.Errorf("exit status %v, want 42", err)
	}
	_, _, err = w.run("", "vault", "run", "--", sh, "-c", "kill -TERM $$")
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 143 {
		t.Errorf("exit status %v, want 143", err)
	}
}
