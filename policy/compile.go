package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"agentvault/policy/when"
)

// Compile checks services and makes a Set of them. The error names the service
// and the field, or two services of the same rank that could both match one
// request.
func Compile(services []Service) (*Set, error) {
	s := &Set{exact: make(map[string][]compiled), long: make(map[string]*prefixes), wildcard: make(map[string][]compiled)}
	for i, in := range services {
		c, err := compile(in, i)
		if err != nil {
			return nil, fmt.Errorf("service %q: %w", in.Name, err)
		}
		table := s.exact
		if c.wildcard {
			table = s.wildcard
		}
		for _, other := range table[c.host] {
			if other.scheme == c.scheme && rank(other, c) == 0 && overlap(other.path, c.path) && shareRequests(other, c) {
				return nil, fmt.Errorf("services %q and %q cover the same requests (%s and %s); make one of them narrower, or join them", other.name, c.name, other.pattern, c.pattern)
			}
		}
		table[c.host] = append(table[c.host], c)
	}
	for _, table := range []map[string][]compiled{s.exact, s.wildcard} {
		for _, list := range table {
			slices.SortStableFunc(list, rank)
		}
	}
	for host, list := range s.exact {
		if p := newPrefixes(list); p != nil {
			s.long[host] = p
		}
	}
	return s, nil
}

func compile(in Service, index int) (compiled, error) {
	p, err := parsePattern(in.Host)
	if err != nil {
		return compiled{}, err
	}
	c := compiled{pattern: p, index: index, name: in.Name, scheme: in.Scheme, enabled: in.Enabled, byPath: p.path != nil,
		agents: slices.Clone(in.Agents), placeholder: in.Placeholder}
	switch in.Scheme {
	case "":
		c.scheme = "https"
	case "https":
	case "http":
		if p.port == 0 {
			return compiled{}, errors.New("scheme: clear-text http needs a port named in host, as in " + p.String() + ":8080")
		}
	default:
		return compiled{}, fmt.Errorf("scheme: %q is neither https nor http; leave it out for https", in.Scheme)
	}
	for i, r := range in.Rules {
		cr, err := compileRule(r)
		if err != nil {
			return compiled{}, fmt.Errorf("rules[%d].%w", i, err)
		}
		c.byPath = c.byPath || cr.byPath()
		c.rules = append(c.rules, cr)
		c.methods = append(c.methods, cr.methods...)
	}
	if len(c.rules) > 0 {
		c.methods = append(c.methods, commonMethods...)
		slices.Sort(c.methods)
		c.methods = slices.Compact(c.methods)
	}
	return c, nil
}

func compileRule(r Rule) (rule, error) {
	out := rule{methods: slices.Clone(r.Methods), action: cmp.Or(r.Action, ActionAllow), ended: r.Ended}
	if r.ExpiresAt != "" && out.action == ActionDeny {
		return rule{}, errors.New("expires_at: a rule that denies does not end")
	}
	switch out.action {
	case ActionAllow, ActionDeny, ActionAsk:
	default:
		return rule{}, fmt.Errorf("action: %q is neither allow, deny nor ask; leave it out to allow", r.Action)
	}
	for _, m := range r.Methods {
		if up := strings.ToUpper(m); !isMethod(m) && isMethod(up) {
			return rule{}, fmt.Errorf("methods: %q is not a method in upper case; write %s", m, up)
		} else if !isMethod(m) {
			return rule{}, fmt.Errorf("methods: %q is not a method in upper case, as in GET; leave methods out for every method", m)
		}
	}
	for _, p := range r.Paths {
		g, err := parseGlob(p)
		if err != nil {
			return rule{}, fmt.Errorf("paths: %q: %w", p, err)
		}
		out.paths = append(out.paths, g)
	}
	return out, out.addConditions(r)
}

func (out *rule) addConditions(r Rule) error {
	add := func(field, expr string) error {
		c, err := when.Compile(expr)
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		out.conditions = append(out.conditions, c)
		return nil
	}
	if r.Preset != "" {
		expr, err := when.Preset(r.Preset)
		if err != nil {
			return fmt.Errorf("preset: %w", err)
		}
		if err := add("preset", expr); err != nil {
			return err
		}
	}
	if r.When != "" {
		return add("when", r.When)
	}
	return nil
}

// isMethod: RFC 9110 §9.1 allows any token; real ones are letters and "-".
func isMethod(m string) bool {
	for i := range len(m) {
		if c := m[i]; (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return false
		}
	}
	return m != "" && len(m) <= 32
}

// rank orders services of one host, the more specific first: a named port
// before none, a longer literal path before a shorter, no wildcard before one,
// more literal bytes before fewer; then one with a placeholder before none, and
// one for some agents before one for all.
func rank(a, b compiled) int {
	if c := cmp.Compare(b2i(b.port != 0), b2i(a.port != 0)); c != 0 {
		return c
	}
	if c := cmp.Compare(a.port, b.port); c != 0 {
		return c // different ports never compete
	}
	if c := rankPaths(a.path, b.path); c != 0 {
		return c
	}
	if c := cmp.Compare(b2i(b.placeholder != ""), b2i(a.placeholder != "")); c != 0 {
		return c
	}
	return cmp.Compare(b2i(b.agents != nil), b2i(a.agents != nil))
}

// shareRequests reports whether two services of one rank cover requests of the same
// agents, with the same placeholder.
func shareRequests(a, b compiled) bool {
	return a.placeholder == b.placeholder &&
		(a.agents == nil || slices.ContainsFunc(a.agents, func(name string) bool { return slices.Contains(b.agents, name) }))
}

func rankPaths(ap, bp *glob) int {
	switch {
	case ap == nil || bp == nil:
		return cmp.Compare(b2i(bp != nil), b2i(ap != nil))
	case ap.prefix != bp.prefix:
		return cmp.Compare(bp.prefix, ap.prefix)
	case ap.wild() != bp.wild():
		return cmp.Compare(b2i(ap.wild()), b2i(bp.wild()))
	}
	return cmp.Compare(bp.total, ap.total)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
