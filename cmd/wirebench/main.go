// Wirebench measures what Agent Vault costs on the wire beside other proxies.
//
// Every server is a process of its own: a TLS origin, the reference (a minimal
// httputil.ReverseProxy), others that are installed, and agent-vault with
// policy, audit and the search of answers on. What a proxy costs is its CPU time
// in /proc. In each turn all of them are measured one after the other, and held
// against the reference in the same turn. An answer that is not the very one
// expected fails the run.
//
// It uses agent-vault as anybody would, by its ports, and imports nothing of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "wirebench:", err)
		os.Exit(1)
	}
}

const usage = `Measure what Agent Vault costs on the wire beside other proxies.

  wirebench                                       everything; takes half an hour or so
  wirebench -quick                                everything, with a tenth of the requests
  wirebench -scenario '^keepalive-16$'            one scenario
  wirebench -agent-vault old=./old -agent-vault new=./new -scenario keepalive
                                                  two builds beside each other
  wirebench -target 'mitm/agent-vault'            beside direct and the reference only
  wirebench -list                                 names of scenarios

Flags:
`

func run(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) == 1 {
		switch args[0] {
		case "serve-origin":
			return serveOrigin()
		case "serve-reference":
			return serveReference()
		case "serve-goproxy":
			return serveGoproxy()
		}
	}
	o, err := parse(args, errs)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(scenarios(), func(s scenario) bool { return !o.scenario.MatchString(s.name) })
	if len(chosen) == 0 {
		return errors.New("no scenario has such a name; -list shows them")
	}
	if o.list {
		for _, s := range chosen {
			fmt.Fprintf(out, "%-16s %s\n", s.name, s.title)
		}
		return nil
	}
	b := &bench{options: o, out: out}
	if b.dir, err = os.MkdirTemp(o.dir, "wirebench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer b.stop()
	if err := b.start(ctx); err != nil {
		return err
	}
	for _, s := range chosen {
		if err := b.run(ctx, s); err != nil {
			return err
		}
		if err := b.write(); err != nil { // what there is, should a later one fail
			return err
		}
	}
	return nil
}

// options are what the flags say.
type options struct {
	scenario, target       *regexp.Regexp
	turns                  int
	requests               int // 0: as the scenario says
	quick, list            bool
	vaults                 []build // none: build one
	dir                    string
	jsonFile, markdownFile string // "" for none
}

func parse(args []string, errs io.Writer) (options, error) {
	o := options{scenario: regexp.MustCompile(""), target: regexp.MustCompile("")}
	f := flag.NewFlagSet("wirebench", flag.ContinueOnError)
	f.SetOutput(errs)
	f.Usage = func() { fmt.Fprint(errs, usage); f.PrintDefaults() }
	expression := func(to **regexp.Regexp) func(string) error {
		return func(s string) (err error) { *to, err = regexp.Compile(s); return err }
	}
	f.Func("scenario", "scenarios to run, as a `regexp`", expression(&o.scenario))
	f.Func("target", "targets to measure besides direct and the reference, as a `regexp`", expression(&o.target))
	f.IntVar(&o.turns, "turns", 5, "turns of each scenario")
	f.IntVar(&o.requests, "requests", 0, "requests per turn (default: as suits the scenario)")
	f.BoolVar(&o.quick, "quick", false, "a tenth of the requests")
	f.BoolVar(&o.list, "list", false, "list the scenarios")
	f.StringVar(&o.jsonFile, "json", "", "write all figures to this `file`")
	f.StringVar(&o.markdownFile, "markdown", "", "write a page to this `file`")
	f.StringVar(&o.dir, "dir", os.TempDir(), "`folder` of a file system to measure on")
	f.Func("agent-vault", "binary to measure, as `[name=]path`; more than one may be given (default: one that is built)", func(s string) error {
		v, err := parseBuild(s, o.vaults)
		o.vaults = append(o.vaults, v)
		return err
	})
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 || o.turns < 1 || o.requests < 0 {
		return o, errors.New("there are no arguments but flags, and counts are positive; -help shows them")
	}
	return o, nil
}

var buildName = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// parseBuild reads [name=]path. Results go by the name, so it must be a new one.
func parseBuild(s string, known []build) (build, error) {
	name, path, named := strings.Cut(s, "=")
	if !named {
		name, path = "agent-vault", s
	}
	if !buildName.MatchString(name) || slices.ContainsFunc(known, func(v build) bool { return v.name == name }) {
		return build{}, fmt.Errorf("%q is no name, or there twice", name)
	}
	path, err := filepath.Abs(path)
	return build{name, path}, err
}

// write writes the files that are asked for.
func (b *bench) write() error {
	var err1, err2 error
	if b.jsonFile != "" {
		err1 = b.writeJSON(b.jsonFile)
	}
	if b.markdownFile != "" {
		err2 = b.writeMarkdown(b.markdownFile)
	}
	return errors.Join(err1, err2)
}
