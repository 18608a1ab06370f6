package isolate

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// TestFilter asks the filter's program about calls. The machine that runs it
// here reads big-endian words, so the lower half of an argument is put where the
// program looks for it.
func TestFilter(t *testing.T) {
	const native = unix.AUDIT_ARCH_X86_64
	vm, err := bpf.NewVM(filter(native))
	if err != nil {
		t.Fatal(err)
	}
	const eperm, enosys, eafnosupport = int(unix.EPERM), int(unix.ENOSYS), int(unix.EAFNOSUPPORT)
	for _, tt := range []struct {
		name   string
		arch   uint32
		number uint32
		args   []uint32
		want   int // errno; 0: it is allowed
	}{
		{"read", native, unix.SYS_READ, nil, 0},
		{"another architecture", unix.AUDIT_ARCH_I386, unix.SYS_READ, nil, enosys},
		{"x32", native, unix.SYS_READ | x32Bit, nil, enosys},
		{"a number of nobody", native, ^uint32(0), nil, enosys},
		{"clone3", native, unix.SYS_CLONE3, nil, enosys},
		{"ptrace", native, unix.SYS_PTRACE, nil, eperm},
		{"io_uring", native, unix.SYS_IO_URING_SETUP, nil, eperm},
		{"the last that is refused", native, unix.SYS_SYSLOG, nil, eperm},
		{"a process", native, unix.SYS_CLONE, []uint32{uint32(unix.SIGCHLD)}, 0},
		{"a thread", native, unix.SYS_CLONE, []uint32{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND | unix.CLONE_FILES | unix.CLONE_SETTLS}, 0},
		{"a user namespace", native, unix.SYS_CLONE, []uint32{unix.CLONE_NEWUSER | uint32(unix.SIGCHLD)}, eperm},
		{"a network namespace by unshare", native, unix.SYS_UNSHARE, []uint32{unix.CLONE_NEWNET}, eperm},
		{"a folder of its own by unshare", native, unix.SYS_UNSHARE, []uint32{unix.CLONE_FS}, 0},
		{"TIOCSTI", native, unix.SYS_IOCTL, []uint32{0, unix.TIOCSTI}, eperm},
		{"TIOCLINUX", native, unix.SYS_IOCTL, []uint32{0, unix.TIOCLINUX}, eperm},
		{"the size of a terminal", native, unix.SYS_IOCTL, []uint32{0, unix.TIOCGWINSZ}, 0},
		{"TIOCSTI as a descriptor", native, unix.SYS_IOCTL, []uint32{unix.TIOCSTI, unix.TIOCGWINSZ}, 0},
		{"kill of a process", native, unix.SYS_KILL, []uint32{7}, 0},
		{"kill of a group", native, unix.SYS_KILL, []uint32{^uint32(6)}, 0},
		{"kill of the group of who started it", native, unix.SYS_KILL, []uint32{0}, eperm},
		{"a process by descriptor", native, unix.SYS_PIDFD_SEND_SIGNAL, []uint32{3, 9, 0, 0}, 0},
		{"a group by descriptor", native, unix.SYS_PIDFD_SEND_SIGNAL, []uint32{3, 9, 0, unix.PIDFD_SIGNAL_PROCESS_GROUP}, eperm},
		{"TCP", native, unix.SYS_SOCKET, []uint32{unix.AF_INET, unix.SOCK_STREAM}, 0},
		{"netlink", native, unix.SYS_SOCKET, []uint32{unix.AF_NETLINK}, 0},
		{"vsock", native, unix.SYS_SOCKET, []uint32{unix.AF_VSOCK}, eafnosupport},
		{"packets", native, unix.SYS_SOCKET, []uint32{unix.AF_PACKET}, eafnosupport},
		{"a pair", native, unix.SYS_SOCKETPAIR, []uint32{unix.AF_UNIX}, 0},
	} {
		data := make([]byte, 64)
		binary.BigEndian.PutUint32(data[offNumber:], tt.number)
		binary.BigEndian.PutUint32(data[offArch:], tt.arch)
		for n, arg := range tt.args {
			binary.BigEndian.PutUint32(data[offArgs+8*n:], arg)
		}
		got, err := vm.Run(data)
		want := int(unix.SECCOMP_RET_ALLOW)
		if tt.want != 0 {
			want = unix.SECCOMP_RET_ERRNO | tt.want
		}
		if err != nil || got != want {
			t.Errorf("%s: %#x, %v; want %#x", tt.name, got, err, want)
		}
	}
}

// TestBoundSockets: rows of the kernel's table, as proc_net(5) has them.
func TestBoundSockets(t *testing.T) {
	table := filepath.Join(t.TempDir(), "unix")
	const rows = `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 20651 /run/b.sock
0000000000000000: 00000002 00000000 00010000 0001 01 20651 /home/a b/with blanks
0000000000000000: 00000003 00000000 00000000 0001 03 20658 /run/b.sock
0000000000000000: 00000003 00000000 00000000 0001 03 20658
0000000000000000: 00000002 00000000 00010000 0001 01 20651 @abstract /not this
0000000000000000: 00000002 00000000 00010000 0001 01 20651 relative.sock
0000000000000000: 00000002 00000000 00010000 0001 01 20651 relative/not absolute
`
	if err := os.WriteFile(table, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := boundSockets(table)
	if want := []string{"/home/a b/with blanks", "/run/b.sock"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if _, err := boundSockets(table + ".none"); err == nil {
		t.Error("a table that is not there")
	}
}

// TestReasons: settings by which kernels forbid namespaces, and what to do.
func TestReasons(t *testing.T) {
	for _, tt := range []struct{ file, content, why, todo string }{
		{"sys/user/max_user_namespaces", "0\n", "user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces="},
		{"sys/kernel/unprivileged_userns_clone", "0\n", "kernel.unprivileged_userns_clone is 0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		{"sys/kernel/apparmor_restrict_unprivileged_userns", "1\n", "AppArmor", "docs/isolation.md"},
		{"self/status", "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n", "seccomp", "seccomp profile"},
		{"sys/user/max_user_namespaces", "1000\n", "", "docs/isolation.md"},
	} {
		proc := t.TempDir()
		path := filepath.Join(proc, tt.file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		why, todo := reasonUnder(proc)
		if !strings.Contains(why, tt.why) || (why == "") != (tt.why == "") || !strings.Contains(todo, tt.todo) {
			t.Errorf("%s %q: %q, %q", tt.file, tt.content, why, todo)
		}
	}
}

func TestBelowEmptied(t *testing.T) {
	const tmp = "/tmp"
	for path, want := range map[string]bool{
		tmp + "/a": true, tmp + "/": false, tmp: false, tmp + "/../home": false, "/run/user/1000": true, tmp + "fs/a": false, "/": false,
	} {
		if got := belowEmptied(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
