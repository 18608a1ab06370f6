//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

type way struct {
	name string
	try  func() error
}

func ways(t *Targets) (all []way) {
	add := func(name string, try func() error) { all = append(all, way{name, try}) }
	network(t, add)
	sockets(t, add)
	processes(t, add)
	files(t, add)
	kernel(t, add)
	return all
}

func network(t *Targets, add func(string, func() error)) {
	add("TCP to loopback", func() error { return echoed("tcp4", t.TCP4) })
	add("TCP to the machine's address", func() error { return echoed("tcp4", t.LAN) })
	add("TCP over IPv6", func() error { return echoed("tcp6", t.TCP6) })
	add("UDP to loopback", func() error { return echoed("udp4", t.UDP4) })
	add("QUIC", func() error { return echoed("udp4", t.UDPLAN) })
	add("UDP over IPv6", func() error { return echoed("udp6", t.UDP6) })
	add("DNS by UDP", func() error { return looked("udp", t.DNS) })
	add("DNS by TCP", func() error { return looked("tcp", t.DNS) })
	add("HTTP past the proxy by NO_PROXY", func() error {
		tr := &http.Transport{Proxy: nil} // what every client does for a host of NO_PROXY
		resp, err := (&http.Client{Transport: tr}).Get(t.HTTP)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	add("the host's loopback by the proxy", func() error {
		proxy, err := url.Parse(os.Getenv("HTTP_PROXY"))
		if err != nil || proxy.Host == "" {
			_, err := http.Get(t.HTTP) // outside of any vault
			return err
		}
		resp, err := (&http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}).Get(t.HTTP)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = errors.New(resp.Status)
		}
		return err
	})
	for name, s := range map[string][3]int{
		"raw ICMP":          {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP},
		"raw IP":            {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW},
		"packets":           {unix.AF_PACKET, unix.SOCK_RAW, 0},
		"vsock to the host": {unix.AF_VSOCK, unix.SOCK_STREAM, 0},
		"AF_ALG":            {unix.AF_ALG, unix.SOCK_SEQPACKET, 0},
	} {
		add(name, func() error {
			fd, err := unix.Socket(s[0], s[1], s[2])
			if err != nil {
				return err
			}
			return unix.Close(fd)
		})
	}
	add("changing an interface", func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		lo, err := unix.NewIfreq("lo")
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo); err != nil {
			return err
		}
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo) // as it was
	})
	add("an interface of the machine", func() error { // by netlink
		all, err := net.Interfaces()
		for _, i := range all {
			if i.Flags&net.FlagLoopback == 0 {
				return nil
			}
		}
		return errors.Join(err, errors.New("there is none"))
	})
	add("a route", func() error {
		routes, err := os.ReadFile("/proc/net/route")
		if err == nil && bytes.Count(routes, []byte("\n")) < 2 {
			err = errors.New("there is none")
		}
		return err
	})
}

// echoed sends something and wants it back.
func echoed(network, address string) error {
	if address == "" {
		return errors.New("there is no such address")
	}
	c, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	return pingPong(c)
}

func pingPong(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "ping"); err != nil {
		return err
	}
	b := make([]byte, 4)
	_, err := io.ReadFull(c, b)
	return err
}

func looked(network, server string) error {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server)
	}}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := r.LookupHost(ctx, "secret-that-leaks.example.")
	return err
}

func sockets(t *Targets, add func(string, func() error)) {
	for name, address := range map[string]string{
		"unix socket in the home folder": t.HomeSocket, "unix socket in /tmp": t.TmpSocket,
		"unix socket in /run": t.RunSocket, "abstract unix socket": t.Abstract,
	} {
		add(name, func() error { return echoed("unix", address) })
	}
	add("unix datagrams", func() error {
		c, err := net.Dial("unixgram", t.Datagrams)
		if err != nil {
			return err
		}
		_, err = io.WriteString(c, "out")
		return errors.Join(err, c.Close())
	})
}

func processes(t *Targets, add func(string, func() error)) {
	proc := fmt.Sprintf("/proc/%d/", t.Victim)
	add("another process's environment", func() error { return reads(proc+"environ", t.Secret) })
	for _, name := range []string{"mem", "root/etc/hosts", "cwd/.", "fd/3", "ns/net"} {
		add("another process's "+strings.TrimSuffix(name, "/."), func() error {
			f, err := os.Open(proc + name)
			if err != nil {
				return err
			}
			return f.Close()
		})
	}
	add("the first process's environment", func() error {
		if parent := os.Getppid(); parent != 1 { // outside, there are others
			return reads(proc+"environ", "")
		}
		return reads("/proc/1/environ", "")
	})
	add("the first process's descriptors", func() error {
		if parent := os.Getppid(); parent != 1 {
			_, err := os.ReadDir(proc + "fd")
			return err
		}
		_, err := os.ReadDir("/proc/1/fd")
		return err
	})
	add("signal to another process", func() error { return unix.Kill(t.Victim, 0) })
	add("signal to the group of who started it", func() error { return unix.Kill(0, 0) })
	add("the same by a descriptor of a process", func() error {
		fd, err := unix.PidfdOpen(os.Getpid(), 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.PidfdSendSignal(fd, 0, nil, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	})
	add("descriptor of another process", func() error {
		fd, err := unix.PidfdOpen(t.Victim, 0)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	})
	add("ptrace of another process", func() error { return traces(t.Victim) })
	add("ptrace of a child", func() error { return withChild(traces) })
	add("memory of a child", func() error {
		return withChild(func(pid int) error {
			var b [1]byte
			local := []unix.Iovec{{Base: &b[0], Len: 1}}
			_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: 0x400000, Len: 1}}, 0)
			return err
		})
	})
}

// traces becomes a process's tracer, stops it and lets it go.
func traces(pid int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return err
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, unix.WALL, nil); err != nil {
		return err
	}
	return unix.PtraceDetach(pid)
}

func withChild(do func(pid int) error) error {
	cmd := exec.Command("/proc/self/exe", "wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if _, err = io.ReadFull(out, make([]byte, 1)); err == nil { // it runs
		err = do(cmd.Process.Pid)
	}
	_ = in.Close() // the shell may have ended
	return errors.Join(err, cmd.Wait())
}

func reads(path, want string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !bytes.Contains(b, []byte(want)) || len(b) == 0 {
		return errors.New("it is not there")
	}
	return nil
}
