package main

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
)

// mergeNoProxy keeps what was there, and adds what must not go through the
// proxy: this machine, and the vault itself. It leaves out what would keep a
// host of the vault's services from the proxy, and with that from its
// credential, its rules and the record.
func mergeNoProxy(upper, lower, server string, services []string) (merged string, left []string) {
	var list []string
	for _, e := range strings.FieldsFunc(upper+","+lower, func(r rune) bool { return r == ',' || r <= ' ' }) {
		to := &list
		if e == "*" || slices.ContainsFunc(services, func(pattern string) bool { return bypasses(e, pattern) }) {
			to = &left
		}
		if !slices.Contains(*to, e) {
			*to = append(*to, e)
		}
	}
	own := []string{"localhost", "127.0.0.1", "::1"}
	if u, err := url.Parse(server); err == nil && u.Hostname() != "" {
		own = append(own, u.Hostname())
	}
	for _, e := range own {
		if !slices.Contains(list, e) {
			list = append(list, e)
		}
	}
	return strings.Join(list, ","), left
}

// bypasses reports whether some program could take an entry of NO_PROXY for a
// host of a service. They read it in many ways (whole names, names below,
// whatever a name ends in, with a port or a star, networks), so it is asked
// whether any could.
func bypasses(entry, pattern string) bool {
	pattern, _, _ = strings.Cut(pattern, "/")
	host, below := strings.CutPrefix(strings.ToLower(withoutPort(pattern)), "*.")
	entry = strings.ToLower(withoutPort(entry))
	if named := strings.TrimRight(entry, "."); named != "" { // a name may end at the root
		entry = named
	}
	addr, err := netip.ParseAddr(host)
	isAddr := err == nil
	if network, err := netip.ParsePrefix(entry); err == nil {
		return isAddr && network.Contains(addr)
	}
	if a, err := netip.ParseAddr(entry); err == nil {
		return isAddr && a.Unmap() == addr.Unmap()
	}
	if like, err := path.Match(entry, host); err != nil || like {
		return true
	}
	entry = strings.TrimLeft(entry, "*.")
	return strings.HasSuffix(host, entry) || below && (strings.HasSuffix(entry, "."+host) || strings.Contains(entry, "*"))
}

// withoutPort returns the host of "host:port" or "[::1]:port".
func withoutPort(s string) string {
	if host, _, err := net.SplitHostPort(s); err == nil {
		return host
	}
	return strings.Trim(s, "[]")
}
