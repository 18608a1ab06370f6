package main

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

func (i *instance) baseOfListener() string  { return "http://" + reachable(i.apiAddr) }
func (i *instance) proxyOfListener() string { return "http://" + reachable(i.mitmAddr) }
func (i *instance) pathProxyURL() string    { return i.baseURL() + "/proxy" }

func (i *instance) baseURL() string {
	if i.cfg.BaseURL != "" {
		return i.cfg.BaseURL
	}
	return i.baseOfListener()
}

// mitmURL is where agents find the proxy entrance. One that listens on all
// addresses is found under the name that the API has.
func (i *instance) mitmURL() string {
	base, err := url.Parse(i.cfg.BaseURL)
	at, ok := i.mitmAddr.(*net.TCPAddr)
	if err != nil || base.Host == "" || !ok || !at.IP.IsUnspecified() {
		return i.proxyOfListener()
	}
	return "http://" + net.JoinHostPort(base.Hostname(), strconv.Itoa(at.Port))
}

// reachable spells a listener's address such that this machine can dial it.
func reachable(a net.Addr) string {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil || !ap.Addr().IsUnspecified() {
		return a.String()
	}
	if ap.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), ap.Port()).String()
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), ap.Port()).String()
}
