package inject

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"agentvault/vault/seal"
)

// custom sends header fields made from templates, in which "{{ KEY }}" stands
// for a credential.
type custom struct {
	Headers map[string]string `json:"headers"`

	fields []template
}

// A template is one field: text, key, text, key … text.
type template struct {
	name string
	text []string // one more than keys
	keys []string
}

const maxCustomHeaders = 16

var placeholder = regexp.MustCompile(`\{\{\s*([A-Za-z0-9_]*)\s*\}\}`)

var _ = register("custom", func(c custom) (Injector, error) {
	if len(c.Headers) == 0 || len(c.Headers) > maxCustomHeaders {
		return nil, fieldErrorf("headers", "it holds 1 to %d header fields, as in {\"X-Api-Key\": \"{{ API_KEY }}\"}", maxCustomHeaders)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		t, err := parseTemplate(name, c.Headers[name])
		if err != nil {
			return nil, err
		}
		for _, other := range c.fields {
			if sameField(other.name, t.name) {
				return nil, fieldErrorf("headers", "%s stands there twice", t.name)
			}
		}
		c.fields = append(c.fields, t)
	}
	return c, nil
})

func parseTemplate(name, text string) (template, error) {
	if err := headerName("headers", name); err != nil {
		return template{}, err
	}
	t := template{name: canonical(name)}
	at := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(text, -1) {
		key := text[m[2]:m[3]]
		if !ValidKey(key) {
			return template{}, fieldErrorf("headers", "%s: between {{ and }} stands the name of a credential in upper case, as in {{ API_KEY }}", t.name)
		}
		t.text, t.keys = append(t.text, text[at:m[0]]), append(t.keys, key)
		at = m[1]
	}
	t.text = append(t.text, text[at:])
	rest := strings.Join(t.text, "")
	switch {
	case len(t.keys) == 0:
		return template{}, fieldErrorf("headers", "%s has no {{ KEY }}; values never stand here", t.name)
	case strings.Contains(rest, "{{") || strings.Contains(rest, "}}"):
		return template{}, fieldErrorf("headers", "%s has a placeholder that is not of the form {{ KEY }}", t.name)
	case !httpguts.ValidHeaderFieldValue(rest) || len(text) > 1024:
		return template{}, fieldErrorf("headers", "the text of %s cannot stand in a header", t.name)
	}
	return t, nil
}

func (c custom) Type() string { return "custom" }

func (c custom) Keys() []string {
	var keys []string
	for _, f := range c.fields {
		for _, k := range f.keys {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	}
	return keys
}

func (c custom) Slots() Slots {
	names := make([]string, len(c.fields))
	for i, f := range c.fields {
		names[i] = f.name
	}
	return headerSlots(names...)
}

func (c custom) Inject(r *Request, open func(string) (seal.Plaintext, error)) error {
	values := make([]string, len(c.fields)) // nothing is set unless all of it can be
	for i, f := range c.fields {
		v, err := f.fill(open)
		if err != nil {
			return err
		}
		values[i] = v
	}
	for i, f := range c.fields {
		r.set(f.name, values[i])
	}
	return nil
}

func (t template) fill(open func(string) (seal.Plaintext, error)) (string, error) {
	var value strings.Builder
	for i, key := range t.keys {
		p, err := open(key)
		switch {
		case err != nil:
			return "", err
		case !sendable(p):
			return "", &ValueError{key}
		}
		value.WriteString(t.text[i])
		value.Write(p.Bytes())
	}
	value.WriteString(t.text[len(t.keys)])
	return value.String(), nil
}
