package inject

import (
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Slots are the places of a request that an Injector occupies.
type Slots struct {
	Headers []string // canonical field names
	Query   []string // parameter names, decoded
	Cookies []string // names of cookies
}

// Strip removes what stands in the slots: header fields in every spelling that
// a lenient upstream could read as the field (case, underscores for hyphens),
// and query parameters and cookies likewise. Other bytes of the query, and other
// cookies, stay as they are. It returns how many it removed.
func (s Slots) Strip(r *Request) (removed int) {
	for _, slot := range s.Headers {
		for name, values := range r.Header {
			if sameField(name, slot) {
				delete(r.Header, name)
				removed += len(values)
			}
		}
	}
	for _, name := range s.Query {
		r.RawQuery = withoutParameter(r.RawQuery, name, &removed)
	}
	if len(s.Cookies) > 0 {
		s.stripCookies(r.Header, &removed)
	}
	return removed
}

func (s Slots) stripCookies(header map[string][]string, removed *int) {
	for name, lines := range header {
		if !sameField(name, cookieField) {
			continue
		}
		if kept := withoutCookies(lines, s.Cookies, removed); len(kept) > 0 {
			header[name] = kept
		} else {
			delete(header, name)
		}
	}
}

// sameField: CGI and WSGI turn "-" into "_", so X_Api_Key is X-Api-Key to them.
func sameField(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_':
		return '-'
	}
	return c
}

// withoutParameter cuts out every parameter of a name. Some upstreams part
// parameters at ";" too, so both are cut points; what stays keeps the "&" that
// parted it.
func withoutParameter(query, name string, removed *int) string {
	before := *removed
	var kept []string
	for part := range strings.SplitSeq(query, "&") {
		was := *removed
		rest := withoutPiece(part, name, removed)
		if rest != "" || *removed == was {
			kept = append(kept, rest)
		}
	}
	if *removed == before {
		return query
	}
	return strings.Join(kept, "&")
}

// withoutPiece does the same between semicolons.
func withoutPiece(part, name string, removed *int) string {
	var kept []string
	was := *removed
	for piece := range strings.SplitSeq(part, ";") {
		if spelled, _, _ := strings.Cut(piece, "="); SameParameter(spelled, name) {
			*removed++
			continue
		}
		kept = append(kept, piece)
	}
	if *removed == was {
		return part
	}
	return strings.Join(kept, ";")
}

// SameParameter reports whether a lenient upstream could read the name of a
// query parameter, as it is spelled in a query, as name: decoded, whatever the
// letter case (ASP.NET), spaces around it, "." or a space for "_", and an index
// behind it (PHP: "key[]" is "key").
func SameParameter(spelled, name string) bool {
	if spelled == name {
		return true
	}
	folded := foldParameter(name)
	return folded != "" && foldParameter(spelled) == folded
}

func foldParameter(spelled string) string {
	decoded := make([]byte, 0, len(spelled))
	for i := 0; i < len(spelled); i++ {
		c := spelled[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(spelled):
			if b, err := strconv.ParseUint(spelled[i+1:i+3], 16, 8); err == nil {
				c = byte(b)
				i += 2
			}
		}
		decoded = append(decoded, c)
	}
	name, _, _ := strings.Cut(strings.Trim(string(decoded), " \t\r\n"), "\x00")
	if i := strings.IndexByte(name, '['); i > 0 {
		name = name[:i]
	}
	return strings.Map(func(c rune) rune {
		switch {
		case c == '.' || c == ' ':
			return '_'
		case 'A' <= c && c <= 'Z':
			return c + 'a' - 'A'
		}
		return c
	}, name)
}

// addParameter appends a parameter. A space becomes %20, which every upstream
// understands, not "+", which some take as it stands.
func addParameter(query, name, value string) string {
	added := url.QueryEscape(name) + "=" + strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
	if query == "" || strings.HasSuffix(query, "&") {
		return query + added
	}
	return query + "&" + added
}

// headerName refuses names that are not field names, and those that frame or
// route the message.
func headerName(field, name string) error {
	if !httpguts.ValidHeaderFieldName(name) || len(name) > 64 {
		return fieldErrorf(field, "%q is not a header name", name)
	}
	for _, reserved := range []string{"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect", "x-vault", "cookie", "http2-settings"} {
		if sameField(name, reserved) {
			return fieldErrorf(field, "%s cannot carry a credential", name)
		}
	}
	if len(name) >= 6 && sameField(name[:6], "proxy-") {
		return fieldErrorf(field, "%s cannot carry a credential", name)
	}
	return nil
}
