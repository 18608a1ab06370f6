package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatModel: every row says what its state is, and every test that
// docs/threat-model.md names is there. A row that is defended names one.
func TestThreatModel(t *testing.T) {
	text, err := os.ReadFile("../../docs/threat-model.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:[a-z-]+/)*[a-z-]+)\\.((?:Test|Fuzz)[A-Za-z0-9]+)`")
	known := make(map[string]map[string]bool)
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 3 || cells[0] == "| attack" {
			continue
		}
		rows++
		tests := named.FindAllStringSubmatch(cells[2], -1)
		switch state := cells[1]; {
		case state != "defended" && state != "partly" && state != "not defended":
			t.Errorf("%s: the state is %q", cells[0], state)
		case state == "defended" && len(tests) == 0:
			t.Errorf("%s: is defended, and names no test", cells[0])
		}
		for _, test := range tests {
			if known[test[1]] == nil {
				known[test[1]] = testsOf(t, test[1])
			}
			if !known[test[1]][test[2]] {
				t.Errorf("%s: there is no test %s in %s", cells[0], test[2], test[1])
			}
		}
	}
	if rows < 30 {
		t.Errorf("%d rows could be read", rows)
	}
}

// testsOf returns the tests and fuzz targets in a folder of the module.
func testsOf(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := fs.Glob(os.DirFS("../.."), filepath.ToSlash(filepath.Join(folder, "*_test.go")))
	if err != nil {
		t.Fatal(err)
	}
	tests := make(map[string]bool)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("../..", name), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				tests[f.Name.Name] = true
			}
		}
	}
	return tests
}
