package policy

import "strings"

// Decide answers a Query. It allocates nothing.
func (s *Set) Decide(q Query) Decision {
	if s == nil {
		return Decision{Service: -1, Rule: -1}
	}
	if d, ok := decideIn(s.exact[q.Host], q); ok {
		return d
	}
	if label, parent, ok := strings.Cut(q.Host, "."); ok && label != "" {
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
			d := Decision{Verdict: Deny, Reason: PathAmbiguous, Service: c.index, Rule: -1}
			if c.path != nil {
				d.Service = -1
			}
			return d, true
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
	case c.allowsSome(q.Path):
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
	if len(r.methods) > 0 && !r.names(method) {
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

// names: methods are case-sensitive (RFC 9110 §9.1), but many upstreams raise
// them. So a rule that denies DELETE denies "delete" too, and one that allows
// it does not allow that.
func (r *rule) names(method string) bool {
	for _, m := range r.methods {
		if m == method || r.deny && strings.EqualFold(m, method) {
			return true
		}
	}
	return false
}

// commonMethods stand for "every method" in a list that people read.
var commonMethods = []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}

// allowsSome reports whether the rules allow some method on the path.
func (c *compiled) allowsSome(path string) bool {
	for _, m := range c.methods {
		if ok, _ := c.ask(m, path); ok {
			return true
		}
	}
	return false
}

// AllowedMethods returns the methods that the rules allow on the query's path,
// sorted: what goes with MethodNotAllowed. It is empty, never nil, for every
// other decision.
func (s *Set) AllowedMethods(q Query) []string {
	allowed := []string{}
	d := s.Decide(q)
	c := s.find(d.Service, q.Host)
	if c == nil || d.Reason != MethodNotAllowed {
		return allowed
	}
	for _, m := range c.methods {
		if ok, _ := c.ask(m, q.Path); ok {
			allowed = append(allowed, m)
		}
	}
	return allowed
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
	label, parent, ok := strings.Cut(host, ".")
	return ok && label != "" && coveredIn(s.wildcard[parent], q)
}

// ByPath reports whether any service of the target looks at paths, in its host or
// its rules. It allocates nothing.
func (s *Set) ByPath(scheme, host string, port uint16) bool {
	if s == nil {
		return false
	}
	q := Query{Scheme: scheme, Host: host, Port: port}
	_, parent, _ := strings.Cut(host, ".")
	for _, list := range [...][]compiled{s.exact[host], s.wildcard[parent]} {
		for i := range list {
			if list[i].byPath && list[i].covers(q) {
				return true
			}
		}
	}
	return false
}

func coveredIn(list []compiled, q Query) bool {
	for i := range list {
		if list[i].covers(q) {
			return true
		}
	}
	return false
}
