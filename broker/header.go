package broker

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"agentvault/policy/inject"
	"agentvault/vault"
)

// Cookies of the control plane. The path entrance shares an origin with it, so
// a browser-like agent would send them along.
var ownCookies = map[string]bool{"agent_vault_login": true, "__Host-agent_vault_login": true}

// hopByHop reports whether a field is one of those of RFC 9110 §7.6.1 and their
// forerunners. What Connection names comes on top.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings":
		return true
	}
	return strings.HasPrefix(name, "Proxy-")
}

// framing reports whether a field says where a message ends or for whom it is.
func framing(name string) bool {
	return name == "Content-Length" || name == "Host" || name == "Transfer-Encoding"
}

// plainName spells a field name the way that lenient upstreams read it: CGI and
// WSGI turn "-" into "_", some whatever is neither letter nor digit, so X_Vault
// and X.Vault are X-Vault to them.
func plainName(name string) string {
	first := true // of a word
	for i := range len(name) {
		c := name[i]
		if c != '-' && !isBase62(c) || first && 'a' <= c && c <= 'z' || !first && 'A' <= c && c <= 'Z' {
			return textproto.CanonicalMIMEHeaderKey(strings.Map(plainRune, name))
		}
		first = c == '-'
	}
	return name // the usual case: it is spelled so already
}

func plainRune(c rune) rune {
	if c < 0x80 && isBase62(byte(c)) {
		return c
	}
	return '-'
}

// requestHeader returns what of the agent's header may go upstream: no
// hop-by-hop fields, nothing that Connection names, nothing that was meant for
// the vault (R8), nothing in the service's slots. What stood in the slots and
// was not the vault's own token is counted as foreign (R18).
func (e *exchange) requestHeader() http.Header {
	src := e.r.Header
	dst := make(http.Header, len(src))
	named := connectionNames(src)
	for name, values := range src {
		plain := plainName(name)
		switch {
		case plain == "Authorization" && e.Entrance == Path: // the vault's
		case slices.Contains(e.service.own, plain):
			e.foreign += foreign(values)
		case e.passes(plain, named) && (name == plain || !framing(plain)): // a twin that a lenient upstream could frame by
			dst[name] = values
			if speaks[plain] != nil {
				e.speaking = append(e.speaking, name)
			}
		}
	}
	if cookies, ok := dst["Cookie"]; ok {
		dropOwnCookies(dst, cookies)
	}
	// gRPC does not work without it; it means the same on each hop.
	if httpguts.HeaderValuesContainsToken(src["Te"], "trailers") {
		dst["Te"] = []string{"trailers"}
	}
	if _, ok := dst["User-Agent"]; !ok {
		dst["User-Agent"] = nil // or net/http would send its own
	}
	return dst
}

// foreign counts values that are not tokens of the vault, with or without a
// scheme before them.
func foreign(values []string) (n int) {
	for _, v := range values {
		if _, ours := vault.CheckToken(v[strings.LastIndexByte(v, ' ')+1:]); !ours {
			n++
		}
	}
	return n
}

// passes reports whether a field, by its plain name, may go upstream.
func (e *exchange) passes(name string, named map[string]bool) bool {
	switch {
	case hopByHop(name), named[name], name == "X-Vault":
		return false
	case name == "Authorization":
		return e.Entrance == MITM // on the path entrance it is the vault's
	}
	return true
}

// connectionNames are the fields that Connection declares hop-by-hop.
func connectionNames(h http.Header) map[string]bool {
	var named map[string]bool
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			if name = textproto.TrimString(name); name != "" {
				if named == nil {
					named = make(map[string]bool)
				}
				named[plainName(name)] = true
			}
		}
	}
	return named
}

// connectionTakes reports whether Connection names a field that is there, and that
// would go upstream otherwise.
func (e *exchange) connectionTakes() bool {
	named := connectionNames(e.r.Header)
	if len(named) == 0 {
		return false
	}
	for name := range e.r.Header {
		if plain := plainName(name); named[plain] && !hopByHop(plain) {
			return true
		}
	}
	return false
}

func dropOwnCookies(h http.Header, lines []string) {
	own := false
	for _, line := range lines {
		for name := range ownCookies {
			own = own || strings.Contains(line, name)
		}
	}
	if !own {
		return // the usual case: not a byte changes
	}
	var kept []string
	for _, line := range lines {
		var crumbs []string
		for crumb := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(strings.TrimSpace(crumb), "=")
			if !ownCookies[name] {
				crumbs = append(crumbs, strings.TrimSpace(crumb))
			}
		}
		if len(crumbs) > 0 {
			kept = append(kept, strings.Join(crumbs, "; "))
		}
	}
	if kept == nil {
		h.Del("Cookie")
		return
	}
	h["Cookie"] = kept
}

// requestTrailer returns the announced trailers that may go upstream, without
// values: they follow the body. RFC 9110 §6.5.1 keeps those out that frame the
// message or say for whom it is and who sends it: upstreams that merge trailers
// into the header would heed them.
func (e *exchange) requestTrailer() http.Header {
	if len(e.r.Trailer) == 0 {
		return nil
	}
	t := make(http.Header, len(e.r.Trailer))
	for name := range e.r.Trailer {
		plain := plainName(name)
		switch {
		case slices.Contains(e.service.own, plain):
			e.foreign++
		case e.passes(plain, nil) && httpguts.ValidTrailerHeader(plain) && plain != "Cookie" && speaks[plain] == nil:
			t[name] = nil
		}
	}
	return t
}

// comesBack reports whether a field of an answer may reach the agent. The name
// is compared without regard to case: it has been canonicalized.
func (e *exchange) comesBack(name string) bool {
	if hopByHop(name) ||
		name == "Alt-Svc" || // would lead the agent around the vault
		name == "Clear-Site-Data" && e.Entrance == Path || // the site is the vault's
		name == ErrorHeader || name == ReplayedHeader { // only the vault's own answers carry it
		return false
	}
	if e.values.Name(name) {
		e.scrubbed++
		return false
	}
	return true
}

// responseHeader copies what of the upstream's header the agent may see into
// dst and masks credentials in it.
func (e *exchange) responseHeader(dst, src http.Header) {
	named := connectionNames(src)
	for name, values := range src {
		if named[name] || !e.comesBack(name) {
			continue
		}
		if name == "Set-Cookie" {
			values = slices.DeleteFunc(slices.Clone(values), e.withholds)
		}
		masked := e.maskValues(values)
		if name == "Content-Length" && (len(values) != 1 || !isLength(values[0]) || masked[0] != values[0]) {
			continue // the body goes without; over HTTP/2 an upstream may say anything in it
		}
		if before := dst[name]; before != nil {
			masked = append(slices.Clip(before), masked...)
		}
		dst[name] = masked
	}
	// net/http would invent these two.
	for _, name := range []string{"Content-Type", "Date"} {
		if _, ok := dst[name]; !ok {
			dst[name] = nil
		}
	}
}

// withholds reports whether a Set-Cookie is not for the agent: it is one of the
// control plane, or brings a new value for a cookie that the vault puts in. That
// is not stored either: the agent may choose what the upstream answers.
func (e *exchange) withholds(line string) bool {
	pair, _, _ := strings.Cut(line, ";")
	for _, name := range e.service.slots.Cookies {
		if inject.SetsCookie(pair, name) {
			e.scrubbed++
			return true
		}
	}
	return setsOwnCookie(line)
}

// setsOwnCookie reports whether a Set-Cookie would sign its reader in at the
// control plane, or out of it: the path entrance shares an origin with that.
func setsOwnCookie(line string) bool {
	name, _, _ := strings.Cut(strings.TrimLeft(line, "= \t"), "=") // one without a name has its value as name
	return ownCookies[strings.Trim(name, " \t")]
}

func (e *exchange) maskValues(values []string) []string {
	if e.values == nil {
		return values
	}
	out, now := values, e.valuesNow()
	for i, v := range values {
		masked, n := e.values.Field(v)
		if now != e.values {
			more := 0
			masked, more = now.Field(masked)
			n += more
		}
		if n == 0 {
			continue // the usual case
		}
		if &out[0] == &values[0] {
			out = slices.Clone(values)
		}
		out[i] = masked
		e.scrubbed += n
	}
	return out
}
