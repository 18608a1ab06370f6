package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
)

func vaultCommand(io stdio) *cobra.Command {
	return group("vault", "Work with vaults and run agents behind them",
		vaultRunCommand(io), vaultTokenCommand(), vaultListCommand(), vaultCreateCommand())
}

// sessionFlags are what commands that mint a session take.
type sessionFlags struct {
	vault string
	ttl   time.Duration
}

func (f *sessionFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.vault, "vault", "", "the vault (default: AGENT_VAULT_VAULT, or default)")
	c.Flags().DurationVar(&f.ttl, "ttl", 24*time.Hour, "how long the session lasts: 5m to 168h")
}

// mint makes a session with the person's login.
func (f *sessionFlags) mint(c *cobra.Command, label string) (*api.Client, api.SessionResponse, error) {
	client, err := signedIn(c)
	if err != nil {
		return nil, api.SessionResponse{}, err
	}
	if f.vault == "" {
		f.vault = os.Getenv(vaultVariable)
	}
	if f.vault == "" {
		f.vault = "default"
	}
	if f.ttl%time.Second != 0 {
		return nil, api.SessionResponse{}, &usageError{errors.New("--ttl is in whole seconds")}
	}
	seconds := int64(f.ttl / time.Second)
	s, err := client.MintSession(c.Context(), api.SessionRequest{Vault: f.vault, TTLSeconds: &seconds, Label: label})
	return client, s, err
}

func vaultTokenCommand() *cobra.Command {
	var f sessionFlags
	c := &cobra.Command{
		Use:   "token",
		Short: "Print a session token for an agent, and nothing else",
		Example: `  TOKEN=$(agent-vault vault token --ttl 1h)
  curl -H "Authorization: Bearer $TOKEN" "$AGENT_VAULT_ADDR/proxy/api.github.com/user"`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, s, err := f.mint(c, "vault token")
			if err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), s.Token)
			return nil
		},
	}
	f.add(c)
	return c
}

func vaultListCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the vaults", Example: "  agent-vault vault list -o json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := signedIn(c)
			if err != nil {
				return err
			}
			l, err := client.Vaults(c.Context())
			if err != nil {
				return err
			}
			return printed(c, l, func() {
				for _, v := range l.Vaults {
					fmt.Fprintf(c.OutOrStdout(), "%-24s %d services, %d credentials, unmatched hosts: %s\n", v.Name, len(v.Services), len(v.Credentials), v.UnmatchedHosts)
				}
			})
		},
	}
	outputFlag(c)
	return c
}

func vaultCreateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "create NAME", Short: "Make an empty vault", Example: "  agent-vault vault create team-a",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{errors.New("vault create takes one name, as in: agent-vault vault create team-a")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			client, err := signedIn(c)
			if err != nil {
				return err
			}
			v, err := client.CreateVault(c.Context(), args[0])
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "created vault %s\n", v.Name)
			}
			return err
		},
	}
}

func vaultRunCommand(io stdio) *cobra.Command {
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
			if err != nil {
				return fmt.Errorf("%s: command not found", args[0])
			}
			client, s, err := f.mint(c, "vault run "+shortLabel(args[0]))
			if err != nil {
				return err
			}
			defer revoke(client, s)
			pem, err := client.CAPEM(c.Context())
			if err != nil {
				return err
			}
			return runChild(path, args, childOf{session: s, vault: f.vault, caPEM: pem, environ: os.Environ()}, io)
		},
	}
	c.Flags().SetInterspersed(false) // the command's flags are its own
	f.add(c)
	return c
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
func revoke(client *api.Client, s api.SessionResponse) {
	own := &api.Client{Address: client.Address, Token: s.Token}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = own.RevokeSelf(ctx) // the session ends by itself at its time
}

// runChild runs the command and passes signals, status and terminal through.
func runChild(path string, args []string, of childOf, io stdio) error {
	dir, err := os.MkdirTemp("", "agent-vault-run-") // mode 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	env, err := of.environment(dir)
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{Path: path, Args: args, Env: env, Stdin: io.in, Stdout: io.out, Stderr: io.err}

	// From here on a signal is the child's affair; the folder and the session
	// are cleaned up after it has ended.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	ended := make(chan struct{})
	go forward(signals, cmd.Process, ended)
	err = cmd.Wait()
	close(ended)
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return &exitStatus{128 + int(ws.Signal())}
	}
	return &exitStatus{exit.ExitCode()}
}

func forward(signals <-chan os.Signal, p *os.Process, ended <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			_ = p.Signal(s) // it may have ended just now
		case <-ended:
			return
		}
	}
}
