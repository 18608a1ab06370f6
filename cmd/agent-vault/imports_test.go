package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Import paths that the table below names often.
const (
	goproxyPath = "github.com/elazarl/goproxy"
	cobraPath   = "github.com/spf13/cobra"
	viperPath   = "github.com/spf13/viper"
)

// A boundary says what a package may not import. A path stands for everything
// below it too.
type boundary struct {
	direct     []string
	transitive []string // also not by way of others
	except     string   // ways through this package are not followed
	but        []string // what is allowed all the same
}

// boundaries knows every package of the module. What a package may import is
// a decision, so a new one has to be put down here.
var boundaries = map[string]boundary{
	"agentvault/policy": {
		direct:     []string{"net/http", "context", "database/sql", "time", "agentvault"},
		transitive: []string{"net/http", "database/sql", "agentvault"},
		but:        []string{"agentvault/policy/when", "agentvault/policy/media"}, // conditions
		// It imports net/http/cookiejar for the type of a variable; policy uses
		// its table only.
		except: "golang.org/x/net/publicsuffix",
	},
	"agentvault/policy/when":      {direct: []string{"database/sql", "agentvault"}, transitive: []string{"net/http", "database/sql"}, but: []string{"agentvault/policy/media"}},
	"agentvault/policy/media":     {direct: []string{"net/http", "database/sql", "agentvault"}},
	"agentvault/policy/inject":    {direct: []string{"agentvault/store", "agentvault/api", "agentvault/mitm", "agentvault/pathproxy"}},
	"agentvault/policy/limit":     {direct: []string{"net/http", "context", "database/sql", "agentvault"}, but: []string{"agentvault/policy"}},
	"agentvault/vault/seal":       {direct: []string{"agentvault"}},
	"agentvault/vault":            {direct: []string{"net/http", "database/sql", "agentvault/store", "agentvault/api", "agentvault/broker"}},
	"agentvault/vault/catalog":    {direct: []string{"net/http", "database/sql", "agentvault/store", "agentvault/api", "agentvault/broker"}},
	"agentvault/store":            {direct: []string{"net/http", "agentvault/broker", "agentvault/api", "agentvault/mitm", "agentvault/pathproxy"}},
	"agentvault/broker":           {direct: []string{goproxyPath, cobraPath, viperPath, "database/sql", "agentvault/store", "agentvault/api", "agentvault/mitm", "agentvault/pathproxy"}},
	"agentvault/broker/scrub":     {direct: []string{"net/http", "database/sql", "agentvault"}},
	"agentvault/broker/audit":     {direct: []string{"net/http", goproxyPath, cobraPath, viperPath, "database/sql", "agentvault"}},
	"agentvault/broker/ending":    {direct: []string{"agentvault"}},
	"agentvault/broker/heads":     {direct: []string{"agentvault"}},
	"agentvault/broker/readahead": {direct: []string{"agentvault"}},
	"agentvault/broker/http1":     {direct: []string{"agentvault"}, but: []string{"agentvault/broker/ending", "agentvault/broker/heads", "agentvault/broker/readahead"}},
	"agentvault/broker/upstream":  {direct: []string{"agentvault"}, but: []string{"agentvault/broker/ending", "agentvault/broker/heads"}},
	"agentvault/ca":               {direct: []string{goproxyPath, "agentvault/store"}},
	"agentvault/mitm":             {direct: []string{"agentvault/policy", "agentvault/store", "agentvault/api"}},
	"agentvault/pathproxy":        {direct: []string{goproxyPath, "agentvault/ca", "agentvault/store"}},
	"agentvault/api":              {direct: []string{"agentvault/store", "agentvault/broker", "agentvault/mitm", "agentvault/pathproxy"}},
	"agentvault/api/shown":        {direct: []string{"net/http", "agentvault"}},
	"agentvault/web":              {direct: []string{"agentvault"}, but: []string{"agentvault/api", "agentvault/api/shown"}},
	"agentvault/isolate":          {transitive: []string{"net/http"}, direct: []string{"agentvault"}},
	"agentvault/cmd/agent-vault":  {}, // wires all of them

	"agentvault/cmd/agent-vault/gallery": {}, // tests only

	// It measures what anybody can: nothing of the product is in it.
	"agentvault/cmd/wirebench": {transitive: []string{"agentvault"}},
}

// offenders returns the imports that stand at or below a forbidden path.
func offenders(imports, forbidden []string) []string {
	var found []string
	for _, path := range imports {
		for _, f := range forbidden {
			if path == f || strings.HasPrefix(path, f+"/") {
				found = append(found, path)
				break
			}
		}
	}
	return found
}

func TestImports(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Module", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	imports := make(map[string][]string) // of files that are no tests
	var ours []string
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
			Module     struct{ Main bool }
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		imports[p.ImportPath] = p.Imports
		if p.Module.Main {
			ours = append(ours, p.ImportPath)
		}
	}
	for _, path := range ours {
		b, known := boundaries[path]
		if !known {
			t.Errorf("%s is not in the table of boundaries", path)
		}
		others := func(list []string) []string {
			return slices.DeleteFunc(slices.Clone(list), func(p string) bool { return slices.Contains(b.but, p) })
		}
		if o := offenders(others(imports[path]), b.direct); o != nil {
			t.Errorf("%s imports %v", path, o)
		}
		if o := offenders(others(reachable(imports, path, b.except)), b.transitive); o != nil {
			t.Errorf("%s depends on %v", path, o)
		}
	}
	for path := range boundaries {
		if !slices.Contains(ours, path) {
			t.Errorf("the table of boundaries names %s, which is not there", path)
		}
	}
}

// reachable returns what a package depends on, sorted.
func reachable(imports map[string][]string, from, except string) []string {
	seen := make(map[string]bool)
	var visit func(path string)
	visit = func(path string) {
		for _, next := range imports[path] {
			if next != except && !seen[next] {
				seen[next] = true
				visit(next)
			}
		}
	}
	visit(from)
	return slices.Sorted(maps.Keys(seen))
}

// TestDependencies: every module that go.mod requires directly has its row in
// docs/dependencies.md, and only those.
func TestDependencies(t *testing.T) {
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	cmd := exec.Command("go", "mod", "edit", "-json")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for _, r := range mod.Require {
		if !r.Indirect {
			want = append(want, r.Path)
		}
	}
	for line := range strings.Lines(string(doc)) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		for _, name := range strings.Split(cell, ", ") {
			if path := strings.Trim(name, "`"); path != name {
				got = append(got, path)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("rows for\n%q, want\n%q", got, want)
	}
}

// TestOffenders holds the check itself.
func TestOffenders(t *testing.T) {
	for _, tt := range []struct {
		imports, forbidden []string
		want               int
	}{
		{[]string{"net/http"}, []string{"net/http"}, 1},
		{[]string{"net/http/httptrace"}, []string{"net/http"}, 1},
		{[]string{"net/httpx", "net"}, []string{"net/http"}, 0},
		{[]string{"agentvault/vault/seal"}, []string{"agentvault"}, 1},
		{[]string{"agentvaults"}, []string{"agentvault"}, 0},
	} {
		if got := offenders(tt.imports, tt.forbidden); len(got) != tt.want {
			t.Errorf("offenders(%v, %v) = %v, want %d", tt.imports, tt.forbidden, got, tt.want)
		}
	}
}
