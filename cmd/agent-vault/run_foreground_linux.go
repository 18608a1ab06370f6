package main

import (
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// foregroundOf returns what puts this process's group back into the terminal's
// foreground, when it is there now. A shell with jobs does so itself at its end,
// but cannot name a group that is outside of its PID namespace.
func foregroundOf(std stdio) (back func()) {
	fd := int(std.in.Fd())
	group, err := unix.IoctlGetInt(fd, unix.TIOCGPGRP)
	if err != nil || group != unix.Getpgrp() {
		return func() {}
	}
	return func() {
		signal.Ignore(syscall.SIGTTOU)                         // which a process of the background gets for it
		_ = unix.IoctlSetPointerInt(fd, unix.TIOCSPGRP, group) // the terminal may be gone
	}
}
