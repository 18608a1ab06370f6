package isolate

import (
	"errors"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// refused are calls that the command has no use for, or that would reach what
// namespaces do not part: other processes' memory, the keyrings that come along
// with a process, rings that the kernel works through past this filter, mounts
// and namespaces.
var refused = []uint32{
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_PROCESS_MADVISE, unix.SYS_PERF_EVENT_OPEN, unix.SYS_BPF, unix.SYS_USERFAULTFD,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
	unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
	unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_TREE_ATTR,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_QUOTACTL, unix.SYS_ACCT, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT,
	unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_SYSLOG,
}

// families are the kinds of sockets that a network namespace holds, or that are
// the file system's. AF_VSOCK reaches the host of a virtual machine from any
// namespace.
var families = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}

// architectures are those whose calls the numbers in this program are of.
var architectures = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64,
	"arm64": unix.AUDIT_ARCH_AARCH64,
}

// Offsets in struct seccomp_data (seccomp(2)), of little-endian machines.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16 // eight bytes each, the lower half first
)

// x32Bit marks calls of the x32 ABI, which have amd64's architecture.
const x32Bit = 0x40000000

func fail(with unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(with)}
}

var allow = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}

// filter is the program that the kernel asks about every call of the command.
// Only the lower halves of arguments are looked at, as the kernel itself does
// with those that are of 32 bits.
func filter(arch uint32) []bpf.Instruction {
	p := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: arch, SkipTrue: 1},
		fail(unix.ENOSYS), // programs of 32 bits
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: x32Bit, SkipTrue: 1},
		fail(unix.ENOSYS),
		// Its flags are in memory, which a filter cannot read. C libraries fall back to clone.
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.SYS_CLONE3, SkipTrue: 1},
		fail(unix.ENOSYS),
	}
	for _, number := range refused {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: 1}, fail(unix.EPERM))
	}
	anyOf := func(bits uint32) []bpf.Instruction {
		return []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: bits, SkipTrue: 1}, fail(unix.EPERM), allow}
	}
	const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	p = append(p, onCall(unix.SYS_CLONE, 0, anyOf(namespaces))...)
	p = append(p, onCall(unix.SYS_UNSHARE, 0, anyOf(namespaces|unix.CLONE_NEWTIME))...)
	// What a terminal would take for typed by the person, behind the command's end.
	p = append(p, onCall(unix.SYS_IOCTL, 1, without(unix.TIOCSTI, unix.TIOCLINUX))...)
	// The command is in the process group of who runs it, as the terminal has it:
	// process 0 would be that group.
	p = append(p, onCall(unix.SYS_KILL, 0, without(0))...)
	p = append(p, onCall(unix.SYS_PIDFD_SEND_SIGNAL, 3, anyOf(unix.PIDFD_SIGNAL_PROCESS_GROUP))...)
	p = append(p, onCall(unix.SYS_SOCKET, 0, among(families))...)
	p = append(p, onCall(unix.SYS_SOCKETPAIR, 0, among(families))...)
	return append(p, allow)
}

// onCall decides about one call by one of its arguments. The decision returns in
// every case, since it leaves the argument where the number was.
func onCall(number uint32, arg uint32, decide []bpf.Instruction) []bpf.Instruction {
	return append([]bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: number, SkipTrue: uint8(len(decide) + 1)},
		bpf.LoadAbsolute{Off: offArgs + 8*arg, Size: 4},
	}, decide...)
}

// without refuses these values.
func without(values ...uint32) (p []bpf.Instruction) {
	for _, v := range values {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: 1}, fail(unix.EPERM))
	}
	return append(p, allow)
}

// among refuses all others.
func among(values []uint32) (p []bpf.Instruction) {
	for _, v := range values {
		p = append(p, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: 1}, allow)
	}
	return append(p, fail(unix.EAFNOSUPPORT))
}

// installFilter puts the filter on this thread and all that comes of it.
func installFilter() error {
	arch, ok := architectures[runtime.GOARCH]
	if !ok {
		return errors.New("the calls of " + runtime.GOARCH + " are not known")
	}
	raw, err := bpf.Assemble(filter(arch))
	if err != nil {
		return err
	}
	program := make([]unix.SockFilter, len(raw))
	for n, r := range raw {
		program[n] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return errno
	}
	return nil
}
