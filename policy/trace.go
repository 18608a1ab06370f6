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
	Matches        Finding = "matches"           // it decides, or the service's rules do
	TwoReadings    Finding = "path_ambiguous"    // paths are looked at, and this one has two readings
	DisabledAnyway Finding = "disabled"          // it would decide, and is disabled
)

// Trace returns what Decide looks at for a query, in its order.
func (s *Set) Trace(q Query) []Step {
	if s == nil {
		return nil
	}
	_, parent, _ := strings.Cut(q.Host, ".")
	var steps []Step
	for _, c := range slices.Concat(s.exact[q.Host], s.wildcard[parent]) {
		finding := c.finding(q)
		steps = append(steps, Step{c.index, -1, finding})
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
		r := &c.rules[i]
		f := Matches
		switch {
		case r.ended:
			f = Ended
		case len(r.methods) > 0 && !r.names(q.Method):
			f = OtherMethod
		case !r.matches(q.Method, q.Path):
			f = OtherPath
		default:
			switch r.met(q.Input) {
			case when.False:
				f = Unmet
			case when.Unknown:
				f = Untold
			}
		}
		steps = append(steps, Step{c.index, i, f})
		if f == Matches || f == Untold && (r.action != ActionAllow || r.lacksBody(q.Input)) {
			break
		}
	}
	return steps
}
