package isolate

import (
	"bufio"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setupTime is how long setting up may take. It is some milliseconds; a kernel
// that hangs must not hang the caller.
const setupTime = 30 * time.Second

// maxListeners bounds what one message of the socket carries (SCM_MAX_FD is 253).
const maxListeners = 16

// A setup is what the first process of the namespaces is told.
type setup struct {
	Path      string
	Args, Env []string
	Dir       string

	Listen, Hosts, Hide, Keep []string // as in Command

	Sockets  []string // of other programs, by their paths
	UID, GID int
}

// A Process is a command that runs, under the first process of its namespaces.
// When that ends, everything in them does.
type Process struct {
	// Listeners are those of Command.Listen, in its order. The caller accepts
	// from outside what the command dials inside.
	Listeners []net.Listener

	first   *exec.Cmd
	control *net.UnixConn
}

// wanted are the namespaces. The hostname, the clock and the view of control
// groups, which are read-only, stay the machine's.
const wanted = unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC

// needed are the capabilities, inside the namespaces alone, that setting up
// takes. All are gone before the command runs.
var needed = []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_RESOURCE, unix.CAP_SETPCAP}

// Start starts a command. An *Error is why it cannot be isolated, and then
// nothing of it has run.
func Start(c Command) (*Process, error) {
	if os.Geteuid() == 0 {
		return nil, &Error{errors.New("root owns the machine's devices and settings, which no namespace takes from it"), "run it as another user"}
	}
	if len(c.Listen) > maxListeners {
		return nil, fmt.Errorf("%d listeners, and at most %d can be had", len(c.Listen), maxListeners)
	}
	sockets, err := boundSockets("/proc/net/unix")
	if err != nil {
		return nil, &Error{fmt.Errorf("sockets of other programs: %w", err), ""}
	}
	control, theirs, err := controlPair()
	if err != nil {
		return nil, err
	}
	p := &Process{control: control, first: &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{setupStage}, Env: []string{}, Dir: "/",
		Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, ExtraFiles: []*os.File{theirs},
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: wanted, AmbientCaps: needed},
	}}
	err = p.first.Start()
	_ = theirs.Close() // the child has it
	if err != nil {
		_ = control.Close() // nobody has heard of it
		return nil, forbidden(fmt.Errorf("new namespaces: %w", cause(err)))
	}
	err = p.setUp(setup{
		Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir,
		Listen: c.Listen, Hosts: c.Hosts, Hide: c.Hide, Keep: c.Keep,
		Sockets: sockets, UID: os.Geteuid(), GID: os.Getegid(),
	})
	if err != nil {
		_ = p.first.Process.Kill() // it may have ended by itself
		_ = p.first.Wait()         // killed, or it has said why
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func controlPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fds[0]), "control")
	theirs = os.NewFile(uintptr(fds[1]), "control")
	c, err := net.FileConn(f)
	_ = f.Close() // FileConn has its own
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return c.(*net.UnixConn), theirs, nil
}

// setUp tells the first process what to do, and waits for its answer: an error,
// or "" and the listeners.
func (p *Process) setUp(s setup) error {
	if err := p.control.SetDeadline(time.Now().Add(setupTime)); err != nil {
		return err
	}
	if err := gob.NewEncoder(p.control).Encode(s); err != nil {
		return &Error{fmt.Errorf("its first process ended at once: %w", err), ""}
	}
	message, rights := make([]byte, maxReport), make([]byte, unix.CmsgSpace(4*maxListeners))
	n, rn, _, _, err := p.control.ReadMsgUnix(message, rights)
	if n == 0 && (err == nil || errors.Is(err, io.EOF)) {
		return &Error{errors.New("its first process ended before it was ready"), ""}
	}
	if err != nil {
		return &Error{err, ""}
	}
	if text := string(message[:n]); text != ready {
		return forbidden(errors.New(text))
	}
	if p.Listeners, err = listenersOf(rights[:rn]); err != nil {
		return err
	}
	if len(p.Listeners) != len(s.Listen) {
		return fmt.Errorf("%d listeners of %d", len(p.Listeners), len(s.Listen))
	}
	return p.control.SetDeadline(time.Time{})
}

// ready is the answer when all is set up; any other is what went wrong.
const (
	ready     = "ready"
	maxReport = 4096 // bytes
)

func listenersOf(rights []byte) (all []net.Listener, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return all, err
		}
		for _, fd := range fds {
			f := os.NewFile(uintptr(fd), "listener")
			ln, err := net.FileListener(f)
			_ = f.Close() // FileListener has its own
			if err != nil {
				return all, err
			}
			all = append(all, ln)
		}
	}
	return all, nil
}

// Signal sends a signal to the command.
func (p *Process) Signal(s os.Signal) error {
	number, ok := s.(syscall.Signal)
	if !ok {
		return fmt.Errorf("%v is no signal of this system", s)
	}
	_, err := p.control.Write([]byte{byte(number)})
	return err
}

// Wait waits for the command, and returns its exit status: 128 and the signal's
// number when a signal ended it, as a shell says it. The listeners are closed.
func (p *Process) Wait() (status int, err error) {
	err = p.first.Wait()
	_ = p.close() // nobody is there any more
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return 0, err
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() { // somebody killed the first process
		return 128 + int(ws.Signal()), nil
	}
	return exit.ExitCode(), nil
}

func (p *Process) close() error {
	for _, ln := range p.Listeners {
		_ = ln.Close() // it may be closed already
	}
	return p.control.Close()
}

// boundSockets returns the paths of the unix sockets that programs of this
// network namespace have bound (proc_net(5)). Names that begin with @ are not of
// the file system, and those that are not absolute cannot be found.
func boundSockets(table string) (paths []string, err error) {
	f, err := os.Open(table)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		rest := lines.Text()
		for range 7 { // Num RefCount Protocol Flags Type St Inode
			_, rest, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
		}
		if filepath.IsAbs(rest) {
			paths = append(paths, rest)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), lines.Err()
}

// cause leaves out what os/exec says of the program, which is this one.
func cause(err error) error {
	var e *os.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
