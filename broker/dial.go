package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// A Dialer connects to upstreams. It decides on the address of each connect,
// after DNS (SECURITY.md R5): private, local, special-purpose and metadata
// addresses and the vault's own listeners are refused.
type Dialer struct {
	// Hosts answers names before DNS does, like a hosts file. A value is an
	// address, or an address with a port that takes the place of the target's.
	// The answer passes the guard like any other. May be nil.
	Hosts map[string]HostAddress

	// Allow lists networks that the guard lets through. Metadata addresses and
	// the vault's own listeners stay refused.
	Allow []netip.Prefix

	// Own returns the vault's own listeners. Nil means none.
	Own func() []netip.AddrPort

	// Resolver is used instead of the system's when not nil.
	Resolver *net.Resolver

	// Egress is the proxy by which upstreams are reached. Nil means none.
	Egress *Egress
}

// A HostAddress is where a name of [Dialer.Hosts] is found.
type HostAddress struct {
	Addr netip.Addr
	Port uint16 // 0: the target's
}

// A BlockedError says that the guard refused an address.
type BlockedError struct {
	Address string
	Reason  string
	Always  bool // no configuration allows it
	Name    bool // Address is a name: the egress proxy would resolve it
}

func (e *BlockedError) Error() string { return "address " + e.Address + " is " + e.Reason }

const dialTimeout = 5 * time.Second

// DialContext connects to address, "host:port". The error has a *BlockedError
// in its chain when the guard refused, and an *EgressError when the egress proxy
// gave no connection.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	through := d.Egress != nil && !d.Egress.directly(address)
	if len(d.Hosts) > 0 {
		address = d.lookup(address)
	}
	if through {
		return d.dialThrough(ctx, address)
	}
	return d.dialDirect(ctx, network, address)
}

func (d *Dialer) dialDirect(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:  dialTimeout,
		Resolver: d.Resolver,
		ControlContext: func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			return d.Check(resolved)
		},
	}
	return dialer.DialContext(ctx, network, address)
}

func (d *Dialer) lookup(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	to, ok := d.Hosts[host]
	if !ok {
		return address
	}
	if to.Port != 0 {
		return netip.AddrPortFrom(to.Addr, to.Port).String()
	}
	return net.JoinHostPort(to.Addr.String(), port)
}

// Check decides on one resolved "ip:port". It returns nil or a *BlockedError;
// what does not parse is refused.
func (d *Dialer) Check(resolved string) error {
	ap, err := netip.ParseAddrPort(resolved)
	if err != nil {
		return &BlockedError{Address: "?", Reason: "not an address", Always: true}
	}
	addr := ap.Addr()
	never := func(reason string) error {
		return &BlockedError{Address: addr.String(), Reason: reason, Always: true}
	}
	if addr.Zone() != "" {
		return never("an address with a zone")
	}
	if d.isOwn(addr.Unmap(), ap.Port()) {
		return never("the vault's own listener")
	}
	// An address is judged by what it is and by every IPv4 address inside it.
	forms := append(embeddedIPv4(addr), addr)
	for _, form := range forms {
		if inAny(metadataAddresses, form) {
			return never("a cloud metadata address")
		}
	}
	for _, form := range forms {
		if inAny(d.Allow, form) {
			return nil
		}
	}
	for _, form := range forms {
		if isSpecial(form) {
			return &BlockedError{Address: addr.String(), Reason: "not a public address"}
		}
	}
	return nil
}

func (d *Dialer) isOwn(addr netip.Addr, port uint16) bool {
	if d.Own == nil {
		return false
	}
	for _, own := range d.Own() {
		if own.Port() != port {
			continue
		}
		// A listener on all addresses is reached by every address of this machine;
		// which those are can change, so on its port every local one is refused.
		if own.Addr() == addr || addr.IsLoopback() || addr.IsUnspecified() ||
			own.Addr().IsUnspecified() && isInterfaceAddress(addr) {
			return true
		}
	}
	return false
}

func isInterfaceAddress(addr netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == addr {
			return true
		}
	}
	return false
}

// embeddedIPv4 takes IPv4 addresses out of the IPv6 forms that carry one:
// mapped and compatible (RFC 4291 §2.5.5), NAT64 (RFC 6052 §2.1), 6to4
// (RFC 3056 §2), Teredo (RFC 4380 §4).
func embeddedIPv4(addr netip.Addr) []netip.Addr {
	if !addr.Is6() {
		return nil
	}
	b := addr.As16()
	at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	switch {
	case addr.Is4In6(), prefixCompatible.Contains(addr) && !addr.IsLoopback() && !addr.IsUnspecified(), prefixNAT64.Contains(addr):
		return []netip.Addr{at(12)}
	case prefix6to4.Contains(addr):
		return []netip.Addr{at(2)}
	case prefixTeredo.Contains(addr):
		client := netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]})
		return []netip.Addr{at(4), client}
	}
	return nil
}

var (
	prefixCompatible = netip.MustParsePrefix("::/96")
	prefixNAT64      = netip.MustParsePrefix("64:ff9b::/96")
	prefix6to4       = netip.MustParsePrefix("2002::/16")
	prefixTeredo     = netip.MustParsePrefix("2001::/32")
	prefixGlobal6    = netip.MustParsePrefix("2000::/3") // the only unicast space that IANA assigns

	// IANA IPv4 and IPv6 Special-Purpose Address Registries, plus multicast,
	// class E and the deprecated site-local range.
	specialRanges = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
		"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
		"192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
		"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
	)

	// Where clouds hand credentials to whoever asks: AWS, Azure, Google Cloud,
	// DigitalOcean and others (169.254.169.254), AWS ECS and EKS, Alibaba,
	// Oracle, Azure's wire server, Tencent, Scaleway.
	metadataAddresses = prefixes(
		"169.254.169.254/32", "169.254.170.2/32", "169.254.170.23/32", "fd00:ec2::254/128",
		"fd00:ec2::23/128", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.192/32",
		"168.63.129.16/32", "169.254.0.23/32", "169.254.42.42/32", "fd00:42::42/128",
	)
)

func isSpecial(addr netip.Addr) bool {
	if inAny(specialRanges, addr) {
		return true
	}
	// Mapped and NAT64 forms are judged by the IPv4 address inside; whatever
	// else lies outside of 2000::/3 is not a place on the public internet.
	return addr.Is6() && !addr.Is4In6() && !prefixNAT64.Contains(addr) && !prefixGlobal6.Contains(addr)
}

func inAny(ranges []netip.Prefix, addr netip.Addr) bool {
	for _, p := range ranges {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

func prefixes(list ...string) []netip.Prefix {
	ps := make([]netip.Prefix, len(list))
	for i, s := range list {
		ps[i] = netip.MustParsePrefix(s)
	}
	return ps
}

// ParseHostAddress reads a value of [Dialer.Hosts]: "127.0.0.1",
// "127.0.0.1:8443", "::1" or "[::1]:8443".
func ParseHostAddress(s string) (HostAddress, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return HostAddress{Addr: a}, nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil || ap.Addr().Zone() != "" || ap.Port() == 0 {
		return HostAddress{}, fmt.Errorf("%q is not an IP address, nor one with a port", s)
	}
	return HostAddress{Addr: ap.Addr(), Port: ap.Port()}, nil
}

func isBlocked(err error) bool {
	var b *BlockedError
	return errors.As(err, &b)
}
