package main

import "golang.org/x/sys/unix"

// hideMemory keeps other processes of the same user, the child first of all,
// from this one's environment and memory: the person's login and the master
// password may stand there (PR_SET_DUMPABLE(2const), proc(5)). The child's own
// exec undoes it for the child. Root and CAP_SYS_PTRACE read everything.
func hideMemory() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
