package broker_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"agentvault/broker"
)

// The truth checked: what the guard lets through is on the public internet, or
// was allowed by a person, and is never metadata or the vault itself.
func TestDialGuard(t *testing.T) {
	plain := &broker.Dialer{}
	allowing := &broker.Dialer{
		Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
		Own:   func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:14321")} },
	}
	everywhere := &broker.Dialer{
		Allow: allowing.Allow,
		Own:   func() []netip.AddrPort { return []netip.AddrPort{netip.MustParseAddrPort("[::]:14322")} },
	}
	rows := []struct {
		d    *broker.Dialer
		addr string
		ok   bool
	}{
		{plain, "93.184.216.34:443", true},
		{plain, "[2606:2800:220:1:248:1893:25c8:1946]:443", true},
		{plain, "[64:ff9b::5db8:d822]:443", true}, // NAT64 of a public address
		{plain, "0.0.0.0:443", false},
		{plain, "10.0.0.1:443", false},
		{plain, "100.64.0.1:443", false},
		{plain, "127.0.0.1:443", false},
		{plain, "127.255.255.254:443", false},
		{plain, "169.254.1.1:443", false},
		{plain, "172.16.0.1:443", false},
		{plain, "172.31.255.255:443", false},
		{plain, "172.32.0.1:443", true},
		{plain, "192.0.0.1:443", false},
		{plain, "192.0.2.1:443", false},
		{plain, "192.88.99.1:443", false},
		{plain, "192.168.1.1:443", false},
		{plain, "198.18.0.1:443", false},
		{plain, "198.51.100.1:443", false},
		{plain, "203.0.113.1:443", false},
		{plain, "224.0.0.1:443", false},
		{plain, "240.0.0.1:443", false},
		{plain, "255.255.255.255:443", false},
		{plain, "168.63.129.16:443", false}, // Azure's wire server has a public address
		{plain, "[::]:443", false},
		{plain, "[::1]:443", false},
		{plain, "[::ffff:10.0.0.1]:443", false},
		{plain, "[::ffff:93.184.216.34]:443", true},
		{plain, "[::10.0.0.1]:443", false},          // compatible
		{plain, "[64:ff9b::a00:1]:443", false},      // NAT64 of 10.0.0.1
		{plain, "[64:ff9b:1::a00:1]:443", false},    // local NAT64
		{plain, "[2002:a00:1::1]:443", false},       // 6to4
		{plain, "[2002:5db8:d822::1]:443", false},   // 6to4 is special-purpose altogether
		{plain, "[2001:0:5db8:d822::1]:443", false}, // Teredo likewise
		{plain, "[fc00::1]:443", false},
		{plain, "[fd12:3456::1]:443", false},
		{plain, "[fe80::1]:443", false},
		{plain, "[fe80::1%lo]:443", false},
		{plain, "[fec0::1]:443", false},
		{plain, "[ff02::1]:443", false},
		{plain, "[2001:db8::1]:443", false},
		{plain, "[3fff::1]:443", false},
		{plain, "[4000::1]:443", false},
		{plain, "nonsense", false},
		{plain, "", false},
		{allowing, "10.0.0.1:443", true},
		{allowing, "127.0.0.1:443", true},
		{allowing, "[::1]:443", true},
		{allowing, "127.0.0.1:14321", false},
		{allowing, "[::ffff:127.0.0.1]:14321", false},
		{allowing, "[::1]:14321", false},
		{allowing, "169.254.169.254:80", false},
		{allowing, "[::ffff:169.254.169.254]:80", false},
		{allowing, "[64:ff9b::a9fe:a9fe]:80", false},
		{allowing, "[2002:a9fe:a9fe::]:80", false},
		{allowing, "100.100.100.200:80", false},
		{allowing, "[fd00:ec2::254]:80", false},
		{allowing, "168.63.129.16:80", false},
		{allowing, "[fe80::1%lo]:443", false},
		{everywhere, "127.0.0.1:14322", false},
		{everywhere, "[::]:14322", false},
		{everywhere, "127.0.0.1:443", true},
	}
	for _, r := range rows {
		err := r.d.Check(r.addr)
		if (err == nil) != r.ok {
			t.Errorf("Check(%q) = %v, want ok=%v", r.addr, err, r.ok)
		}
		var b *broker.BlockedError
		if err != nil && !errors.As(err, &b) {
			t.Errorf("Check(%q) = %T", r.addr, err)
		}
	}
}

// A name is judged by the address that it leads to, at the moment of the
// connect.
func TestDialGuardAfterDNS(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	port := netip.MustParseAddrPort(ln.Addr().String()).Port()
	d := &broker.Dialer{Hosts: map[string]broker.HostAddress{"looks.public.example": {Addr: netip.MustParseAddr("127.0.0.1"), Port: port}}}
	var b *broker.BlockedError
	if c, err := d.DialContext(t.Context(), "tcp", "looks.public.example:443"); !errors.As(err, &b) {
		t.Errorf("dial: %v %v, want blocked", c, err)
	}
	d.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	c, err := d.DialContext(t.Context(), "tcp", "looks.public.example:443")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func FuzzDialGuard(f *testing.F) {
	f.Add([]byte{10, 0, 0, 1}, uint16(443))
	f.Add([]byte{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 127, 0, 0, 1}, uint16(80))
	d := &broker.Dialer{}
	f.Fuzz(func(t *testing.T, raw []byte, port uint16) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		if d.Check(netip.AddrPortFrom(addr, port).String()) != nil {
			return
		}
		// An independent reading of "public": the standard library's predicates.
		u := addr.Unmap()
		if u.IsPrivate() || u.IsLoopback() || u.IsLinkLocalUnicast() || u.IsMulticast() || u.IsUnspecified() || !u.IsGlobalUnicast() {
			t.Errorf("%s was let through", addr)
		}
	})
}
