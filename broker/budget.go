package broker

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"agentvault/policy/inject"
	"agentvault/policy/limit"
	"agentvault/policy/media"
	"agentvault/vault"
)

// A Ledger keeps what was used up of budgets and of numbers of uses, for all
// nodes together.
type Ledger interface {
	// Reserve enters a request's charges into their accounts: all of them, or
	// none. It returns the index of the first for which there is no room, and how
	// much there is; -1 when they were entered, for good: the process may die.
	Reserve(ctx context.Context, request string, now time.Time, charges []vault.Charge) (refused int, left int64, err error)
	// Settle puts what a request came to in the place of what was reserved for it;
	// 0: it was not sent.
	Settle(ctx context.Context, request string, now time.Time, charges []vault.Charge) error
}

const (
	maxBudgetBody = 1 << 20          // bytes, of a request or an answer in which an amount is looked for
	ledgerTime    = 10 * time.Second // for the Ledger to answer in
)

// spending is what an exchange has reserved.
type spending struct {
	limits  []limit.Limit
	charges []vault.Charge // of limits
	answer  *tapped        // nil: no limit settles by it
}

// limit compiles the limits of the service.
func (s *service) limit(from vault.Service) error {
	own, byRule, err := limit.All(from.Limits, from.Rules)
	s.limits = own
	if slices.ContainsFunc(byRule, func(l []limit.Limit) bool { return l != nil }) {
		s.ruleLimits = byRule
	}
	if err != nil {
		return err
	}
	return s.meterLimits(from.Rules)
}

// limited are the limits that the exchange goes through: the service's and those
// of the rule that allowed it.
func (e *exchange) limited() []limit.Limit {
	s := e.service
	if !s.limitsRule(e.rule) {
		return s.limits
	}
	return slices.Concat(s.limits, s.ruleLimits[e.rule])
}

// limitsRule reports whether what a rule lets through is limited, besides what all is.
func (s *service) limitsRule(rule int) bool {
	return rule >= 0 && s.ruleLimits != nil && len(s.ruleLimits[rule]) > 0
}

// reserve takes what the exchange may come to out of its budgets. It comes before
// the intent: what is refused here was never meant to be sent, and a process that
// dies in between has counted what was not sent, never sent what was not counted.
func (e *exchange) reserve() *Fault {
	var s spending
	for _, l := range e.limited() {
		if !l.Kind.Durable() {
			continue
		}
		c := vault.Charge{Account: vault.Account{VaultID: e.vault.id, Service: e.service.name, Name: l.Name}, Amount: 1, Most: l.Most, Window: l.Window}
		if l.PerAgent {
			c.Subject = e.session.id
		}
		if l.Kind == limit.Budget {
			var f *Fault
			if c.Amount, f = e.amount(l); f != nil {
				return f
			}
		}
		s.limits, s.charges = append(s.limits, l), append(s.charges, c)
	}
	for _, g := range e.vault.metered {
		if g.Service == e.service.name {
			s.limits = append(s.limits, limit.Limit{Kind: limit.Uses, Most: g.Uses})
			s.charges = append(s.charges, vault.Charge{Account: g.UsesAccount(e.vault.id), Amount: 1, Most: g.Uses})
		}
	}
	if s.charges == nil {
		return nil
	}
	if e.ledger == nil {
		return ledgerFault(nil)
	}
	ctx, cancel := e.ledgerContext()
	defer cancel()
	refused, left, err := e.ledger.Reserve(ctx, e.id, e.now(), s.charges)
	switch {
	case err != nil:
		return ledgerFault(err)
	case refused >= 0:
		return exceeded(s.limits[refused], left)
	}
	e.spent = s
	if slices.ContainsFunc(s.limits, func(l limit.Limit) bool { return l.Settle != nil }) {
		e.spent.answer = &tapped{ResponseWriter: e.w}
		e.w = e.spent.answer
	}
	return nil
}

// ledgerContext outlives an agent that goes: what was begun is known to have
// happened, or not.
func (e *exchange) ledgerContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(e.r.Context()), ledgerTime)
}

func ledgerFault(err error) *Fault {
	f := NewFault(CodeUnavailable)
	f.Message = "the vault cannot count what this request spends, so nothing was sent; try again later"
	f.Err = err
	return f
}

// exceeded names the limit. How much is left is said where nobody else uses it.
func exceeded(l limit.Limit, left int64) *Fault {
	f := NewFault(CodeBudgetExceeded)
	f.Message = "this would go beyond what the service allows: " + l.String()
	if l.Name == "" { // of a grant
		f.Message = "this agent was granted the service for so many requests, and has sent them: " + l.String()
	}
	if l.PerAgent && l.Kind == limit.Budget {
		f.Message += ", of which " + limit.FormatAmount(left) + " are left"
	}
	return f
}

// amount reads what the request spends of a budget.
func (e *exchange) amount(l limit.Limit) (int64, *Fault) {
	switch {
	case !media.Of(e.stripped.Header).Plain(media.JSON): // as it is sent
		return 0, badRequest("the budget " + l.Name + " of this service is for bodies of JSON: send Content-Type: application/json, and no Content-Encoding")
	case hasParameter(e.RawQuery, l.Field[0]):
		return 0, badRequest("the budget " + l.Name + " of this service cannot be held: a parameter of the query has the name " + l.Field[0] + " too")
	}
	body, f := e.wholeBody(maxBudgetBody)
	if f != nil {
		return 0, f
	}
	n, unclear := limit.ReadAmount(body, l.Field)
	if unclear != nil {
		return 0, badRequest("the budget " + l.Name + " of this service cannot be held: " + unclear.Reason)
	}
	return n, nil
}

// hasParameter reports whether a query has a parameter that some readers take for
// a field of the body: they put both into one list.
func hasParameter(query, name string) bool {
	for _, pair := range strings.FieldsFunc(query, func(c rune) bool { return c == '&' || c == ';' }) {
		key, _, _ := strings.Cut(pair, "=")
		if inject.SameParameter(key, name) {
			return true
		}
		// Some make an object of "amount.x", and fold more letters than those of ASCII.
		if plain, err := url.QueryUnescape(key); err == nil {
			key = plain
		}
		key, _, _ = strings.Cut(strings.TrimSpace(key), "[")
		if key, _, _ = strings.Cut(key, "."); strings.EqualFold(key, name) {
			return true
		}
	}
	return false
}

// settle puts what the exchange came to in the place of what was reserved. Where
// that is not certain, what was reserved stays.
func (e *exchange) settle() {
	if e.spent.charges == nil {
		return
	}
	for i, l := range e.spent.limits {
		c := &e.spent.charges[i]
		switch {
		case e.call.Request == nil || e.call.Unsent, l.Kind == limit.Budget && e.fault == nil && refuses(e.status):
			c.Amount = 0
		case l.Settle != nil && e.fault == nil && !e.spent.answer.over:
			if n, unclear := limit.ReadAmount(e.spent.answer.kept.Bytes(), l.Settle); unclear == nil {
				c.Amount = n
			}
		}
	}
	ctx, cancel := e.ledgerContext()
	defer cancel()
	if err := e.ledger.Settle(ctx, e.id, e.now(), e.spent.charges); err != nil {
		e.log.Error("what a request came to could not be counted: what was reserved for it stays", "request", e.id, "err", err)
	}
}

// refuses reports whether an upstream says by a status that it has done nothing of
// what was asked (RFC 9110 §15.5, RFC 6585). Others in the 400s do not say so: a
// conflict, a time that was over, or a payment may come in the midst of it.
func refuses(status int) bool {
	switch status {
	case 400, 401, 403, 404, 405, 406, 411, 413, 414, 415, 416, 417, 421, 422, 426, 428, 429, 431:
		return true
	}
	return false
}

// tapped keeps the answer's body that an agent gets.
type tapped struct {
	http.ResponseWriter
	kept bytes.Buffer
	over bool // it is too long
}

// Write implements io.Writer.
func (t *tapped) Write(p []byte) (int, error) {
	if t.over = t.over || t.kept.Len()+len(p) > maxBudgetBody; !t.over {
		t.kept.Write(p)
	}
	return t.ResponseWriter.Write(p)
}

// Unwrap is what http.ResponseController calls.
func (t *tapped) Unwrap() http.ResponseWriter { return t.ResponseWriter }
