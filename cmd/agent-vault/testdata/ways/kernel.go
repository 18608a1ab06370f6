//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func files(t *Targets, add func(string, func() error)) {
	add("the saved logins", func() error { return reads(t.Login, t.Secret) })
	add("the data folder", func() error { return reads(t.Data, t.Secret) })
	add("what --hide names", func() error { return reads(t.Hidden, t.Secret) })
	add("the saved logins under another name", func() error {
		folder := filepath.Dir(filepath.Dir(t.Login))
		moved := folder + ".moved"
		if err := os.Rename(folder, moved); err != nil {
			return err
		}
		err := reads(filepath.Join(moved, filepath.Base(filepath.Dir(t.Login)), filepath.Base(t.Login)), t.Secret)
		return errors.Join(err, os.Rename(moved, folder))
	})
	add("a hard link to the saved logins", func() error {
		other := filepath.Join(filepath.Dir(t.HomeSocket), "other-name")
		if err := os.Link(t.Login, other); err != nil {
			return err
		}
		return errors.Join(reads(other, t.Secret), os.Remove(other))
	})
	add("a file of /tmp", func() error { return reads(t.TmpFile, t.Secret) })
	add("a file of /tmp by the working folder", func() error { return reads(t.TmpRelative, t.Secret) })
	add("POSIX shared memory", func() error { return reads(t.Shared, t.Secret) })
	add("System V shared memory", func() error {
		_, err := unix.SysvShmGet(t.SysV, 0, 0)
		return err
	})
	add("another terminal", func() error {
		f, err := os.OpenFile(t.Terminal, os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		return f.Close()
	})
	add("a control group", func() error {
		f, err := os.OpenFile(t.Control, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return f.Close()
	})
	add("an inherited descriptor", func() error {
		b := make([]byte, len(t.Secret))
		_, err := unix.Pread(t.Descriptor, b, 0)
		if err == nil && string(b) != t.Secret {
			err = errors.New("it is another file")
		}
		return err
	})
}

func kernel(t *Targets, add func(string, func() error)) {
	add("setuid", func() error {
		out, err := exec.Command(t.Setuid, "user").Output()
		if err == nil && string(out) != "0" {
			err = fmt.Errorf("it runs as user %s", out)
		}
		return err
	})
	add("setns", func() error {
		f, err := os.Open("/proc/self/ns/net")
		if err != nil {
			return err
		}
		defer f.Close()
		runtime.LockOSThread() // it ends with this goroutine
		return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
	})
	add("user namespace by clone", func() error { return inNamespace("nothing") })
	add("mount in a user namespace", func() error { return inNamespace("mount") })
	add("user namespace by unshare", func() error {
		return exec.Command("unshare", "-U", "true").Run()
	})
	add("user namespace by clone3", func() error {
		args := unix.CLONE_NEWUSER
		var clone [11]uint64
		clone[0], clone[4] = uint64(args), uint64(unix.SIGCHLD)
		pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&clone)), unsafe.Sizeof(clone), 0)
		if errno != 0 {
			return errno
		}
		if pid == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
		_, err := unix.Wait4(int(pid), nil, 0, nil)
		return err
	})
	add("unmounting", func() error { return unix.Unmount(filepath.Dir(t.Login), unix.MNT_DETACH) })
	add("remounting", func() error {
		return unix.Mount("", filepath.Dir(t.Login), "", unix.MS_REMOUNT|unix.MS_BIND, "")
	})
	add("a copy of the mounts", func() error {
		fd, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	})
	add("io_uring", func() error {
		var params [120]byte
		fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
		if errno != 0 {
			return errno
		}
		return unix.Close(int(fd))
	})
	add("keyrings", func() error {
		_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
		return err
	})
	add("TIOCSTI", types)
}

// inNamespace runs this program in a user namespace, where it does something.
func inNamespace(what string) error {
	cmd := exec.Command("/proc/self/exe", "below", what)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd.Run()
}

func below(what string) int {
	var err error
	switch what {
	case "mount":
		err = unix.Mount("tmpfs", "/mnt", "tmpfs", 0, "")
	case "type":
		letter := byte('x')
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, 0, unix.TIOCSTI, uintptr(unsafe.Pointer(&letter)))
		if errno != 0 {
			err = errno
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// types puts a letter into the input of a terminal of its own.
func types() error {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer master.Close()
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer slave.Close()
	cmd := exec.Command("/proc/self/exe", "below", "type")
	cmd.Stdin = slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	return cmd.Run()
}
