package vault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/policy/media"
	"agentvault/policy/when"
)

// A Verdict is what would happen to a request, and why.
type Verdict struct {
	Vault, Method string
	Target        string // scheme://host:port
	Path          string

	Allowed        bool   // policy lets it out
	Reason         string // policy.Reason's name, ReasonMalformed or ReasonUnsendable
	Service        string // that covers it; "" when none does
	Rule           int    // index of the service's rule that decided; -1 when none did
	RuleText       *policy.Rule
	AuthType       string              // of the service
	Credentials    []VerdictCredential // that the service injects
	AllowedMethods []string            // with method_not_allowed
	Tunnel         bool                // no service names the host, and the proxy entrance lets it through unseen
	Fault          string              // code that the agent would get; "" when the request goes out, or it depends on the body
	Doubt          when.Doubt          // why a condition that decided cannot be told
	Explanation    string              // all of it in a sentence
	Steps          []VerdictStep       // what the decision looked at, in its order
	Ask            bool                // policy lets it out if a person does
	Then           []string            // what else happens to it, where it may go out

	connects string // of the service: see [Service.Connects]
}

// A PolicyQuestion is a request that an agent of a vault might send.
type PolicyQuestion struct {
	Vault, Method string
	URL           string // a missing scheme is https
	Agent         string // name; "": nobody in particular
	Header        map[string][]string
	Body          []byte // nil: it is not known
}

// MaxJudged is how much of a body conditions look at, in bytes. A longer one is not
// looked at.
const MaxJudged = 1 << 20

// A VerdictStep is a service, or a rule of one, that a decision looked at.
type VerdictStep struct {
	Service  string
	Rule     int          // index of its rule; -1: the service itself
	RuleText *policy.Rule // of Rule
	Finding  string       // policy.Finding
	Doubt    when.Doubt   // why its condition cannot be told
}

// A VerdictCredential is a key that a service injects.
type VerdictCredential struct {
	Key     string
	Present bool // it has a value
}

// ReasonMalformed is a Verdict's Reason where policy is not even asked.
const ReasonMalformed = "malformed"

// CheckPolicy says what would happen if an agent of the vault sent a request.
// Limits, the network guard and the upstream are not asked.
func (r *Registry) CheckPolicy(ctx context.Context, c Caller, asked PolicyQuestion) (Verdict, error) {
	if err := r.allow(c, actReadVault, nil); err != nil {
		return Verdict{}, err
	}
	target, path, query, err := policy.ParseURL(asked.URL)
	if err != nil {
		return Verdict{}, badRequest("url: %v", err)
	}
	method := asked.Method
	if method == "" {
		return Verdict{}, badRequest("method: it is missing, as in GET")
	}
	var v Vault
	var grant Grant
	var left map[string]int64
	err = r.store.Read(ctx, func(tx Tx) (err error) {
		if v, err = r.wholeVault(tx, c, actReadVault, asked.Vault); err != nil || asked.Agent == "" {
			return err
		}
		if grant, err = grantOf(tx, asked.Agent, v, r.now()); err == nil {
			left, err = grant.left(tx, v.ID, r.now())
		}
		return err
	})
	if err != nil {
		return Verdict{}, err
	}
	all := v.Services
	v.Services = Unexpired(all, r.now())
	set, err := compileServices(v.Services)
	if err != nil {
		return Verdict{}, &Error{Code: CodeUnavailable, Message: "the vault refuses everything until its services are mended", Err: err}
	}
	out := Verdict{Vault: v.Name, Method: method, Target: target.Scheme + "://" + target.Address(), Path: path, Rule: -1}
	if problem := policy.Malformed(method, path, query); problem != "" {
		out.Reason, out.Fault, out.Explanation = ReasonMalformed, "bad_request", "refused, whatever the services: "+problem
		return out, nil
	}
	choosers := Choosers(v.Services, func(key string) string { return r.dummyOf(v, key) })
	sent, several := inject.Sent(asked.Header, query, choosers)
	if several {
		out.refuse("placeholder_misplaced", "refused: the request has placeholders of several services; send that of one")
		return out, nil
	}
	q := policy.Query{
		Scheme: target.Scheme, Host: target.Host, Port: target.Port, Method: method, Path: path,
		Agent: asked.Agent, Placeholder: choosers[sent],
		Input: asked.input(method, path, query, r.now()),
	}
	d := out.decide(v, set, q, target)
	switch {
	case out.Service != "" && !grant.includes(out.Service):
		out.Allowed, out.Ask, out.Then, out.Fault = false, false, nil, "forbidden"
		out.Explanation = fmt.Sprintf("refused: the agent %s was not granted the service %s, which covers it", asked.Agent, out.Service)
	case out.Service == "":
		out.Explanation += expiredWords(all, target, r.now())
	case d.Verdict != policy.Deny:
		r.send(&out, v, r.trial(v, v.Services[d.Service], asked, q, target, query))
		out.grantWords(grant, left)
	}
	return out, nil
}

// send says what would become of a request that policy lets out.
func (r *Registry) send(out *Verdict, v Vault, t *trial) {
	s := v.Services[v.service(out.Service)]
	in, err := inject.Parse(s.Auth)
	if err != nil {
		return // it was checked when it was stored
	}
	subs := inject.Placeholders(s.Substitutions, func(key string) string { return r.dummyOf(v, key) })
	fault, why := t.run(in, subs)
	if fault != "" {
		out.refuse(fault, fmt.Sprintf("refused: the service %s lets it out (%s), and it cannot be sent: %s", out.Service, out.by(), why))
		return
	}
	var missing []string
	for _, key := range append(in.Keys(), t.opened...) {
		if _, present := v.Credentials[key]; !present && !slices.Contains(missing, key) {
			missing = append(missing, key)
		}
	}
	if missing != nil {
		out.Fault = "credential_not_found"
	}
	out.Explanation = out.explainAllowed(missing)
}

// refuse says that a request cannot be sent, whatever policy says.
func (o *Verdict) refuse(fault, explanation string) {
	o.Allowed, o.Ask, o.Then, o.Reason, o.Fault, o.Explanation = false, false, nil, ReasonUnsendable, fault, explanation
}

// grantWords adds what the agent's grant of the service allows, where that is counted.
func (o *Verdict) grantWords(g Grant, left map[string]int64) {
	for _, t := range g.Metered() {
		if t.Service != o.Service || o.Reason == ReasonUnsendable {
			continue
		}
		o.Then = append(o.Then, fmt.Sprintf("limit of the agent's grant: %d requests until %s, of which %d are left", t.Uses, t.ExpiresAt.Format(time.RFC3339), left[t.ID]))
		if left[t.ID] == 0 && o.Fault == "" {
			o.Fault = "budget_exceeded"
			o.Explanation += "; but the agent has sent all the requests that it was granted, so it gets budget_exceeded"
		}
	}
}

// grantOf is what an agent may do in a vault.
func grantOf(tx Tx, agent string, v Vault, now time.Time) (Grant, error) {
	a, err := tx.AgentByName(agent)
	if errors.Is(err, ErrNotFound) {
		return Grant{}, refuse(CodeNotFound, "there is no agent %q", shorten(agent))
	}
	a.current(now)
	g, ok := a.Vaults[v.ID]
	if err == nil && !ok {
		err = refuse(CodeVaultForbidden, "the agent %s has no access to the vault %s; a person can grant it", a.Name, v.Name)
	}
	return g, err
}

// input is what conditions look at.
func (q PolicyQuestion) input(method, path, query string, now time.Time) *when.Input {
	in := &when.Input{Method: method, Path: path, RawQuery: query, Header: q.Header, Agent: q.Agent, Now: now.UnixNano()}
	switch {
	case q.Body == nil:
	case media.Of(q.Header).Coded:
		in.BodyState = when.BodyCoded
	case len(q.Body) > MaxJudged:
		in.BodyState = when.BodyTooLong
	default:
		in.Body, in.BodyState = q.Body, when.BodyWhole
	}
	return in
}

// expiredWords names a service that covered the target until it ended.
func expiredWords(services []Service, t policy.Target, now time.Time) string {
	for _, s := range services {
		if !s.Expired(now) {
			continue
		}
		if set, err := compileServices([]Service{s}); err == nil && set.Covers(t.Scheme, t.Host, t.Port) {
			return fmt.Sprintf("; the service %s did, and ended at %s", s.Name, s.ExpiresAt.Format(time.RFC3339))
		}
	}
	return ""
}

func compileServices(services []Service) (*policy.Set, error) {
	rules := make([]policy.Service, len(services))
	for i, s := range services {
		rules[i] = s.Policy()
	}
	return policy.Compile(rules)
}

func (o *Verdict) decide(v Vault, set *policy.Set, q policy.Query, t policy.Target) policy.Decision {
	d := set.Decide(q)
	o.Allowed, o.Reason, o.Rule = d.Verdict == policy.Allow, d.Reason.String(), d.Rule
	for _, step := range set.Trace(q) {
		s := v.Services[step.Service]
		vs := VerdictStep{Service: s.Name, Rule: step.Rule, Finding: string(step.Finding), Doubt: step.Doubt}
		if step.Rule >= 0 {
			vs.RuleText = &s.Rules[step.Rule]
		}
		o.Steps = append(o.Steps, vs)
	}
	if d.Service < 0 {
		o.Tunnel = d.Reason == policy.NoService && v.UnmatchedHosts == UnmatchedTunnel &&
			q.Scheme == "https" && !t.IsIP() && !set.Covers(q.Scheme, q.Host, q.Port)
	} else {
		s := v.Services[d.Service]
		o.Service, o.AuthType, o.connects = s.Name, s.Auth.Type(), s.Connects()
		if d.Rule >= 0 {
			o.RuleText = &s.Rules[d.Rule]
		}
		for _, key := range s.Keys() {
			_, present := v.Credentials[key]
			o.Credentials = append(o.Credentials, VerdictCredential{key, present})
		}
		o.Ask, o.Then = d.Verdict == policy.Ask, s.then(d)
	}
	if d.Reason == policy.MethodNotAllowed {
		o.AllowedMethods = set.AllowedMethods(q)
	}
	o.Doubt = set.Doubt(q, d)
	o.Fault = o.fault(d.Reason)
	o.Explanation = o.explain(d.Reason)
	return d
}
