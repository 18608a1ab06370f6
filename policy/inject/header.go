package inject

import (
	"fmt"
	"net/textproto"

	"golang.org/x/net/http/httpguts"

	"agentvault/vault/seal"
)

// authorization is stripped by every kind that injects, also where the
// credential goes elsewhere: the agent's own must not stand beside it.
const authorization = "Authorization"

func canonical(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// sendable reports whether a value may stand in a header field (R9). Kinds that
// encode it ask too: RFC 7617 §2 forbids control characters before encoding.
func sendable(p seal.Plaintext) bool { return httpguts.ValidHeaderFieldValue(string(p.Bytes())) }

// setHeader puts a value into a field, if it can stand there (R9).
func setHeader(r *Request, name, value, key string) error {
	if !httpguts.ValidHeaderFieldValue(value) {
		return &ValueError{key}
	}
	r.set(name, value)
	return nil
}

// headerSlots are Authorization and what else the kind fills.
func headerSlots(names ...string) Slots {
	s := Slots{Headers: []string{authorization}}
	for _, n := range names {
		if n != authorization {
			s.Headers = append(s.Headers, n)
		}
	}
	return s
}

func fieldErrorf(field, format string, args ...any) error {
	return fmt.Errorf("field "+field+": "+format, args...)
}
