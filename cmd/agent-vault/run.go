package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
)

const runLong = `Run a command whose requests go through a vault.

The command gets a session of its own, the proxy settings and a bundle of root
certificates that holds the system's and the vault's. The session ends with the
command, and within a minute when vault run itself was killed; the command's exit
status, signals and terminal pass through. A command that cannot be run is status
126, and one that is not found 127. Besides standard input, output and error it gets
only the descriptors that its arguments (/dev/fd/63) or --keep-fd name.

With an agent's token in AGENT_VAULT_SESSION_TOKEN and no login, the command gets
that token: nothing is minted, renewed or ended. --ttl and --label do not go
together with it. The vault is the one of --vault or AGENT_VAULT_VAULT, and the
proxy entrance that of AGENT_VAULT_PROXY, or port 14322 beside the API.

With --invite, which is how images start (agent-vault image dockerfile), an invite
is redeemed and the command gets the agent's token, which is written nowhere. The
invite, a link or the token at its end, is in AGENT_VAULT_INVITE or in the file that
AGENT_VAULT_INVITE_FILE names, and works once.

Programs that cannot send proxy credentials, such as Chromium, get a port of
127.0.0.1 with --proxy-port, or one that you name with --proxy-port=14322:
HTTPS_PROXY and HTTP_PROXY then name it. JVMs have one on Linux without asking,
unless it is --proxy-port=false. Sandboxes without a network get a unix socket with
--proxy-socket, whose path is in AGENT_VAULT_PROXY_SOCKET. Whatever connects there
is taken for the command: on Linux whatever this user runs, elsewhere the port is
open to every user of the machine. Both speak HTTP and SOCKS5, and end with the
command.

With --dummies the command finds, under the name of each credential of the vault, a
dummy in its environment that has the shape of a value and is worth nothing: for
programs that do not start without a key. It takes the place of what stood there,
but for names that programs need for other things, such as PATH.

The login and the master password are not in the command's environment, under no
name and in no common spelling, and on Linux it cannot read them from vault run
either, unless it runs as root. Nor does it get other tokens of the vault, or what
stands under the name of one of the vault's credentials, unless --keep-env says so.

With --isolate, on Linux and for users other than root, the command has a network of
its own, from which only the proxy and the vault's API are reached. It finds none of
the vault's folders, nothing that --hide names, no other process, and no socket that
other programs listen at; /tmp, /run and /dev are new. It is still the same user, with
the same files: it reads what is not hidden, and what it writes others may run. Where
the kernel forbids any of it, the command does not run. docs/isolation.md has what is
kept from the command, and what is not.

docs/run.md has all that it does get.`

func vaultRunCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [--vault V] [--ttl D] -- CMD [ARG...]",
		Short: "Run a command behind a vault",
		Long:  runLong,
		Example: `  agent-vault vault run -- curl https://api.github.com/user
  agent-vault vault run --vault team-a --ttl 1h -- claude
  agent-vault vault run --dummies --keep-env GH_TOKEN -- make test
  agent-vault vault run --isolate --hide ~/.ssh --hide ~/.aws -- claude
  agent-vault vault run --proxy-port -- sh -c 'chromium --proxy-server="$HTTPS_PROXY"'`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{hint(errors.New("no command given"), "write it behind --, as in: agent-vault vault run -- my-agent")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			std := stdioOf(c)
			if c.Flags().Changed("proxy-socket") && f.own.socket == "" {
				return misused(c, "--proxy-socket: the path is empty; is the variable that it comes from set?")
			}
			f.own.jvm = runtime.GOOS == "linux" && !c.Flags().Changed("proxy-port")
			if err := errors.Join(checkKept(f.keepEnv), checkOpen(f.keepFDs)); err != nil {
				return misused(c, "%s", err)
			}
			path, err := exec.LookPath(args[0])
			switch {
			case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EISDIR):
				return &statusError{fmt.Errorf("%s: it is not a program that can be run", args[0]), 126}
			case err != nil:
				return &statusError{fmt.Errorf("%s: command not found", args[0]), 127}
			}
			return f.run(c, path, args, std)
		},
	}
	c.Flags().SetInterspersed(false) // the command's flags are its own
	c.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveDefault)
	f.session.add(c)
	f.own.add(c)
	c.Flags().BoolVar(&f.session.invite, "invite", false, "become an agent by the invite in "+inviteVariable+", or in the file that "+inviteFileVariable+" names")
	c.Flags().BoolVar(&f.dummies, "dummies", false, "give the command a dummy for each credential of the vault, in a variable of its name")
	c.Flags().StringArrayVar(&f.keepEnv, "keep-env", nil, "pass this variable on although it has a credential's name, or holds a token")
	c.Flags().IntSliceVar(&f.keepFDs, "keep-fd", nil, "let the command inherit this file descriptor")
	c.MarkFlagsMutuallyExclusive("isolate", "keep-fd")
	return c
}

// runFlags say what a command of vault run gets.
type runFlags struct {
	session sessionFlags
	own     ownFlags
	dummies bool
	keepEnv []string
	keepFDs []int
}

// run mints a session, runs the command with it and ends it.
func (f *runFlags) run(c *cobra.Command, path string, args []string, std stdio) error {
	// From here on no signal ends this process by itself, so that no session is
	// left behind.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, heeded()...)
	defer signal.Stop(signals)

	var of childOf
	err := unlessInterrupted(c, signals, func() (err error) {
		if of, err = f.session.prepare(c, args[0]); err == nil {
			err = of.discover(c, f.dummies)
		}
		return err
	})
	release, heldErr := of.held(c, std) // also one that came too late
	if heldErr != nil {
		return heldErr
	}
	defer release()
	if err != nil {
		return err
	}
	of.say = func(line string) { fmt.Fprintf(std.err, "agent-vault: %s\n", plain(line)) }
	of.withholding.secrets, of.withholding.keep = operatorsSecrets(of.environ), f.keepEnv
	end, err := f.own.open(&of, std)
	if err != nil {
		return err
	}
	defer end()
	closeInherited(append(f.keepFDs, namedDescriptors(args)...))
	return runChild(path, args, of, signals, std)
}

// prepare asks the server for all that a child needs. The session that it
// returns is there even when it fails after that.
func (f *sessionFlags) prepare(c *cobra.Command, command string) (of childOf, err error) {
	if f.invite {
		return f.prepareInvited(c)
	}
	if token := agentTokenAlone(c); token != "" {
		return f.prepareAgent(c, token)
	}
	if of.session, err = f.mint(c, cmp.Or(f.label, "vault run "+shortLabel(command)), true); err != nil {
		return of, err
	}
	client, err := anonymous(c)
	if err != nil {
		return of, err
	}
	of.vault, of.environ = f.vault, os.Environ()
	of.caPEM, err = client.CAPEM(c.Context())
	return of, err
}

// held keeps a session that was minted alive, until release ends it.
func (c childOf) held(command *cobra.Command, std stdio) (release func(), err error) {
	if !c.minted() {
		return func() {}, nil
	}
	client, err := anonymous(command)
	if err != nil {
		return nil, err
	}
	stop := leaseOf(client.Address, c.session).kept(std)
	return func() {
		if !stop() {
			revoke(client.Address, c.session, std)
		}
	}, nil
}

// discover asks with a child's own token what it may use.
func (c *childOf) discover(command *cobra.Command, dummies bool) error {
	client, err := anonymous(command)
	if err != nil {
		return err
	}
	client.Token, client.For = c.session.Token, c.vault
	d, err := client.Discover(command.Context())
	if err != nil {
		return err
	}
	for _, s := range d.Services {
		c.hosts = append(c.hosts, s.Host)
	}
	c.withholding.credentials = d.AvailableCredentials
	if dummies {
		c.dummies = d.Dummies
		maps.DeleteFunc(c.dummies, func(name, _ string) bool { return needed(name) })
	}
	return nil
}

// unlessInterrupted does work that a signal cancels. It returns the status of
// the signal, once the work has ended.
func unlessInterrupted(c *cobra.Command, signals <-chan os.Signal, work func() error) error {
	ctx, cancel := context.WithTimeout(c.Context(), 15*time.Second)
	defer cancel()
	c.SetContext(ctx)
	done := make(chan error, 1)
	go func() { done <- work() }()
	for {
		select {
		case err := <-done:
			return err
		case s := <-signals:
			if unconcerned(s) {
				continue // no child yet whom it concerns
			}
			cancel()
			<-done
			return statusOf(s)
		}
	}
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
	own := &api.Client{Address: address, Token: s.Token, Name: clientName()}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := own.RevokeSelf(ctx)
	if isUnauthorized(err) {
		return // somebody else has ended it
	}
	if err != nil {
		why, _ := explained(err) // the hint would be of no use any more
		fmt.Fprintf(std.err, "agent-vault: the session could not be ended, and lasts until %s: %s\n", shownTime(s.ExpiresAt), plain(why))
	}
}

// passedOn are the signals that a child gets from us.
var passedOn = []os.Signal{
	syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH,
	syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2,
}

// heeded are those of them that were not ignored when this process began: what
// nohup, or a shell in the background, has set up holds for the child too. (Go
// leaves so SIGHUP and SIGINT only.) And SIGPIPE, so that a pipe of ours without
// a reader does not end this process before its child.
func heeded() []os.Signal {
	return append(slices.DeleteFunc(slices.Clone(passedOn), signal.Ignored), syscall.SIGPIPE)
}

// fromKeyboard reports whether a terminal sends this signal, which it does to
// the child as well: passed on, one Ctrl-C would be two.
func fromKeyboard(s os.Signal) bool {
	return s == syscall.SIGINT || s == syscall.SIGQUIT || s == syscall.SIGWINCH
}

// privateFolder makes the folder of what the command is told to read. Its name
// stands in variables that programs take apart at quotes.
func privateFolder() (string, error) {
	const todo = "set TMPDIR to the path of a folder that you can write, without quotes in it"
	parent, err := filepath.Abs(os.TempDir()) // the command may go to another folder
	if err != nil {
		return "", err
	}
	if strings.ContainsAny(parent, "'\"\\\n") {
		return "", hint(fmt.Errorf("temporary folder: %q has quotes in its name", parent), todo)
	}
	dir, err := os.MkdirTemp(parent, "agent-vault-run-") // mode 0700
	if err != nil {
		return "", hint(fmt.Errorf("temporary folder: %w", err), todo)
	}
	return dir, nil
}

// runChild runs the command and passes status and terminal through, and what
// comes in by signals, which the caller has asked for.
func runChild(path string, args []string, of childOf, signals <-chan os.Signal, std stdio) error {
	dir, err := privateFolder()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	env, err := of.environment(dir)
	if err != nil {
		return err
	}
	select {
	case s := <-signals: // before there is a child to pass it on to
		if !unconcerned(s) {
			return statusOf(s)
		}
	default:
	}
	if of.isolation != nil {
		return of.isolation.run(path, args, env, dir, signals, std)
	}
	cmd := &exec.Cmd{Path: path, Args: args, Env: env, Stdin: std.in, Stdout: std.out, Stderr: std.err}
	switch err := cmd.Start(); {
	case errors.Is(err, fs.ErrNotExist): // it was there just now
		return &statusError{fmt.Errorf("%s: the interpreter that its first line names is not there", args[0]), 127}
	case errors.Is(err, syscall.ENOEXEC):
		return &statusError{hint(fmt.Errorf("%s: it is not a program that can be run", args[0]), "a script names its interpreter in the first line, as in #!/bin/sh"), 126}
	case err != nil:
		return &statusError{fmt.Errorf("%s: %w", args[0], err), 126}
	}
	ended, forwarded := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(forwarded)
		forward(signals, cmd.Process, onTerminal(std), ended)
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

// unconcerned are signals that end nothing before there is a child.
func unconcerned(s os.Signal) bool { return s == syscall.SIGWINCH || s == syscall.SIGPIPE }

// statusOf is what a shell says of a process that a signal ended.
func statusOf(s os.Signal) error {
	number, _ := s.(syscall.Signal)
	return &exitStatus{128 + int(number)}
}

func forward(signals <-chan os.Signal, p interface{ Signal(os.Signal) error }, terminal bool, ended <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGPIPE && (!terminal || !fromKeyboard(s)) {
				_ = p.Signal(s) // it may have ended just now
			}
		case <-ended:
			return
		}
	}
}
