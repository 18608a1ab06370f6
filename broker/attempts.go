package broker

import (
	"container/list"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxAddresses bounds how many addresses' failures are counted at once. Of more,
// those that have not failed for the longest are forgotten.
const maxAddresses = 10_000

// attempts counts the tokens that were refused, by the address that they came
// from. It answers nothing but failures, so who has a valid token is not slowed
// by what others do at the same address. Nor is who presents none: clients that
// send their credentials only when they were asked (git, Java, libcurl) begin so.
type attempts struct {
	perMinute int // 0: no limit

	mu     sync.Mutex
	failed map[netip.Prefix]*list.Element // of order
	order  list.List                      // of *attempter, the longest without a failure first
}

type attempter struct {
	from netip.Prefix
	*rate.Limiter
}

func newAttempts(perMinute int) *attempts {
	return &attempts{perMinute: perMinute, failed: make(map[netip.Prefix]*list.Element)}
}

// failure counts one and reports how long the address has to wait, 0 if it may
// go on.
func (a *attempts) failure(from netip.Prefix, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	each := time.Minute / time.Duration(a.perMinute)
	el := a.failed[from]
	if el == nil {
		if a.order.Len() >= maxAddresses {
			oldest := a.order.Front()
			delete(a.failed, a.order.Remove(oldest).(*attempter).from)
		}
		el = a.order.PushBack(&attempter{from, rate.NewLimiter(rate.Every(each), a.perMinute)})
		a.failed[from] = el
	}
	a.order.MoveToBack(el)
	l := el.Value.(*attempter)
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
