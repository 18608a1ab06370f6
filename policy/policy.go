package policy

import "agentvault/policy/when"

// A Service is what a decision needs to know of a service.
type Service struct {
	Name    string // for errors
	Scheme  string // "" means https; "http" only with a named port (R7)
	Host    string // host, *.host, host:port, any of them with /path behind it
	Enabled bool
	Rules   []Rule // none: everything on the host

	// Agents are the names of those whose requests it covers; none: everybody's.
	Agents []string

	// Placeholder is what names the service in the requests that it covers; "" for
	// requests with any, or none.
	Placeholder string
}

// A Rule says what is done to requests of some methods and paths that meet its
// conditions. Of a service's rules the first that matches decides, and where there
// are rules and none matches, the request is denied.
//
// A condition that cannot be evaluated, because the body is no JSON, say, leaves
// open whether the rule matches. Where the outcome depends on that, the request is
// denied.
type Rule struct {
	Methods []string `json:"methods,omitempty"` // upper case; none: every method
	Paths   []string `json:"paths,omitempty"`   // globs; none: every path
	Preset  string   `json:"preset,omitempty"`  // a condition by name: see [when.Preset]
	When    string   `json:"when,omitempty"`    // a condition in CEL: see [when.Compile]
	Action  Action   `json:"action,omitempty"`  // "" means allow
	Limits  []Limit  `json:"limits,omitempty"`  // of what it lets through

	// ExpiresAt is when the rule ends, as in 2026-01-02T15:04:05Z; "" for never. A
	// rule that denies does not end. What has ended matches nothing, and is a rule
	// still: a service does not open with the end of its last one.
	ExpiresAt string `json:"expires_at,omitempty"`
	Ended     bool   `json:"-"` // said by whoever knows the time
}

// An Action is what a rule does to what it matches.
type Action string

const (
	ActionAllow Action = "allow"
	ActionDeny  Action = "deny"
	ActionAsk   Action = "ask" // a person decides on each request
)

// A Query is a request as policy sees it. The broker fills in every field from
// the pinned target; Decide canonicalizes nothing.
type Query struct {
	Scheme string // "https" or "http"
	Host   string // as in a Target
	Port   uint16 // never 0
	Method string // upper case, as sent
	Path   string // escaped: the very bytes that will go upstream

	Agent       string // name; "" for a session that is no agent's
	Placeholder string // of a Service, that stands in the request; "" for none

	// Input is what conditions look at. Without it none can be evaluated.
	Input *when.Input
}

// A Verdict is whether a request may leave.
type Verdict uint8

const (
	Deny Verdict = iota // the zero value
	Allow
	Ask // a person decides; the reason is Allowed
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
	ConditionNotMet                // its rules allow it under a condition that it does not meet, or that cannot be evaluated
	BodyNeeded                     // a condition looks at the body, which the Input does not have yet
	Allowed
)

var reasonNames = [...]string{"none", "no_service", "service_disabled", "method_not_allowed", "path_not_allowed", "path_ambiguous", "condition_not_met", "body_needed", "allowed"}

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
	Service int // index into the services of Compile; -1 when none covers the target, or the path leaves open which
	Rule    int // index of the rule that decided; -1 when none did
}

// A Set is a vault's services, compiled. It never changes, and is safe for use
// by many goroutines. A nil Set denies everything.
type Set struct {
	exact    map[string][]compiled // by host, best first
	long     map[string]*prefixes  // of exact, the lists that are long
	wildcard map[string][]compiled // by what stands behind "*."
}

type compiled struct {
	pattern
	index   int
	name    string
	scheme  string
	enabled bool

	agents      []string // nil: all
	placeholder string

	rules   []rule
	byPath  bool     // looks at paths, so that they must have one reading
	methods []string // commonMethods and those that rules name, sorted
}

type rule struct {
	ended      bool
	methods    []string
	paths      []*glob
	conditions []*when.Condition // all of them must hold
	action     Action            // never ""
}
