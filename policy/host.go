package policy

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// A Target is where a request goes. It is comparable, and equal Targets are
// the same place.
type Target struct {
	Scheme string // "https" or "http"
	Host   string // lower-case A-labels without a trailing dot, or a canonical IP literal without brackets
	Port   uint16 // never 0
}

// A HostError is why a host was refused.
type HostError struct {
	Host   string // as it was written
	Reason string // what is wrong with it; may be shown to whoever wrote it
}

func (e *HostError) Error() string { return fmt.Sprintf("host %q: %s", e.Host, e.Reason) }

// Limits of names, RFC 1035 §2.3.4.
const (
	maxName  = 253
	maxLabel = 63
)

// ParseTarget reads an authority, "host" or "host:port", as it came in a
// request. Upper-case letters are lowered and a missing port becomes the
// scheme's; nothing else is mended. The error is a *HostError.
func ParseTarget(scheme, authority string) (Target, error) {
	refuse := func(reason string) (Target, error) {
		return Target{}, &HostError{Host: shorten(authority), Reason: reason}
	}
	port, ok := defaultPort(scheme)
	if !ok {
		return refuse("the scheme is neither https nor http")
	}
	host, portText, hasPort := splitPort(authority)
	if hasPort {
		if port, ok = parsePort(portText); !ok {
			return refuse("the port is not a number from 1 to 65535")
		}
	}
	host, reason := canonicalHost(host)
	if reason != "" {
		return refuse(reason)
	}
	return Target{Scheme: scheme, Host: host, Port: port}, nil
}

// Authority returns "host", or "host:port" when the port is not the scheme's
// own: what the Host header carries.
func (t Target) Authority() string {
	host := t.Host
	if strings.IndexByte(host, ':') >= 0 {
		host = "[" + host + "]"
	}
	if port, _ := defaultPort(t.Scheme); port == t.Port {
		return host
	}
	return host + ":" + strconv.Itoa(int(t.Port))
}

// Address returns "host:port", for dialing.
func (t Target) Address() string {
	if strings.IndexByte(t.Host, ':') >= 0 {
		return "[" + t.Host + "]:" + strconv.Itoa(int(t.Port))
	}
	b := append(make([]byte, 0, maxName+len(":65535")), t.Host...)
	return string(strconv.AppendUint(append(b, ':'), uint64(t.Port), 10))
}

// IsIP reports whether the host is an address rather than a name.
func (t Target) IsIP() bool {
	_, err := netip.ParseAddr(t.Host)
	return err == nil
}

func defaultPort(scheme string) (uint16, bool) {
	switch scheme {
	case "https":
		return 443, true
	case "http":
		return 80, true
	}
	return 0, false
}

// splitPort cuts the port off. A colon inside brackets belongs to the host.
func splitPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || i < strings.LastIndexByte(s, ']') {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// parsePort takes a canonical decimal only: no sign, no leading zero.
func parsePort(s string) (uint16, bool) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

// canonicalHost returns the one spelling of a name or IP literal, or the reason
// why it has none.
func canonicalHost(host string) (canonical, reason string) {
	if strings.HasPrefix(host, "[") {
		return canonicalIPv6(host)
	}
	if reason := checkName(host); reason != "" {
		return "", reason
	}
	host = lower(host)
	last := host[strings.LastIndexByte(host, '.')+1:]
	if !looksNumeric(last) {
		return host, ""
	}
	// WHATWG URL §3.5: a host whose last label is a number is an IPv4 address in
	// one of many spellings. Only the canonical one is taken.
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is4() && addr.String() == host {
		return host, ""
	}
	return "", "it ends in a number but is not an IPv4 address in its usual form, as in 192.0.2.1"
}

func canonicalIPv6(host string) (canonical, reason string) {
	if !strings.HasSuffix(host, "]") {
		return "", "a bracket is missing"
	}
	inner := lower(host[1 : len(host)-1])
	addr, err := netip.ParseAddr(inner)
	switch {
	case err != nil || !addr.Is6():
		return "", "not an IPv6 address"
	case addr.Zone() != "":
		return "", "an address with a zone"
	case addr.Is4In6():
		return "", "an IPv4 address inside an IPv6 one; write the IPv4 address"
	case addr.String() != inner:
		return "", "not the canonical form of the address, which is [" + addr.String() + "]"
	}
	return inner, ""
}

// checkName holds a name against the grammar of R3: letters, digits, hyphen
// and dot; labels of 1 to 63 that neither begin nor end with a hyphen; 253 in
// all; no trailing dot.
func checkName(host string) (reason string) {
	if host == "" {
		return "it is empty"
	}
	if len(host) > maxName {
		return "it is longer than 253 characters"
	}
	start := 0
	for i := 0; i <= len(host); i++ {
		if i < len(host) && host[i] != '.' {
			switch c := host[i]; {
			case c >= 0x80:
				return "it is not ASCII; write an international name in its xn-- form"
			case !isAlnum(c) && c != '-':
				return fmt.Sprintf("%q does not belong into a host name", rune(c))
			}
			continue
		}
		label := host[start:i]
		switch {
		case label == "" && i == len(host):
			return "it ends with a dot; leave it out"
		case label == "":
			return "it has an empty label"
		case len(label) > maxLabel:
			return "it has a label longer than 63 characters"
		case label[0] == '-' || label[len(label)-1] == '-':
			return "it has a label that begins or ends with a hyphen"
		}
		start = i + 1
	}
	return ""
}

func looksNumeric(label string) bool {
	if strings.HasPrefix(label, "0x") {
		return true
	}
	for i := range len(label) {
		if label[i] < '0' || label[i] > '9' {
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// lower lowers ASCII only; nothing else passes the grammar anyway.
func lower(s string) string {
	for i := range len(s) {
		if s[i] >= 'A' && s[i] <= 'Z' {
			return strings.ToLower(s)
		}
	}
	return s
}

// toASCII converts U-labels of a configured host to A-labels (UTS #46,
// registration rules: what could be read as another name is refused).
func toASCII(host string) (string, error) {
	for i := range len(host) {
		if host[i] >= 0x80 {
			return idna.Registration.ToASCII(strings.ToLower(host))
		}
	}
	return host, nil
}

// IsLocalName reports whether a name means something on this machine or
// network only: a single label, localhost, .local, .localdomain, .home.arpa
// (RFC 6761, RFC 6762, RFC 8375).
func IsLocalName(host string) bool {
	if strings.IndexByte(host, '.') < 0 {
		return strings.IndexByte(host, ':') < 0
	}
	for _, suffix := range []string{".localhost", ".local", ".localdomain", ".home.arpa"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// shorten keeps a hostile host from filling an error.
func shorten(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
