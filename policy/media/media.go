// Package media answers one question: what does a request's header say of its
// body?
//
// All that look into bodies ask it, so that none takes for JSON what another takes
// for a form. It looks at no body. Upstreams read headers more and less strictly:
// what two could read differently is [Unclear]. The zero Said is that of a header
// that says nothing.
package media

import (
	"mime"
	"strings"
)

// A Kind is what a body is said to be.
type Kind uint8

const (
	Unnamed   Kind = iota // there is no Content-Type
	Unclear               // Content-Type is there twice, or cannot be read
	Other                 // none of those below
	JSON                  // application/json, text/json, and all with the suffix +json (RFC 6839)
	Lines                 // texts of JSON behind one another: application/x-ndjson, application/jsonl
	Form                  // application/x-www-form-urlencoded
	Multipart             // multipart/…
)

// Said is what a header says of a body.
type Said struct {
	Kind    Kind
	Type    string // in lower case, without parameters; "" of Unnamed and Unclear
	Charset bool   // another one than UTF-8 is named
	Coded   bool   // compressed, or otherwise coded (Content-Encoding)
}

// Plain reports whether the body is text of UTF-8, and of this kind.
func (s Said) Plain(k Kind) bool { return s.Kind == k && !s.Charset && !s.Coded }

// Of reads a header. Names are in any letter case; one that a lenient upstream could
// take for Content-Type or Content-Encoding is one.
func Of(header map[string][]string) (s Said) {
	var types []string
	for name, values := range header {
		switch {
		case reads(name, "content-type"):
			types = append(types, values...)
		case reads(name, "content-encoding"):
			for _, v := range values {
				v = strings.TrimSpace(v)
				s.Coded = s.Coded || v != "" && !strings.EqualFold(v, "identity")
			}
		}
	}
	if len(types) == 0 {
		return s
	}
	named, params, err := mime.ParseMediaType(types[0])
	if err != nil || len(types) > 1 {
		s.Kind = Unclear
		return s
	}
	charset, ok := params["charset"]
	s.Charset = ok && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8")
	s.Kind, s.Type = kindOf(named), named
	return s
}

func kindOf(named string) Kind {
	switch {
	case named == "application/json", named == "text/json", strings.HasSuffix(named, "+json"):
		return JSON
	case named == "application/x-ndjson", named == "application/jsonl":
		return Lines
	case named == "application/x-www-form-urlencoded":
		return Form
	case strings.HasPrefix(named, "multipart/"):
		return Multipart
	}
	return Other
}

// reads reports whether a lenient upstream could read a field's name as plain, which
// is in lower case: to some, whatever is neither letter nor digit is a hyphen.
func reads(name, plain string) bool {
	if len(name) != len(plain) {
		return false
	}
	for i := range len(name) {
		c := name[i] | 0x20
		if plain[i] == '-' {
			if 'a' <= c && c <= 'z' || '0' <= name[i] && name[i] <= '9' {
				return false
			}
		} else if c != plain[i] {
			return false
		}
	}
	return true
}
