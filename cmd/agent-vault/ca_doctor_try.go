package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A doctor tries runtimes.
type doctor struct {
	dir             string // of certificates, and of what runtimes are given to run
	timeout         time.Duration
	token           string // masked in what is shown
	port            string // host:port without credentials; "" on systems that have none
	underRun, alone []string
}

// A foundProbe is a probe whose program is on this machine.
type foundProbe struct {
	probe
	path string
}

// found looks for the programs. One that was asked for must be there.
func (d *doctor) found(names []string) (found []foundProbe, err error) {
	for _, p := range probes {
		asked := slices.Contains(names, p.name)
		if len(names) > 0 && !asked {
			continue
		}
		path, err := exec.LookPath(p.program)
		if err != nil && asked {
			return nil, fmt.Errorf("%s: %s is not installed, or not in PATH", p.name, p.program)
		}
		if err == nil {
			found = append(found, foundProbe{p, path})
		}
	}
	if found == nil {
		return nil, errors.New("there is no runtime in PATH that could be tried")
	}
	return found, nil
}

func (d *doctor) examine(ctx context.Context, p foundProbe) runtimeCheck {
	c := runtimeCheck{Name: p.name, Program: p.path, Trusts: p.trusts, Note: p.note}
	if p.version != nil {
		out, _ := d.exec(ctx, d.alone, foundProbe{probe{args: p.version}, p.path}) // some say it and fail
		c.Version = versionNumber.FindString(out)
	}
	if p.needs != nil {
		if _, err := d.exec(ctx, d.alone, foundProbe{probe{args: p.needs}, p.path}); err != nil {
			c.Note = p.lacking
		}
	}
	if p.usesPort && d.port == "" {
		c.Note = "it wants a proxy without credentials: vault run --proxy-port"
	}
	if c.Note == "" {
		c.VaultRun = d.attempt(ctx, d.underRun, p)
		c.ByItself = d.attempt(ctx, d.alone, p)
		if !c.VaultRun.Works {
			c.VaultRun.Fix = cmp.Or(commonFixes[c.VaultRun.Problem], p.runFix, otherFix)
		}
		if !c.ByItself.Works {
			c.ByItself.Fix = cmp.Or(map[string]string{problemNoWay: wayFix}[c.ByItself.Problem], p.fix)
		}
	}
	return c
}

// commonFixes mend what is wrong under vault run with any runtime.
var commonFixes = map[string]string{problemUntrusted: untrustedFix, problemNoWay: wayFix}

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+[\w.+-]*`)

// What can be wrong with an attempt.
const (
	problemUntrusted = "does not trust the vault's certificate"
	problemNoProxy   = "does not use the proxy"
	problemRefused   = "sends the proxy no credentials"
	problemNoWay     = "cannot reach the proxy"
	problemTime      = "took too long"
	problemOther     = "fails"
)

// signs tell problems from what programs say, in this order. The host of the
// attempt does not exist: who looks for its address goes past the proxy.
var signs = []struct {
	problem string
	of      *regexp.Regexp
}{
	{problemNoProxy, regexp.MustCompile(`(?i)ENOTFOUND|EAI_AGAIN|getaddrinfo|could not resolve|couldn't resolve|UnknownHost|UnresolvedAddress|ConnectException|no such host|name or service not known|nodename nor servname|unable to resolve|failed to lookup|dns error`)},
	{problemNoWay, regexp.MustCompile(`(?i)connection refused|ECONNREFUSED|failed to connect|no route to host|network is unreachable`)},
	{problemUntrusted, regexp.MustCompile(`(?i)certificate|x509|unknown ?issuer|unknown ?ca|self.signed|local issuer|PKIX|SSLError|SSL routines`)},
	{problemRefused, regexp.MustCompile(`\b407\b|(?i:proxy authentication required)`)},
}

func problemOf(out string) string {
	for _, s := range signs {
		if s.of.MatchString(out) {
			return s.problem
		}
	}
	return problemOther
}

// attempt runs a program once. It worked when the vault's own refusal has come
// back whole.
func (d *doctor) attempt(ctx context.Context, env []string, p foundProbe) *attempt {
	out, err := d.exec(ctx, append(env[:len(env):len(env)], p.env...), p)
	answered := p.answered
	if answered == nil {
		answered = ourAnswer
	}
	if answered.MatchString(out) {
		return &attempt{Works: true}
	}
	a := &attempt{Problem: problemOf(out), Says: d.shown(out)}
	if errors.Is(err, context.DeadlineExceeded) {
		a.Problem = problemTime
	}
	if a.Says == "" && err != nil {
		a.Says = err.Error()
	}
	return a
}

// ourAnswer is what the vault refuses an unknown host with, in its body or its
// header.
var ourAnswer = regexp.MustCompile(`"proposal_hint"|(?i:x-agent-vault-proxy-error: true)`)

// exec runs a program and returns what it says, at most maxSaid bytes.
func (d *doctor) exec(ctx context.Context, env []string, p foundProbe) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	fill := strings.NewReplacer("{dir}", d.dir, "{port}", d.port)
	args := make([]string, len(p.args))
	for i, a := range p.args {
		args[i] = fill.Replace(a)
	}
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = env, d.dir, strings.NewReader(p.stdin)
	said := &bounded{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what it starts
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return said.String(), err
}

// shown is the line that says most: the last that is about an error, or the last.
func (d *doctor) shown(out string) (line string) {
	told := false
	for l := range strings.Lines(strings.ReplaceAll(out, d.token, "(token)")) {
		l = strings.TrimSpace(l)
		isError := errorLine.MatchString(l)
		if l != "" && (isError || !told) {
			line, told = l, isError
		}
	}
	if len(line) > 300 {
		line = strings.ToValidUTF8(line[:300], "") + "…"
	}
	return line
}

var errorLine = regexp.MustCompile(`(?i)error|exception|fatal|failed|cannot|could not|couldn't`)

const maxSaid = 64 << 10 // bytes

// A bounded buffer keeps the beginning of what is written to it.
type bounded struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.b.Write(p[:min(len(p), maxSaid-b.b.Len())])
	return len(p), nil
}

func (b *bounded) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// inParallel calls f with 0 to n-1, a few at a time.
func inParallel(n, atOnce int, f func(int)) {
	var running sync.WaitGroup
	places := make(chan struct{}, atOnce)
	for i := range n {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			f(i)
		})
	}
	running.Wait()
}

// writeFiles writes what runtimes are given to run that take no program on
// their command line.
func (d *doctor) writeFiles() error {
	return os.WriteFile(filepath.Join(d.dir, "Doctor.java"), []byte(javaProgram), 0o600)
}
