package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"agentvault/mitm"
)

// socketVariable tells a child where the unix socket of --proxy-socket is.
const socketVariable = "AGENT_VAULT_PROXY_SOCKET"

// Bounds of a child's own entrance.
const (
	maxOwnConns = 1000             // open at once; more wait to be accepted
	ownDialTime = 10 * time.Second // until the proxy entrance knows whose a connection is
	ownLinger   = time.Minute      // that a program has to close what the proxy entrance has closed
)

// ownFlags say where programs find the proxy entrance that cannot send
// credentials to it.
type ownFlags struct {
	port    ownPort
	jvm     bool   // a port for JVMs alone
	socket  string // path; "": none
	isolate isolateFlags
}

// An ownPort is the port of --proxy-port, or, without a value, one that is free.
type ownPort struct {
	wanted bool
	number uint16 // 0: one that is free
}

func (p *ownPort) Type() string { return "port" }
func (p *ownPort) String() string {
	switch {
	case !p.wanted:
		return ""
	case p.number == 0:
		return freePort
	}
	return strconv.Itoa(int(p.number))
}

// freePort is what --proxy-port means without a value.
const freePort = "any"

func (p *ownPort) Set(s string) error {
	if s == "false" {
		*p = ownPort{}
		return nil
	}
	number, err := strconv.ParseUint(s, 10, 16)
	if s != freePort && (err != nil || number == 0) {
		return errors.New("it is a port, 1 to 65535, as in --proxy-port=14322, or false for none")
	}
	*p = ownPort{true, uint16(number)}
	return nil
}

func (f *ownFlags) add(c *cobra.Command) {
	c.Flags().Var(&f.port, "proxy-port", "let the command, and all else that this user runs, use the proxy by a port of 127.0.0.1 without credentials")
	c.Flags().Lookup("proxy-port").NoOptDefVal = freePort
	c.Flags().StringVar(&f.socket, "proxy-socket", "", "let it use the proxy without credentials by a unix socket at this path, in a folder of this user's alone")
	must(c.MarkFlagFilename("proxy-socket"))
	f.isolate.add(c)
}

// open makes the child's own entrance of what the flags ask for, and puts it
// into the child's environment. end closes it, and cuts what is open.
func (f *ownFlags) open(of *childOf, std stdio) (end func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	end = func() {
		cancel()
		serving.Wait()
	}
	defer func() {
		if err != nil {
			end()
		}
	}()
	own := &ownEntrance{token: of.session.Token, vault: of.vault, std: std}
	if own.proxy, err = url.Parse(of.session.MITMURL); err != nil || own.proxy.Host == "" {
		return end, fmt.Errorf("the server gave no usable proxy address: %q", of.session.MITMURL)
	}
	if of.isolation, err = f.isolate.open(of, own, f.port.number); err != nil || of.isolation != nil {
		return end, err // its port is inside
	}
	if f.port.wanted || f.jvm {
		ln, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", f.port.number))
		switch {
		case err == nil:
			of.jvmPort = "http://" + ln.Addr().String()
			serving.Go(func() { own.serve(ctx, ln, sameUser) })
		case f.port.wanted:
			return end, fmt.Errorf("--proxy-port: %w", err)
		} // where there is no loopback, a JVM is told so by the proxy entrance
		if f.port.wanted {
			of.ownPort = of.jvmPort
		}
	}
	if f.socket != "" {
		path, err := filepath.Abs(f.socket) // the child may go to another folder
		if err != nil {
			return end, fmt.Errorf("--proxy-socket: %w", err)
		}
		ln, err := listenPrivately(path, "a folder of mode 0700 that is yours, such as ~/.agent-vault/proxy.sock")
		if err != nil {
			return end, fmt.Errorf("--proxy-socket: %w", err)
		}
		of.ownSocket = path
		serving.Go(func() { own.serve(ctx, ln, nil) }) // nobody else gets to the socket
	}
	return end, nil
}

// An ownEntrance carries connections to the proxy entrance as one session's. It
// adds the credentials in front of what they say, and reads nothing of it.
type ownEntrance struct {
	proxy        *url.URL
	raw          bool // it is not the proxy entrance, and connections are passed on as they are
	token, vault string
	std          stdio
	refused      sync.Once // said
	unreachable  sync.Once // likewise
}

// serve carries what comes to ln until ctx ends, and then cuts it. The error of
// allowed is why a connection is not let in; nil lets in all.
func (o *ownEntrance) serve(ctx context.Context, ln net.Listener, allowed func(net.Conn) error) {
	var running sync.WaitGroup
	defer running.Wait()
	defer context.AfterFunc(ctx, func() { _ = ln.Close() })() // it has no last words
	places := make(chan struct{}, maxOwnConns)
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, most likely
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			_ = c.Close()
			return
		}
		running.Go(func() {
			defer func() { <-places }()
			defer c.Close()
			if allowed != nil {
				if err := allowed(c); err != nil {
					o.refused.Do(func() { o.say("a connection to the port for programs without credentials was refused: " + err.Error()) })
					return
				}
			}
			o.carry(ctx, c)
		})
	}
}

func (o *ownEntrance) carry(ctx context.Context, c net.Conn) {
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	server, err := o.dial(ctx)
	if err != nil {
		if ctx.Err() == nil {
			o.unreachable.Do(func() { o.say(o.name() + " at " + o.proxy.Host + " cannot be used: " + err.Error()) })
		}
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	var there sync.WaitGroup
	there.Go(func() { pass(server, c) })
	pass(c, server)
	_ = c.SetReadDeadline(time.Now().Add(ownLinger)) // of a closed connection, which is what it is for
	there.Wait()
}

// dial returns a connection that is the session's.
func (o *ownEntrance) dial(ctx context.Context) (c net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, ownDialTime)
	defer cancel()
	at := net.JoinHostPort(o.proxy.Hostname(), portOf(o.proxy))
	if o.raw || o.proxy.Scheme != "https" {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", at)
	} else {
		c, err = new(tls.Dialer).DialContext(ctx, "tcp", at)
	}
	if err != nil || o.raw {
		return c, err
	}
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if err := mitm.Bind(c, o.token, o.vault); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// pass copies one way. An end is passed on as one; anything else ends both.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if h, ok := to.(interface{ CloseWrite() error }); err == nil && ok && h.CloseWrite() == nil {
		return
	}
	_ = to.Close()   // the other way ends by it
	_ = from.Close() // likewise
}

// portOf is the port of a URL, its scheme's where it names none.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

func (o *ownEntrance) name() string {
	if o.raw {
		return "the server"
	}
	return "the proxy entrance"
}

func (o *ownEntrance) say(line string) { fmt.Fprintf(o.std.err, "agent-vault: %s\n", plain(line)) }
