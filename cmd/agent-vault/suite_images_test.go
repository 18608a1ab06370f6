package main_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An imageWorld is a world with what stands beside a Dockerfile.
type imageWorld struct {
	*world
	debian  string            // a root that debootstrap made
	fetch   string            // a client that needs no other files
	context map[string]string // paths by name
}

func newImageWorld(t *testing.T) *imageWorld {
	t.Helper()
	fetch := suiteProgram(t, "fetch")
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount layers and enter them")
	}
	w := &imageWorld{world: newWorld(t), fetch: fetch, debian: filepath.Join(os.Getenv(suitesVariable), "debian")}
	program, ca, bundle := w.path("static"), w.path("vault-ca.crt"), w.path("bundle.crt")
	build := exec.Command("go", "build", "-trimpath", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	root := []byte(w.must("", "ca", "export"))
	for _, path := range []string{ca, bundle} {
		if err := os.WriteFile(path, root, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.context = map[string]string{"agent-vault": program, "agent-vault-ca.crt": ca, "agent-vault-bundle.crt": bundle}
	return w
}

// reaches runs clients that know nothing of the vault, each once.
const reaches = `
curl -sS --fail-with-body https://api.test/by-curl && echo
python3 -c 'import urllib.request; print(urllib.request.urlopen("https://api.test/by-python").read().decode())'
echo "user $(id -u)"
`

// wantReached holds that both clients got an answer, with a credential that they
// do not see.
func wantReached(t *testing.T, out, errs string, err error) {
	t.Helper()
	masked := "Bearer " + strings.Repeat("*", len(worldCredentials["API_KEY"]))
	if err != nil || !strings.Contains(out, "/by-curl") || !strings.Contains(out, "/by-python") || strings.Count(out, masked) != 2 || !strings.Contains(out, "user 65532\n") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
}

// TestImagesDebian: the fragment in a root of Debian, from apt-get to a second
// start, and as a sidecar.
func TestImagesDebian(t *testing.T) {
	w := newImageWorld(t)
	i := &image{t: t, layers: []string{w.debian}}
	i.build(fragment(t, "--base", "debian"), w.context)
	built := slices.Clone(i.layers[:len(i.layers)-1])

	_, invite := w.invited("in-debian")
	secrets := map[string]string{"invite": invite + "\n"}
	env := []string{"AGENT_VAULT_INVITE_FILE=/run/secrets/invite", "AGENT_VAULT_ADDR=" + w.API, "AGENT_VAULT_VAULT=default"}
	out, errs, layer, err := i.run(secrets, env, "sh", "-c", "set -e;"+reaches+`
echo "token $AGENT_VAULT_SESSION_TOKEN"
grep -rsl "$AGENT_VAULT_SESSION_TOKEN" /etc /home /opt /root /run /srv /tmp /usr/local /var && exit 9 || true`)
	wantReached(t, out, errs, err)
	_, token, _ := strings.Cut(out, "token ")
	if token = strings.TrimSpace(token); !strings.HasPrefix(token, "av_agt_") {
		t.Fatalf("the token is %q", token)
	}
	if found := holds(t, append(built, layer), token, invite); len(found) != 0 {
		t.Errorf("the token or the invite is in %q", found)
	}

	out, errs, _, err = i.run(secrets, env, "sh", "-c", "echo started")
	if err == nil || out != "" || !strings.Contains(errs, "this invite has been used already: it starts one agent, once") {
		t.Errorf("a second start: %v\n%s%s", err, out, errs)
	}

	// Two containers of one pod: the second has a port, and nothing else.
	_, invite = w.invited("in-a-sidecar")
	sidecar, _ := i.command(i.user, map[string]string{"invite": invite}, env, "/usr/local/bin/agent-vault", "vault", "run", "--invite", "--proxy-port", "--",
		"/bin/sh", "-c", `touch "${TMPDIR:-/tmp}"/ready && echo "$HTTPS_PROXY" && exec cat`)
	lives, err := sidecar.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := sidecar.StdoutPipe()
	if err == nil {
		err = sidecar.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	port, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		t.Errorf("the sidecar does not start: %v", err)
	}
	i.entry = []string{"/bin/sh", "-c"}
	out, errs, _, err = i.run(nil, []string{"HTTPS_PROXY=" + strings.TrimSpace(port)}, reaches+"env")
	wantReached(t, out, errs, err)
	if strings.Contains(out, "av_agt_") {
		t.Errorf("the agent has a token:\n%s", out)
	}
	if err := errors.Join(lives.Close(), sidecar.Wait()); err != nil {
		t.Errorf("the sidecar: %v", err)
	}
}

// TestImagesDistroless: the fragment in a root that holds nothing but a program.
func TestImagesDistroless(t *testing.T) {
	w := newImageWorld(t)
	i := &image{t: t, layers: []string{t.TempDir()}}
	i.copy(w.fetch, "/fetch", 0o755)
	i.build(fragment(t, "--base", "distroless-layer"), w.context)
	link, invite := w.invited("in-nothing")
	env := []string{"AGENT_VAULT_INVITE=" + link, "AGENT_VAULT_VAULT=default"}
	out, errs, layer, err := i.run(nil, env, "/fetch", "https://api.test/by-fetch")
	if err != nil || !strings.Contains(out, "/by-fetch") || !strings.Contains(out, "Bearer ***") {
		t.Errorf("%v\n%s%s", err, out, errs)
	}
	if found := holds(t, append(i.layers, layer), invite); len(found) != 0 {
		t.Errorf("the invite is in %q", found)
	}
	out, errs, _, err = i.run(nil, env, "/fetch", "https://api.test/again")
	if err == nil || out != "" || !strings.Contains(errs, "this invite has been used already") {
		t.Errorf("a second start: %v\n%s%s", err, out, errs)
	}
}

// TestImagesDevcontainer: what the feature installs, and an agent that is started
// with it.
func TestImagesDevcontainer(t *testing.T) {
	w := newImageWorld(t)
	i := &image{t: t, layers: []string{w.debian}, user: "65532:65532"}
	i.copy("../../configs/devcontainer/agent-vault/install.sh", "/feature/install.sh", 0o755)
	i.copy(w.context["agent-vault-ca.crt"], "/feature/agent-vault-ca.crt", 0o644)
	cmd, _ := i.command("0:0", nil, nil, "/feature/install.sh")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "agent-vault is not beside install.sh") {
		t.Errorf("without the program: %v\n%s", err, out)
	}
	i.copy(w.context["agent-vault"], "/feature/agent-vault", 0o755)
	cmd, _ = i.command("0:0", nil, []string{"ADDRESS=http://a$(id)"}, "/feature/install.sh")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "is no address") {
		t.Errorf("a bad address: %v\n%s", err, out)
	}
	i.build("RUN ADDRESS="+w.API+" /feature/install.sh\n", nil)
	for name, value := range featureEnv(t) {
		i.env = append(i.env, name+"="+value)
	}
	i.entry = []string{"/bin/sh", "-lc"}
	out, errs, _, err := i.run(nil, []string{"AGENT_VAULT_SESSION_TOKEN=" + w.token, "AGENT_VAULT_PROXY=" + w.Proxy, "HOME=/tmp"}, "exec agent-vault vault run -- sh -c '"+strings.ReplaceAll(reaches, "'", `'\''`)+"'")
	wantReached(t, out, errs, err)
}

// TestConfigsByTheirTypes: Kubernetes' and Compose's own types take the files.
func TestConfigsByTheirTypes(t *testing.T) {
	check := suiteProgram(t, "check")
	kubernetes := exec.Command(check, "kubernetes", "../../configs/kubernetes/server.yaml", "../../configs/kubernetes/agent.yaml")
	compose := exec.Command(check, "compose", "../../configs/compose/compose.yaml")
	compose.Env = []string{"AGENT_VAULT_IMAGE=vault@sha256:" + strings.Repeat("0", 64), "AGENT_IMAGE=agent@sha256:" + strings.Repeat("0", 64)}
	for cmd, want := range map[*exec.Cmd]int{kubernetes: 5, compose: 2} {
		if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), "\n") != want {
			t.Errorf("%v\n%s", err, out)
		}
	}
}
