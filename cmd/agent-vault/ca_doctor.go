package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// A checkup is what ca doctor has found.
type checkup struct {
	Server   string         `json:"server"`
	Vault    string         `json:"vault"`
	Works    bool           `json:"works"` // every runtime that was tried, under vault run
	Runtimes []runtimeCheck `json:"runtimes"`
}

// A runtimeCheck is about one program of this machine.
type runtimeCheck struct {
	Name     string   `json:"name"`
	Program  string   `json:"program"` // path
	Version  string   `json:"version,omitempty"`
	Trusts   string   `json:"trusts"`              // what it trusts when nobody tells it otherwise
	Note     string   `json:"note,omitempty"`      // why it was not tried
	VaultRun *attempt `json:"vault_run,omitempty"` // with what vault run gives it
	ByItself *attempt `json:"by_itself,omitempty"` // with the proxy's variables alone, and what this machine has
}

// An attempt is one request by a runtime.
type attempt struct {
	Works   bool   `json:"works"`
	Problem string `json:"problem,omitempty"` // one of ours, in words
	Says    string `json:"says,omitempty"`    // the program itself, on one line
	Fix     string `json:"fix,omitempty"`     // the line that mends it
}

// doctorFlags say what is looked at, and what counts.
type doctorFlags struct {
	session  sessionFlags
	timeout  time.Duration
	byItself bool
	json     bool
	output   output
}

func caDoctorCommand() *cobra.Command {
	var f doctorFlags
	c := &cobra.Command{
		Use:   "doctor [RUNTIME...]",
		Short: "Try a request through the vault with each runtime of this machine",
		Long: `Find the runtimes of this machine (curl, git, Python, Node, Java, Go …) and try one
real request through the vault with each: to a host that does not exist, which the
vault itself refuses inside the tunnel, so nothing leaves for the outside world.

Each is tried twice: with all that vault run gives a command, and by itself, with
the proxy's address alone, which tells whether it trusts the vault's certificate
from this machine's own stores and settings. Behind the table stands the line that
mends what does not work.

It takes a session of its own, or an agent's token in AGENT_VAULT_SESSION_TOKEN. The
exit status is 1 if a runtime that was found does not work under vault run; with
--by-itself also if one does not work without.`,
		Example: `  agent-vault ca doctor
  agent-vault ca doctor curl java --json
  agent-vault ca doctor --by-itself          # in an image that has the certificate installed`,
		ValidArgsFunction: fixed(probeNames()...),
		Args: func(c *cobra.Command, args []string) error {
			for _, name := range args {
				if !slices.Contains(probeNames(), name) {
					return misused(c, "there is no check for %q; there are: %s", name, strings.Join(probeNames(), ", "))
				}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return f.run(c, args) },
	}
	addVault(c, &f.session.vault)
	c.Flags().DurationVar(&f.timeout, "timeout", 20*time.Second, "how long one request may take")
	c.Flags().BoolVar(&f.byItself, "by-itself", false, "fail also where a runtime does not work without vault run")
	c.Flags().BoolVar(&f.json, "json", false, "the same as -o json")
	f.output.add(c)
	return c
}

func (f *doctorFlags) run(c *cobra.Command, names []string) error {
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	c.SetContext(ctx)
	if f.json {
		f.output = "json"
	}
	std := stdioOf(c)
	f.session.label = "ca doctor"
	of, err := f.session.prepare(c, "")
	if err == nil {
		err = of.discover(c, false)
	}
	release, heldErr := of.held(c, std)
	if heldErr != nil {
		return heldErr
	}
	defer release()
	if err != nil {
		return err
	}
	own := ownFlags{jvm: runtime.GOOS == "linux"}
	end, err := own.open(&of, std)
	if err != nil {
		return err
	}
	defer end()
	closeInherited(nil)
	d, err := newDoctor(of, f.timeout)
	if err != nil {
		return err
	}
	defer os.RemoveAll(d.dir)
	found, err := d.found(names)
	if err != nil {
		return err
	}
	result := checkup{Server: of.session.Addr, Vault: of.vault, Runtimes: d.check(ctx, found)}
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	verdict := result.verdict(f.byItself)
	if err := f.output.print(c.OutOrStdout(), result, func(w io.Writer) { result.show(w) }); err != nil {
		return err
	}
	return verdict
}

// verdict is the error that the exit status is made of.
func (r *checkup) verdict(byItself bool) error {
	var failed, alone []string
	for _, c := range r.Runtimes {
		if c.VaultRun != nil && !c.VaultRun.Works {
			failed = append(failed, c.Name)
		}
		if c.ByItself != nil && !c.ByItself.Works {
			alone = append(alone, c.Name)
		}
	}
	r.Works = failed == nil
	switch {
	case failed != nil:
		return fmt.Errorf("under vault run these do not work: %s", strings.Join(failed, ", "))
	case byItself && alone != nil:
		return fmt.Errorf("by themselves these do not work: %s", strings.Join(alone, ", "))
	}
	return nil
}

// show writes a table, and behind it what mends what does not work, once for all
// that it mends.
func (r *checkup) show(w io.Writer) {
	shownAttempt := func(a *attempt) string {
		switch {
		case a == nil:
			return "not tried"
		case a.Works:
			return "works"
		}
		return a.Problem
	}
	list(w, []string{"RUNTIME", "VERSION", "UNDER VAULT RUN", "BY ITSELF", "TRUSTS"}, r.Runtimes, func(c runtimeCheck) []string {
		return []string{c.Name, c.Version, shownAttempt(c.VaultRun), shownAttempt(c.ByItself), c.Trusts}
	})
	for _, c := range r.Runtimes {
		if a := c.VaultRun; a != nil && !a.Works {
			fmt.Fprintf(w, "\n%s under vault run: %s. It says: %s\n  %s\n", c.Name, plain(a.Problem), plain(a.Says), plain(a.Fix))
		}
	}
	mends := make(map[string][]string)
	var fixes []string
	for _, c := range r.Runtimes {
		if a := c.ByItself; a != nil && !a.Works {
			if mends[a.Fix] == nil {
				fixes = append(fixes, a.Fix)
			}
			mends[a.Fix] = append(mends[a.Fix], c.Name)
		}
	}
	for _, fix := range fixes {
		fmt.Fprintf(w, "\nby itself (%s), or run it by vault run:\n  %s\n", strings.Join(mends[fix], ", "), plain(fix))
	}
	for _, c := range r.Runtimes {
		if c.Note != "" {
			fmt.Fprintf(w, "\n%s was not tried: %s\n", c.Name, plain(c.Note))
		}
	}
}

// newDoctor makes both environments that runtimes are tried with.
func newDoctor(of childOf, timeout time.Duration) (*doctor, error) {
	dir, err := os.MkdirTemp("", "agent-vault-doctor-") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("temporary folder: %w", err)
	}
	d := &doctor{dir: dir, timeout: timeout, token: of.session.Token, port: strings.TrimPrefix(of.jvmPort, "http://")}
	of.withholding.secrets = operatorsSecrets(of.environ)
	if d.underRun, err = of.environment(dir); err == nil {
		d.alone, err = of.alone()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return d, d.writeFiles()
}

// check tries all, a few at a time.
func (d *doctor) check(ctx context.Context, probes []foundProbe) []runtimeCheck {
	checks := make([]runtimeCheck, len(probes))
	inParallel(len(probes), 2*runtime.NumCPU(), func(i int) { checks[i] = d.examine(ctx, probes[i]) })
	return checks
}
