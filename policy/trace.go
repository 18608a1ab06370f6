package policy

import (
	"slices"
	"strings"

	"agentvault/policy/when"
)

// A Step is one thing that a decision looked at, in its order.
type Step struct {
	Service int // index into the services of Compile
	Rule    int // index of its rule; -1: the service itself
	Finding Finding
	Doubt   when.Doubt // of Untold: why
}

// A Finding is what a Step came to.
type Finding string

const (
	OtherPort      Finding = "other_port"        // the service is for another scheme or port
	OtherAgent     Finding = "other_agent"       // the service is for other agents
	OtherSent      Finding = "other_placeholder" // the service is for requests with its placeholder
	Ended          Finding = "ended"             // the rule has ended
	OtherPath      Finding = "other_path"        // the service or rule is for other paths
	OtherMethod    Finding = "other_method"      // the rule is for other methods
	Unmet          Finding = "condition_false"   // the rule's condition does not hold
	Untold         Finding = "condition_unsure"  // the rule's condition cannot be evaluated
	WantsBody      Finding = "body_needed"       // the rule's condition looks at the body, which is not known
	Matches        Finding = "matches"           // it decides, or the service's rules do
	TwoReadings    Finding = "path_ambiguous"    // paths are looked at, and this one has two readings
	DisabledAnyway Finding = "disabled"          // it would decide, and is disabled
)

// Trace returns what Decide looks at for a query, in its order. Where the body is not
// known, and rules look at it, it goes on with what would be looked at next if they did
// not match.
func (s *Set) Trace(q Query) []Step {
	if s == nil {
		return nil
	}
	_, parent, _ := strings.Cut(q.Host, ".")
	var steps []Step
	for _, c := range slices.Concat(s.exact[q.Host], s.wildcard[parent]) {
		finding := c.finding(q)
		steps = append(steps, Step{Service: c.index, Rule: -1, Finding: finding})
		switch finding {
		case OtherPort, OtherAgent, OtherSent, OtherPath:
			continue
		case Matches:
			return append(steps, c.traceRules(q)...)
		}
		return steps
	}
	return steps
}

func (c *compiled) finding(q Query) Finding {
	switch {
	case !c.covers(q):
		return OtherPort
	case c.placeholder != "" && c.placeholder != q.Placeholder:
		return OtherSent
	case !c.serves(q):
		return OtherAgent
	case c.byPath && ambiguous(q.Path):
		return TwoReadings
	case c.path != nil && !c.path.match(q.Path):
		return OtherPath
	case !c.enabled:
		return DisabledAnyway
	}
	return Matches
}

func (c *compiled) traceRules(q Query) (steps []Step) {
	for i := range c.rules {
		s := c.rules[i].trace(q)
		s.Service, s.Rule = c.index, i
		steps = append(steps, s)
		if s.Finding == Matches || s.Finding == Untold && c.rules[i].action != ActionAllow {
			break
		}
	}
	return steps
}

func (r *rule) trace(q Query) Step {
	switch {
	case r.ended:
		return Step{Finding: Ended}
	case len(r.methods) > 0 && !r.names(q.Method):
		return Step{Finding: OtherMethod}
	case !r.matches(q.Method, q.Path):
		return Step{Finding: OtherPath}
	}
	switch r.met(q.Input) {
	case when.False:
		return Step{Finding: Unmet}
	case when.True:
		return Step{Finding: Matches}
	}
	if r.lacksBody(q.Input) {
		return Step{Finding: WantsBody}
	}
	return Step{Finding: Untold, Doubt: r.doubt(q.Input)}
}

// Doubt is why a condition could not be told, where that decided; NoDoubt otherwise.
func (s *Set) Doubt(q Query, d Decision) when.Doubt {
	c := s.find(d.Service, q.Host)
	if c == nil || d.Reason != ConditionNotMet || d.Rule < 0 || d.Rule >= len(c.rules) {
		return when.NoDoubt
	}
	return c.rules[d.Rule].doubt(q.Input)
}

// doubt is why the conditions cannot be told; NoDoubt where they can.
func (r *rule) doubt(in *when.Input) (why when.Doubt) {
	for _, c := range r.conditions {
		switch d := c.Doubt(in); {
		case d != when.NoDoubt && why == when.NoDoubt:
			why = d
		case d == when.NoDoubt && c.Eval(in) == when.False:
			return when.NoDoubt
		}
	}
	return why
}
