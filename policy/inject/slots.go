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
// parameters at ";" too, so both are cut points.
func withoutParameter(query, name string) string {
	var kept strings.Builder
	changed := false
	for rest := query; rest != ""; {
		i := strings.IndexAny(rest, "&;")
		part, next := rest, ""
		sep := ""
		if i >= 0 {
			part, sep, next = rest[:i], rest[i:i+1], rest[i+1:]
		}
		rest = next
		if names(part, name) {
			changed = true
			continue
		}
		kept.WriteString(part)
		kept.WriteString(sep)
	}
	if !changed {
		return query
	}
	return strings.TrimSuffix(kept.String(), "&")
}

func names(part, name string) bool {
	spelled, _, _ := strings.Cut(part, "=")
	if spelled == name {
		return true
	}
	decoded, err := url.QueryUnescape(spelled)
	return err == nil && decoded == name
}

// addParameter appends a parameter.
func addParameter(query, name, value string) string {
	added := url.QueryEscape(name) + "=" + url.QueryEscape(value)
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
	for _, reserved := range []string{"host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "keep-alive", "expect", "x-vault", "cookie"} {
		if sameField(name, reserved) {
			return fieldErrorf(field, "%s cannot carry a credential", name)
		}
	}
	if len(name) >= 6 && sameField(name[:6], "proxy-") {
		return fieldErrorf(field, "%s cannot carry a credential", name)
	}
	return nil
}
