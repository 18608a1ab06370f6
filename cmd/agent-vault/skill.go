package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
)

func skillCommand() *cobra.Command {
	return group("skill", "Give agents the manual from which they learn to use the vault", skillInstallCommand(), skillUninstallCommand())
}

// A skillReader is a kind of agent, and where it looks for skills.
type skillReader struct {
	name   string
	folder string // in a project, and in the home
	own    string // variable that names the folder of its own in the home; "": none
}

// skillReaders have the folders that their documentation names. All read the same
// format.
var skillReaders = []skillReader{
	{"claude-code", ".claude/skills", "CLAUDE_CONFIG_DIR"},
	{"cursor", ".cursor/skills", ""},
	{"codex", ".agents/skills", ""},
	{"generic", ".agents/skills", ""},
}

// skillFlags say where a skill is meant to be.
type skillFlags struct {
	reader        string
	global, force bool
}

func (f *skillFlags) add(c *cobra.Command, force string) {
	names := make([]string, len(skillReaders))
	for i, r := range skillReaders {
		names[i] = r.name
	}
	c.Flags().StringVar(&f.reader, "for", "", "the kind of agent: "+strings.Join(names, ", "))
	c.Flags().BoolVar(&f.global, "global", false, "for all of your projects, in your home, rather than for the project in this folder")
	c.Flags().BoolVar(&f.force, "force", false, force)
	completeFlag(c, "for", fixed(names...))
}

// path is where the file belongs.
func (f *skillFlags) path(c *cobra.Command) (string, error) {
	at := slices.IndexFunc(skillReaders, func(r skillReader) bool { return r.name == f.reader })
	if at < 0 {
		names := c.Flags().Lookup("for").Usage
		return "", misused(c, "--for is %s", names)
	}
	r := skillReaders[at]
	folder := r.folder
	if f.global {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		folder = filepath.Join(home, r.folder)
		if own := os.Getenv(r.own); r.own != "" && own != "" {
			folder = filepath.Join(own, filepath.Base(r.folder))
		}
	}
	return filepath.Join(folder, "agent-vault", "SKILL.md"), nil
}

// SkillFile is what became of the file.
type SkillFile struct {
	For    string `json:"for"`
	Path   string `json:"path"`
	Change string `json:"change"` // written, replaced, removed or none
}

func skillInstallCommand() *cobra.Command {
	var f skillFlags
	var print bool
	var o output
	c := &cobra.Command{
		Use: "install", Short: "Write the manual where an agent looks for it", Args: noArgs,
		Long: `Write the manual where an agent looks for skills: in the project of this folder,
or with --global in your home. It says how to find out what the vault offers, how
to call it by both entrances, what each refusal means, and how to ask for more.
It holds no token and no address, so it may be committed.

A newer version takes the place of an older one. A file that is not from here, or
that was changed since, stays unless --force is given.`,
		Example: `  agent-vault skill install --for claude-code
  agent-vault skill install --for codex --global
  agent-vault skill install --print`,
		RunE: func(c *cobra.Command, _ []string) error {
			if print {
				_, err := io.WriteString(c.OutOrStdout(), api.Skill())
				return err
			}
			path, err := f.path(c)
			if err != nil {
				return err
			}
			change, err := installSkill(path, f.force)
			if err != nil {
				return err
			}
			said := map[string]string{"none": "is up to date", "written": "is written", "replaced": "is written anew"}[change]
			return o.print(c.OutOrStdout(), SkillFile{f.reader, path, change}, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", plain(path), said) })
		},
	}
	f.add(c, "replace a file that is not from here, or was changed since")
	c.Flags().BoolVar(&print, "print", false, "write the manual to standard output, and no file")
	o.add(c)
	return c
}

func skillUninstallCommand() *cobra.Command {
	var f skillFlags
	var o output
	c := &cobra.Command{
		Use: "uninstall", Short: "Remove the manual from where an agent looks for it", Args: noArgs,
		Long: `Remove what skill install wrote. A file that is not from there, or that was
changed since, stays unless --force is given.`,
		Example: "  agent-vault skill uninstall --for claude-code\n  agent-vault skill uninstall --for codex --global",
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := f.path(c)
			if err != nil {
				return err
			}
			change, err := uninstallSkill(path, f.force)
			if err != nil {
				return err
			}
			said := map[string]string{"none": "is not there", "removed": "is removed"}[change]
			return o.print(c.OutOrStdout(), SkillFile{f.reader, path, change}, func(w io.Writer) { fmt.Fprintf(w, "%s %s\n", plain(path), said) })
		},
	}
	f.add(c, "remove a file that is not from here, or was changed since")
	o.add(c)
	return c
}

// skillMark stands below a text that we wrote, with its digest: a text that
// somebody changed since is theirs.
const skillMark = "<!-- agent-vault skill install wrote this; SHA-256 of what is above: %x -->\n"

func marked(text string) string {
	return text + fmt.Sprintf(skillMark, sha256.Sum256([]byte(text)))
}

// isMarked reports whether content is a text that some version of us wrote.
func isMarked(content string) bool {
	at := strings.LastIndex(strings.TrimSuffix(content, "\n"), "\n") + 1
	return at > 0 && content == marked(content[:at])
}

// skillAt reads the file that stands there, and whether it is ours to replace. A
// symbolic link is somebody's way of keeping it elsewhere.
func skillAt(path string) (content string, ours bool, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", false, err
	}
	if !info.Mode().IsRegular() {
		return "", false, nil
	}
	raw, err := os.ReadFile(path)
	return string(raw), err == nil && isMarked(string(raw)), err
}

var errSkillNotOurs = errors.New("it is not from here, or was changed since")

func notOurs(path string) error {
	return hint(fmt.Errorf("%s: %w", path, errSkillNotOurs), "look at it first, and give --force if it may go")
}

// installSkill puts a whole file in the place of what may go, and reports what
// it did.
func installSkill(path string, force bool) (change string, err error) {
	content, ours, err := skillAt(path)
	text := marked(api.Skill())
	there := !errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && there:
		return "", err
	case there && content == text:
		return "none", nil
	case there && !ours && !force:
		return "", notOurs(path)
	}
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	made, err := os.CreateTemp(folder, ".SKILL-*")
	if err != nil {
		return "", err
	}
	_, err = made.WriteString(text)
	err = errors.Join(err, made.Chmod(0o644), made.Close())
	if err == nil {
		err = os.Rename(made.Name(), path) // which replaces a link, and follows none
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(made.Name()))
	}
	if there {
		return "replaced", nil
	}
	return "written", nil
}

func uninstallSkill(path string, force bool) (change string, err error) {
	_, ours, err := skillAt(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "none", nil
	case err != nil:
		return "", err
	case !ours && !force:
		return "", notOurs(path)
	}
	if err := os.Remove(path); err != nil {
		return "", err
	}
	_ = os.Remove(filepath.Dir(path)) // unless something else is in it
	return "removed", nil
}
