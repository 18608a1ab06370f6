package main_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// ownPort runs a script as a child with a port of its own. $P is the port.
func (w *world) ownPort(t *testing.T, script string, args ...string) (out, errs string) {
	t.Helper()
	out, errs, err := w.run("", append([]string{"vault", "run", "--proxy-port", "--", "sh", "-c", `P="${HTTPS_PROXY##*:}"; ` + script}, args...)...)
	if err != nil {
		t.Fatalf("%v\nstdout: %s\nstderr: %s\nserver: %s", err, out, errs, w.stderr)
	}
	for key, value := range worldCredentials {
		if strings.Contains(out+errs, value) {
			t.Errorf("it saw the value of %s", key)
		}
	}
	return out, errs
}

// TestOwnPort: programs that send no credentials, in all ways, and what they
// meet when the session has ended.
func TestOwnPort(t *testing.T) {
	curl, python := needs(t, "curl"), needs(t, "python3")
	w := newWorld(t)
	out, errs := w.ownPort(t, `
set -e
env | grep -i '^https*_proxy='
`+curl+` -sS --fail-with-body "https://api.test/curl?x=%2F"; echo
`+curl+` -sS --http2 -w ' %{http_version}\n' https://modern.test/
unset HTTPS_PROXY https_proxy
all_proxy="socks5h://127.0.0.1:$P" `+curl+` -sS --fail-with-body https://api.test/socks; echo
`+curl+` -sS --fail-with-body -x "http://mine:own@127.0.0.1:$P" https://api.test/others; echo
`+curl+` -sS https://unknown.test/ -x "http://127.0.0.1:$P"; echo
`)
	for n, want := range []string{"HTTPS_PROXY=http://127.0.0.1:", "HTTP_PROXY=http://127.0.0.1:", "https_proxy=http://127.0.0.1:", "http_proxy=http://127.0.0.1:"} {
		if !strings.Contains(out, want) || strings.Contains(out, "@") {
			t.Errorf("%d: no %s, or credentials, in\n%s", n, want, out)
		}
	}
	for _, want := range []string{`/curl?x=%2F`, `"proto":"HTTP/2.0"`, " 2\n", `/socks`, `/others`, `"proposal_hint"`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if n := strings.Count(out, "Bearer "+strings.Repeat("*", len(worldCredentials["API_KEY"]))); n != 4 {
		t.Errorf("the credential was injected %d times:\n%s", n, out)
	}
	if errs != "" {
		t.Errorf("it said %q", errs)
	}
	out, _ = w.ownPort(t, python+` -c '
import urllib.request
print(urllib.request.urlopen("https://api.test/python").read())'`)
	w.wantInjected(t, out)

	out, _ = w.ownPort(t, curl+` -sS -X DELETE -H "Authorization: Bearer $AGENT_VAULT_SESSION_TOKEN" "$AGENT_VAULT_ADDR/v1/sessions/self"; `+curl+` -s -o /dev/null -w '%{http_connect}' https://api.test/ || true`)
	if !strings.HasSuffix(out, "407") {
		t.Errorf("of a session that has ended: %q", out)
	}
}

// TestOwnPortOfAnAgent: an agent's own token goes with its vault.
func TestOwnPortOfAnAgent(t *testing.T) {
	curl := needs(t, "curl")
	w := newWorld(t)
	token := w.agentToken("robot", "default")
	cmd := exec.Command(builtBinary(t), "vault", "run", "--proxy-port", "--", curl, "-sS", "--fail-with-body", "https://api.test/")
	cmd.Env = append(w.env("AGENT_VAULT_SESSION_TOKEN="+token, "AGENT_VAULT_PROXY="+w.Proxy, "HOME="+t.TempDir()), "XDG_CONFIG_HOME="+t.TempDir())
	cmd.Dir = w.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.wantInjected(t, string(out))
}

// TestOwnPortIsTheUsersAlone: another user's connection is closed, whether its
// socket is of IPv4 or of IPv6, and one that has been left by its process too.
func TestOwnPortIsTheUsersAlone(t *testing.T) {
	python := needs(t, "python3")
	if os.Getuid() != 0 {
		t.Skip("needs to be root, to be another user as well")
	}
	w := newWorld(t)
	script := python + ` -c '
import os, socket, sys
port = int(sys.argv[1])
request = b"GET https://api.test/%s HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n"
def get(family, host, who):
    s = socket.socket(family)
    s.settimeout(10)
    try:
        s.connect((host, port))
        s.sendall(request % who)
        return s.recv(100).split(b"\r\n")[0].decode()
    except ConnectionError:
        return ""
print("own", get(socket.AF_INET, "127.0.0.1", b"own4"), get(socket.AF_INET6, "::ffff:127.0.0.1", b"own6"))
os.setuid(65534)
print("others", get(socket.AF_INET, "127.0.0.1", b"other4"), get(socket.AF_INET6, "::ffff:127.0.0.1", b"other6"))
for _ in range(50):
    s = socket.socket()
    s.connect(("127.0.0.1", port))
    s.sendall(request % b"left")
    s.close()
' "$P"`
	out, errs := w.ownPort(t, script)
	if out != "own HTTP/1.1 200 OK HTTP/1.1 200 OK\nothers  \n" {
		t.Errorf("%s", out)
	}
	if strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "was refused: it is user 65534's, and this one is 0\n") {
		t.Errorf("it said %q", errs)
	}
	if got := w.origin.received(); strings.Contains(got, "other") || strings.Contains(got, "left") {
		t.Errorf("the origin got %q", got)
	}
}

// TestOwnSocket: a unix socket that is this user's alone, and goes away with the
// command.
func TestOwnSocket(t *testing.T) {
	curl := needs(t, "curl")
	w := newWorld(t)
	if err := os.MkdirAll(w.path("own"), 0o700); err != nil {
		t.Fatal(err)
	}
	socket := w.path("own/proxy.sock")
	out, errs, err := w.run("", "vault", "run", "--proxy-socket", "own/proxy.sock", "--", "sh", "-c", `cd /
echo "$AGENT_VAULT_PROXY_SOCKET"; stat -c %a "$AGENT_VAULT_PROXY_SOCKET"
unset HTTPS_PROXY https_proxy
all_proxy="socks5h://localhost$AGENT_VAULT_PROXY_SOCKET" `+curl+` -sS --fail-with-body https://api.test/`)
	if err != nil || errs != "" || !strings.HasPrefix(out, socket+"\n600\n") {
		t.Errorf("%v: %s %s", err, out, errs)
	}
	w.wantInjected(t, out)
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	out, _, err = w.run("", "vault", "run", "--", "sh", "-c", "echo $AGENT_VAULT_PROXY_SOCKET")
	if err != nil || out != "\n" {
		t.Errorf("without the flag: %v %q", err, out)
	}

	// A folder that others get into, and a file in its place, are refused before
	// the command runs.
	if err := os.MkdirAll(w.path("open"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.path("open"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.path("own/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"": "the path is empty", "open/proxy.sock": "is open to others", "own/file": "is no socket", "none/proxy.sock": "no such file"} {
		out, errs, err := w.run("", "vault", "run", "--proxy-socket", path, "--", "echo", "it ran")
		if err == nil || out != "" || !strings.Contains(errs, "--proxy-socket: ") || !strings.Contains(errs, want) {
			t.Errorf("%s: %v %q %q", path, err, out, errs)
		}
	}
}

// TestOwnPortOutlivesTheServer: each connection is made anew, so the port works
// again when the server does; while it is away, connections end.
func TestOwnPortOutlivesTheServer(t *testing.T) {
	curl := needs(t, "curl")
	w := newWorld(t)
	cmd := exec.Command(builtBinary(t), "vault", "run", "--proxy-port", "--", "sh", "-c",
		`while read line; do `+curl+` -s -o /dev/null -w '%{http_code}' https://api.test/; echo " $line"; done`)
	cmd.Env, cmd.Dir = w.env(), w.dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs syncBuffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	says := bufio.NewReader(out)
	asks := func(want string) {
		t.Helper()
		if _, err := io.WriteString(in, "x\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := says.ReadString('\n'); err != nil || line != want+" x\n" {
			t.Errorf("%q, %v; want %s: %s", line, err, want, errs.String())
		}
	}
	asks("200")
	w.stop()
	asks("000")
	asks("000")
	config, err := os.ReadFile(w.path("config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("listen: {api: '%s', proxy: '%s'}", strings.TrimPrefix(w.API, "http://"), strings.TrimPrefix(w.Proxy, "http://"))
	config = []byte(strings.Replace(string(config), "listen: {api: '127.0.0.1:0', proxy: '127.0.0.1:0'}", at, 1))
	if err := os.WriteFile(w.path("config.yaml"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	w.start()
	asks("200")
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || strings.Count(errs.String(), "\n") != 1 || !strings.Contains(errs.String(), "the proxy entrance at ") {
		t.Errorf("%v: %q", err, errs.String())
	}
}

// TestOwnPortEndsWithTheCommand: a process that the command left behind has no
// way in any more.
func TestOwnPortEndsWithTheCommand(t *testing.T) {
	curl := needs(t, "curl")
	w := newWorld(t)
	out, _ := w.ownPort(t, `echo "$P"`)
	start := time.Now()
	got, err := exec.Command(curl, "-sS", "--max-time", "10", "-x", "http://127.0.0.1:"+strings.TrimSpace(out), "https://api.test/").CombinedOutput()
	if err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("%v: %s", err, got)
	}
}
