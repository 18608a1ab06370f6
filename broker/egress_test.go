package broker_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"agentvault/broker"
)

var egressSchemes = []string{"http", "https", "socks5"}

// The truth checked: through each kind of proxy, with and without a login, the
// request arrives, with TLS between vault and upstream from end to end, and the
// proxy was asked for the address that the vault has judged, or for the name
// where it is to resolve.
func TestEgress(t *testing.T) {
	for _, scheme := range egressSchemes {
		for _, login := range []bool{false, true} {
			for _, byName := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s login=%v name=%v", scheme, login, byName), func(t *testing.T) {
					var p *egressProxy
					k := newKit(t, echo, func(o *broker.Options) {
						at := o.Dialer.Hosts["example.com"]
						p = startEgress(t, scheme, login, netip.AddrPortFrom(at.Addr, at.Port).String())
						e := p.egress
						e.ByName = byName
						o.Dialer = broker.Dialer{Egress: &e, Resolver: resolver(t, map[string][]string{"example.com.": {"93.184.216.34"}, "broken.example.com.": {"93.184.216.35"}})}
					})
					for range 3 {
						if w := k.get(t, "example.com", "/x"); w.Code != 200 || w.Body.String() != "/x Bearer "+stars() {
							t.Errorf("%d %s", w.Code, w.Body)
						}
					}
					want := "93.184.216.34:443"
					if byName {
						want = "example.com:443"
					}
					if asked := p.wasAsked(); !slices.Equal(asked, []string{want}) { // and the connection was used again
						t.Errorf("the proxy was asked for %q, want %q once", asked, want)
					}
				})
			}
		}
	}
}

// A proxy that leads elsewhere gets no request: who is at the other end is
// verified as ever.
func TestEgressThatLeadsElsewhere(t *testing.T) {
	elsewhere := newKit(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request came") }), nil)
	for _, scheme := range egressSchemes {
		k := newKit(t, echo, func(o *broker.Options) {
			p := startEgress(t, scheme, false, elsewhere.upstream.Listener.Addr().String())
			o.Dialer.Egress = &p.egress
			o.Roots = nil
		})
		if w := k.get(t, "example.com", "/"); code(t, w) != broker.CodeUpstreamTLS {
			t.Errorf("%s: %d %s", scheme, w.Code, w.Body)
		}
	}
}

// TestEgressGuard: what the guard decides on stays decided where a proxy is
// asked for it, and the proxy is asked for nothing that was refused.
func TestEgressGuard(t *testing.T) {
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveConns(t, upstream, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	at := netip.MustParseAddrPort(upstream.Addr().String())
	names := resolver(t, map[string][]string{
		"public.example.com.":   {"93.184.216.34"},
		"six.example.com.":      {"2606:2800:220:1:248:1893:25c8:1946"},
		"private.example.com.":  {"10.0.0.1"},
		"metadata.example.com.": {"169.254.169.254"},
		"both.example.com.":     {"10.0.0.1", "93.184.216.34"},
		"own.example.com.":      {"127.0.0.1"},
		"mapped.example.com.":   {"::ffff:10.0.0.1"},
		"direct.example.com.":   {"127.0.0.1"},
	})
	port := func(s string) string { return fmt.Sprintf("%s:%d", s, at.Port()) }
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	blocked, direct := "blocked", "direct"
	for _, r := range []struct {
		address, byVault, byName string // what the proxy is asked for, in either mode
		change                   func(*broker.Dialer)
	}{
		{"public.example.com:443", "93.184.216.34:443", "public.example.com:443", nil},
		{"six.example.com:443", "[2606:2800:220:1:248:1893:25c8:1946]:443", "six.example.com:443", nil},
		{"both.example.com:443", "93.184.216.34:443", "both.example.com:443", nil},
		{"93.184.216.34:443", "93.184.216.34:443", "93.184.216.34:443", nil},
		// What only the vault can know.
		{"private.example.com:443", blocked, "private.example.com:443", nil},
		{"metadata.example.com:80", blocked, "metadata.example.com:80", nil},
		{"mapped.example.com:443", blocked, "mapped.example.com:443", nil},
		{"own.example.com:14322", blocked, "own.example.com:14322", func(d *broker.Dialer) { d.Allow = loopback }},
		// What both can.
		{"10.0.0.1:443", blocked, blocked, nil},
		{"127.0.0.1:14322", blocked, blocked, func(d *broker.Dialer) { d.Allow = loopback }},
		{"169.254.169.254:80", blocked, blocked, func(d *broker.Dialer) { d.Allow = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }},
		{"10.0.0.1:443", "10.0.0.1:443", "10.0.0.1:443", func(d *broker.Dialer) { d.Allow = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }},
		// Names that mean something else where the proxy is.
		{"localhost:443", "", blocked, nil},
		{"db:5432", "", blocked, nil},
		{"printer.local:443", "", blocked, nil},
		{"nas.home.arpa:443", "", blocked, nil},
		{"api.corp.internal:443", "", blocked, nil},
		{"metadata:80", "", blocked, nil},
		{"metadata.google.internal:80", "", blocked, nil},
		{"metadata.goog:80", "", blocked, nil},
		{"instance-data.ec2.internal:80", "", blocked, nil},
		// upstream.hosts says an address, so it is known.
		{"db:443", "93.184.216.34:8443", "93.184.216.34:8443", func(d *broker.Dialer) {
			d.Hosts = map[string]broker.HostAddress{"db": {Addr: netip.MustParseAddr("93.184.216.34"), Port: 8443}}
		}},
		{"public.example.com:443", blocked, blocked, func(d *broker.Dialer) {
			d.Hosts = map[string]broker.HostAddress{"public.example.com": {Addr: netip.MustParseAddr("10.0.0.1")}}
		}},
		// Without the proxy, and with the guard.
		{port("direct.example.com"), direct, direct, func(d *broker.Dialer) { d.Egress.DirectHosts, d.Allow = []string{"direct.example.com"}, loopback }},
		{port("direct.example.com"), direct, direct, func(d *broker.Dialer) { d.Egress.DirectHosts, d.Allow = []string{"*.example.com"}, loopback }},
		{port("direct.example.com"), blocked, blocked, func(d *broker.Dialer) { d.Egress.DirectHosts = []string{"direct.example.com"} }},
		{"public.example.com:443", "93.184.216.34:443", "public.example.com:443", func(d *broker.Dialer) {
			d.Egress.DirectHosts = []string{"*.public.example.com", "ublic.example.com", "*.com.example"}
		}},
		{port("direct.example.com"), direct, port("direct.example.com"), func(d *broker.Dialer) { d.Egress.DirectNets, d.Allow = loopback, loopback }},
		{port("127.0.0.1"), direct, direct, func(d *broker.Dialer) { d.Egress.DirectNets, d.Allow = loopback, loopback }},
		{port("127.0.0.1"), blocked, blocked, func(d *broker.Dialer) { d.Egress.DirectNets = loopback }},
	} {
		for i, want := range []string{r.byVault, r.byName} {
			if want == "" {
				continue
			}
			p := startEgress(t, "http", false, upstream.Addr().String())
			p.egress.ByName = i == 1
			d := &broker.Dialer{Egress: &p.egress, Resolver: names, Own: func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:14322")} }}
			if r.change != nil {
				r.change(d)
			}
			c, err := d.DialContext(t.Context(), "tcp", r.address)
			if c != nil {
				c.Close()
			}
			got := strings.Join(p.wasAsked(), " ")
			var b *broker.BlockedError
			switch {
			case errors.As(err, &b) && got == "":
				got = blocked
			case err == nil && got == "":
				got = direct
			case err != nil:
				got += " " + err.Error()
			}
			if got != want {
				t.Errorf("%s, resolved by name=%v: %s, want %s", r.address, p.egress.ByName, got, want)
			}
		}
	}
}

// The proxy's own address may be private, but is never the vault itself or
// metadata.
func TestEgressItself(t *testing.T) {
	trap, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveConns(t, trap, func(net.Conn) { t.Error("the vault's own listener was reached") })
	own := netip.MustParseAddrPort(trap.Addr().String())
	for _, host := range []string{"127.0.0.1", "169.254.169.254", "metadata.example.com"} {
		d := &broker.Dialer{
			Egress:   &broker.Egress{Scheme: "http", Host: host, Port: own.Port()},
			Own:      func() []netip.AddrPort { return []netip.AddrPort{own} },
			Resolver: resolver(t, map[string][]string{"metadata.example.com.": {"169.254.169.254"}}),
		}
		c, err := d.DialContext(t.Context(), "tcp", "93.184.216.34:443")
		var e *broker.EgressError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), " is ") {
			t.Errorf("%s: %v %v, want a refusal", host, c, err)
		}
	}
}

// TestEgressFaults: what the proxy refuses or breaks is a fault that says so,
// and none of the proxy's bytes come to an agent or into the log (R11, R17).
func TestEgressFaults(t *testing.T) {
	const noise = "made-by-the-proxy"
	say := func(s string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, s)
		}
	}
	socks := func(replies ...[]byte) func(net.Conn) {
		return func(c net.Conn) {
			for _, b := range replies {
				_, _ = c.Read(make([]byte, 512))
				_, _ = c.Write(b)
			}
			_, _ = c.Read(make([]byte, 512))
		}
	}
	reply := func(n byte) func(net.Conn) { return socks([]byte{5, 0}, []byte{5, n, 0, 1, 0, 0, 0, 0, 0, 0}) }
	const (
		noProxy    = "the egress proxy does not answer as a proxy does"
		noLogin    = "the egress proxy asks for credentials"
		notAllowed = "the egress proxy does not allow this host"
		noHost     = "the egress proxy could not reach the host"
	)
	for _, r := range []struct {
		name, scheme string
		talk         func(net.Conn)
		message      string
	}{
		{"407", "http", say("HTTP/1.1 407 " + noise + "\r\nX-A: " + noise + "\r\n\r\n" + noise), noLogin},
		{"401", "http", say("HTTP/1.1 401 " + noise + "\r\n\r\n"), noLogin},
		{"403", "http", say("HTTP/1.1 403 " + noise + "\r\nContent-Length: 17\r\n\r\n" + noise), notAllowed},
		{"502", "http", say("HTTP/1.0 502 " + noise + "\r\n\r\n"), noHost},
		{"503", "http", say("HTTP/1.1 503 " + noise + "\r\n\r\n"), noHost},
		{"504", "http", say("HTTP/1.1 504 " + noise + "\r\n\r\n"), noHost},
		{"302", "http", say("HTTP/1.1 302 Found\r\nLocation: http://" + noise + "/\r\n\r\n"), noProxy},
		{"100", "http", say("HTTP/1.1 100 Continue\r\n\r\n"), noProxy},
		{"garbage", "http", say(noise + "\r\n\r\n"), noProxy},
		{"half a line", "http", say("HTTP/1.1 2"), noProxy},
		{"half a header", "http", say("HTTP/1.1 200 OK\r\nX-A: " + noise), noProxy},
		{"a long header", "http", say("HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n"), noProxy},
		{"a header without end", "http", func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for err := error(nil); err == nil; _, err = io.WriteString(c, "X-A: "+noise+"\r\n") {
			}
		}, noProxy},
		{"hangs up", "http", func(net.Conn) {}, noProxy},
		{"200, then hangs up", "http", say("HTTP/1.1 200 OK\r\n\r\n"), "the upstream broke the connection off, or its answer cannot be understood"},
		{"no TLS", "https", say("HTTP/1.1 400 " + noise + "\r\n\r\n"), "there is no verified TLS connection to the egress proxy"},
		{"hangs up before TLS", "https", func(net.Conn) {}, "there is no verified TLS connection to the egress proxy"},
		{"SOCKS wants a login", "socks5", socks([]byte{5, 0xff}), noLogin},
		{"SOCKS takes no such login", "socks5", socks([]byte{5, 2}, []byte{1, 1}), noLogin},
		{"SOCKS 1", "socks5", reply(1), noHost},
		{"SOCKS 2", "socks5", reply(2), notAllowed},
		{"SOCKS 3", "socks5", reply(3), noHost},
		{"SOCKS 4", "socks5", reply(4), noHost},
		{"SOCKS 5", "socks5", reply(5), noHost},
		{"SOCKS 6", "socks5", reply(6), noHost},
		{"SOCKS 7", "socks5", reply(7), noProxy},
		{"SOCKS 8", "socks5", reply(8), noHost},
		{"SOCKS 200", "socks5", reply(200), noProxy},
		{"SOCKS of another version", "socks5", socks([]byte{4, 0}), noProxy},
		{"SOCKS that is HTTP", "socks5", say("HTTP/1.1 400 " + noise + "\r\n\r\n"), noProxy},
		{"SOCKS hangs up", "socks5", func(net.Conn) {}, noProxy},
	} {
		t.Run(r.name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			serveConns(t, ln, r.talk)
			w, log := throughEgress(t, r.scheme, ln.Addr().String())
			if code(t, w) != broker.CodeUpstreamError || !strings.Contains(w.Body.String(), r.message) {
				t.Errorf("%d %s, want %q", w.Code, w.Body, r.message)
			}
			for where, text := range map[string]string{"answer": w.Body.String(), "log": log} {
				if strings.Contains(text, noise) || strings.Contains(text, "password-of") {
					t.Errorf("%s: %s", where, text)
				}
			}
			if !strings.Contains(log, "egress: ") && !strings.HasPrefix(r.name, "200") {
				t.Errorf("the log does not say that it was the proxy: %s", log)
			}
		})
	}
	t.Run("down", func(t *testing.T) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln.Close()
		if w, log := throughEgress(t, "http", ln.Addr().String()); code(t, w) != broker.CodeUpstreamError ||
			!strings.Contains(w.Body.String(), "the egress proxy cannot be reached") || !strings.Contains(log, "connection refused") {
			t.Errorf("%d %s\n%s", w.Code, w.Body, log)
		}
	})
}
