package broker

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"agentvault/policy"
	"agentvault/vault/seal"
)

// An Egress is the proxy by which upstreams are reached, where a network lets
// nothing else out. It carries bytes and is trusted with nothing: TLS is spoken
// with the upstream through it, to the end.
type Egress struct {
	// Scheme is what is spoken with the proxy: "http", "https" (CONNECT, to
	// whatever port) or "socks5". Required.
	Scheme string

	// Host is the proxy's name or address, Port its port. Required. It is
	// usually private and may be; the vault's own listeners and metadata
	// addresses are refused here too.
	Host string
	Port uint16

	// User and Password are for the proxy. "" gives it none.
	User     string
	Password seal.Plaintext

	// Roots verify an https proxy. Nil means the system's.
	Roots *x509.CertPool

	// ByName has the proxy resolve names. The guard then decides on the name,
	// and nothing can be said about the address that the proxy connects to. By
	// default the vault resolves, judges each answer, and asks for the address.
	ByName bool

	// DirectHosts are reached without the proxy: canonical hosts, and
	// "*.example.com" for all names below one. So is what lies in DirectNets,
	// where the vault knows the address. The guard is the usual one.
	DirectHosts []string
	DirectNets  []netip.Prefix
}

// Address returns the proxy's "host:port".
func (e *Egress) Address() string {
	return net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
}

// String returns the proxy's URL without credentials.
func (e *Egress) String() string { return e.Scheme + "://" + e.Address() }

// directly reports whether the host of "host:port" is reached without the proxy.
func (e *Egress) directly(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && slices.ContainsFunc(e.DirectHosts, func(d string) bool {
		below, wild := strings.CutPrefix(d, "*")
		return host == d || wild && strings.HasSuffix(host, below)
	})
}

// minAttempt is what each address of a name gets of the dial's time at least.
const minAttempt = 2 * time.Second

// dialThrough has the egress proxy connect to address, "host:port", or connects
// itself where the address is to be reached directly.
func (d *Dialer) dialThrough(ctx context.Context, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, err
	}
	literal, err := netip.ParseAddr(host)
	if err != nil && d.Egress.ByName {
		if err := checkName(host); err != nil {
			return nil, err
		}
		return d.ask(ctx, address)
	}
	addrs := []netip.Addr{literal}
	if err != nil {
		if addrs, err = d.resolve(ctx, host); err != nil {
			return nil, err
		}
	}
	return d.firstOf(ctx, addrs, uint16(port))
}

// firstOf returns a connection to the first of the addresses that passes the
// guard and can be reached, or what was wrong with the first of them.
func (d *Dialer) firstOf(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	var first error
	for i, addr := range addrs {
		c, err := d.attempt(ctx, netip.AddrPortFrom(addr.Unmap(), port), len(addrs)-i)
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		var e *EgressError
		if errors.As(err, &e) && !e.perhaps {
			return nil, err // it would say the same of every address
		}
	}
	return nil, first
}

// attempt connects to one address, and leaves time for the others.
func (d *Dialer) attempt(ctx context.Context, at netip.AddrPort, left int) (net.Conn, error) {
	if err := d.Check(at.String()); err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, max(time.Until(deadline)/time.Duration(left), minAttempt))
		defer cancel()
	}
	if inAny(d.Egress.DirectNets, at.Addr()) {
		return d.dialDirect(ctx, "tcp", at.String())
	}
	return d.ask(ctx, at.String())
}

func (d *Dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	resolver := d.Resolver
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	addrs, err := resolver.LookupNetIP(ctx, "ip", host)
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Name: host, IsNotFound: true}
	}
	if err != nil {
		return nil, &EgressError{
			Message: "the host's name could not be resolved; where only the egress proxy can, a person can set egress.resolve: proxy",
			cause:   upstreamCause(err).Error(), timeout: isTimeout(err),
		}
	}
	return addrs, nil
}

// ask connects to the egress proxy and has it connect to address, which the
// guard has let pass.
func (d *Dialer) ask(ctx context.Context, address string) (net.Conn, error) {
	dialer := net.Dialer{
		Resolver: d.Resolver,
		ControlContext: func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			return d.checkEgress(resolved)
		},
	}
	c, err := dialer.DialContext(ctx, "tcp", d.Egress.Address())
	if err != nil {
		return nil, egressFailed("the egress proxy cannot be reached; a person can check egress.proxy", err)
	}
	through, err := d.Egress.connect(ctx, c, address)
	if err != nil {
		_ = c.Close() // what went wrong is known
		return nil, err
	}
	return through, nil
}

// checkEgress decides on the address of the egress proxy itself: a person named
// it, so any will do that may be allowed at all.
func (d *Dialer) checkEgress(resolved string) error {
	err := d.Check(resolved)
	var blocked *BlockedError
	if errors.As(err, &blocked) && !blocked.Always {
		return nil
	}
	return err
}

// metadataNames are what clouds call the addresses of metadataAddresses.
var metadataNames = []string{
	"metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal",
	"instance-data", "instance-data.ec2.internal", "metadata.tencentyun.com",
}

// checkName decides on a name whose address the vault does not get to know. It
// returns nil or a *BlockedError.
func checkName(host string) error {
	switch {
	case slices.Contains(metadataNames, host):
		return &BlockedError{Address: host, Reason: "a name of cloud metadata", Always: true}
	case policy.IsLocalName(host), strings.HasSuffix(host, ".internal"):
		return &BlockedError{Address: host, Reason: "a name that means something on one network only", Name: true}
	}
	return nil
}
