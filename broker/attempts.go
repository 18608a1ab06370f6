package broker

import (
	"context"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// maxAddresses bounds how many addresses' failures are counted at once. Of more,
// those that fail least are forgotten.
const maxAddresses = 10_000

// attempts counts the tokens that were refused, by the address that they came
// from. It answers nothing but failures, so who has a valid token is not slowed
// by what others do at the same address. Nor is who presents none: clients that
// send their credentials only when they were asked (git, Java, libcurl) begin so.
type attempts struct {
	perMinute int // 0: no limit
	failed    *otter.Cache[netip.Prefix, *rate.Limiter]
}

func newAttempts(perMinute int) *attempts {
	return &attempts{perMinute: perMinute, failed: otter.Must(&otter.Options[netip.Prefix, *rate.Limiter]{
		MaximumSize: maxAddresses, // no expiry: that would take a goroutine
	})}
}

// failure counts one and reports how long the address has to wait, 0 if it may
// go on.
func (a *attempts) failure(from netip.Prefix, now time.Time) time.Duration {
	each := time.Minute / time.Duration(a.perMinute)
	l, err := a.failed.Get(context.Background(), from, otter.LoaderFunc[netip.Prefix, *rate.Limiter](func(context.Context, netip.Prefix) (*rate.Limiter, error) {
		return rate.NewLimiter(rate.Every(each), a.perMinute), nil
	}))
	if err != nil { // the loader has none
		return each
	}
	if l.AllowN(now, 1) {
		return 0
	}
	return time.Duration(math.Ceil((1 - l.TokensAt(now)) * float64(each)))
}

// Slowed makes rate_limited of the fault of a token that was refused, when its
// address has presented too many of them. Every other fault, and nil, it returns
// as it is. The address is net/http's RemoteAddr.
func (b *Broker) Slowed(id Identity, remoteAddr string, f *Fault) *Fault {
	if f == nil || f.Code != CodeUnauthorized || !id.presented || b.attempts.perMinute <= 0 {
		return f
	}
	wait := b.attempts.failure(network(remoteAddr), b.now())
	if wait == 0 {
		return f
	}
	f = NewFault(CodeRateLimited)
	f.Message = "too many tokens that are not valid came from this address; wait a little, and ask for a new session"
	f.RetryAfter = wait
	return f
}

// Known returns the fault with which whoever presents the identity, from that
// address, is no one that the vault knows: unauthorized, or rate_limited as
// [Broker.Slowed] has it. Nil says nothing of what they may do.
func (b *Broker) Known(id Identity, remoteAddr string) *Fault {
	now := b.now()
	view, f := b.current(now)
	if f != nil {
		return nil // whatever they ask for is answered with that
	}
	if _, _, f = view.admit(id, now); f == nil || f.Code != CodeUnauthorized {
		return nil
	}
	return b.Slowed(id, remoteAddr, f)
}

// network is whom an address is counted as: itself, or the /64 that one host of
// IPv6 can choose its addresses from.
func network(remoteAddr string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		host, _, _ := net.SplitHostPort(remoteAddr)
		addr, _ := netip.ParseAddr(host)
		ap = netip.AddrPortFrom(addr, 0)
	}
	addr := ap.Addr().Unmap().WithZone("")
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits) // of no address, no prefix: all of them count as one
	return p
}
