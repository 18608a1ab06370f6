package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Service is what a decision needs to know of a service.
type Service struct {
	Name    string // for errors
	Scheme  string // "" means https; "http" only with a named port (R7)
	Host    string // host, *.host, host:port, any of them with /path behind it
	Enabled bool
	Rules   []Rule // none: everything on the host
}

// A Rule allows or denies methods and paths. Of a service's rules the first
// that matches decides, and where there are rules and none matches, the
// request is denied.
type Rule struct {
	Methods []string `json:"methods,omitempty"` // upper case; none: every method
	Paths   []string `json:"paths,omitempty"`   // globs; none: every path
	Action  Action   `json:"action,omitempty"`  // "" means allow
}

// An Action is what a rule does to what it matches.
type Action string

const (
	ActionAllow Action = "allow"
	ActionDeny  Action = "deny"
)

// A Query is a request as policy sees it. The broker fills in every field from
// the pinned target; Decide canonicalizes nothing.
type Query struct {
	Scheme string // "https" or "http"
	Host   string // as in a Target
	Port   uint16 // never 0
	Method string // upper case, as sent
	Path   string // escaped: the very bytes that will go upstream
}

// A Verdict is whether a request may leave.
type Verdict uint8

const (
	Deny Verdict = iota // the zero value
	Allow
)

// A Reason is why.
type Reason uint8

const (
	ReasonNone       Reason = iota // nothing was decided
	NoService                      // no service covers the target
	ServiceDisabled                // the service that covers it is disabled
	MethodNotAllowed               // its rules allow other methods on this path
	PathNotAllowed                 // its rules allow no method on this path
	PathAmbiguous                  // path rules apply, and the path has two readings
	Allowed
)

var reasonNames = [...]string{"none", "no_service", "service_disabled", "method_not_allowed", "path_not_allowed", "path_ambiguous", "allowed"}

func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return "unknown"
}

// A Decision is what a Set says of a Query. The zero Decision denies.
type Decision struct {
	Verdict Verdict
	Reason  Reason
	Service int // index into the services of Compile; -1 when none covers the target
	Rule    int // index of the rule that decided; -1 when none did
}

// A Set is a vault's services, compiled. It never changes, and is safe for use
// by many goroutines. A nil Set denies everything.
type Set struct {
	exact    map[string][]compiled // by host, best first
	wildcard map[string][]compiled // by what stands behind "*."
}

type compiled struct {
	pattern
	index   int
	name    string
	scheme  string
	enabled bool
	rules   []rule
	byPath  bool // looks at paths, so that they must have one reading
}

type rule struct {
	methods []string
	paths   []*glob
	deny    bool
}

// Compile checks services and makes a Set of them. The error names the service
// and the field, or two services of the same rank that could both match one
// request.
func Compile(services []Service) (*Set, error) {
	s := &Set{exact: make(map[string][]compiled), wildcard: make(map[string][]compiled)}
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
			if other.scheme == c.scheme && rank(other, c) == 0 && overlap(other.path, c.path) {
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
	return s, nil
}

func compile(in Service, index int) (compiled, error) {
	p, err := parsePattern(in.Host)
	if err != nil {
		return compiled{}, err
	}
	c := compiled{pattern: p, index: index, name: in.Name, scheme: in.Scheme, enabled: in.Enabled, byPath: p.path != nil}
	switch in.Scheme {
	case "":
		c.scheme = "https"
	case "https":
	case "http":
		if p.port == 0 {
			return compiled{}, errors.New("scheme: clear-text http needs a port named in host, as in " + p.String() + ":8080")
		}
	default:
		return compiled{}, fmt.Errorf("scheme: %q is neither https nor http", in.Scheme)
	}
	for i, r := range in.Rules {
		cr, err := compileRule(r)
		if err != nil {
			return compiled{}, fmt.Errorf("rules[%d].%w", i, err)
		}
		c.byPath = c.byPath || len(cr.paths) > 0
		c.rules = append(c.rules, cr)
	}
	return c, nil
}

func compileRule(r Rule) (rule, error) {
	out := rule{methods: r.Methods}
	switch r.Action {
	case "", ActionAllow:
	case ActionDeny:
		out.deny = true
	default:
		return rule{}, fmt.Errorf("action: %q is neither allow nor deny", r.Action)
	}
	for _, m := range r.Methods {
		if !isMethod(m) {
			return rule{}, fmt.Errorf("methods: %q is not a method in upper case", m)
		}
	}
	for _, p := range r.Paths {
		g, err := parseGlob(p)
		if err != nil {
			return rule{}, fmt.Errorf("paths: %q: %w", p, err)
		}
		out.paths = append(out.paths, g)
	}
	return out, nil
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
// more literal bytes before fewer.
func rank(a, b compiled) int {
	if c := cmp.Compare(b2i(b.port != 0), b2i(a.port != 0)); c != 0 {
		return c
	}
	if c := cmp.Compare(a.port, b.port); c != 0 {
		return c // different ports never compete
	}
	ap, bp := a.path, b.path
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

// Decide answers a Query. It allocates nothing.
func (s *Set) Decide(q Query) Decision {
	if s == nil {
		return Decision{Service: -1, Rule: -1}
	}
	if d, ok := decideIn(s.exact[q.Host], q); ok {
		return d
	}
	if _, parent, ok := strings.Cut(q.Host, "."); ok {
		if d, ok := decideIn(s.wildcard[parent], q); ok {
			return d
		}
	}
	return Decision{Verdict: Deny, Reason: NoService, Service: -1, Rule: -1}
}

// decideIn asks the services of one host, best first. The first that covers
// the request decides; ok is false when none does.
func decideIn(list []compiled, q Query) (d Decision, ok bool) {
	for i := range list {
		c := &list[i]
		if !c.covers(q) {
			continue
		}
		// R13: before a path is compared with anything it must have one reading.
		// A path that has two could belong to this service or to the next one.
		if c.byPath && ambiguous(q.Path) {
			return Decision{Verdict: Deny, Reason: PathAmbiguous, Service: c.index, Rule: -1}, true
		}
		if c.path != nil && !c.path.match(q.Path) {
			continue
		}
		return c.decide(q), true
	}
	return Decision{}, false
}

// covers compares scheme and port. The host has been looked up.
func (c *compiled) covers(q Query) bool {
	if c.scheme != q.Scheme {
		return false
	}
	if c.port != 0 {
		return c.port == q.Port
	}
	port, ok := defaultPort(q.Scheme)
	return ok && port == q.Port
}

func (c *compiled) decide(q Query) Decision {
	d := Decision{Verdict: Deny, Service: c.index, Rule: -1}
	if !c.enabled {
		d.Reason = ServiceDisabled
		return d
	}
	allowed, at := c.ask(q.Method, q.Path)
	d.Rule = at
	switch {
	case allowed:
		d.Verdict, d.Reason = Allow, Allowed
	case c.allowsOther(q):
		d.Reason = MethodNotAllowed
	default:
		d.Reason = PathNotAllowed
	}
	return d
}

// ask runs the rules: the first that matches decides.
func (c *compiled) ask(method, path string) (allowed bool, at int) {
	if len(c.rules) == 0 {
		return true, -1
	}
	for i := range c.rules {
		if r := &c.rules[i]; r.matches(method, path) {
			return !r.deny, i
		}
	}
	return false, -1
}

func (r *rule) matches(method, path string) bool {
	if len(r.methods) > 0 && !slices.Contains(r.methods, method) {
		return false
	}
	if len(r.paths) == 0 {
		return true
	}
	for _, g := range r.paths {
		if g.match(path) {
			return true
		}
	}
	return false
}

// commonMethods stand for "every method" in a list that people read.
var commonMethods = []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}

// allowsOther reports whether the rules allow some other method on the path.
func (c *compiled) allowsOther(q Query) bool {
	for _, m := range commonMethods {
		if ok, _ := c.ask(m, q.Path); ok {
			return true
		}
	}
	for i := range c.rules {
		for _, m := range c.rules[i].methods {
			if ok, _ := c.ask(m, q.Path); ok {
				return true
			}
		}
	}
	return false
}

// AllowedMethods returns the methods that the rules allow on the query's path,
// sorted: what goes with MethodNotAllowed.
func (s *Set) AllowedMethods(q Query) []string {
	d := s.Decide(q)
	c := s.find(d.Service, q.Host)
	if c == nil {
		return []string{}
	}
	methods := slices.Clone(commonMethods)
	for _, r := range c.rules {
		methods = append(methods, r.methods...)
	}
	slices.Sort(methods)
	methods = slices.Compact(methods)
	return slices.DeleteFunc(methods, func(m string) bool {
		ok, _ := c.ask(m, q.Path)
		return !ok
	})
}

func (s *Set) find(index int, host string) *compiled {
	if s == nil || index < 0 {
		return nil
	}
	_, parent, _ := strings.Cut(host, ".")
	for _, list := range [][]compiled{s.exact[host], s.wildcard[parent]} {
		for i := range list {
			if list[i].index == index {
				return &list[i]
			}
		}
	}
	return nil
}

// Covers reports whether any service, enabled or not and whatever its paths,
// names the target. It allocates nothing.
func (s *Set) Covers(scheme, host string, port uint16) bool {
	if s == nil {
		return false
	}
	q := Query{Scheme: scheme, Host: host, Port: port}
	if coveredIn(s.exact[host], q) {
		return true
	}
	_, parent, ok := strings.Cut(host, ".")
	return ok && coveredIn(s.wildcard[parent], q)
}

func coveredIn(list []compiled, q Query) bool {
	for i := range list {
		if list[i].covers(q) {
			return true
		}
	}
	return false
}
