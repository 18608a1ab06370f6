package isolate

import (
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Names by which a process knows what it was started for. The first sets up; it
// becomes the second, which holds no capability and starts the command.
const (
	setupStage = "agent-vault-isolation-setup"
	firstStage = "agent-vault-isolation"
)

// controlFd is the descriptor of the socket to who called Start.
const controlFd = 3

// Stage is for main to call before anything else. In a process that Start has
// started it does that process's work and does not return; in any other it does
// nothing.
func Stage() {
	switch os.Args[0] {
	case setupStage:
		runtime.LockOSThread() // capabilities and filters are a thread's
		report(setUp())
		os.Exit(1)
	case firstStage:
		os.Exit(first())
	}
}

// report tells who called Start what went wrong.
func report(err error) {
	text := err.Error()
	_, _ = unix.Write(controlFd, []byte(text[:min(len(text), maxReport)])) // nobody else could be told
}

// setUp makes the namespaces what they are to be, gives up every capability and
// becomes the first stage. It returns only what went wrong.
func setUp() error {
	f := os.NewFile(controlFd, "control")
	defer runtime.KeepAlive(f) // it would be closed
	var s setup
	if err := gob.NewDecoder(f).Decode(&s); err != nil {
		return fmt.Errorf("what to do: %w", err)
	}
	if err := mapUser(s.UID, s.GID); err != nil {
		return err
	}
	listeners, err := listen(s.Listen)
	if err != nil {
		return err
	}
	// Namespaces below this one are refused by the filter too; a /proc/sys that
	// cannot be written, as in containers, takes nothing away.
	_ = os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0)
	if err := s.mounts(); err != nil {
		return err
	}
	if err := os.Chdir(s.Dir); err != nil { // anew, by the way that leads there now
		return fmt.Errorf("the working folder: %w", cause(err))
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := unix.CloseRange(controlFd+1, ^uint(0)>>32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("inherited descriptors: %w", err)
	}
	if err := installFilter(); err != nil {
		return fmt.Errorf("seccomp: %w", err)
	}
	if err := unix.Sendmsg(controlFd, []byte(ready), unix.UnixRights(listeners...), nil, 0); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(controlFd, unix.F_SETFD, 0); err != nil {
		return err
	}
	err = syscall.Exec("/proc/self/exe", append([]string{firstStage, s.Path}, s.Args...), s.Env)
	fmt.Fprintf(os.Stderr, "agent-vault: the isolated command could not be started: %v\n", err)
	os.Exit(126)
	return nil
}

// mapUser makes the user who they were outside. Groups cannot be changed any
// more, as the kernel demands (user_namespaces(7)).
func mapUser(uid, gid int) error {
	for _, file := range []struct{ name, text string }{
		{"setgroups", "deny"},
		{"uid_map", fmt.Sprintf("%d %d 1", uid, uid)},
		{"gid_map", fmt.Sprintf("%d %d 1", gid, gid)},
	} {
		if err := os.WriteFile("/proc/self/"+file.name, []byte(file.text), 0); err != nil {
			return fmt.Errorf("%s: %w", file.name, cause(err))
		}
	}
	return nil
}

// dropCapabilities takes all of them for good: what is executed from here on
// gets none, whatever its file says.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	for c := uintptr(0); ; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) && c > unix.CAP_SETPCAP { // the kernel knows no more
			break
		}
		if err != nil {
			return fmt.Errorf("capability %d: %w", c, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("capabilities: %w", err)
	}
	return nil
}

// first starts the command, passes on the signals that are asked for, and
// returns the command's status. As the first process of its PID namespace it
// also collects what the command leaves behind; when it ends, all of that does.
func first() int {
	// What is outside stands in this process's memory too: the socket to it.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return failed(err)
	}
	unix.CloseOnExec(controlFd)
	// A terminal's signals reach the command by themselves, and end it, not this.
	ours := make(chan os.Signal, 1)
	signal.Notify(ours)
	if len(os.Args) < 3 {
		return failed(errors.New("this is for vault run --isolate to start"))
	}
	path, args := os.Args[1], os.Args[2:]
	pid, err := syscall.ForkExec(path, args, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return failed(fmt.Errorf("%s: %w", args[0], err))
	}
	control, err := controlConn()
	if err != nil {
		return failed(err)
	}
	go passOn(control, pid) // until this process ends
	for {
		var ws syscall.WaitStatus
		switch ended, err := syscall.Wait4(-1, &ws, 0, nil); {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return failed(err)
		case ended != pid:
		case ws.Signaled():
			return 128 + int(ws.Signal())
		default:
			return ws.ExitStatus()
		}
	}
}

func controlConn() (net.Conn, error) {
	f := os.NewFile(controlFd, "control")
	defer f.Close()
	return net.FileConn(f)
}

// passOn sends the command the signals that who called Start asks for, one byte
// each.
func passOn(control net.Conn, pid int) {
	var number [1]byte
	for {
		if _, err := control.Read(number[:]); err != nil {
			return // nobody is there who could ask
		}
		_ = syscall.Kill(pid, syscall.Signal(number[0])) // it may have ended just now
	}
}

func failed(err error) int {
	fmt.Fprintf(os.Stderr, "agent-vault: %v\n", err)
	return 126
}
