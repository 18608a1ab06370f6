package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"agentvault/api"
	"agentvault/broker"
)

// TestSkillNamesEveryRefusal: what an agent can get is in its manual, and no
// code is there that nobody answers.
func TestSkillNamesEveryRefusal(t *testing.T) {
	known := make(map[string]bool)
	for _, k := range broker.FaultKinds() {
		known[k.Code] = true
		inRecordOnly := strings.HasPrefix(k.When, "in the record only")
		if !inRecordOnly && !strings.Contains(api.Skill(), "`"+k.Code+"`") {
			t.Errorf("the manual does not say what to do about %s", k.Code)
		}
	}
	for _, k := range api.Refusals() {
		known[k.Code] = true
	}
	for line := range strings.Lines(api.Skill()) {
		codes, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !ok || !strings.HasPrefix(codes, "`") || strings.HasPrefix(codes, "`AGENT_VAULT_") {
			continue
		}
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(codes, -1) {
			if m[1] != "error" && !known[m[1]] {
				t.Errorf("nobody answers %s", m[1])
			}
		}
	}
}

// skill runs a command in the current folder.
func skill(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(context.Background(), append([]string{"skill"}, args...), stdio{devNull(t), &o, &e})
	return status, o.String(), e.String()
}

func TestSkillInstall(t *testing.T) {
	home, project := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("CLAUDE_CONFIG_DIR", "")
	t.Chdir(project)
	for _, tt := range []struct{ reader, path string }{
		{"claude-code", ".claude/skills/agent-vault/SKILL.md"},
		{"cursor", ".cursor/skills/agent-vault/SKILL.md"},
		{"codex", ".agents/skills/agent-vault/SKILL.md"},
		{"generic", ".agents/skills/agent-vault/SKILL.md"},
	} {
		for flag, folder := range map[string]string{"--global": home, "--global=false": project} {
			at := filepath.Join(folder, tt.path)
			if err := os.RemoveAll(filepath.Dir(at)); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"is written", "is up to date"} {
				if status, out, errs := skill(t, "install", "--for", tt.reader, flag); status != 0 || !strings.Contains(out, want) {
					t.Errorf("%s %s: %d %q %q, want %q", tt.reader, flag, status, out, errs, want)
				}
			}
			if raw, err := os.ReadFile(at); err != nil || !strings.HasPrefix(string(raw), api.Skill()) {
				t.Errorf("%s: %v", at, err)
			}
			for _, want := range []string{"is removed", "is not there"} {
				if status, out, errs := skill(t, "uninstall", "--for", tt.reader, flag); status != 0 || !strings.Contains(out, want) {
					t.Errorf("%s %s: %d %q %q, want %q", tt.reader, flag, status, out, errs, want)
				}
			}
			if _, err := os.Stat(filepath.Dir(at)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("its folder is left: %v", err)
			}
		}
	}
	t.Setenv("CLAUDE_CONFIG_DIR", filepath.Join(home, "elsewhere"))
	if _, out, _ := skill(t, "install", "--for", "claude-code", "--global", "-o", "json"); !strings.Contains(out, filepath.Join(home, "elsewhere/skills/agent-vault/SKILL.md")) || !strings.Contains(out, `"change": "written"`) {
		t.Errorf("CLAUDE_CONFIG_DIR: %s", out)
	}
	if status, out, _ := skill(t, "install", "--print"); status != 0 || out != api.Skill() {
		t.Errorf("--print: %d %q", status, out)
	}
	for _, args := range [][]string{{"install"}, {"install", "--for", "nobody"}, {"uninstall"}} {
		if status, _, errs := skill(t, args...); status != exitUsage || !strings.Contains(errs, "claude-code, cursor, codex, generic") {
			t.Errorf("%q: %d %q", args, status, errs)
		}
	}
}

// TestSkillKeepsOthersFiles: what is not ours any more stays, and where a link
// leads to nothing is written.
func TestSkillKeepsOthersFiles(t *testing.T) {
	t.Chdir(t.TempDir())
	const path = ".agents/skills/agent-vault/SKILL.md"
	old := marked("---\nname: agent-vault\n---\nan older version\n")
	for name, tt := range map[string]struct {
		content string
		ours    bool
	}{
		"an older version":   {old, true},
		"a file of somebody": {"# mine\n", false},
		"an empty file":      {"", false},
		"a changed line":     {strings.Replace(old, "older", "better", 1), false},
		"a line below":       {old + "more\n", false},
		"without its end":    {strings.TrimSuffix(old, "\n"), false},
	} {
		write := func() {
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(tt.content), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		write()
		for _, command := range []string{"install", "uninstall"} {
			status, _, errs := skill(t, command, "--for", "generic")
			if tt.ours {
				if status != 0 {
					t.Errorf("%s: %s: %d %s", name, command, status, errs)
				}
				continue
			}
			raw, err := os.ReadFile(path)
			if status != exitFailed || !strings.Contains(errs, "--force") || err != nil || string(raw) != tt.content {
				t.Errorf("%s: %s: %d %s, and then %q %v", name, command, status, errs, raw, err)
			}
		}
		write()
		for _, command := range []string{"install", "uninstall"} {
			if status, _, errs := skill(t, command, "--for", "generic", "--force"); status != 0 {
				t.Errorf("%s: %s --force: %d %s", name, command, status, errs)
			}
		}
	}

	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile("elsewhere", []byte("theirs"), 0o644), os.Symlink("../../../elsewhere", path)); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := skill(t, "install", "--for", "generic"); status != exitFailed || !strings.Contains(errs, "--force") {
		t.Errorf("a link: %d %s", status, errs)
	}
	if status, _, errs := skill(t, "install", "--for", "generic", "--force"); status != 0 {
		t.Errorf("a link, --force: %d %s", status, errs)
	}
	if raw, err := os.ReadFile("elsewhere"); err != nil || string(raw) != "theirs" {
		t.Errorf("the link's target holds %q, %v", raw, err)
	}
}
