package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"agentvault/broker"
)

const configs = "../../configs/"

func load(t *testing.T, args ...string) (*config, error) {
	t.Helper()
	f := pflag.NewFlagSet("server", pflag.ContinueOnError)
	addConfigFlags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	return loadConfig(f, os.Environ())
}

// The sample holds every key, each with its default.
func TestSampleIsTheDefaults(t *testing.T) {
	t.Setenv("HOME", "/home/someone")
	t.Setenv("XDG_DATA_HOME", "")
	defaults, err := load(t)
	if err != nil {
		t.Fatal(err)
	}
	sample, err := load(t, "--config", configs+"sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(defaults, sample) {
		t.Errorf("sample.yaml is not the defaults:\n%+v\n%+v", sample, defaults)
	}
	if sample.DataDir != "/home/someone/.local/share/agent-vault" {
		t.Errorf("data_dir %q", sample.DataDir)
	}
	raw, err := os.ReadFile(configs + "sample.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(raw, &tree); err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		group, leaf, nested := strings.Cut(k.name, ".")
		at := tree
		if nested {
			at, _ = tree[group].(map[string]any)
		} else {
			leaf = group
		}
		if _, ok := at[leaf]; !ok {
			t.Errorf("sample.yaml lacks %s", k.name)
		}
		if !strings.Contains(string(docs), "`"+k.name+"`") {
			t.Errorf("docs/configuration.md lacks %s", k.name)
		}
	}
}

// Each file under bad/ begins with the exact message that it gives.
func TestBadConfigurations(t *testing.T) {
	files, err := filepath.Glob(configs + "bad/*.yaml")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, path := range files {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(raw), "\n")
		want := strings.Replace(strings.TrimPrefix(first, "# "), "FILE", path, 1)
		_, err = load(t, "--config", path)
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", filepath.Base(path), err, want)
		}
	}
}

func TestEnvironmentAndFlags(t *testing.T) {
	t.Setenv("AGENT_VAULT_LISTEN_API", "127.0.0.1:1")
	t.Setenv("AGENT_VAULT_LISTEN_PROXY", "127.0.0.1:2")
	t.Setenv("AGENT_VAULT_LIMITS_SESSION_RATE", "0")
	t.Setenv("AGENT_VAULT_DEVELOPMENT", "true")
	t.Setenv("AGENT_VAULT_NETWORK_ALLOW", "127.0.0.0/8, 10.0.0.0/8")
	t.Setenv("AGENT_VAULT_UPSTREAM_HOSTS", "a.example.com=127.0.0.1:8443,b.example.com=::1")
	c, err := load(t, "--listen-proxy", "127.0.0.1:3", "--log-level", "debug")
	if err != nil {
		t.Fatal(err)
	}
	want := broker.Limits{SessionRate: 0, SessionBurst: 1000, SessionConcurrent: 256, SessionTunnels: 1000, FailedAttempts: 20, Connections: 10000}
	if c.ListenAPI != "127.0.0.1:1" || c.ListenProxy != "127.0.0.1:3" || c.Limits != want || !c.Development || len(c.Allow) != 2 || c.Hosts["a.example.com"].Port != 8443 || len(c.Hosts) != 2 {
		t.Errorf("%+v", c)
	}
	t.Setenv("AGENT_VAULT_LIMITS_SESSION_RATE", "many")
	if _, err := load(t); err == nil || !strings.HasPrefix(err.Error(), "configuration: limits.session_rate: ") {
		t.Errorf("%v", err)
	}
	t.Setenv("AGENT_VAULT_LIMITS_SESSION_RATE", "")
}

func TestUnknownVariables(t *testing.T) {
	for variable, want := range map[string]string{
		"AGENT_VAULT_LISTEN_APi":      "configuration: unknown variable AGENT_VAULT_LISTEN_APi; did you mean AGENT_VAULT_LISTEN_API?",
		"AGENT_VAULT_UPSTREM_CA_FILE": "configuration: unknown variable AGENT_VAULT_UPSTREM_CA_FILE; did you mean AGENT_VAULT_UPSTREAM_CA_FILE?",
		"AGENT_VAULT_MAX_REQUESTS":    "configuration: unknown variable AGENT_VAULT_MAX_REQUESTS",
		// Those of clients, and what Kubernetes sets for a service of our name.
		"AGENT_VAULT_ADDR":                    "",
		"AGENT_VAULT_TOKEN":                   "",
		"AGENT_VAULT_PROXY":                   "",
		"AGENT_VAULT_MASTER_PASSWORD":         "",
		"AGENT_VAULT_SERVICE_HOST":            "",
		"AGENT_VAULT_PORT_14321_TCP_PROTO":    "",
		"SOMEBODY_ELSES_AGENT_VAULT_VARIABLE": "",
	} {
		f := pflag.NewFlagSet("server", pflag.ContinueOnError)
		addConfigFlags(f)
		_, err := loadConfig(f, []string{"HOME=/", variable + "=something"})
		if got := fmt.Sprint(err); err == nil && want != "" || err != nil && got != want {
			t.Errorf("%s: %v, want %q", variable, err, want)
		}
	}
}

// The same in each format.
func TestFormats(t *testing.T) {
	for name, text := range map[string]string{
		"c.yaml": "listen: {api: '127.0.0.1:1'}\nlimits: {session_rate: 7}\nnetwork: {allow: [10.0.0.0/8]}\nupstream:\n  hosts: {API.example.com: '127.0.0.1:8443'}\nlog:\n",
		"c.json": `{"listen": {"api": "127.0.0.1:1"}, "limits": {"session_rate": 7}, "network": {"allow": ["10.0.0.0/8"]}, "upstream": {"hosts": {"api.example.com": "127.0.0.1:8443"}}}`,
		"c.toml": "listen.api = '127.0.0.1:1'\n[limits]\nsession_rate = 7\n[network]\nallow = ['10.0.0.0/8']\n[upstream.hosts]\n'api.example.com' = '127.0.0.1:8443'\n",
	} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := load(t, "--config", path)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.ListenAPI != "127.0.0.1:1" || c.Limits.SessionRate != 7 || len(c.Allow) != 1 || c.Hosts["api.example.com"].Port != 8443 || c.LogFormat != "text" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if _, err := load(t, "--config", "c.ini"); err == nil || !strings.Contains(err.Error(), "configuration c.ini: ") {
		t.Errorf("%v", err)
	}
}

// FuzzConfig: whatever a file holds, it is taken whole or refused in one line
// that says where.
func FuzzConfig(f *testing.F) {
	files, err := filepath.Glob(configs + "bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range append(files, configs+"sample.yaml", configs+"quickstart.yaml") {
		raw, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	path := filepath.Join(f.TempDir(), "c.yaml")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := load(t, "--config", path)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "configuration") || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q", err)
			}
			return
		}
		for _, addr := range []string{c.ListenAPI, c.ListenProxy} {
			ap, err := netip.ParseAddrPort(addr)
			if err != nil || !ap.Addr().IsLoopback() && !c.TrustedNetwork {
				t.Errorf("took %s", addr)
			}
		}
	})
}
