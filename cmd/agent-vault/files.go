package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkFolder makes sure that nobody but this user and root reads what is kept
// in the data folder, changes it, or puts another in its place.
func checkFolder(dir string) error {
	if err := checkWay(filepath.Dir(dir)); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		info, lerr := os.Lstat(path)
		switch {
		case errors.Is(lerr, fs.ErrNotExist):
			return nil // gone meanwhile
		case lerr != nil:
			return lerr
		}
		if err := checkOwn(path, info); err != nil {
			return err
		}
		if errors.Is(err, fs.ErrPermission) && ownerOf(info) == 0 {
			return nil // root's lost+found, of a file system of our own
		}
		return err
	})
}

// checkOwn holds one file or folder of ours: nobody else can read or change it,
// and it is where it says.
func checkOwn(path string, info fs.FileInfo) error {
	switch t := info.Mode().Type(); {
	case t == fs.ModeSymlink:
		return fmt.Errorf("%s is a symbolic link; name the real place", path)
	case t != 0 && t != fs.ModeDir && t != fs.ModeSocket:
		return fmt.Errorf("%s is neither a file nor a folder (%s)", path, info.Mode())
	case t != fs.ModeSocket && info.Mode().Perm()&0o077 != 0: // nobody gets to a socket but by its folder
		return hint(fmt.Errorf("%s is open to others (mode %04o)", path, info.Mode().Perm()), "run: chmod go= %s", path)
	}
	return checkOwner(path, info)
}

func ownerOf(info fs.FileInfo) int {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid)
	}
	return -1
}

func checkOwner(path string, info fs.FileInfo) error {
	owner, self := ownerOf(info), os.Geteuid()
	if owner == self || owner == 0 {
		return nil
	}
	return hint(fmt.Errorf("%s belongs to user %d, neither to this one (%d) nor to root", path, owner, self),
		"start the server as that user, or run: chown %d %s", self, path)
}

// maxLinks bounds the symbolic links on a way, as the kernel does
// (path_resolution(7)).
const maxLinks = 40

// checkWay walks to a file or folder as the kernel would, over symbolic links
// too, and refuses whatever another user than root could change on the way: who
// can rename a folder puts another in its place.
func checkWay(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	at, rest, links := "/", elements(path), 0
	for {
		info, err := os.Lstat(at)
		if err != nil {
			return err
		}
		if err := checkStep(at, info); err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			if links++; links > maxLinks {
				return &fs.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
			}
			to, err := os.Readlink(at)
			if err != nil {
				return err
			}
			if at = filepath.Dir(at); filepath.IsAbs(to) {
				at = "/"
			}
			rest = append(elements(to), rest...)
		}
		if len(rest) == 0 {
			return nil
		}
		at, rest = filepath.Join(at, rest[0]), rest[1:] // at holds no link: ".." means what it says
	}
}

func elements(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// checkStep holds one step of a way. The sticky bit keeps what is in a folder
// to its owners. A group of the same number as the owner is the owner's own, by
// the custom of useradd and pam_umask, and one of our number is ours: Kubernetes
// makes volumes so (fsGroup).
func checkStep(path string, info fs.FileInfo) error {
	if err := checkOwner(path, info); err != nil && ownerOf(info) != unmappedOwner() {
		return err
	}
	mode := info.Mode()
	if mode&fs.ModeSymlink != 0 || mode.IsDir() && mode&fs.ModeSticky != 0 {
		return nil
	}
	open := mode.Perm() & 0o022
	if s, ok := info.Sys().(*syscall.Stat_t); ok && (s.Gid == s.Uid || int(s.Gid) == os.Geteuid()) {
		open &^= 0o020
	}
	if open == 0 || errors.Is(unix.Access(path, unix.W_OK), unix.EROFS) { // as Kubernetes mounts a ConfigMap
		return nil
	}
	return hint(fmt.Errorf("%s can be changed by others (mode %04o)", path, mode.Perm()), "run: chmod go-w %s", path)
}

// unmappedOwner is whose the files of users look that this user namespace does
// not know, root's outside among them, or -1 outside of such a namespace
// (user_namespaces(7)).
func unmappedOwner() int {
	known, err := os.ReadFile("/proc/self/uid_map")
	if err != nil || strings.Join(strings.Fields(string(known)), " ") == "0 0 4294967295" {
		return -1
	}
	owner := 65534
	if text, err := os.ReadFile("/proc/sys/kernel/overflowuid"); err == nil {
		_, _ = fmt.Sscan(string(text), &owner) // the kernel's default stands
	}
	return owner
}
