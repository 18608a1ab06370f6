package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"agentvault/api"
)

func vaultRunCommand(std stdio) *cobra.Command {
	var f sessionFlags
	c := &cobra.Command{
		Use:   "run [--vault V] [--ttl D] -- CMD [ARG...]",
		Short: "Run a command behind a vault",
		Long: `Run a command whose requests go through a vault.

The command gets a session of its own, the proxy settings and a bundle of root
certificates that holds the system's and the vault's. The session ends with the
command; its exit status and signals pass through.`,
		Example: `  agent-vault vault run -- curl https://api.github.com/user
  agent-vault vault run --vault team-a --ttl 1h -- claude`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("no command given; write it behind --, as in: agent-vault vault run -- my-agent")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			path, err := exec.LookPath(args[0])
			switch {
			case errors.Is(err, fs.ErrPermission):
				return &statusError{fmt.Errorf("%s: it is not a program that can be run", args[0]), 126}
			case err != nil:
				return &statusError{fmt.Errorf("%s: command not found", args[0]), 127}
			}
			return f.run(c, path, args, std)
		},
	}
	c.Flags().SetInterspersed(false) // the command's flags are its own
	f.add(c)
	return c
}

// run mints a session, runs the command with it and ends it.
func (f *sessionFlags) run(c *cobra.Command, path string, args []string, std stdio) error {
	// From here on no signal ends this process by itself, so that no session is
	// left behind.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, passedOn...)
	defer signal.Stop(signals)

	ctx, cancel := context.WithTimeout(c.Context(), 15*time.Second)
	defer cancel()
	early := &earlySignal{}
	defer early.watch(signals, cancel)()
	c.SetContext(ctx)
	s, err := f.mint(c, "vault run "+shortLabel(args[0]))
	if err != nil {
		return early.or(err)
	}
	client, err := anonymous(c)
	if err != nil {
		return err
	}
	defer revoke(client.Address, s, std)
	pem, err := client.CAPEM(ctx)
	if err := early.or(err); err != nil {
		return err
	}
	return runChild(path, args, childOf{session: s, vault: f.vault, caPEM: pem, environ: os.Environ()}, signals, std)
}

func shortLabel(command string) string {
	name := filepath.Base(command)
	if len(name) > 40 {
		name = name[:40]
	}
	return strings.ToValidUTF8(name, "?")
}

// revoke ends the session with its own token: the person's login may have
// ended meanwhile.
func revoke(address string, s api.SessionResponse, std stdio) {
	own := &api.Client{Address: address, Token: s.Token}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := own.RevokeSelf(ctx); err != nil {
		fmt.Fprintf(std.err, "agent-vault: the session could not be ended, and lasts until %s: %v\n", s.ExpiresAt.Local().Format(time.RFC3339), err)
	}
}

// An earlySignal is one that came before there was a child to pass it on to.
type earlySignal struct {
	done chan struct{}
	over chan struct{}
	got  os.Signal // once over is closed
}

// watch cancels what is under way when a signal comes, until or is called.
func (e *earlySignal) watch(signals <-chan os.Signal, cancel func()) (stop func()) {
	e.done, e.over = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(e.over)
		select {
		case e.got = <-signals:
			cancel()
		case <-e.done:
		}
	}()
	return sync.OnceFunc(func() { e.finish() })
}

func (e *earlySignal) finish() {
	select {
	case <-e.over:
	case e.done <- struct{}{}:
		<-e.over
	}
}

// or ends the watch. It returns the status of the signal that came, else err.
func (e *earlySignal) or(err error) error {
	e.finish()
	if e.got != nil {
		return statusOf(e.got)
	}
	return err
}

// passedOn are the signals that a child gets from us.
var passedOn = []os.Signal{
	syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH,
	syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2,
}

// fromKeyboard reports whether a terminal sends this signal, which it does to
// the child as well: passed on, one Ctrl-C would be two.
func fromKeyboard(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGWINCH
}

// runChild runs the command and passes status and terminal through, and what
// comes in by signals, which the caller has asked for.
func runChild(path string, args []string, of childOf, signals <-chan os.Signal, std stdio) error {
	dir, err := os.MkdirTemp("", "agent-vault-run-") // mode 0700
	if err != nil {
		return fmt.Errorf("temporary folder: %w", err)
	}
	defer os.RemoveAll(dir)
	env, err := of.environment(dir)
	if err != nil {
		return err
	}
	select {
	case s := <-signals: // before there is a child to pass it on to
		return statusOf(s)
	default:
	}
	cmd := &exec.Cmd{Path: path, Args: args, Env: env, Stdin: std.in, Stdout: std.out, Stderr: std.err}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	ended, forwarded := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(forwarded)
		forward(signals, cmd.Process, term.IsTerminal(int(std.in.Fd())), ended)
	}()
	err = cmd.Wait()
	close(ended)
	<-forwarded
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return statusOf(ws.Signal())
	}
	return &exitStatus{exit.ExitCode()}
}

// statusOf is what a shell says of a process that a signal ended.
func statusOf(s os.Signal) error {
	number, _ := s.(syscall.Signal)
	return &exitStatus{128 + int(number)}
}

func forward(signals <-chan os.Signal, p *os.Process, terminal bool, ended <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			if !terminal || !fromKeyboard(s) {
				_ = p.Signal(s) // it may have ended just now
			}
		case <-ended:
			return
		}
	}
}
