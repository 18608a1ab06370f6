// Package isolate runs a command that has no way to a network but connections
// that its caller accepts for it: in user, network, mount, PID and IPC
// namespaces of its own, without root (namespaces(7)).
//
// What it never does is run the command with less than all of it: where the
// kernel forbids a part, [Start] returns an [Error] that says which and why.
// docs/isolation.md says what is kept from the command, and what is not.
//
// A program that calls Start must call [Stage] first of all in main: it is
// started again as the first process of the new namespaces.
package isolate

import (
	"io"
	"os"
)

// A Command is what runs, and what it finds.
type Command struct {
	Path string   // of the program; required
	Args []string // with the program's name as the first; required
	Env  []string
	Dir  string // working folder, absolute; required

	Stdin          *os.File // required
	Stdout, Stderr io.Writer

	// Listen are addresses "IP:port" at which the command finds a listener,
	// which the caller gets. Those that are not of loopback are the command's own
	// from then on. IPv6 addresses other than ::1 cannot be had.
	Listen []string

	// Hosts are names that mean 127.0.0.1 in the command's /etc/hosts.
	Hosts []string

	// Hide are folders and files of which the command can read nothing, and which
	// it cannot replace. What is not there stays so.
	Hide []string

	// Keep are folders and files that the command needs though they are below a
	// folder that is emptied for it, such as /tmp. Others are as they were.
	Keep []string
}

// An Error is why a command was not run. Hint is what to do about it; it may be
// "".
type Error struct {
	Err  error
	hint string
}

func (e *Error) Error() string { return "the command cannot be isolated: " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }
func (e *Error) Hint() string  { return e.hint }
