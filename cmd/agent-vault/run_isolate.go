package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"agentvault/isolate"
)

// isolateFlags ask for a command that reaches nothing but the vault.
type isolateFlags struct {
	on   bool
	hide []string // further paths
}

func (f *isolateFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.on, "isolate", false, "leave the command no way to a network but the proxy, and hide the vault's folders from it (Linux)")
	c.Flags().StringArrayVar(&f.hide, "hide", nil, "with --isolate: hide this file or folder too; may be given more than once")
	must(c.MarkFlagFilename("hide"))
	c.MarkFlagsMutuallyExclusive("isolate", "proxy-socket")
}

// An isolation is what a command of --isolate finds. Its network has two
// addresses: a proxy that takes it for the session, and the vault's API, where
// that is outside too.
type isolation struct {
	proxy, api *ownEntrance
	listen     [2]string // of both, inside
	hosts      []string  // names that the API has
	hide       []string
}

// open makes an isolation of what the flags ask for, nil without --isolate, and
// puts its proxy into the child's environment. number is the port of it; 0 is
// the usual one.
func (f *isolateFlags) open(of *childOf, own *ownEntrance, number uint16) (*isolation, error) {
	if !f.on {
		if f.hide != nil {
			return nil, &usageError{hint(errors.New("--hide is for a command that is isolated"), "add --isolate")}
		}
		return nil, nil
	}
	api, err := url.Parse(of.session.Addr)
	if err != nil || api.Hostname() == "" {
		return nil, fmt.Errorf("the server gave no usable address: %q", of.session.Addr)
	}
	i := &isolation{proxy: own, api: &ownEntrance{proxy: api, raw: true, std: own.std}}
	port := portOf(api)
	i.listen[1] = net.JoinHostPort("127.0.0.1", port)
	switch ip, err := netip.ParseAddr(api.Hostname()); {
	case err != nil:
		if name := api.Hostname(); name != "localhost" {
			i.hosts = []string{name}
		}
	case ip.Is4() || ip.IsLoopback():
		i.listen[1] = netip.AddrPortFrom(ip, netip.MustParseAddrPort(i.listen[1]).Port()).String()
	default:
		return nil, hint(fmt.Errorf("--isolate: the command could not reach the server at %s", api.Host), "have the server's base_url hold a name, or an IPv4 address")
	}
	i.listen[0] = "127.0.0.1:" + usualProxyPort // nobody else is there
	switch {
	case number != 0:
		i.listen[0] = fmt.Sprintf("127.0.0.1:%d", number)
	case port == usualProxyPort:
		i.listen[0] = "127.0.0.1:14323"
	}
	if i.listen[0] == i.listen[1] {
		return nil, fmt.Errorf("--proxy-port: the command finds the server at port %d", number)
	}
	of.ownPort = "http://" + i.listen[0]
	of.jvmPort = of.ownPort
	i.hide, err = f.hidden()
	servers, unknown := dataOfServers("/proc")
	if unknown != nil && err == nil {
		own.say(oneLine(unknown.Error()) + "; name it with --hide if the command could read it")
	}
	i.hide = append(i.hide, servers...)
	return i, err
}

// hidden are the folders that hold what is the operator's: logins, and the data
// of a server on this machine. They are made where they are missing, so that
// what comes into them later is hidden as well. And files that variables name.
func (f *isolateFlags) hidden() (paths []string, err error) {
	if logins, err := loginsPath(); err == nil { // without a home there are none
		paths = append(paths, filepath.Dir(logins))
	}
	if data, err := defaultDataDir(); err == nil { // likewise
		paths = append(paths, data)
	}
	if data := os.Getenv("AGENT_VAULT_DATA_DIR"); data != "" {
		paths = append(paths, data)
	}
	for _, path := range paths {
		_ = os.MkdirAll(path, 0o700) // where it cannot be made, nothing comes into it
	}
	for _, variable := range []string{masterPasswordFileVariable, inviteFileVariable} {
		if file := os.Getenv(variable); file != "" {
			paths = append(paths, file)
		}
	}
	for _, path := range f.hide {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("--hide: %w", err)
		}
		paths = append(paths, path)
	}
	for n, path := range paths {
		if paths[n], err = filepath.Abs(path); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// run runs the command as runChild does. dir holds what its environment names.
func (i *isolation) run(path string, args, env []string, dir string, signals <-chan os.Signal, std stdio) error {
	here, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("the working folder: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	keep := []string{dir, here, path, filepath.Dir(path)}
	if home, err := os.UserHomeDir(); err == nil { // without one there is none to keep
		keep = append(keep, home)
	}
	if self, err := os.Executable(); err == nil { // which agents call; likewise
		keep = append(keep, self)
	}
	back := foregroundOf(std)
	p, err := isolate.Start(isolate.Command{
		Path: path, Args: args, Env: env, Dir: here, Stdin: std.in, Stdout: std.out, Stderr: std.err,
		Listen: i.listen[:], Hosts: i.hosts, Hide: i.hide, Keep: keep,
	})
	if err != nil {
		return err
	}
	defer back()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { i.proxy.serve(ctx, p.Listeners[0], nil) })
	running.Go(func() { i.api.serve(ctx, p.Listeners[1], nil) })
	ended := make(chan struct{})
	running.Go(func() { forward(signals, p, onTerminal(std), ended) })
	status, err := p.Wait()
	close(ended)
	if err != nil {
		return err
	}
	return &exitStatus{status}
}
