package broker

import (
	"fmt"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/policy/media"
	"agentvault/policy/when"
)

// Bounds of decisions by a body.
const (
	maxJudged  = 1 << 20 // bytes of it
	maxJudging = 8       // at once: what is made of one can be many times as long
)

// decide asks the vault's Set about the very bytes that would be sent. The body is
// read only where a condition looks at it and the outcome depends on that.
func (e *exchange) decide() *Fault {
	e.describe(&e.input, e.r.Method) // fields of the exchange cost no allocation
	e.use.query = policy.Query{
		Scheme: e.Target.Scheme, Host: e.Target.Host, Port: e.Target.Port,
		Method: e.r.Method, Path: e.Path, Input: &e.input, Agent: e.input.Agent,
	}
	sent, several := inject.Sent(e.r.Header, e.RawQuery, e.vault.choosers)
	if several {
		f := NewFault(CodePlaceholder)
		f.Message = "the request has placeholders of several services; send that of one"
		return f
	}
	e.use.query.Placeholder = e.vault.choosers[sent]
	d, f := e.vault.decide(e.use.query)
	e.service = d.service
	if d.body {
		if f := e.readForConditions(); f != nil {
			return f
		}
		judged := e.use.query
		judged.Input = e.inputFor(e.r.Method) // what was made of the body does not stay as long as the exchange
		d, f = e.judge(judged)
		e.use.judged = e.vault.set
	}
	e.rule, e.values = d.rule, e.service.scrubs(e.vault)
	e.asks, e.use.asked = d.ask, d.ask
	return e.hinting(f)
}

// decideStripped decides on a request of which something was taken out that
// conditions had seen: without it, the same rule must let it through.
func (e *exchange) decideStripped() *Fault {
	q := e.use.query
	q.Input = e.inputFor(e.r.Method)
	q.Input.Header, q.Input.RawQuery = e.stripped.Header, e.stripped.RawQuery
	d, f := e.vault.decide(q)
	if f == nil && (d.rule != e.rule || d.ask != e.asks) {
		f = conditionFault(when.NoDoubt, nil, policy.Decision{})
	}
	return f
}

// judge decides by a body, when there is room for what is made of it.
func (e *exchange) judge(q policy.Query) (decision, *Fault) {
	select {
	case e.judging <- struct{}{}:
	case <-e.r.Context().Done():
		return decision{}, NewFault(CodeAgentGone)
	}
	defer func() { <-e.judging }()
	return e.vault.decide(q)
}

// describe tells conditions of the request with a method.
func (e *exchange) describe(in *when.Input, method string) {
	in.Method, in.Path, in.RawQuery, in.Header, in.Now = method, e.Path, e.RawQuery, e.r.Header, e.decided.UnixNano()
	if e.session.vault == nil {
		in.Agent = e.session.name
	}
}

// inputFor is what conditions look at if the request had another method.
func (e *exchange) inputFor(method string) *when.Input {
	in := &when.Input{Body: e.judged, BodyState: e.judgedState}
	e.describe(in, method)
	return in
}

// readForConditions reads the body, unless it cannot be looked at.
func (e *exchange) readForConditions() *Fault {
	if media.Of(e.r.Header).Coded {
		e.judgedState = when.BodyCoded
		return nil
	}
	body, f := e.wholeBody(maxJudged)
	switch {
	case f != nil && f.Code == CodeRequestTooLarge:
		e.judgedState = when.BodyTooLong
		return nil
	case f != nil:
		return f
	}
	e.judged, e.judgedState = body, when.BodyWhole
	return nil
}

// conditionFault refuses what does not meet a condition, or cannot be held against
// it. The operator is told which.
func conditionFault(why when.Doubt, services []service, d policy.Decision) *Fault {
	f := NewFault(CodeConditionNotMet)
	if why != when.NoDoubt {
		f.Message += "; " + why.Words()
		f.Err = fmt.Errorf("rule %d of the service %s cannot be told (%s): %s", d.Rule, services[d.Service].name, why.String(), why.Words())
	}
	return f
}
