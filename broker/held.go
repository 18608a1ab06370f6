package broker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"agentvault/policy/inject"
	"agentvault/policy/when"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// Approvals keep requests that wait for a person.
type Approvals interface {
	// Hold holds a request, or finds the question that it is already.
	Hold(ctx context.Context, h vault.Held, c vault.HeldContent) (vault.Held, error)
	// FindHeld finds the question that a request is already, and holds none.
	FindHeld(ctx context.Context, h vault.Held, c vault.HeldContent) (held vault.Held, found bool, err error)
	// Wait returns once the state is another one, the time is over or ctx has ended,
	// which is no error.
	Wait(ctx context.Context, h vault.Held, wait time.Duration) (vault.Held, error)
	// Send makes an approved request a sent one, and reports whether this exchange
	// sends it. Beat says that it still waits for the answer, End what came of it.
	Send(ctx context.Context, h vault.Held, request string) (bool, error)
	Beat(ctx context.Context, h vault.Held, request string) error
	End(ctx context.Context, h vault.Held, request string, end vault.HeldEnd) error
	// Answer returns the answer that was kept, or nil.
	Answer(ctx context.Context, h vault.Held) (*vault.HeldAnswer, error)
}

// settleTime bounds what the store must be told whether the agent is there or not.
const settleTime = 10 * time.Second

// A sending is a held request that this exchange sends.
type sending struct {
	vault.Held
	keeper   *keeper
	asked    bool // the upstream was asked: it may have seen the request
	answered bool // it has answered
	stop     context.CancelFunc
	stopped  chan struct{} // closed when nothing beats any more
}

// ask holds the request until a person has decided. Without a fault this exchange
// sends it, and no other ever will; or it is done: it has given the answer that was
// kept.
func (e *exchange) ask() (done bool, f *Fault) {
	h, c, f := e.question()
	if f != nil {
		return false, f
	}
	if unfit := e.rehearse(); unfit != nil { // nobody is asked in vain, but an answer is given again
		held, found, err := e.approvals.FindHeld(e.r.Context(), h, c)
		switch {
		case err != nil:
			return false, e.heldFault(err)
		case !found || held.Status == vault.HeldPending:
			return false, unfit
		}
		return e.follow(held)
	}
	held, err := e.approvals.Hold(e.r.Context(), h, c)
	var many vault.TooManyHeldError
	switch {
	case errors.As(err, &many):
		f := NewFault(CodeTooManyApprovals)
		f.Message, f.RetryAfter = string(many), 10*time.Second // a person may decide any time
		return false, f
	case err != nil:
		return false, e.heldFault(err)
	}
	return e.follow(held)
}

// rehearse refuses what could not be sent if a person allowed it, as it would be
// refused without asking: for want of a credential, for a placeholder that is out of
// place, or for what the service's auth does not take. No value is opened.
func (e *exchange) rehearse() *Fault {
	stand := func(key string) (seal.Plaintext, error) {
		if _, ok := e.vault.boxes[key]; !ok {
			return seal.Plaintext{}, &missingError{key}
		}
		return seal.NewPlaintext([]byte("x")), nil
	}
	kept := e.stripped
	e.stripped.Header = maps.Clone(kept.Header)
	f := e.substitute(stand)
	if refuser, ok := e.service.injector.(inject.Refuser); ok && f == nil {
		if err := refuser.Refuses(&e.stripped); err != nil {
			f = injectFault(err)
		}
	}
	e.stripped = kept
	for _, key := range e.service.injector.Keys() {
		if _, err := stand(key); err != nil && f == nil {
			f = e.missingFault(key)
		}
	}
	return f
}

// follow goes with a held request from state to state.
func (e *exchange) follow(held vault.Held) (done bool, f *Fault) {
	for {
		switch held.Status {
		case vault.HeldPending, vault.HeldSent:
			was := held.Status
			if held, f = e.await(held); f == nil && held.Status == was {
				f = lateFault(held)
			}
		case vault.HeldApproved:
			if f = e.sendsHeld(held); f == nil && e.sending != nil {
				return false, nil
			}
			if f == nil { // another exchange does
				held, f = e.await(held)
			}
		case vault.HeldAnswered:
			return true, e.replay(held)
		default:
			f = heldFault(held)
		}
		if f != nil {
			return false, f
		}
	}
}

// question is what a person decides on: all that is sent but for the credential,
// and for what says nothing of what is asked.
func (e *exchange) question() (h vault.Held, c vault.HeldContent, f *Fault) {
	if e.approvals == nil {
		f := NewFault(CodeUnavailable)
		f.Message = "this server holds no requests for a person"
		return h, c, f
	}
	body, f := e.wholeBody(vault.MaxHeldBody)
	if f != nil {
		return h, c, f
	}
	if new(tokenMatcher).scan(body) {
		return h, c, tokenFault("the body")
	}
	h = vault.Held{
		VaultID: e.vault.id, AskerKind: e.session.kind(), AskerID: e.session.id, AskerName: e.session.name,
		Service: e.service.name, Method: e.r.Method, Target: e.Target.Scheme + "://" + e.Target.Authority(), Path: e.Path, Upgrade: strings.ToLower(e.upgrade),
	}
	c = vault.HeldContent{Query: e.stripped.RawQuery, HasQuery: e.HasQuery, Header: vault.HeldHeader(e.stripped.Header), Body: body, Carries: e.service.auth + " " + e.service.written}
	for _, name := range slices.Sorted(maps.Keys(e.trailer)) { // they came with the body's end
		for _, v := range e.r.Trailer[name] {
			if holdsToken(v) {
				return h, c, tokenFault("a trailer")
			}
			c.Header = append(c.Header, vault.HeldField{Name: "Trailer " + name, Value: v})
		}
	}
	return h, c, nil
}

// await waits for another state, as long as the session, the service and the agent
// are there, and then decides anew on the View of now.
func (e *exchange) await(held vault.Held) (vault.Held, *Fault) {
	lv := e.session.live
	ctx, cancel := context.WithCancel(e.r.Context())
	defer cancel()
	q := e.use.query
	q.Input = new(when.Input) // decideAgain changes the exchange's own, perhaps while a View looks at this use
	e.describe(q.Input, e.r.Method)
	u := &use{by: e.session.digest, vault: e.vault.id, service: e.service, asked: true, shown: e.vault.shown(e.service), query: q, judged: e.use.judged, holder: ender(cancel)}
	if f := e.hold(lv, u, e.view); f != nil {
		return held, e.hinting(f)
	}
	var stops sync.WaitGroup
	stops.Go(func() {
		select {
		case <-e.stopping:
			u.cut(stoppingFault())
		case <-ctx.Done():
		}
	})
	now, err := e.approvals.Wait(ctx, held, e.approvalWait)
	cancel()
	stops.Wait()
	lv.release(u)
	switch f := u.cutBy(); {
	case f != nil:
		return now, e.hinting(f)
	case e.r.Context().Err() != nil:
		return now, e.agentGone()
	case err != nil:
		return now, e.heldFault(err)
	}
	return now, e.decideAgain()
}

// decideAgain admits and decides on the View of now what was decided before the
// wait. It may go out still, by the same service.
func (e *exchange) decideAgain() *Fault {
	lv, s := e.session.live, e.service
	e.decided = e.now()
	var f *Fault
	if e.view, f = e.current(e.decided); f != nil {
		return f
	}
	if e.session, e.vault, f = e.view.admit(e.Identity, e.decided); f != nil {
		return f
	}
	if e.session.live != lv { // it began anew, and this was cut
		return NewFault(CodeUnauthorized)
	}
	if f := e.decide(); f != nil {
		return f
	}
	if !e.service.same(s) {
		return changedFault()
	}
	e.foreign, e.speaking, e.others = 0, nil, nil
	return e.strip()
}

// sendsHeld makes this exchange the one that sends an approved request, unless
// another was first. From here on the request and its answer outlive the agent's
// connection: who has gone may ask for the answer.
func (e *exchange) sendsHeld(held vault.Held) *Fault {
	e.ctx.Detach()
	if e.ctx.Err() != nil {
		return e.agentGone()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.r.Context()), settleTime)
	defer cancel()
	sends, err := e.approvals.Send(ctx, held, e.id)
	switch {
	case err != nil:
		return e.heldFault(err)
	case !sends:
		return nil
	}
	s := &sending{Held: held, keeper: &keeper{ResponseWriter: e.w}, stopped: make(chan struct{})}
	ctx, s.stop = context.WithCancel(context.WithoutCancel(e.r.Context()))
	go func() {
		defer close(s.stopped)
		e.beat(ctx, held)
	}()
	e.sending, e.w = s, s.keeper
	return nil
}

// beat says that the sender is there until ctx ends.
func (e *exchange) beat(ctx context.Context, held vault.Held) {
	ticker := time.NewTicker(vault.HeldBeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := e.approvals.Beat(ctx, held, e.id); err != nil && ctx.Err() == nil {
			e.log.Warn("a sender could not say that it is there", "request", e.id, "err", err)
		}
	}
}

// settleHeld says what came of a held request that this exchange was to send.
func (e *exchange) settleHeld() {
	s := e.sending
	if s == nil {
		return
	}
	s.stop()
	<-s.stopped
	end := vault.HeldEnd{Unsent: !s.asked || e.call.Unsent, Answered: s.answered}
	if s.keeper.gone && e.fault == nil {
		e.fault = NewFault(CodeAgentGone)
	}
	switch {
	case e.upgrade != "":
		end.Again = s.answered // a connection cannot be given again, and another one is another question
	case s.answered && (e.fault == nil || s.keeper.gone && e.fault.Code == CodeAgentGone):
		end.Answer = s.keeper.answer()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.r.Context()), settleTime)
	defer cancel()
	if err := e.approvals.End(ctx, s.Held, e.id, end); err != nil {
		e.log.Error("what came of an approved request is not known any more", "request", e.id, "err", err)
	}
}

func (e *exchange) heldFault(err error) *Fault {
	if e.r.Context().Err() != nil {
		return e.agentGone()
	}
	f := NewFault(CodeUnavailable)
	f.Err = err
	return f
}

// lateFault is that of a wait that has ended where it began.
func lateFault(held vault.Held) *Fault {
	if held.Status == vault.HeldPending {
		return ofHeld(NewFault(CodeApprovalTimeout), held)
	}
	f := NewFault(CodeApprovalUnknown)
	f.Message = "a person has allowed this request and it was sent; its answer has not ended yet: send the same request again to get it"
	f.RetryAfter = time.Second
	return ofHeld(f, held)
}

// heldFault is that of a held request which goes nowhere.
func heldFault(held vault.Held) *Fault {
	switch held.Status {
	case vault.HeldDenied:
		f := NewFault(CodeApprovalDenied)
		if held.Note != "" {
			f.Message += "; they say: " + held.Note
		}
		return ofHeld(f, held)
	case vault.HeldUnknown:
		return ofHeld(NewFault(CodeApprovalUnknown), held)
	}
	return ofHeld(NewFault(CodeApprovalTimeout), held)
}

func ofHeld(f *Fault, held vault.Held) *Fault {
	f.Approval = held.Number
	return f
}
