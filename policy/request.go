package policy

import "strings"

// Limits of a request's target and method, in bytes.
const (
	MaxRequestTarget = 16 << 10 // path and query
	MaxMethod        = 32
)

// Malformed says what is wrong with a request whatever the services, or "":
// what two readers could read differently, or would echo or tunnel what is
// added to it.
func Malformed(method, path, query string) (reason string) {
	switch {
	case len(path)+len(query) > MaxRequestTarget:
		return "the path and query are longer than 16 KiB"
	case strings.IndexByte(path, '#') >= 0 || strings.IndexByte(query, '#') >= 0:
		return "a request target must not hold a fragment"
	case hasControl(path) || hasControl(query): // HTTP/2 can carry what HTTP/1 cannot
		return "a request target must not hold spaces or control characters"
	case len(method) > MaxMethod:
		return "the method is too long"
	case strings.ToUpper(method) != method:
		return "methods are upper case"
	case !isToken(method):
		return "the method is not one: it is a word without spaces, as in GET"
	}
	switch method {
	case "TRACE", "TRACK", "CONNECT": // they echo or tunnel what we add
		return "the method " + method + " is not served"
	}
	return ""
}

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// isToken: RFC 9110 §5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}

// ParseURL makes of a URL, as people write one, the target that [ParseTarget]
// makes of its authority, and the path and query that a client would send. A
// missing scheme is https, a missing path "/". A fragment stays with the
// client. The error is a *HostError.
func ParseURL(raw string) (t Target, path, query string, err error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || strings.ContainsAny(scheme, "/?#") {
		scheme, rest = "https", raw
	}
	rest, _, _ = strings.Cut(rest, "#")
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	path, query, _ = strings.Cut(path, "?")
	if path == "" {
		path = "/"
	}
	t, err = ParseTarget(lower(scheme), authority)
	return t, path, query, err
}
