package main_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An image is a root and what a Dockerfile has put over it, as a container engine
// would: layers of overlayfs, entered by namespaces of mounts and processes. The
// network is this machine's.
type image struct {
	t      testing.TB
	layers []string // folders, the newest first
	env    []string
	user   string
	entry  []string
}

// enter mounts the layers "$1" with a new one, "$2", on top at "$4", and the folder
// "$5" as its /run/secrets, and runs what follows with no other variables.
const enter = `
set -e
mount --make-rprivate /
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
mkdir -p "$4/proc" "$4/dev" "$4/run/secrets" "$4/tmp"
chmod 1777 "$4/tmp"
mount -t proc proc "$4/proc"
mount --rbind /dev "$4/dev"
mount --bind "$5" "$4/run/secrets"
shift 5
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
`

// runFolders are what one run needs.
func runFolders(t testing.TB) map[string]string {
	t.Helper()
	dir := t.TempDir()
	paths := make(map[string]string)
	for _, name := range []string{"layer", "work", "root", "secrets"} {
		paths[name] = filepath.Join(dir, name)
		if err := os.Mkdir(paths[name], 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// command prepares a run of words over the layers. What it writes is in the
// folder that is returned.
func (i *image) command(user string, secrets map[string]string, env []string, words ...string) (cmd *exec.Cmd, layer string) {
	i.t.Helper()
	paths := runFolders(i.t)
	for name, value := range secrets {
		path := filepath.Join(paths["secrets"], name)
		if err := os.WriteFile(path, []byte(value), 0o400); err != nil {
			i.t.Fatal(err)
		}
		if err := os.Chown(path, 65532, 65532); err != nil {
			i.t.Fatal(err)
		}
	}
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enter, "sh",
		strings.Join(i.layers, ":"), paths["layer"], paths["work"], paths["root"], paths["secrets"]}
	args = append(args, i.env...)
	args = append(args, env...)
	args = append(args, "chroot", "--userspec="+user, paths["root"])
	return exec.Command("unshare", append(args, words...)...), paths["layer"]
}

// build carries a Dockerfile out. COPY takes files from the context.
func (i *image) build(text string, context map[string]string) {
	i.t.Helper()
	for _, in := range dockerfile(i.t, text) {
		switch in.word {
		case "USER":
			i.user = in.rest
		case "ENV":
			i.env = append(i.env, in.variables(i.t)...)
		case "ENTRYPOINT":
			i.entry = in.words(i.t)
		case "COPY":
			words := strings.Fields(in.rest)
			mode := os.FileMode(0o644)
			if words[0] == "--chmod=0755" {
				mode = 0o755
			}
			i.copy(context[words[1]], words[2], mode)
		case "RUN":
			cmd, layer := i.command("0:0", nil, []string{"DEBIAN_FRONTEND=noninteractive"}, "/bin/sh", "-c", in.rest)
			if out, err := cmd.CombinedOutput(); err != nil {
				i.t.Fatalf("RUN %s: %v\n%s", in.rest, err, out)
			}
			i.layers = slices.Insert(i.layers, 0, layer)
		default:
			i.t.Fatalf("%s %s", in.word, in.rest)
		}
	}
}

func (i *image) copy(from, to string, mode os.FileMode) {
	i.t.Helper()
	i.write(readFile(i.t, from), to, mode)
}

// write makes a layer of one file.
func (i *image) write(content, to string, mode os.FileMode) {
	i.t.Helper()
	layer := i.t.TempDir()
	err := os.MkdirAll(filepath.Join(layer, filepath.Dir(to)), 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(layer, to), []byte(content), mode)
	}
	if err == nil {
		err = os.Chmod(layer, 0o755) // it is the root's mode
	}
	if err != nil {
		i.t.Fatal(err)
	}
	i.layers = slices.Insert(i.layers, 0, layer)
}

// run starts a container with the image's entry point. What it leaves behind is
// the folder.
func (i *image) run(secrets map[string]string, env []string, words ...string) (out, errs, layer string, err error) {
	i.t.Helper()
	cmd, layer := i.command(i.user, secrets, env, append(slices.Clone(i.entry), words...)...)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), layer, err
}

// holds reports in which files below some folders one of the words stands.
func holds(t testing.TB, folders []string, words ...string) (found []string) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			for _, word := range words {
				if bytes.Contains(content, []byte(word)) {
					found = append(found, path)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}
