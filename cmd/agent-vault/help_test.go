package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write generated files")

// everyCommand returns the commands that people see, with those that cobra adds
// when one is run.
func everyCommand(t *testing.T) (all []*cobra.Command) {
	t.Helper()
	root := newRoot(stdio{in: devNull(t)})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		all = append(all, c)
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	walk(root)
	return all
}

// TestHelp: every command says what it does, and shows how.
func TestHelp(t *testing.T) {
	for _, c := range everyCommand(t) {
		t.Run(c.CommandPath(), func(t *testing.T) {
			path := strings.Fields(c.CommandPath())[1:]
			var out, errs bytes.Buffer
			if status := run(context.Background(), append(path, "--help"), stdio{devNull(t), &out, &errs}); status != 0 || errs.Len() != 0 {
				t.Fatalf("exit status %d: %s", status, errs.String())
			}
			_, example, ok := strings.Cut(out.String(), "\nExamples:\n")
			if !ok || !strings.Contains(strings.SplitN(example, "\n\n", 2)[0], "agent-vault ") {
				t.Errorf("no example:\n%s", out.String())
			}
			for line := range strings.Lines(c.Example) {
				if !strings.HasPrefix(line, "  ") {
					t.Errorf("an example that is not indented: %q", line)
				}
			}
			if c.Short == "" || strings.HasSuffix(c.Short, ".") {
				t.Errorf("short: %q", c.Short)
			}
			var again bytes.Buffer
			if status := run(context.Background(), append([]string{"help"}, path...), stdio{devNull(t), &again, &errs}); status != 0 || again.String() != out.String() {
				t.Errorf("help %s differs from --help: %d\n%s", c.CommandPath(), status, cmp.Diff(out.String(), again.String()))
			}
		})
	}
}

// TestFlags: no flag takes what must not stand on a command line, and every
// command's -o is the same.
func TestFlags(t *testing.T) {
	for _, c := range everyCommand(t) {
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			for _, word := range []string{"password", "secret", "token", "value", "credential"} {
				_, key := f.Value.(*keyFlag)
				if kind := f.Value.Type(); strings.Contains(f.Name, word) && kind != "bool" && kind != "duration" && !key {
					t.Errorf("%s --%s: other users of the machine can see what stands there", c.CommandPath(), f.Name)
				}
			}
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: %q", c.CommandPath(), f.Name, f.Usage)
			}
			if _, ours := f.Value.(*output); (f.Name == "output") != ours || ours && (f.Shorthand != "o" || f.DefValue != "table") {
				t.Errorf("%s --%s is of type %s", c.CommandPath(), f.Name, f.Value.Type())
			}
		})
	}
}

func TestCompletion(t *testing.T) {
	for _, s := range shells {
		t.Run(s.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			if status := run(context.Background(), []string{"completion", s.name}, stdio{devNull(t), &out, &errs}); status != 0 || errs.Len() != 0 {
				t.Fatalf("exit status %d: %s", status, errs.String())
			}
			if !strings.Contains(out.String(), "agent-vault") || !strings.Contains(out.String(), "__complete") {
				t.Errorf("no completion script:\n%s", out.String())
			}
			if s.name != "bash" {
				return
			}
			check := exec.Command("bash", "-n") // reads, and runs nothing
			check.Stdin = &out
			if said, err := check.CombinedOutput(); err != nil {
				t.Errorf("bash -n: %v\n%s", err, said)
			}
		})
	}
	for _, tt := range []struct{ args, want string }{
		{"vault li", "list\tList the vaults\n:4\n"},
		{"version -o ", "table\njson\nyaml\n:4\n"},
		{"completion z", "zsh\tWrite the completion script for zsh\n:4\n"},
		{"vault list ", ":4\n"},
		{"vault run -- ", ":0\n"},
		{"apply -f ", "yaml\nyml\njson\n:8\n"},
		{"help vault l", "list\tList the vaults\n:4\n"},
	} {
		var out bytes.Buffer
		run(context.Background(), append([]string{"__complete"}, strings.Split(tt.args, " ")...), stdio{devNull(t), &out, new(bytes.Buffer)})
		if out.String() != tt.want {
			t.Errorf("%s: got %q, want %q", tt.args, out.String(), tt.want)
		}
	}
}

const docsFolder = "../../docs/cli"

// TestGeneratedCLIDocs holds docs/cli against the commands: a page for each, and
// nothing else.
func TestGeneratedCLIDocs(t *testing.T) {
	home := t.TempDir() // what comes from it can be in no page that is committed
	t.Setenv("HOME", home)
	for _, name := range []string{addressVariable, vaultVariable, "XDG_DATA_HOME", "XDG_CONFIG_HOME", "AGENT_VAULT_DATA_DIR"} {
		t.Setenv(name, home)
	}
	pages := make(map[string]string)
	for _, c := range everyCommand(t) {
		var b bytes.Buffer
		b.WriteString("<!-- Generated from cmd/agent-vault; do not edit. Run `make generate`. -->\n\n")
		c.DisableAutoGenTag = true
		if err := doc.GenMarkdown(c, &b); err != nil {
			t.Fatal(err)
		}
		pages[strings.ReplaceAll(c.CommandPath(), " ", "_")+".md"] = strings.TrimSpace(b.String()) + "\n"
	}
	if *update {
		writePages(t, pages)
	}
	there := make(map[string]string)
	entries, err := os.ReadDir(docsFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(docsFolder, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		there[e.Name()] = string(raw)
	}
	if diff := cmp.Diff(pages, there); diff != "" {
		t.Errorf("docs/cli is not up to date; run: make generate\n%s", diff)
	}
}

// writePages makes the folder hold the pages and nothing else.
func writePages(t *testing.T, pages map[string]string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(docsFolder), os.MkdirAll(docsFolder, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if err := os.WriteFile(filepath.Join(docsFolder, name), []byte(pages[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
