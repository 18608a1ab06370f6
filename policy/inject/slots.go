package inject

import (
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Slots are the places of a request that an Injector occupies.
type Slots struct {
	Headers []string // canonical field names
	Query   []string // parameter names, decoded
}

// Strip removes what stands in the slots: header fields in every spelling that
// a lenient upstream could read as the field (case, underscores for hyphens),
// and query parameters by their decoded names. Other bytes of the query stay
// as they are.
func (s Slots) Strip(r *Request) {
	for _, slot := range s.Headers {
		for name := range r.Header {
			if sameField(name, slot) {
				delete(r.Header, name)
			}
		}
	}
	for _, name := range s.Query {
		r.RawQuery = withoutParameter(r.RawQuery, name)
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
func withoutParameter(query, name string) string {
	var kept []string
	changed := false
	for part := range strings.SplitSeq(query, "&") {
		rest, cut := withoutPiece(part, name)
		changed = changed || cut
		if rest != "" || !cut {
			kept = append(kept, rest)
		}
	}
	if !changed {
		return query
	}
	return strings.Join(kept, "&")
}

// withoutPiece does the same between semicolons.
func withoutPiece(part, name string) (rest string, cut bool) {
	if strings.IndexByte(part, ';') < 0 {
		if names(part, name) {
			return "", true
		}
		return part, false
	}
	var kept []string
	for piece := range strings.SplitSeq(part, ";") {
		if names(piece, name) {
			cut = true
			continue
		}
		kept = append(kept, piece)
	}
	return strings.Join(kept, ";"), cut
}

func names(part, name string) bool {
	spelled, _, _ := strings.Cut(part, "=")
	if spelled == name {
		return true
	}
	decoded, err := url.QueryUnescape(spelled)
	return err == nil && decoded == name
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
