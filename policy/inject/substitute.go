package inject

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"agentvault/vault/seal"
)

// A Substitution lets an agent write a placeholder where the upstream wants a
// credential that no kind of auth puts there. It is replaced in the surfaces
// that are named, and nowhere else (R9).
type Substitution struct {
	Placeholder string   `json:"placeholder,omitempty"` // left out: the credential's dummy
	Credential  string   `json:"credential"`            // its key
	In          []string `json:"in"`                    // path, query, header:NAME, body, websocket
}

// Surfaces, as they are declared. A header field is headerSurface and its name.
const (
	SurfacePath      = "path"
	SurfaceQuery     = "query"
	SurfaceBody      = "body"
	SurfaceWebSocket = "websocket"

	headerSurface = "header:"
)

// SurfaceHeader is the surface of a header field.
func SurfaceHeader(name string) string { return headerSurface + canonical(name) }

const (
	maxSubstitutions = 20 // of one service
	minPlaceholder   = 16 // bytes
	maxPlaceholder   = 200
)

// CanonicalSubstitutions returns the substitutions of a service as they are
// stored. slots are those of its auth. The error names the field.
func CanonicalSubstitutions(list []Substitution, slots Slots) ([]Substitution, error) {
	if len(list) > maxSubstitutions {
		return nil, fmt.Errorf("substitutions: at most %d", maxSubstitutions)
	}
	out := slices.Clone(list)
	for i := range out {
		if err := out[i].canonical(slots); err != nil {
			return nil, fmt.Errorf("substitutions[%d]: %w", i, err)
		}
		for j, other := range out[:i] {
			if other.Placeholder == out[i].Placeholder && (other.Placeholder != "" || other.Credential == out[i].Credential) {
				return nil, fmt.Errorf("substitutions[%d]: field placeholder: it is that of substitutions[%d]; name all surfaces there", i, j)
			}
		}
	}
	return out, nil
}

func (s *Substitution) canonical(slots Slots) error {
	if err := checkKey("credential", s.Credential); err != nil {
		return err
	}
	if s.Placeholder != "" {
		if err := CheckPlaceholder(s.Placeholder); err != nil {
			return fieldErrorf("placeholder", "%w", err)
		}
	}
	if len(s.In) == 0 {
		return fieldErrorf("in", "name at least one of path, query, header:NAME, body, websocket")
	}
	in := make([]string, 0, len(s.In))
	for _, surface := range s.In {
		name, header := strings.CutPrefix(surface, headerSurface)
		switch {
		case header:
			if err := headerName("in", name); err != nil {
				return err
			}
			if slices.ContainsFunc(slots.Headers, func(slot string) bool { return sameField(slot, name) }) {
				return fieldErrorf("in", "the service's auth fills %s itself", canonical(name))
			}
			surface = SurfaceHeader(name)
		case surface != SurfacePath && surface != SurfaceQuery && surface != SurfaceBody && surface != SurfaceWebSocket:
			return fieldErrorf("in", "%q is none of path, query, header:NAME, body, websocket", surface)
		}
		in = append(in, surface)
	}
	slices.Sort(in)
	s.In = slices.Compact(in)
	return nil
}

// CheckPlaceholder refuses a placeholder that could stand in a request by
// accident, or be misread.
func CheckPlaceholder(p string) error {
	switch {
	case len(p) < minPlaceholder || len(p) > maxPlaceholder:
		return fmt.Errorf("a placeholder has %d to %d characters", minPlaceholder, maxPlaceholder)
	case strings.IndexFunc(p, func(c rune) bool { return !isPlaceholder(c) }) >= 0:
		return errors.New("a placeholder is made of letters, digits, _ and -")
	case IsDummy(p):
		return nil
	case strings.Contains(p, dummyMark):
		return errors.New("it holds " + dummyMark + " and is no dummy; copy the dummy whole, or leave the field out")
	case !strings.Contains(p, "_"):
		return errors.New("a placeholder holds an underscore, so that no other text is taken for it, or is a credential's dummy")
	case ValidKey(p):
		return errors.New("it reads like the name of a credential; write it as in __API_KEY_PLACEHOLDER__")
	case strings.HasPrefix(p, "av_"):
		return errors.New("the vault's own tokens begin with av_")
	}
	return nil
}

func isPlaceholder(c rune) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// Substitutions are those of one service, with their placeholders. Nil are none.
// They never change, and are safe for use by many goroutines.
type Substitutions struct{ list []Substitution }

// Placeholders returns the substitutions of a list that is canonical. dummy
// returns the dummy of a credential.
func Placeholders(list []Substitution, dummy func(key string) string) *Substitutions {
	if len(list) == 0 {
		return nil
	}
	s := &Substitutions{slices.Clone(list)}
	for i := range s.list {
		if s.list[i].Placeholder == "" {
			s.list[i].Placeholder = dummy(s.list[i].Credential)
		}
	}
	return s
}

// All are the substitutions, each with its placeholder.
func (s *Substitutions) All() []Substitution {
	if s == nil {
		return nil
	}
	return s.list
}

// In reports whether placeholders are replaced in a surface.
func (s *Substitutions) In(surface string) bool {
	return s != nil && slices.ContainsFunc(s.list, func(x Substitution) bool { return slices.Contains(x.In, surface) })
}

// InHeaders reports whether they are in any header field.
func (s *Substitutions) InHeaders() bool {
	return s != nil && slices.ContainsFunc(s.list, func(x Substitution) bool {
		return slices.ContainsFunc(x.In, func(surface string) bool { return strings.HasPrefix(surface, headerSurface) })
	})
}

// KeysOf are the credentials that substitutions need, each once.
func KeysOf(list []Substitution) (keys []string) {
	for _, s := range list {
		if !slices.Contains(keys, s.Credential) {
			keys = append(keys, s.Credential)
		}
	}
	return keys
}

// A Claim is a placeholder of a vault and what it stands for.
type Claim struct{ Service, Placeholder, For string }

// maxPlaceholders bounds how many different ones a vault has.
const maxPlaceholders = 1_000

// Distinct refuses the placeholders of a vault if one stands for two things, or lies
// within another: what is to be replaced would depend on who looks first.
func Distinct(claims []Claim) error {
	first := make(map[string]Claim)
	lengths := make(map[int]bool)
	for _, c := range claims {
		switch was, ok := first[c.Placeholder]; {
		case ok && was.For != c.For:
			return fmt.Errorf("service %q: its placeholder %s stands for %s in the service %q", c.Service, c.Placeholder, was.For, was.Service)
		case !ok:
			first[c.Placeholder], lengths[len(c.Placeholder)] = c, true
		}
	}
	if len(first) > maxPlaceholders {
		return fmt.Errorf("a vault has at most %d placeholders", maxPlaceholders)
	}
	for p, c := range first {
		for n := range lengths {
			for from := 0; n < len(p) && from+n <= len(p); from++ {
				if inner, ok := first[p[from:from+n]]; ok {
					return fmt.Errorf("service %q: its placeholder %s lies within %s, of the service %q", inner.Service, inner.Placeholder, p, c.Service)
				}
			}
		}
	}
	return nil
}

// ErrTooLong says that a surface would be longer than it may be.
var ErrTooLong = errors.New("too long with credentials for placeholders")

// A PlaceError says that a placeholder stands where it cannot be replaced.
type PlaceError struct{ Where string }

func (e *PlaceError) Error() string { return "a placeholder cannot be replaced in " + e.Where }

// An Opener returns a credential in clear.
type Opener = func(key string) (seal.Plaintext, error)
