package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// An outside is where a user who is not root works: with programs, files and
// sockets that an isolated command must not get to.
type outside struct {
	t          *testing.T
	dir        string // everybody's way to the rest
	home, work string
	ways       string // the program
	attr       *syscall.SysProcAttr
	user       int
	targets    wayTargets
}

// wayTargets are Targets of testdata/ways.
type wayTargets struct {
	TCP4, LAN, TCP6, UDP4, UDPLAN, UDP6, DNS, HTTP        string
	HomeSocket, TmpSocket, RunSocket, Datagrams, Abstract string
	Victim                                                int
	Secret                                                string
	Login, Data, Hidden, TmpFile, TmpRelative, Shared     string
	SysV                                                  int
	Terminal, Control                                     string
	Descriptor                                            int
	Setuid                                                string
}

type wayResult struct {
	Ways          map[string]string
	API, Self, Me string
}

// needsUserNamespaces skips where the kernel gives users who are not root none.
func needsUserNamespaces(t *testing.T, attr *syscall.SysProcAttr) {
	t.Helper()
	cmd := exec.Command("true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	if attr != nil { // root's helper must be the user first
		cmd = exec.Command("unshare", "--user", "--map-current-user", "--net", "--mount", "--pid", "--fork", "--mount-proc", "true")
		cmd.SysProcAttr = attr
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("no unprivileged user namespaces, which CI has: %v %s", err, out)
		}
		t.Skipf("needs unprivileged user namespaces: %v %s", err, out)
	}
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	o := &outside{t: t, dir: filepath.Dir(binaryForAll(t)), user: os.Getuid()}
	if o.user == 0 {
		o.user = nobody
		o.attr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	needsUserNamespaces(t, o.attr)
	o.home, o.work, o.ways = filepath.Join(o.dir, "home"), filepath.Join(o.dir, "home", "work"), filepath.Join(o.dir, "bin", "ways")
	o.folder(o.home)
	o.folder(o.work)
	return o
}

func (o *outside) check(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *outside) folder(path string) {
	o.t.Helper()
	o.check(os.MkdirAll(path, 0o700))
	o.check(os.Chown(path, o.user, o.user))
}

// secret writes a file of the user's that holds the secret.
func (o *outside) secret(path string) string {
	o.t.Helper()
	o.check(os.WriteFile(path, []byte(o.targets.Secret), 0o600))
	o.check(os.Chown(path, o.user, o.user))
	return path
}

// env is the user's environment.
func (o *outside) env(more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.home, "TMPDIR=" + os.TempDir()}, more...)
}

// command is one of the user's, in the working folder.
func (o *outside) command(env []string, args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Dir, cmd.SysProcAttr = o.env(env...), o.work, o.attr
	return cmd
}

// isolated is a command under vault run --isolate.
func (o *outside) isolated(w *instance, login string, args ...string) *exec.Cmd {
	return o.command([]string{"AGENT_VAULT_ADDR=" + w.API, "AGENT_VAULT_LOGIN_TOKEN=" + login}, append([]string{filepath.Join(o.dir, "agent-vault"), "vault", "run", "--isolate"}, args...)...)
}

// build makes all that there is to get to.
func (o *outside) build() {
	o.t.Helper()
	build := exec.Command("go", "build", "-o", o.ways, "./testdata/ways")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		o.t.Fatalf("%v\n%s", err, out)
	}
	o.targets.Secret = "a secret of the outside"
	o.network()
	o.listenUnix()
	o.secrets()
	o.processes()
	raw, err := json.Marshal(o.targets)
	o.check(err)
	o.check(os.WriteFile(filepath.Join(o.work, "targets.json"), raw, 0o644))
}

// echo answers whatever comes to a listener with the same.
func (o *outside) echo(network, address string) string {
	o.t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		o.t.Logf("nothing listens at %s %s: %v", network, address, err)
		return ""
	}
	o.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	return ln.Addr().String()
}

// answer answers datagrams by what a function makes of them.
func (o *outside) answer(network, address string, make func([]byte) []byte) string {
	o.t.Helper()
	c, err := net.ListenPacket(network, address)
	if err != nil {
		o.t.Logf("nothing listens at %s %s: %v", network, address, err)
		return ""
	}
	o.t.Cleanup(func() { c.Close() })
	go func() {
		b := [2048]byte{}
		for {
			n, from, err := c.ReadFrom(b[:])
			if err != nil {
				return
			}
			if from != nil {
				_, _ = c.WriteTo(make(b[:n]), from)
			}
		}
	}()
	return c.LocalAddr().String()
}

func same(b []byte) []byte { return b }

func (o *outside) network() {
	o.t.Helper()
	g := &o.targets
	g.TCP4, g.TCP6 = o.echo("tcp4", "127.0.0.1:0"), o.echo("tcp6", "[::1]:0")
	g.UDP4, g.UDP6 = o.answer("udp4", "127.0.0.1:0", same), o.answer("udp6", "[::1]:0", same)
	all, err := net.InterfaceAddrs()
	o.check(err)
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			at := net.JoinHostPort(p.Addr().String(), "0")
			g.LAN, g.UDPLAN = o.echo("tcp4", at), o.answer("udp4", at, same)
			break
		}
	}
	o.dns()
	web, err := net.Listen("tcp4", "127.0.0.1:0")
	o.check(err)
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go server.Serve(web)
	o.t.Cleanup(func() { server.Close() })
	g.HTTP = "http://" + web.Addr().String() + "/"
}

// dns knows an address for every name, over UDP and TCP on one port.
func (o *outside) dns() {
	o.t.Helper()
	var ln net.Listener
	for range 10 { // a port that is free for one may be taken for the other
		var err error
		ln, err = net.Listen("tcp4", "127.0.0.1:0")
		o.check(err)
		if o.targets.DNS = o.answer("udp4", ln.Addr().String(), resolve); o.targets.DNS != "" {
			break
		}
		o.check(ln.Close())
	}
	o.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for {
					var head [2]byte
					if _, err := io.ReadFull(c, head[:]); err != nil {
						return
					}
					b := make([]byte, int(head[0])<<8|int(head[1]))
					if _, err := io.ReadFull(c, b); err != nil {
						return
					}
					b = resolve(b)
					_, _ = c.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...))
				}
			}()
		}
	}()
}

func resolve(question []byte) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil || len(m.Questions) != 1 {
		return nil
	}
	m.Response, m.Additionals = true, nil
	if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		}}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

func (o *outside) listenUnix() {
	o.t.Helper()
	g := &o.targets
	open := func(path string) string {
		if path != "" {
			o.check(os.Chmod(path, 0o777))
		}
		return path
	}
	g.HomeSocket = open(o.echo("unix", filepath.Join(o.home, "agent.sock")))
	g.TmpSocket = open(o.echo("unix", filepath.Join(o.dir, "agent.sock")))
	if os.Getuid() == 0 {
		g.RunSocket = open(o.echo("unix", fmt.Sprintf("/run/agent-vault-test-%d.sock", os.Getpid())))
	}
	g.Abstract = o.echo("unix", "@"+o.dir)
	g.Datagrams = open(o.answer("unixgram", filepath.Join(o.home, "datagrams.sock"), same))
}

func (o *outside) secrets() {
	o.t.Helper()
	g := &o.targets
	for _, dir := range []string{".config", ".config/agent-vault", ".local", ".local/share", ".local/share/agent-vault", ".ssh"} {
		o.folder(filepath.Join(o.home, dir))
	}
	g.Login = o.secret(filepath.Join(o.home, ".config/agent-vault/old.json"))
	g.Data = o.secret(filepath.Join(o.home, ".local/share/agent-vault/master.key"))
	g.Hidden = o.secret(filepath.Join(o.home, ".ssh/id_test"))
	g.TmpFile = o.secret(filepath.Join(o.dir, "of-another-program"))
	g.TmpRelative = "../../of-another-program"
	g.Shared = o.secret(fmt.Sprintf("/dev/shm/agent-vault-test-%d", os.Getpid()))
	o.t.Cleanup(func() { os.Remove(g.Shared) })
	g.SysV = os.Getpid()
	id, err := unix.SysvShmGet(g.SysV, 4096, unix.IPC_CREAT|0o666)
	o.check(err)
	o.t.Cleanup(func() { unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
	master, terminal, err := pty.Open()
	o.check(err)
	o.t.Cleanup(func() { master.Close(); terminal.Close() })
	g.Terminal = terminal.Name()
	o.check(os.Chown(g.Terminal, o.user, -1))
	if os.Getuid() != 0 {
		return
	}
	g.Setuid = filepath.Join(filepath.Dir(o.ways), "setuid") // which an isolated command finds
	b, err := os.ReadFile(o.ways)
	o.check(err)
	o.check(os.WriteFile(g.Setuid, b, 0o755))
	o.check(os.Chmod(g.Setuid, 0o755|os.ModeSetuid))
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		group := fmt.Sprintf("%s/agent-vault-test-%d", root, os.Getpid())
		if os.Mkdir(group, 0o755) != nil {
			continue
		}
		o.t.Cleanup(func() { os.Remove(group) })
		if file := group + "/cgroup.procs"; os.Chown(file, o.user, o.user) == nil {
			g.Control = file
			return
		}
	}
}

// processes starts the one that is to be left alone.
func (o *outside) processes() {
	o.t.Helper()
	f, err := os.Open(o.targets.Data)
	o.check(err)
	defer f.Close()
	victim := o.command([]string{"SECRET=" + o.targets.Secret}, o.ways, "wait")
	victim.ExtraFiles = []*os.File{f}
	o.targets.Descriptor = 3 // of the victim, and of who tries
	in, err := victim.StdinPipe()
	o.check(err)
	o.check(victim.Start())
	o.t.Cleanup(func() { in.Close(); victim.Wait() })
	o.targets.Victim = victim.Process.Pid
}
