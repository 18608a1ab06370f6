package broker

import (
	"errors"
	"net/url"
	"strings"

	"agentvault/policy"
)

// A Target is where a request goes: the one value that serves policy, dialing,
// SNI, certificate check, Host header and records (SECURITY.md R1).
type Target = policy.Target

// Pin makes a Target of what an agent wrote. It is the only way for an
// entrance to get one. The fault is bad_request.
func Pin(scheme, authority string) (Target, *Fault) {
	t, err := policy.ParseTarget(scheme, authority)
	if err == nil {
		return t, nil
	}
	f := NewFault(CodeBadRequest)
	f.Message = "the target host is not a host name that can be reached through the vault"
	var he *policy.HostError
	if errors.As(err, &he) {
		f.Message = "bad target host: " + he.Reason
	}
	f.Err = err
	return Target{}, f
}

// RawTarget splits a request target as it stood on the wire (RFC 9112 §3.2)
// into its path and query without touching a byte. Origin form, absolute form
// and "*" are understood; ok is false for anything else.
func RawTarget(requestURI string) (path, query string, hasQuery, ok bool) {
	rest := requestURI
	if rest != "*" && !strings.HasPrefix(rest, "/") {
		_, after, found := strings.Cut(rest, "://")
		if !found {
			return "", "", false, false
		}
		i := strings.IndexAny(after, "/?")
		if i < 0 {
			return "/", "", false, true
		}
		rest = after[i:]
		if rest[0] == '?' {
			rest = "/" + rest
		}
	}
	path, query, hasQuery = strings.Cut(rest, "?")
	return path, query, hasQuery, true
}

// upstreamURL spells the request target such that net/http sends exactly the
// bytes of path and query. It reports false for the few spellings that
// net/http cannot send unchanged.
func upstreamURL(t Target, path, query string, hasQuery bool) (u url.URL, ok bool) {
	if path == "*" && hasQuery {
		return u, false // RFC 9112 §3.2.4: the asterisk form has none
	}
	u = url.URL{Scheme: t.Scheme, Host: t.Authority(), RawQuery: query, ForceQuery: hasQuery}
	if !strings.HasPrefix(path, "//") {
		u.Opaque = path // URL.RequestURI sends Opaque as it stands
		return u, true
	}
	// Opaque that begins with "//" would be sent in absolute form.
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return u, false
	}
	u.Path, u.RawPath = decoded, path
	return u, u.EscapedPath() == path
}
