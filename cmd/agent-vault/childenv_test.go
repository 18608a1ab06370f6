package main

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/api"
)

// testCA is a root whose key is nowhere.
const testCA = `-----BEGIN CERTIFICATE-----
MIIBhjCCAS2gAwIBAgIQQug6CW5OrWmus9yU6PBU9DAKBggqhkjOPQQDAjAiMSAw
HgYDVQQDExdBZ2VudCBWYXVsdCBDQSBjOWJmMmUwODAeFw0yNjAxMDEwMDAwMDBa
Fw0zNjAxMDIwMDAwMDBaMCIxIDAeBgNVBAMTF0FnZW50IFZhdWx0IENBIGM5YmYy
ZTA4MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEM8D13x0fHL3Tk3cKJ95yUWfP
9nWz0UvVLWzBrPO5tYKy5m15wUOJ4hw82oBtlGwMmDLxAli3YL8zjejV7Nnl5aNF
MEMwDgYDVR0PAQH/BAQDAgEGMBIGA1UdEwEB/wQIMAYBAf8CAQIwHQYDVR0OBBYE
FMm/Lgj8840d1iqshbnRYiJdPYxAMAoGCCqGSM49BAMCA0cAMEQCIHs9ZBQTufkQ
9q9IPY/dRcIF5KdMGzZB743TwgcTt0PMAiAq9OeP0Kv/z6aFgD38OKJjWxD1mosz
wiJAx89e4ak7pg==
-----END CERTIFICATE-----
`

// child is a session of a vault, for operators with these variables.
func child(environ ...string) childOf {
	return childOf{
		session: api.SessionResponse{
			Token: "av_sess_token", Addr: "http://vault.test:14321", MITMURL: "http://vault.test:14322",
			LeaseToken: "lease secret", LeaseSeconds: 45,
		},
		vault: "team-a", caPEM: []byte(testCA), environ: environ,
	}
}

func environment(t *testing.T, c childOf) map[string]string {
	t.Helper()
	list, err := c.environment(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSorted(list) {
		t.Errorf("not sorted: %q", list)
	}
	vars := make(map[string]string, len(list))
	for _, entry := range list {
		name, value, _ := strings.Cut(entry, "=")
		if _, twice := vars[name]; twice {
			t.Errorf("%s stands there twice", name)
		}
		vars[name] = value
	}
	return vars
}

func contents(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, name, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestChildsVariables(t *testing.T) {
	vars := environment(t, child(
		"HOME=/home/someone", "EMPTY=", "EQUALS=a=b", "no-equals-sign",
		"HTTPS_PROXY=http://corp.test:3128", "NO_PROXY=corp.test", "no_proxy=other.test",
		"AGENT_VAULT_TOKEN=another", "AGENT_VAULT_ADDR=http://another.test",
		masterPasswordVariable+"=master secret", loginTokenVariable+"=login secret",
	))
	proxy := "http://av_sess_token:team-a@vault.test:14322"
	none := "corp.test,other.test,localhost,127.0.0.1,::1,vault.test"
	want := map[string]string{
		"HOME": "/home/someone", "EMPTY": "", "EQUALS": "a=b",
		"AGENT_VAULT_ADDR": "http://vault.test:14321", "AGENT_VAULT_VAULT": "team-a",
		"AGENT_VAULT_TOKEN": "av_sess_token", "AGENT_VAULT_SESSION_TOKEN": "av_sess_token",
		"HTTPS_PROXY": proxy, "https_proxy": proxy, "HTTP_PROXY": proxy, "http_proxy": proxy, "ALL_PROXY": proxy, "all_proxy": proxy,
		"WSS_PROXY": proxy, "wss_proxy": proxy, "WS_PROXY": proxy, "ws_proxy": proxy,
		"NO_PROXY": none, "no_proxy": none,
		"NODE_USE_ENV_PROXY": "1", "PERL_LWP_ENV_PROXY": "1",
	}
	got := make(map[string]string)
	for name := range want {
		got[name] = vars[name]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, value := range vars {
		if strings.Contains(value, "secret") {
			t.Errorf("%s holds what is not the child's", name)
		}
	}
	for _, name := range withheld {
		if _, ok := vars[name]; ok {
			t.Errorf("%s is there", name)
		}
	}
}

// TestChildsRoots: what replaces a program's roots gets all, what adds to them
// gets the vault's alone.
func TestChildsRoots(t *testing.T) {
	operators := write(t, "roots.pem", "-----BEGIN CERTIFICATE-----\noperator\n-----END CERTIFICATE-----\n\n", 0o600)
	vars := environment(t, child("SSL_CERT_FILE="+operators))
	bundle, alone := vars["SSL_CERT_FILE"], vars["NODE_EXTRA_CA_CERTS"]
	if bundle == operators {
		t.Fatal("the child trusts the operator's roots only")
	}
	if got, want := contents(t, bundle), strings.TrimRight(contents(t, operators), "\n")+"\n"+testCA; got != want {
		t.Errorf("bundle:\n%s\nwant:\n%s", got, want)
	}
	if got := contents(t, alone); got != testCA {
		t.Errorf("alone:\n%s", got)
	}
	for _, path := range []string{bundle, alone} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	for name, want := range map[string]string{
		"REQUESTS_CA_BUNDLE": bundle, "CURL_CA_BUNDLE": bundle, "GIT_SSL_CAINFO": bundle, "AWS_CA_BUNDLE": bundle,
		"PIP_CERT": bundle, "CARGO_HTTP_CAINFO": bundle, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": bundle,
		"npm_config_cafile": bundle, "CONDA_SSL_VERIFY": bundle, "NIX_SSL_CERT_FILE": bundle, "DENO_CERT": alone,
	} {
		if vars[name] != want {
			t.Errorf("%s=%s, want %s", name, vars[name], want)
		}
	}
}

// Not parallel, like nothing that changes systemRoots may be.
func TestSystemRoots(t *testing.T) {
	was := systemRoots
	t.Cleanup(func() { systemRoots = was })
	missing := filepath.Join(t.TempDir(), "none.pem")
	first, second := write(t, "first.pem", "first", 0o600), write(t, "second.pem", "second", 0o600)
	for _, tt := range []struct {
		name  string
		paths []string
		want  string
	}{
		{"the first that is there", []string{missing, first, second}, "first\n" + testCA},
		{"none is there", []string{missing}, "\n" + testCA},
	} {
		t.Run(tt.name, func(t *testing.T) {
			systemRoots = tt.paths
			if got := contents(t, environment(t, child())["SSL_CERT_FILE"]); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNoEnvironment(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.pem")
	noProxy := child()
	noProxy.session.MITMURL = ""
	for _, tt := range []struct {
		name, want string
		c          childOf
	}{
		{"the operator's roots are missing", "SSL_CERT_FILE: open " + missing + ": no such file or directory", child("SSL_CERT_FILE=" + missing)},
		{"the server has no proxy", `the server gave no usable proxy address: ""`, noProxy},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env, err := tt.c.environment(t.TempDir())
			if err == nil || err.Error() != tt.want || env != nil {
				t.Errorf("got %v, %q; want the error %q", env, err, tt.want)
			}
		})
	}
}

// TestProxyURL: whatever stands in the token and the vault, the URL has them.
func TestProxyURL(t *testing.T) {
	c := child()
	c.session.Token, c.vault = "a:b@c/d", "e:f@g"
	s, err := c.proxyURL()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	if password, _ := u.User.Password(); u.User.Username() != c.session.Token || password != c.vault || u.Host != "vault.test:14322" {
		t.Errorf("%s", s)
	}
}

// TestRunIsDocumented: docs/run.md has every variable that a child is given.
func TestRunIsDocumented(t *testing.T) {
	page := contents(t, "../../docs/run.md")
	c := child()
	c.ownSocket = "/run/proxy.sock"
	for name := range environment(t, c) {
		said := strings.Contains(page, "`"+name+"`")
		if upper := strings.ToUpper(name); slices.Contains(proxyVariables, upper) {
			said = strings.Contains(page, "`"+upper+"`")
		}
		if !said {
			t.Errorf("docs/run.md lacks %s", name)
		}
	}
}
