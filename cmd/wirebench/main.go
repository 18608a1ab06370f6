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
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
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
  wirebench -agent-vault old=/tmp/a -agent-vault new=/tmp/b -scenario keepalive
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
	b := &bench{out: out}
	var dir, jsonFile, markdownFile string
	var list bool
	f := flag.NewFlagSet("wirebench", flag.ContinueOnError)
	f.SetOutput(errs)
	f.Usage = func() { fmt.Fprint(errs, usage); f.PrintDefaults() }
	expression := func(to **regexp.Regexp) func(string) error {
		return func(s string) (err error) { *to, err = regexp.Compile(s); return err }
	}
	b.scenario, b.target = regexp.MustCompile(""), regexp.MustCompile("")
	f.Func("scenario", "scenarios to run, as a `regexp`", expression(&b.scenario))
	f.Func("target", "targets to measure besides direct and the reference, as a `regexp`", expression(&b.target))
	f.IntVar(&b.turns, "turns", 5, "turns of each scenario")
	f.IntVar(&b.requests, "requests", 0, "requests per turn (default: as suits the scenario)")
	f.BoolVar(&b.quick, "quick", false, "a tenth of the requests")
	f.BoolVar(&list, "list", false, "list the scenarios")
	f.StringVar(&jsonFile, "json", "", "write all figures to this `file`")
	f.StringVar(&markdownFile, "markdown", "", "write a page to this `file`")
	f.StringVar(&dir, "dir", os.TempDir(), "`folder` of a file system to measure on")
	f.Func("agent-vault", "binary to measure, as `[name=]path`; more than one may be given (default: one that is built)", func(s string) error {
		name, path, named := strings.Cut(s, "=")
		if !named {
			name, path = "agent-vault", s
		}
		path, err := filepath.Abs(path)
		b.vaults = append(b.vaults, build{name, path})
		return err
	})
	if err := f.Parse(args); err != nil {
		return err
	}
	if list {
		for _, s := range scenarios() {
			fmt.Fprintf(out, "%-16s %s\n", s.name, s.title)
		}
		return nil
	}
	var err error
	if b.dir, err = os.MkdirTemp(dir, "wirebench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	defer b.stop()
	if err := b.start(ctx); err != nil {
		return err
	}
	for _, s := range scenarios() {
		if b.scenario.MatchString(s.name) {
			if err := b.run(ctx, s); err != nil {
				return err
			}
		}
	}
	if jsonFile != "" {
		if err := b.writeJSON(jsonFile); err != nil {
			return err
		}
	}
	if markdownFile != "" {
		return b.writeMarkdown(markdownFile)
	}
	return nil
}
