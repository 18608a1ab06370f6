package inject

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// A replacer replaces placeholders in one surface.
type replacer struct {
	surface string
	list    []Substitution // those of the surface
	notation
	open Opener
	most int // bytes of what comes out
}

func (s *Substitutions) replacer(surface string, n notation, open Opener) *replacer {
	r := &replacer{surface: surface, notation: n, open: open, most: maxReplaced}
	for _, x := range s.list {
		for _, in := range x.In {
			if in == surface {
				r.list = append(r.list, x)
			}
		}
	}
	return r
}

func (r *replacer) replaceBytes(b []byte) ([]byte, error) {
	out, err := r.replace(string(b))
	if err != nil || len(out) == len(b) && out == string(b) {
		return b, err
	}
	return []byte(out), nil
}

func (r *replacer) replace(s string) (string, error) {
	if len(r.list) == 0 {
		return s, nil
	}
	var out strings.Builder
	values := make(map[string]string) // spelled, by key
	done := 0
	for at := 0; at < len(s); {
		x, size := r.begins(s[at:])
		if x == nil {
			_, size = r.unit(s[at:])
			at += size
			continue
		}
		if r.splits(s[done:at]) {
			return "", &PlaceError{r.surface}
		}
		value, ok := values[x.Credential]
		if !ok {
			p, err := r.open(x.Credential)
			if err != nil {
				return "", err
			}
			if value, ok = r.spell(string(p.Bytes())); !ok {
				return "", &ValueError{x.Credential}
			}
			values[x.Credential] = value
		}
		out.WriteString(s[done:at])
		out.WriteString(value)
		at += size
		done = at
		if out.Len()+len(s)-done > r.most {
			return "", ErrTooLong
		}
	}
	if done == 0 {
		return s, nil
	}
	out.WriteString(s[done:])
	return out.String(), nil
}

// splits reports whether a text ends in the middle of an escape, which would take
// up the value's first characters.
func (r *replacer) splits(before string) bool {
	return r.escapes && strings.IndexByte(before[max(0, len(before)-2):], '%') >= 0
}

// begins returns the substitution whose placeholder s begins with, and in how many
// bytes it is spelled.
func (r *replacer) begins(s string) (*Substitution, int) {
	first, _ := r.unit(s)
	for i := range r.list {
		x := &r.list[i]
		if x.Placeholder[0] != first {
			continue
		}
		if size := spelled(s, x.Placeholder, r.unit); size > 0 {
			return x, size
		}
	}
	return nil, 0
}

func spelled(s, plain string, unit func(string) (byte, int)) (size int) {
	for i := range len(plain) {
		if size == len(s) {
			return 0
		}
		b, n := unit(s[size:])
		if b != plain[i] {
			return 0
		}
		size += n
	}
	return size
}

// A notation is how bytes are spelled in a surface.
type notation struct {
	// unit reads what stands at the beginning of a text that is not empty. What is
	// no single byte of ASCII is 0.
	unit func(s string) (b byte, size int)
	// spell returns how a value stands there; false if it cannot.
	spell func(value string) (string, bool)

	escapes bool // with percent signs
}

func literal(s string) (byte, int) { return s[0], 1 }

func percent(s string) (byte, int) {
	if s[0] == '%' && len(s) >= 3 {
		if b, err := strconv.ParseUint(s[1:3], 16, 8); err == nil {
			return byte(b), 3
		}
	}
	return s[0], 1
}

// escaped reads JSON (RFC 8259 §7). Outside of strings it has no backslashes, nor
// what could be a placeholder.
func escaped(s string) (byte, int) {
	switch {
	case s[0] != '\\' || len(s) < 2:
		return s[0], 1
	case s[1] != 'u' || len(s) < 6:
		return 0, 2
	}
	c, err := strconv.ParseUint(s[2:6], 16, 16)
	if err != nil || c > 0xff {
		return 0, 6
	}
	return byte(c), 6
}

// spellPath: RFC 3986 §3.3, a segment's characters as they stand. Without ";",
// which begins parameters for some, and without escapes, which some read twice.
func spellPath(value string) (string, bool) {
	for i := range len(value) {
		if c := value[i]; !isAlphanumeric(c) && strings.IndexByte("-._~!$&'()*+,=:@", c) < 0 {
			return "", false
		}
	}
	return value, value != ""
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// spellQuery is of queries and forms; see addParameter.
func spellQuery(value string) (string, bool) {
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20"), true
}

func spellHeader(value string) (string, bool) {
	return value, httpguts.ValidHeaderFieldValue(value)
}

// spellUser: RFC 7617 §2, a colon in the user name would move the border.
func spellUser(value string) (string, bool) {
	return value, httpguts.ValidHeaderFieldValue(value) && strings.IndexByte(value, ':') < 0
}

func spellJSON(value string) (string, bool) {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if !utf8.ValidString(value) || e.Encode(value) != nil {
		return "", false
	}
	quoted := strings.TrimSuffix(out.String(), "\n")
	return quoted[1 : len(quoted)-1], true
}

// spellText is of text that is read in ways that nobody knows here: a control
// character could end a command in it.
func spellText(value string) (string, bool) {
	return value, utf8.ValidString(value) && strings.IndexFunc(value, unicode.IsControl) < 0
}
