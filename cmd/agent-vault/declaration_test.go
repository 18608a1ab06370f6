package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/api"
	"agentvault/policy/inject"
	"agentvault/vault"
)

func TestBadDeclarations(t *testing.T) {
	const secret = "sk-live-3f9a77c1e2d4b6a8"
	const inline = "the value of a credential never stands in the declaration"
	const noMap = `it must be a map; the first line of one is "vaults:"`
	const noVaults = `it declares no vaults; the first line of one is "vaults:", and a list follows`
	in := func(credential string) string {
		return "vaults: [{name: default, credentials: {API_KEY: " + credential + "}}]"
	}
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", "it is empty"},
		{"only a comment", "# nothing\n", "it is empty"},
		{"null", "---\n", noVaults},
		{"no vaults", "vaults: []", noVaults},
		{"two documents", "vaults: [{name: a}]\n---\nvaults: [{name: b}]\n", "it holds more than one document"},
		{"a list", "[1]", noMap},
		{"text", "vaults", noMap},
		{"not YAML", "vaults: [", "yaml: line 1: did not find expected node content"},
		{"a key twice", "vaults: []\nvaults: []\n", `yaml: unmarshal errors: line 2: mapping key "vaults" already defined at line 1`},
		{"a key that is no text", "vaults: [{name: default, services: [{1: 2}]}]", "its keys must be text"},
		{"unknown field at the top", "vault: [{name: default}]", "there is no field vault"},
		{"another letter case", "Vaults: [{name: default}]", "there is no field Vaults"},
		{"unknown field in a vault", "vaults: [{name: a}, {name: b, service: []}]", "there is no field vaults[1].service"},
		{"unknown field in a service", "vaults: [{name: default, services: [{name: api, hosts: api.test}]}]", `service "api": it has no field "hosts"`},
		{"vaults is no list", "vaults: {name: default}", "vaults: a object does not fit"},
		{"a name that is no text", "vaults: [{name: 7}]", "vaults.name: a number does not fit"},
		{"services is no list", "vaults: [{name: default, services: api.test}]", "vaults.services: a string does not fit"},
		{"credentials is no map", "vaults: [{name: default, credentials: [" + secret + "]}]", "vaults.credentials: a array does not fit"},
		{"inline value", in(secret), inline},
		{"inline number", in("12345678"), inline},
		{"inline value behind from", in(`{from: "` + secret + `"}`), inline},
		{"unknown place", in(`{from: "vault:` + secret + `"}`), inline},
		{"no name", in(`{from: "env:"}`), inline},
		{"a value beside from", in(`{from: "env:API_KEY", value: "` + secret + `"}`), inline},
		{"from is no text", in(`{from: [` + secret + `]}`), inline},
		{"from in another letter case", in(`{From: "env:API_KEY"}`), inline},
		{"null credential", in("null"), inline},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, err := parseDeclaration([]byte(tt.in))
			if err == nil {
				t.Fatalf("taken: %+v", d)
			}
			if err.Error() != tt.want {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
				t.Errorf("it repeats the value, or has lines: %q", err)
			}
			wantHint := ""
			if tt.want == inline {
				wantHint = `write {from: "env:NAME"} or {from: "file:PATH"}`
			}
			if _, todo := explained(fmt.Errorf("vault.yaml: %w", err)); todo != wantHint {
				t.Errorf("hint %q, want %q", todo, wantHint)
			}
		})
	}
}

func TestReadDeclaration(t *testing.T) {
	t.Setenv("TEST_VALUE", "from the environment")
	file := write(t, "value", "from a file\r\n", 0o600)
	text := `
vaults:
  - name: default
    unmatched_hosts: deny
    services: []
    credentials:
      A: {from: "env:TEST_VALUE"}
      B: {from: "file:` + file + `"}
  - {name: second}
`
	want := api.ApplyRequest{Vaults: []api.ApplyVault{
		{Name: "default", UnmatchedHosts: "deny", Services: []vault.Service{}, Credentials: map[string]string{"A": "from the environment", "B": "from a file"}},
		{Name: "second", Credentials: map[string]string{}}, // services stay as they are
	}}
	for name, path := range map[string]string{"file": write(t, "vault.yaml", text, 0o600), "standard input": "-"} {
		t.Run(name, func(t *testing.T) {
			got, err := readDeclaration(path, strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnreadableDeclarations(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	t.Setenv("TEST_EMPTY", "")
	long, empty := write(t, "long", strings.Repeat("v", maxValue+1), 0o600), write(t, "empty", "\n", 0o600)
	in := func(from string) string {
		return `vaults: [{name: default, credentials: {API_KEY: {from: "` + from + `"}}}]`
	}
	const where = "-: vault default: credential API_KEY: "
	for _, tt := range []struct{ name, file, in, want string }{
		{"no file", missing, "", "open " + missing + ": no such file or directory"},
		{"empty", "-", "", "-: it is empty"},
		{"too long", "-", "vaults: [{name: default}] #" + strings.Repeat(" ", maxDeclaration), "-: it is longer than 16 MiB"},
		{"variable not set", "-", in("env:TEST_NOT_SET"), where + "the variable TEST_NOT_SET is not set"},
		{"variable empty", "-", in("env:TEST_EMPTY"), where + "the variable TEST_EMPTY is not set"},
		{"value too long", "-", in("file:" + long), where + "the value is longer than 64 KiB"},
		{"value empty", "-", in("file:" + empty), where + "the value is empty"},
		{"no value file", "-", in("file:" + missing), where + "open " + missing + ": no such file or directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readDeclaration(tt.file, strings.NewReader(tt.in))
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestPasswordLine(t *testing.T) {
	longest := strings.Repeat("p", maxPasswordLine)
	for _, tt := range []struct{ name, in, want, err string }{
		{"nothing", "", "", ""},
		{"one line", "secret\n", "secret", ""},
		{"no line break", "secret", "secret", ""},
		{"Windows", "secret\r\n", "secret", ""},
		{"the first line only", "secret\nmore\n", "secret", ""},
		{"blanks are part of it", " se cret \n", " se cret ", ""},
		{"the longest", longest, longest, ""},
		{"too long", longest + "p", "", "the password on standard input is too long"},
		{"much too long", longest + longest + "\n", "", "the password on standard input is too long"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := passwordLine(strings.NewReader(tt.in))
			if string(got) != tt.want || err == nil && tt.err != "" || err != nil && err.Error() != tt.err {
				t.Errorf("got %q, %v; want %q, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestUnknownKey(t *testing.T) {
	for name, want := range map[string]string{
		"log.levle":        "configuration c.yaml: unknown key log.levle; did you mean log.level?",
		"listen.ap":        "configuration c.yaml: unknown key listen.ap; did you mean listen.api?",
		"data-dir":         "configuration c.yaml: unknown key data-dir; did you mean data_dir?",
		"something.else":   "configuration c.yaml: unknown key something.else",
		"network.allowed_": "configuration c.yaml: unknown key network.allowed_; did you mean network.allow?",
	} {
		if got := unknownKey("c.yaml", name).Error(); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// The examples are what a server takes.
func TestExampleServices(t *testing.T) {
	d, err := readParsed(configs+"services.yaml", nil, parseDeclaration)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range d.Vaults[0].Services {
		if _, err := s.Canonical(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
		if _, err := inject.Parse(s.Auth); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
}
