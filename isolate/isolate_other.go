//go:build !linux

package isolate

import (
	"errors"
	"net"
	"os"
)

// A Process is a command that runs; there is none on this system.
type Process struct{ Listeners []net.Listener }

// Stage does nothing where Start cannot start anything.
func Stage() {}

// Start returns an Error: the namespaces are Linux's.
func Start(Command) (*Process, error) {
	return nil, &Error{errors.New("that needs the namespaces of Linux"), "run it in a virtual machine or a container that has no other network"}
}

// Signal does nothing.
func (*Process) Signal(os.Signal) error { return os.ErrProcessDone }

// Wait does nothing.
func (*Process) Wait() (status int, err error) { return 0, os.ErrProcessDone }
