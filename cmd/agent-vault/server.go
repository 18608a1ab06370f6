package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// drainTime is how long requests that are under way may take at the end, and
// cutTime how long cutting those takes that did not make it.
const (
	drainTime = 10 * time.Second
	cutTime   = 5 * time.Second
)

func serverCommand() *cobra.Command {
	var passwordStdin bool
	c := &cobra.Command{
		Use:   "server",
		Short: "Run the server: API, path entrance and proxy entrance",
		Long: `Run the server: API and path entrance on one port, proxy entrance on another.

The master key comes from AGENT_VAULT_MASTER_PASSWORD, from standard input with
--password-stdin, or from the terminal. Without any of them it is kept in a key
file in the data folder, which is said at every start.

Configuration comes from --config, then AGENT_VAULT_* variables (listen.api is
AGENT_VAULT_LISTEN_API), then flags.`,
		Example: `  agent-vault server
  agent-vault server --config /etc/agent-vault/config.yaml
  AGENT_VAULT_MASTER_PASSWORD=… agent-vault server --data-dir /var/lib/agent-vault`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			std := stdioOf(c)
			cfg, err := loadConfig(c.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if err := checkConfigFile(c.Flags()); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			master, err := operatorsMaster(std, passwordStdin)
			if err != nil {
				return err
			}
			i, err := startInstance(ctx, cfg, master, std.err)
			if err != nil {
				return err
			}
			giveHeapRoom()
			i.announce(ctx)
			select {
			case <-ctx.Done():
			case err = <-i.failed:
			}
			stop() // a second signal ends the process at once
			return errors.Join(err, i.shutdown())
		},
	}
	c.AddCommand(resetPasswordCommand())
	addConfigFlags(c.Flags())
	must(c.MarkFlagFilename("config", "yaml", "yml", "json", "toml"))
	must(c.MarkFlagDirname("data-dir"))
	c.Flags().BoolVar(&passwordStdin, "password-stdin", false, "read the master password from standard input")
	return c
}

// announce says that the server is ready, and what an empty one needs.
func (i *instance) announce(ctx context.Context) {
	if e := i.cfg.Egress; e != nil {
		by := "the vault"
		if e.ByName {
			by = "that proxy, so that their addresses are not checked"
		}
		i.operator.tell(fmt.Sprintf("upstreams are reached through the egress proxy %s; names are resolved by %s", e, by))
	}
	if i.operator.json != nil {
		i.operator.json.Info("ready", "api", i.baseOfListener(), "proxy", i.proxyOfListener())
	} else {
		i.operator.tell("ready: API " + i.baseOfListener() + ", proxy " + i.proxyOfListener())
	}
	if owned, err := i.registry.Initialized(ctx); err == nil && !owned {
		i.operator.tell("nobody owns this instance yet; run: agent-vault auth register --email you@example.com" + i.addressFlag())
	}
}

// addressFlag is what a command on this machine needs to find the server.
func (i *instance) addressFlag() string {
	if base := i.baseOfListener(); base != defaultAddress {
		return " --address " + base
	}
	return ""
}

// An operator hears what must be known whatever log.level is.
type operator struct {
	lines io.Writer
	json  *slog.Logger // nil: plain lines
}

func newOperator(cfg *config, stderr io.Writer) operator {
	o := operator{lines: stderr}
	if cfg.LogFormat == "json" {
		o.json = slog.New(slog.NewJSONHandler(stderr, nil))
	}
	return o
}

func (o operator) tell(line string) {
	if o.json != nil {
		o.json.Info(line)
		return
	}
	fmt.Fprintf(o.lines, "agent-vault: %s\n", line)
}

func newLogger(cfg *config, stderr io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(stderr, o))
	}
	return slog.New(slog.NewTextHandler(stderr, o))
}

func listenError(name, addr string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return hint(fmt.Errorf("%s: %s is in use, perhaps by another server", name, addr), "stop that one, or name another address with --%s", strings.ReplaceAll(name, ".", "-"))
	}
	return fmt.Errorf("%s: %w", name, err)
}
