package broker_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"agentvault/broker"
	"agentvault/vault/seal"
)

const egressUser, egressPassword = "vault", "p4ss:word-of-the-proxy"

// An egressProxy is a proxy as companies have them, of one of the three kinds.
// It connects to where route says instead of where it is asked to.
type egressProxy struct {
	net.Listener
	egress broker.Egress
	route  string // "": what was asked for

	mu    sync.Mutex
	asked []string
}

// startEgress runs a proxy that wants a login, if asked to.
func startEgress(t testing.TB, scheme string, login bool, route string) *egressProxy {
	t.Helper()
	p := &egressProxy{route: route}
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	p.Listener = listen()
	at := netip.MustParseAddrPort(p.Addr().String())
	p.egress = broker.Egress{Scheme: scheme, Host: at.Addr().String(), Port: at.Port()}
	if login {
		p.egress.User, p.egress.Password = egressUser, seal.NewPlaintext([]byte(egressPassword))
	}
	if scheme == "https" {
		lender := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1 too
		lender.Close()
		p.egress.Roots = lender.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		p.Listener = tls.NewListener(p.Listener, &tls.Config{Certificates: lender.TLS.Certificates})
	}
	talk := p.talkHTTP
	if scheme == "socks5" {
		talk = p.talkSOCKS
	}
	serveConns(t, p.Listener, func(c net.Conn) { talk(c, login) })
	return p
}

// serveConns accepts until the test ends, and waits for what it started.
func serveConns(t testing.TB, ln net.Listener, talk func(net.Conn)) {
	var all sync.WaitGroup
	var mu sync.Mutex
	open := make(map[net.Conn]bool)
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				talk(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
}

func (p *egressProxy) connect(address string) (net.Conn, error) {
	p.mu.Lock()
	p.asked = append(p.asked, address)
	p.mu.Unlock()
	if p.route != "" {
		address = p.route
	}
	return net.Dial("tcp", address)
}

// wasAsked returns what the proxy was asked for until now, and forgets it.
func (p *egressProxy) wasAsked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked := p.asked
	p.asked = nil
	return asked
}

func (p *egressProxy) talkHTTP(c net.Conn, login bool) {
	br := bufio.NewReader(c)
	r, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	given := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	user, password, _ := given.BasicAuth()
	if login && (user != egressUser || password != egressPassword) {
		io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if r.Method != http.MethodConnect {
		io.WriteString(c, "HTTP/1.1 405 Method Not Allowed\r\n\r\n")
		return
	}
	up, err := p.connect(r.RequestURI)
	if err != nil {
		io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
		return
	}
	io.WriteString(c, "HTTP/1.1 200 Connection established\r\nVia: a proxy\r\n\r\n")
	relay(c, br, up)
}

// talkSOCKS: RFC 1928, RFC 1929.
func (p *egressProxy) talkSOCKS(c net.Conn, login bool) {
	br := bufio.NewReader(c)
	next := func() []byte { // bytes behind their number
		n, _ := br.ReadByte()
		b := make([]byte, n)
		_, _ = io.ReadFull(br, b)
		return b
	}
	_, _ = br.ReadByte()
	offered := next()
	method := byte(0)
	if login {
		method = 2
	}
	if !slices.Contains(offered, method) {
		c.Write([]byte{5, 0xff})
		return
	}
	c.Write([]byte{5, method})
	if login {
		_, _ = br.ReadByte()
		if user, password := next(), next(); string(user) != egressUser || string(password) != egressPassword {
			c.Write([]byte{1, 1})
			return
		}
		c.Write([]byte{1, 0})
	}
	head := make([]byte, 4)
	_, _ = io.ReadFull(br, head)
	var host string
	switch head[3] {
	case 1, 4:
		raw := make([]byte, 4*int(head[3]))
		_, _ = io.ReadFull(br, raw)
		a, _ := netip.AddrFromSlice(raw)
		host = a.String()
	case 3:
		host = string(next())
	}
	port := make([]byte, 2)
	if _, err := io.ReadFull(br, port); err != nil {
		return
	}
	up, err := p.connect(net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(port)))))
	if err != nil {
		c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	relay(c, br, up)
}

func relay(c net.Conn, from io.Reader, up net.Conn) {
	defer up.Close()
	var there sync.WaitGroup
	there.Go(func() {
		_, _ = io.Copy(up, from)
		_ = up.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(c, up)
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		_ = h.CloseWrite()
	}
	there.Wait()
}

// resolver asks a name server that knows these names, and no others.
func resolver(t testing.TB, names map[string][]string) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	t.Cleanup(func() { server.Close(); done.Wait() })
	done.Go(func() {
		query := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(query)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			var m dnsmessage.Message
			if err != nil || m.Unpack(query[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			if reply, err := answerDNS(m, names).Pack(); err == nil {
				_, _ = server.WriteTo(reply, from)
			}
		}
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

func answerDNS(m dnsmessage.Message, names map[string][]string) *dnsmessage.Message {
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	known, ok := names[q.Name.String()]
	if !ok {
		m.RCode = dnsmessage.RCodeNameError
	}
	h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}
	for _, s := range known {
		switch a := netip.MustParseAddr(s); {
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return &m
}

// throughEgress sends one request by way of a proxy, and returns what the vault
// wrote into its log besides.
func throughEgress(t *testing.T, scheme, address string) (*httptest.ResponseRecorder, string) {
	t.Helper()
	var log bytes.Buffer // Serve writes to it before it returns
	at := netip.MustParseAddrPort(address)
	k := newKit(t, echo, func(o *broker.Options) {
		o.Dialer.Egress = &broker.Egress{
			Scheme: scheme, Host: at.Addr().String(), Port: at.Port(),
			User: egressUser, Password: seal.NewPlaintext([]byte(egressPassword)),
		}
		o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	w := k.get(t, "example.com", "/")
	k.Close()
	return w, log.String()
}
