package mitm

import (
	"encoding/base64"
	"net/http"
	"strings"

	"agentvault/broker"
)

// identify reads who presents itself from Proxy-Authorization. Whoever does not
// is nobody, whom the broker answers with 407.
func identify(h http.Header) broker.Identity {
	values := h["Proxy-Authorization"]
	if len(values) == 0 {
		return broker.Identity{}
	}
	token, vault, ok := parseCredentials(values[0])
	if !ok || len(values) > 1 { // of two, two readers could pick different ones
		return broker.Unreadable()
	}
	if vault == "" {
		vault = h.Get("X-Vault") // a bearer has no other way to name one
	}
	return broker.Identify(token, vault)
}

// parseCredentials understands "Bearer TOKEN" and "Basic" of TOKEN, "TOKEN:" or
// "TOKEN:VAULT". The scheme's case does not matter (RFC 9110 §11.1).
func parseCredentials(value string) (token, vault string, ok bool) {
	scheme, rest, ok := strings.Cut(value, " ")
	if !ok {
		return "", "", false
	}
	rest = strings.TrimSpace(rest)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		token = rest
	case strings.EqualFold(scheme, "Basic"):
		// Some clients leave the padding out.
		b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(rest, "="))
		if err != nil {
			return "", "", false
		}
		token, vault, _ = strings.Cut(string(b), ":")
	}
	return token, vault, token != ""
}
