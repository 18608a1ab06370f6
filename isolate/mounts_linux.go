package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// emptied are folders in which programs of a machine find each other: their
// sockets, locks and shared memory are there. The command gets new ones.
var emptied = []struct {
	path string
	mode string
}{
	{"/run", "0755"}, {"/var/run", "0755"}, {"/tmp", "1777"}, {"/var/tmp", "1777"},
}

// alwaysKept are folders of distributions that hold programs, not sockets.
var alwaysKept = []string{"/run/current-system", "/run/booted-system", "/run/opengl-driver"}

// devices are what stays of /dev.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// mounts makes the file system what the command is to find. No later step can
// be undone by the command, which cannot unmount.
func (s *setup) mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("a private mount namespace: %w", err)
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"/proc", mountProc},
		{"/sys", readOnlySys},
		{"/tmp and /run", s.empty},
		{"/dev", newDev},
		{"/etc/hosts", s.hosts},
		{"what is to be hidden", s.hide},
		{"sockets of other programs", s.coverSockets},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// mountProc shows the processes of the new PID namespace alone.
func mountProc() error {
	err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if errors.Is(err, unix.EPERM) { // mount_too_revealing, in the kernel's words
		return fmt.Errorf("%w, as where parts of it are covered or read-only, in containers and units of systemd", err)
	}
	return err
}

// readOnlySys keeps control groups from the command, which a user may be the
// owner of: they can freeze and kill.
func readOnlySys() error {
	if err := unix.Mount("/sys", "/sys", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.MountSetattr(unix.AT_FDCWD, "/sys", unix.AT_RECURSIVE, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}

// A tree is a part of the file system that is held to be put back.
type tree struct {
	path string
	fd   int
	dir  bool
}

// hold takes a copy of what is mounted at and below a path. What is not there is
// nil.
func hold(path string) (*tree, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil // the command could not have reached it
	}
	if err != nil {
		return nil, err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &tree{path, fd, info.IsDir()}, nil
}

// put puts it to a path, for which a place is made.
func (t *tree) put(path string) error {
	defer unix.Close(t.fd)
	dir := path
	if !t.dir {
		dir = filepath.Dir(path)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if !t.dir {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return move(t.fd, path)
}

func move(fd int, path string) error {
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// empty puts new folders over those that are emptied, and back into them what
// is to be kept.
func (s *setup) empty() error {
	var kept []*tree
	for _, path := range append(slices.Clone(alwaysKept), s.Keep...) {
		if !belowEmptied(path) {
			continue
		}
		t, err := hold(path)
		if err != nil {
			return err
		}
		if t != nil {
			kept = append(kept, t)
		}
	}
	for _, e := range emptied {
		info, err := os.Lstat(e.path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode()&fs.ModeSymlink != 0 { // as /var/run is
			continue
		}
		if err := unix.Mount("tmpfs", e.path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode="+e.mode); err != nil {
			return fmt.Errorf("%s: %w", e.path, err)
		}
	}
	for _, t := range kept {
		if err := t.put(t.path); err != nil {
			return err
		}
	}
	return nil
}

// belowEmptied reports whether a path is in a folder that is emptied. Such a
// folder as a whole is never kept.
func belowEmptied(path string) bool {
	return slices.ContainsFunc(emptied, func(e struct{ path, mode string }) bool {
		return strings.HasPrefix(filepath.Clean(path), e.path+"/")
	})
}

// newDev makes a /dev of what every program may need: no disks, no other
// terminals, no memory that is shared.
func newDev() error {
	var held []*tree
	for _, name := range devices {
		t, err := hold("/dev/" + name)
		if err != nil {
			return err
		}
		if t != nil {
			held = append(held, t)
		}
	}
	if err := unix.Mount("tmpfs", "/dev", "tmpfs", unix.MS_NOSUID, "mode=0755"); err != nil {
		return err
	}
	for _, t := range held {
		if err := t.put(t.path); err != nil {
			return err
		}
	}
	for _, m := range []struct{ name, kind, options string }{
		{"/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620"},
		{"/dev/shm", "tmpfs", "mode=1777"},
		{"/dev/mqueue", "mqueue", ""},
	} {
		if err := os.Mkdir(m.name, 0o755); err != nil {
			return err
		}
		err := unix.Mount(m.kind, m.name, m.kind, unix.MS_NOSUID|unix.MS_NOEXEC, m.options)
		if err != nil && m.kind != "mqueue" { // kernels may lack message queues
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	var all error
	for name, to := range map[string]string{
		"ptmx": "pts/ptmx", "fd": "/proc/self/fd",
		"stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		all = errors.Join(all, os.Symlink(to, "/dev/"+name))
	}
	return all
}

// hosts gives names of the vault the address at which they are found. There is
// no DNS that could say it.
func (s *setup) hosts() error {
	if len(s.Hosts) == 0 {
		return nil
	}
	old, err := os.ReadFile("/etc/hosts")
	if err != nil {
		return err
	}
	const path = "/dev/shm/hosts"
	text := "127.0.0.1\t" + strings.Join(s.Hosts, " ") + "\n" + string(old) // the first one counts
	if err := os.WriteFile(path, []byte(text), 0o444); err != nil {
		return err
	}
	t, err := hold(path)
	if err != nil {
		return err
	}
	defer unix.Close(t.fd)
	return errors.Join(move(t.fd, "/etc/hosts"), os.Remove(path))
}

// hide puts something unreadable over each folder, and nothing over each file.
// Both are of the mounts, so that no other name of theirs is made by renaming
// what is above them; and that cannot be renamed, or a later command, whose
// folders are looked for by their names, would find them under another one.
func (s *setup) hide() error {
	pinned := make(map[string]bool)
	for _, path := range s.Hide {
		path, err := filepath.EvalSymlinks(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // the command does not reach it either
		}
		if err != nil {
			return err
		}
		if path == "/" {
			return errors.New("/: nothing would be left to run")
		}
		if err := pin(filepath.Dir(path), pinned); err != nil {
			return err
		}
		if err := cover(path); err != nil {
			return err
		}
	}
	return nil
}

// pin makes mounts of a folder and of those above it that the user could rename:
// the kernel renames none.
func pin(path string, pinned map[string]bool) error {
	above := filepath.Dir(path)
	if path == above || pinned[path] {
		return nil
	}
	pinned[path] = true
	if err := pin(above, pinned); err != nil {
		return err
	}
	if unix.Access(above, unix.W_OK) != nil {
		return nil
	}
	if err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func cover(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return coverFile(path)
	}
	if err := unix.Mount("tmpfs", path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC|unix.MS_RDONLY, "mode=0000"); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// coverSockets makes the sockets that can still be found be none.
func (s *setup) coverSockets() error {
	for _, path := range s.Sockets {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Type() != fs.ModeSocket {
			continue // gone, or out of the command's reach already
		}
		if err := coverFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func coverFile(path string) error {
	t, err := hold("/dev/null")
	if err != nil {
		return err
	}
	defer unix.Close(t.fd)
	return move(t.fd, path)
}
