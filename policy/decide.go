package policy

import (
	"slices"
	"strings"

	"agentvault/policy/when"
)

// Decide answers a Query. It allocates nothing.
func (s *Set) Decide(q Query) Decision {
	if s == nil {
		return Decision{Service: -1, Rule: -1}
	}
	if long := s.long[q.Host]; long != nil && spelledPlainly(q.Path) {
		if d, ok := long.decide(q); ok {
			return d
		}
	} else if d, ok := decideIn(s.exact[q.Host], q); ok {
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
		if !c.covers(q) || !c.serves(q) {
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

// serves reports whether the service is for who asks, and by what.
func (c *compiled) serves(q Query) bool {
	return (c.placeholder == "" || c.placeholder == q.Placeholder) && (c.agents == nil || slices.Contains(c.agents, q.Agent))
}

func (c *compiled) decide(q Query) Decision {
	d := Decision{Verdict: Deny, Service: c.index, Rule: -1}
	if !c.enabled {
		d.Reason = ServiceDisabled
		return d
	}
	d.Verdict, d.Reason, d.Rule = c.ask(q)
	if d.Reason == PathNotAllowed && c.allowsSome(q.Path) {
		d.Reason = MethodNotAllowed
	}
	return d
}

// ask runs the rules: the first that matches decides, and its index comes back.
func (c *compiled) ask(q Query) (v Verdict, why Reason, at int) {
	if len(c.rules) == 0 {
		return Allow, Allowed, -1
	}
	why = PathNotAllowed
	for i := range c.rules {
		r := &c.rules[i]
		if !r.matches(q.Method, q.Path) {
			continue
		}
		switch met := r.met(q.Input); {
		case met == when.True && r.action == ActionAllow:
			return Allow, Allowed, i
		case met == when.True && r.action == ActionAsk:
			return Ask, Allowed, i
		case met == when.True && len(r.conditions) == 0:
			return Deny, PathNotAllowed, i
		case met == when.True:
			return Deny, ConditionNotMet, i
		case met == when.Unknown && r.lacksBody(q.Input):
			return Deny, BodyNeeded, i
		case met == when.Unknown && r.action != ActionAllow:
			return Deny, ConditionNotMet, i
		case r.action != ActionDeny && why == PathNotAllowed:
			why, at = ConditionNotMet, i
		}
	}
	if why == PathNotAllowed {
		at = -1
	}
	return Deny, why, at
}

func (r *rule) matches(method, path string) bool {
	if r.ended || len(r.methods) > 0 && !r.names(method) {
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

// met evaluates the conditions: one that is not met decides, whatever the others.
func (r *rule) met(in *when.Input) when.Outcome {
	met := when.True
	for _, c := range r.conditions {
		if in == nil {
			return when.Unknown
		}
		switch c.Eval(in) {
		case when.False:
			return when.False
		case when.Unknown:
			met = when.Unknown
		}
	}
	return met
}

// lacksBody reports whether a condition looks at the body, and it was not read yet.
func (r *rule) lacksBody(in *when.Input) bool {
	if in == nil || in.BodyState != when.BodyUnread {
		return false
	}
	for _, c := range r.conditions {
		if c.NeedsBody() {
			return true
		}
	}
	return false
}

// byPath reports whether the rule looks at paths.
func (r *rule) byPath() bool {
	for _, c := range r.conditions {
		if c.NeedsPath() {
			return true
		}
	}
	return len(r.paths) > 0
}

// names: methods are case-sensitive (RFC 9110 §9.1), but many upstreams raise
// them. So a rule that denies DELETE denies "delete" too, and one that allows
// it, or has a person asked, does not match that.
func (r *rule) names(method string) bool {
	for _, m := range r.methods {
		if m == method || r.action == ActionDeny && strings.EqualFold(m, method) {
			return true
		}
	}
	return false
}

// commonMethods stand for "every method" in a list that people read.
var commonMethods = []string{"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}

// allowsSome reports whether the rules allow some method on the path, if only
// under a condition.
func (c *compiled) allowsSome(path string) bool {
	for _, m := range c.methods {
		if c.mayAllow(m, path) {
			return true
		}
	}
	return false
}

// mayAllow reports whether the rules allow a request, if only under a condition.
func (c *compiled) mayAllow(method, path string) bool {
	for i := range c.rules {
		r := &c.rules[i]
		if !r.matches(method, path) || r.action == ActionDeny && len(r.conditions) > 0 {
			continue
		}
		return r.action != ActionDeny
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
		if c.mayAllow(m, q.Path) {
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

// Covers reports whether any service, enabled or not and whatever its paths, agents
// and placeholder, names the target. It allocates nothing.
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
