package inject

import (
	"maps"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"agentvault/vault/seal"
)

// cookie sends cookies (RFC 6265 §4.2) beside those of the agent that have other
// names. What an answer's Set-Cookie brings is not stored.
type cookie struct {
	Cookies map[string]string `json:"cookies"` // credential keys by the names of cookies

	names []string // sorted
}

const (
	cookieField = "Cookie"
	maxCookies  = 16
)

var _ = register("cookie", func(c cookie) (Injector, error) {
	if len(c.Cookies) == 0 || len(c.Cookies) > maxCookies {
		return nil, fieldErrorf("cookies", "it holds 1 to %d cookies, as in {\"session\": \"SESSION_COOKIE\"}", maxCookies)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Cookies)) {
		switch {
		case !httpguts.ValidHeaderFieldName(name) || len(name) > 64: // both are a token
			return nil, fieldErrorf("cookies", "%q is not a cookie's name", name)
		case slices.ContainsFunc(c.names, func(other string) bool { return SameParameter(other, name) }):
			return nil, fieldErrorf("cookies", "%s stands there twice", name)
		}
		if err := checkKey("cookies", c.Cookies[name]); err != nil {
			return nil, err
		}
		c.names = append(c.names, name)
	}
	return c, nil
})

func (c cookie) Type() string { return "cookie" }

func (c cookie) Keys() []string {
	var keys []string
	for _, name := range c.names {
		if key := c.Cookies[name]; !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (c cookie) Slots() Slots {
	s := headerSlots()
	s.Cookies = c.names
	return s
}

// Inject puts the vault's cookies before the agent's: readers that know quotes
// would take what follows an open one of the agent's for its value.
func (c cookie) Inject(r *Request, open func(string) (seal.Plaintext, error)) error {
	pairs := make([]string, 0, len(c.names)+1)
	for _, name := range c.names {
		value, err := open(c.Cookies[name])
		switch {
		case err != nil:
			return err
		case !cookieValue(value.Bytes()):
			return &ValueError{c.Cookies[name]}
		}
		pairs = append(pairs, name+"="+string(value.Bytes()))
	}
	agents := r.Header[cookieField]
	if len(agents) > 0 {
		pairs = append(pairs, agents[0])
	}
	r.set(cookieField, strings.Join(pairs, "; "))
	if len(agents) > 1 {
		r.Header[cookieField] = append(r.Header[cookieField], agents[1:]...)
	}
	return nil
}

// cookieValue: RFC 6265 §4.1.1, *cookie-octet, perhaps between quotes.
func cookieValue(v []byte) bool {
	if len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
		v = v[1 : len(v)-1]
	}
	for _, b := range v {
		if b <= ' ' || b >= 0x7f || b == '"' || b == ',' || b == ';' || b == '\\' {
			return false
		}
	}
	return true
}

// withoutCookies cuts the cookies of some names out of the lines of a Cookie
// field. The others keep their bytes.
func withoutCookies(lines, names []string, removed *int) []string {
	before := *removed
	var kept []string
	for _, line := range lines {
		var crumbs []string
		for crumb := range strings.SplitSeq(line, ";") {
			if slices.ContainsFunc(names, func(name string) bool { return SetsCookie(crumb, name) }) {
				*removed++
				continue
			}
			crumbs = append(crumbs, crumb)
		}
		if rest := strings.Trim(strings.Join(crumbs, ";"), " \t"); rest != "" {
			kept = append(kept, rest)
		}
	}
	if *removed == before {
		return lines
	}
	return kept
}

// SetsCookie reports whether a lenient reader could take a piece of a Cookie
// field, or of Set-Cookie, between semicolons for a cookie of the name. Besides
// what [SameParameter] says of names, there are readers that part cookies at
// commas (RFC 2109) and at spaces (Python's http.cookies), that know quotes, and
// that pass over "=" where a name is empty.
func SetsCookie(crumb, name string) bool {
	spelled, rest, has := strings.Cut(strings.TrimLeft(crumb, "= \t"), "=")
	if sameCookie(spelled, name) {
		return true
	}
	for has {
		if at := strings.LastIndexAny(strings.TrimRight(spelled, " \t"), ", \t\""); at >= 0 && sameCookie(spelled[at+1:], name) {
			return true
		}
		spelled, rest, has = strings.Cut(rest, "=")
	}
	return false
}

// sameCookie compares names, without what some readers take for space: in
// Latin-1 and UTF-8 that is more than HTTP's.
func sameCookie(spelled, name string) bool {
	return SameParameter(strings.TrimFunc(spelled, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '"' }), name)
}
