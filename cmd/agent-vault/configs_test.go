package main_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What is in configs for other programs to read, held to what it is for with
// nothing but Go; and by those programs' own checks where they are installed.

func readFile(t testing.TB, path string) string {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestCompose: the agent's only network has no way out, the server's image and
// the agent's are the operator's, and secrets are files.
func TestCompose(t *testing.T) {
	c := composeFile(t)
	server, agent := c.Services["vault"], c.Services["agent"]
	if len(c.Services) != 2 || !slices.Equal(agent.Networks, []string{"inside"}) || !c.Networks["inside"].Internal || c.Networks["outside"].Internal ||
		!slices.Equal(server.Networks, []string{"inside", "outside"}) || len(agent.Ports) != 0 || !slices.Equal(agent.DNS, []string{"127.0.0.1"}) {
		t.Errorf("the agent has another way out: %+v, %+v", agent, c.Networks)
	}
	if agent.DependsOn["vault"].Condition != "service_healthy" || server.Healthcheck == nil || agent.Environment["AGENT_VAULT_ADDR"] != server.Environment["AGENT_VAULT_BASE_URL"] {
		t.Errorf("the agent starts before the server, or elsewhere: %+v", agent)
	}
	for _, port := range server.Ports {
		if !strings.HasPrefix(port, "127.0.0.1:") {
			t.Errorf("the port %s is open to others", port)
		}
	}
	for name, s := range c.Services {
		if !regexp.MustCompile(`^\$\{[A-Z_]+:\?[^}]+\}$`).MatchString(s.Image) {
			t.Errorf("%s: %s is no placeholder for a pinned image", name, s.Image)
		}
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
			t.Errorf("%s may more than it must: %+v", name, s)
		}
		for _, secret := range s.Secrets {
			if c.Secrets[secret].File == "" || !slices.ContainsFunc([]string{"AGENT_VAULT_MASTER_PASSWORD_FILE", "AGENT_VAULT_INVITE_FILE"}, func(v string) bool { return s.Environment[v] == "/run/secrets/"+secret }) {
				t.Errorf("%s: nothing reads the secret %s", name, secret)
			}
		}
		for variable, value := range s.Environment {
			if strings.Contains(value, "av_") || variable == "AGENT_VAULT_MASTER_PASSWORD" || variable == "AGENT_VAULT_INVITE" || strings.HasSuffix(variable, "TOKEN") {
				t.Errorf("%s has a secret in %s", name, variable)
			}
		}
		for _, v := range s.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			if _, ok := c.Volumes[volume]; !ok {
				t.Errorf("%s: the volume %s is not there", name, v)
			}
		}
	}
}

// TestServerDockerfile: no secret has a place in the image, and it ends as an
// ordinary user.
func TestServerDockerfile(t *testing.T) {
	user := ""
	for _, i := range dockerfile(t, readFile(t, "../../configs/server.Dockerfile")) {
		switch i.word {
		case "USER":
			user = i.rest
		case "ARG":
			t.Errorf("ARG %s", i.rest)
		case "ENV":
			if got := i.variables(t); !slices.Equal(got, []string{"AGENT_VAULT_DATA_DIR=/var/lib/agent-vault"}) {
				t.Errorf("ENV %q", got)
			}
		case "ENTRYPOINT", "CMD":
			i.words(t)
		}
	}
	if user != "65532:65532" {
		t.Errorf("it runs as %q", user)
	}
}

// TestSystemdUnit: the unit has the parts that the server needs, and the
// password comes by a credential.
func TestSystemdUnit(t *testing.T) {
	got := make(map[string][]string)
	section := ""
	for line := range strings.Lines(readFile(t, "../../configs/systemd/agent-vault.service")) {
		line = strings.TrimSpace(line)
		switch name, value, ok := strings.Cut(line, "="); {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = line
		case !ok || section == "":
			t.Errorf("%q is neither a section nor a key", line)
		default:
			got[section+name] = append(got[section+name], value)
		}
	}
	for key, want := range map[string]string{
		"[Install]WantedBy":               "multi-user.target",
		"[Service]Type":                   "exec",
		"[Service]User":                   "agent-vault",
		"[Service]LoadCredential":         "master-password:/etc/agent-vault/master-password",
		"[Service]Environment":            "AGENT_VAULT_MASTER_PASSWORD_FILE=%d/master-password AGENT_VAULT_DATA_DIR=%S/agent-vault",
		"[Service]StateDirectory":         "agent-vault",
		"[Service]StateDirectoryMode":     "0700",
		"[Service]ExecStart":              "/usr/local/bin/agent-vault server --config /etc/agent-vault/config.yaml",
		"[Service]NoNewPrivileges":        "yes",
		"[Service]CapabilityBoundingSet":  "",
		"[Service]ProtectSystem":          "strict",
		"[Service]MemoryDenyWriteExecute": "yes",
		"[Service]LimitCORE":              "0",
	} {
		if strings.Join(got[key], " ") != want || len(got[key]) == 0 {
			t.Errorf("%s=%q, want %q", key, got[key], want)
		}
	}
	if sysusers := readFile(t, "../../configs/systemd/agent-vault.sysusers"); !strings.Contains(sysusers, "\nu agent-vault - ") {
		t.Errorf("the user is not made: %s", sysusers)
	}
}

// TestSystemdAnalyze: systemd understands every line, and finds the service well
// shut in.
func TestSystemdAnalyze(t *testing.T) {
	analyze := needs(t, "systemd-analyze")
	unit := strings.ReplaceAll(readFile(t, "../../configs/systemd/agent-vault.service"), "/usr/local/bin/agent-vault", builtBinary(t))
	path := filepath.Join(t.TempDir(), "agent-vault.service")
	if err := os.WriteFile(path, []byte(unit), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) != 0 {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := exec.Command(analyze, "security", "--no-pager", "--offline=true", "--threshold=20", path).CombinedOutput(); err != nil { // tenths
		t.Errorf("%v\n%s", err, out)
	}
}

// featureEnv is what the feature has in the container's environment.
func featureEnv(t *testing.T) map[string]string {
	t.Helper()
	var f struct{ ContainerEnv map[string]string }
	if err := json.Unmarshal([]byte(readFile(t, "../../configs/devcontainer/agent-vault/devcontainer-feature.json")), &f); err != nil {
		t.Fatal(err)
	}
	return f.ContainerEnv
}

// TestDevcontainerFeature holds it to the specification of features
// (containers.dev): names, types and what each option needs.
func TestDevcontainerFeature(t *testing.T) {
	const folder = "../../configs/devcontainer/agent-vault"
	var f struct {
		ID, Version, Name, Description string
		Options                        map[string]struct{ Type, Default, Description string }
		ContainerEnv                   map[string]string
		InstallsAfter                  []string
	}
	var dev struct {
		Name, Image string
		Features    map[string]map[string]any
		RunArgs     []string
		RemoteEnv   map[string]string
	}
	for path, into := range map[string]any{folder + "/devcontainer-feature.json": &f, folder + "/../devcontainer.json": &dev} {
		d := json.NewDecoder(strings.NewReader(readFile(t, path)))
		d.DisallowUnknownFields()
		if err := d.Decode(into); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	if f.ID != filepath.Base(folder) || !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(f.Version) || f.Name == "" || f.Description == "" || dev.Features["./"+f.ID] == nil {
		t.Errorf("%+v %+v", f, dev)
	}
	script := readFile(t, folder+"/install.sh")
	for name, o := range f.Options {
		if o.Type != "string" || o.Description == "" || !strings.Contains(script, "${"+strings.ToUpper(name)+":-"+o.Default+"}") {
			t.Errorf("option %s: %+v", name, o)
		}
	}
	trusted := make(map[string]bool)
	for _, i := range dockerfile(t, fragment(t, "--base", "debian")) {
		if i.word == "ENV" {
			for _, entry := range i.variables(t) {
				name, _, _ := strings.Cut(entry, "=")
				trusted[name] = true
			}
		}
	}
	for name, value := range f.ContainerEnv {
		if !trusted[name] || strings.HasPrefix(value, "/") && !strings.Contains(script, "$shared/"+filepath.Base(value)) {
			t.Errorf("%s=%s: image dockerfile does not set it, or nothing puts it there", name, value)
		}
		delete(trusted, name)
	}
	if len(trusted) != 0 {
		t.Errorf("the feature lacks %v", trusted)
	}
	if info, err := os.Stat(folder + "/install.sh"); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("install.sh cannot be run: %v", err)
	}
}

func TestShellcheck(t *testing.T) {
	shellcheck := needs(t, "shellcheck")
	if out, err := exec.Command(shellcheck, "../../configs/devcontainer/agent-vault/install.sh", "../../.ci/install", "../../.ci/run").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestComposeConfig: Docker's own reading of the file.
func TestComposeConfig(t *testing.T) {
	if err := exec.Command("docker", "compose", "version").Run(); err != nil {
		t.Skip("needs docker compose, which is not installed")
	}
	cmd := exec.Command("docker", "compose", "-f", "../../configs/compose/compose.yaml", "config", "--quiet")
	cmd.Env = append(os.Environ(), "AGENT_VAULT_IMAGE=a:1", "AGENT_IMAGE=b:1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestKubeconform holds the manifests against Kubernetes' schemas, which it
// fetches.
func TestKubeconform(t *testing.T) {
	kubeconform, err := exec.LookPath("kubeconform")
	if err != nil {
		t.Skip("needs kubeconform, which is not installed; make images reads them with Kubernetes' own types")
	}
	var out bytes.Buffer
	cmd := exec.Command(kubeconform, "-strict", "../../configs/kubernetes")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%v\n%s", err, &out)
	}
}
