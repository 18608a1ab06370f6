package policy

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// A pattern is a service's host, taken apart: host, *.host, host:port, any of
// them with /path behind it.
type pattern struct {
	wildcard bool
	host     string // canonical; of a wildcard, what stands behind "*."
	port     uint16 // 0: not named
	path     *glob  // nil: every path
}

// sharedDomains are domains under which strangers get names, beyond those that
// the public suffix list knows as private.
var sharedDomains = map[string]bool{
	"amazonaws.com": true, "atlassian.net": true, "auth0.com": true, "freshdesk.com": true,
	"intercom.io": true, "my.salesforce.com": true, "myworkday.com": true, "notion.site": true,
	"okta.com": true, "service-now.com": true, "sharepoint.com": true, "slack.com": true,
	"zendesk.com": true, "zoom.us": true,
}

func parsePattern(s string) (pattern, error) {
	refuse := func(reason string) (pattern, error) {
		return pattern{}, &HostError{Host: shorten(s), Reason: reason}
	}
	var p pattern
	rest := s
	if strings.Contains(rest, "://") {
		return refuse("write the host without a scheme, as in api.example.com")
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		g, err := parseGlob(rest[i:])
		if err != nil {
			return refuse("path: " + err.Error())
		}
		p.path, rest = g, rest[:i]
	}
	host, port, hasPort := splitPort(rest)
	if hasPort {
		var ok bool
		if p.port, ok = parsePort(port); !ok {
			return refuse("the port is not a number from 1 to 65535")
		}
	}
	if after, ok := strings.CutPrefix(host, "*."); ok {
		p.wildcard, host = true, after
	}
	if strings.IndexByte(host, '*') >= 0 {
		return refuse("a wildcard stands for one whole label at the beginning, as in *.example.com")
	}
	ascii, err := toASCII(host)
	if err != nil {
		return refuse("it is not a valid international name")
	}
	var reason string
	if p.host, reason = canonicalHost(ascii); reason != "" {
		return refuse(reason)
	}
	if p.wildcard {
		if reason := checkWildcard(p.host); reason != "" {
			return refuse(reason)
		}
	}
	return p, nil
}

// checkWildcard refuses wildcards that would let strangers' hosts in.
func checkWildcard(parent string) (reason string) {
	if _, err := netip.ParseAddr(parent); err == nil {
		return "an address has no names below it"
	}
	suffix, icann := publicsuffix.PublicSuffix(parent)
	switch {
	case suffix == parent && (icann || strings.IndexByte(parent, '.') >= 0):
		return "anyone can register a name below " + parent + "; name the host, or a domain of your own"
	case suffix == parent:
		return "a wildcard needs a domain with at least two labels"
	case sharedDomains[parent]:
		return "strangers have names below " + parent + "; name your own, as in yours." + parent
	}
	return ""
}

// String spells the pattern canonically.
func (p pattern) String() string {
	s := p.host
	if strings.IndexByte(s, ':') >= 0 {
		s = "[" + s + "]"
	}
	if p.wildcard {
		s = "*." + s
	}
	if p.port != 0 {
		s += ":" + strconv.Itoa(int(p.port))
	}
	if p.path != nil {
		s += p.path.source
	}
	return s
}

// CanonicalPattern returns the one spelling of a service's host: lower case,
// A-labels, port and path as they were named. It refuses what [Compile] would
// refuse, with a *HostError.
func CanonicalPattern(host string) (string, error) {
	p, err := parsePattern(host)
	if err != nil {
		return "", err
	}
	return p.String(), nil
}

// PatternHost returns the host of a pattern without wildcard, port and path,
// or "" if it is not a pattern.
func PatternHost(host string) string {
	p, err := parsePattern(host)
	if err != nil {
		return ""
	}
	return p.host
}
