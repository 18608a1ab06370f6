package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// hideMemory keeps other processes of the same user, a child first of all, from
// this one's environment and memory, and the kernel from writing it to a core
// file: passwords, logins, keys and credentials may stand there
// (PR_SET_DUMPABLE(2const), proc(5), core(5)). A child's exec undoes it for the
// child. Root and CAP_SYS_PTRACE read everything.
func hideMemory() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("closing this process to others: %w", err)
	}
	return nil
}
