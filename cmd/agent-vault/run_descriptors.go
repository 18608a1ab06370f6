package main

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxDescriptor bounds the search where the system does not list them.
const maxDescriptor = 1 << 16

// closeInherited keeps from a child what this process was started with beside
// standard input, output and error: a shell, a CI runner or an IDE may leave
// open what no agent is to write or read. What we open ourselves, Go keeps from
// it already.
func closeInherited(keep []int) {
	for _, fd := range descriptors() {
		if fd <= 2 || slices.Contains(keep, fd) {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.CloseOnExec(fd)
		}
	}
}

// descriptors returns those that may be open.
func descriptors() (fds []int) {
	names, err := os.ReadDir("/dev/fd")
	if err != nil {
		for fd := range maxDescriptor {
			fds = append(fds, fd)
		}
		return fds
	}
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

// namedDescriptors are those that a command's arguments speak of, as a shell's
// <(…) writes them.
func namedDescriptors(args []string) (fds []int) {
	for _, arg := range args {
		for _, dir := range []string{"/dev/fd/", "/proc/self/fd/"} {
			_, after, found := strings.Cut(arg, dir)
			if fd, err := strconv.Atoi(after); found && err == nil {
				fds = append(fds, fd)
			}
		}
	}
	return fds
}
