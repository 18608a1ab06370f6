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

// sharedDomains are domains under which strangers get names, or names that
// lead to any address, beyond those that the public suffix list knows.
var sharedDomains = domains(`
	amazonaws.com on.aws atlassian.net jira.com azuredatabricks.net cloud.databricks.com
	auth0.com us.auth0.com eu.auth0.com au.auth0.com jp.auth0.com okta.com oktapreview.com okta-emea.com kinde.com cloudflareaccess.com
	force.com my.salesforce.com lightning.force.com service-now.com snowflakecomputing.com myworkday.com bamboohr.com
	dynamics.com onmicrosoft.com sharepoint.com visualstudio.com vault.azure.net database.windows.net search.windows.net
	openai.azure.com cognitiveservices.azure.com firebaseio.com mongodb.net looker.com
	box.com egnyte.com desk.com freshdesk.com intercom.io zendesk.com pagerduty.com statuspage.io monday.com teamwork.com slack.com zoom.us
	notion.site substack.com tumblr.com wordpress.com ghost.io glitch.me surge.sh modal.run github.dev app.github.dev gitpod.io
	beeceptor.com mockable.io pipedream.net webhook.site loca.lt lhr.life localhost.run serveo.net
	burpcollaborator.net oastify.com interact.sh oast.fun localtest.me lvh.me nip.io sslip.io xip.io`)

func domains(list string) map[string]bool {
	set := make(map[string]bool)
	for _, d := range strings.Fields(list) {
		set[d] = true
	}
	return set
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
		return refuse("it is not a valid international name; write its xn-- form")
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
	case belowIsSuffix(parent):
		return "anyone can register names below those of " + parent + "; name the host, or a domain of your own"
	case sharedDomains[parent]:
		return "strangers have names below " + parent + "; name your own, as in yours." + parent
	}
	return ""
}

// belowIsSuffix reports whether every name directly below parent is a public
// suffix, as below kawasaki.jp (the list says *.kawasaki.jp). The probe is a
// label that the list makes no exception for.
func belowIsSuffix(parent string) bool {
	probe := "any." + parent
	suffix, _ := publicsuffix.PublicSuffix(probe)
	return suffix == probe
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
