package broker

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"agentvault/broker/ending"
	"agentvault/broker/scrub"
	"agentvault/broker/upstream"
	"agentvault/policy/inject"
	"agentvault/policy/when"
)

// A Request is what an entrance found in an agent's request: who presents
// itself, and the pinned target with the very bytes to send there.
type Request struct {
	Entrance Entrance
	Identity Identity
	Target   Target
	Path     string // escaped, as it will be sent; begins with "/", or is "*"
	RawQuery string // without "?"
	HasQuery bool   // a "?" was there, even with nothing behind it
}

// An exchange is one request from admission to outcome. Its fields are filled
// in by the stages, in their order; only the handler's goroutine touches it.
type exchange struct {
	*Broker
	Request
	w  http.ResponseWriter
	rc *http.ResponseController // send: of w
	r  *http.Request

	id      string
	start   time.Time
	decided time.Time // start, or after a wait

	view    *View      // admit
	session *session   // admit
	vault   *vaultView // admit
	service *service   // decide; nil when none matched
	rule    int        // decide: of the service; -1 when it has none
	asks    bool       // decide: a person decides on it
	sending *sending   // ask: nil unless one has
	input   when.Input // decide: what conditions look at, before the body was read

	// The body as conditions look at it.
	judged      []byte
	judgedState when.BodyState

	values *scrub.Set // decide: what must not come back; nil: nothing is masked

	whole    []byte // the agent's body, where something needed all of it
	hasWhole bool
	room     int64           // bytes that are counted for it
	bodyKind inject.BodyKind // strip: of a body in which placeholders are replaced

	stripped inject.Request // strip: what goes upstream; inject puts the credential in
	trailer  http.Header    // strip: likewise, without values
	speaking []string       // strip: fields of stripped that ask for another method, path or host
	others   []string       // strip: methods that are asked for so, or in the query
	foreign  int            // strip: credentials of the agent's own that were replaced
	upgrade  string         // strip: the protocol that goes upstream in Upgrade, as the agent spells it; "" for none
	bare     inject.Request // inject: of a Minter, stripped as it was before
	used     *token         // inject: of a Minter
	use      use            // send: what a later View may cut

	passed passage  // pass: what is counted on the way
	spent  spending // reserve: settled in the end

	// What goes upstream. These are values, not pointers: one piece of memory for
	// an exchange costs less than ten.
	opened plaintexts   // inject: cleared at its end
	url    url.URL      // inject
	out    http.Request // inject
	call   upstream.Call
	early  interim

	ctx ending.Context // of the call upstream: ends with the agent's request and with the session

	begun      atomic.Bool // the upstream's answer, or one before it, is being passed on
	body       *countingBody
	status     int // what the agent got; 0 before anything was written
	fault      *Fault
	bytesIn    int64 // after an upgrade
	bytesOut   int64
	scrubbed   int
	occupies   bool // a place of the session's limits is taken
	intentDone bool
	rec        Record // intent, then outcome
}

// Serve carries one request through the stages and answers it.
func (b *Broker) Serve(w http.ResponseWriter, r *http.Request, x Request) {
	if r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the agent has gone, or its connection cannot be used any more
	}
	now := b.now()
	e := &exchange{Broker: b, Request: x, w: w, r: r, id: b.newID(), start: now, decided: now}
	b.metrics.inFlight.Inc()
	b.open.Add(1)
	defer b.open.Add(-1)
	defer e.finish()
	if f := e.run(); f != nil {
		e.refuse(f)
	}
}

// Refuse answers and counts a fault that an entrance found by itself.
func (b *Broker) Refuse(w http.ResponseWriter, e Entrance, f *Fault) {
	WriteFault(w, e, f)
	b.CountFault(e, f)
}

// CountFault counts a fault that was answered by other means than
// [Broker.Refuse].
func (b *Broker) CountFault(e Entrance, f *Fault) {
	b.metrics.observe(e, f.Status, f, 0)
}

func (e *exchange) run() *Fault {
	if f := e.admit(); f != nil {
		return f
	}
	if f := e.wellFormed(); f != nil {
		return f
	}
	if f := e.decide(); f != nil {
		return f
	}
	if f := e.pass(); f != nil {
		return f
	}
	if f := e.strip(); f != nil {
		return f
	}
	if e.asks {
		if done, f := e.ask(); done || f != nil {
			return f
		}
	}
	if f := e.reserve(); f != nil {
		return f
	}
	if f := e.recordIntent(); f != nil {
		return f
	}
	if f := e.inject(); f != nil {
		return f
	}
	return e.send()
}

// admit finds the session and takes a place among its limits.
func (e *exchange) admit() *Fault {
	var f *Fault
	if e.view, f = e.current(e.start); f != nil {
		return f
	}
	if e.session, e.vault, f = e.view.admit(e.Identity, e.start); f != nil {
		return e.Slowed(e.Identity, e.r.RemoteAddr, f)
	}
	connOf(e.r.Context()).belongs(e.session.digest, false)
	if f := e.session.live.begin(e.start); f != nil {
		return f
	}
	e.occupies = true
	e.ctx.Begin(e.r.Context())
	return nil
}

// hinting adds to a host that is not allowed how to ask for it.
func (e *exchange) hinting(f *Fault) *Fault {
	if f != nil && f.Code == CodeForbidden {
		f.Proposal = &ProposalHint{
			Host: e.Target.Authority(), Endpoint: "POST /v1/proposals", SupportedAuthTypes: e.supportedAuthTypes(),
		}
		if e.Target.Scheme == "https" && e.vault.granted == nil && e.vault.set.Covers("http", e.Target.Host, e.Target.Port) {
			f.Message = "this vault's service of the host is for http:// only: send the request through the proxy entrance to http://" + e.Target.Address()
		} else if e.vault.granted == nil && e.service == nil && e.vault.set.Covers(e.Target.Scheme, e.Target.Host, e.Target.Port) {
			f.Message = "this vault's services of the host do not cover the request: they are for other paths or other agents, or are chosen by a placeholder (see /discover)"
		}
	}
	return f
}

func (b *Broker) supportedAuthTypes() []string {
	if b.authTypes != nil {
		return b.authTypes
	}
	return inject.Types()
}

// recordIntent writes the record that must have left the process before a box
// is opened.
func (e *exchange) recordIntent() *Fault {
	if err := e.audit.Append(e.record("intent", e.start)); err != nil {
		return e.auditFault(err)
	}
	e.intentDone = true
	return nil
}

func (b *Broker) auditFault(err error) *Fault {
	f := NewFault(CodeUnavailable)
	f.Message = "the vault cannot write its audit record, so nothing was sent; try again later"
	f.Err = err
	return f
}

// record fills in what every record says. An outcome says of the request what
// its intent said.
func (e *exchange) record(kind string, now time.Time) *Record {
	r := &e.rec
	r.Time, r.Kind = now.UTC(), kind
	if e.intentDone {
		return r
	}
	r.Request, r.Entrance, r.Target = e.id, e.Entrance.String(), recordedTarget(e.Target)
	r.Method, r.Path, r.Upgrade = clip(e.r.Method, maxMethod), recordable(e.Path), strings.ToLower(e.upgrade)
	if e.session != nil {
		r.Session, r.Agent, r.AgentKind = e.session.id, e.session.name, e.session.kind()
	}
	if e.vault != nil {
		r.VaultID, r.Vault = e.vault.id, e.vault.name
	}
	if e.service != nil {
		r.Service, r.Credentials = e.service.name, e.service.keys
	}
	if e.fault != nil && e.fault.Code == CodeApprovalReplayed {
		r.Credentials = nil // none was used again
	}
	return r
}

// recordedTarget is a target as it is recorded: scheme and address.
func recordedTarget(t Target) string {
	b := append(make([]byte, 0, 64), t.Scheme...)
	b = append(b, "://"...)
	if strings.IndexByte(t.Host, ':') >= 0 {
		b = append(append(append(b, '['), t.Host...), ']')
	} else {
		b = append(b, t.Host...)
	}
	return string(strconv.AppendUint(append(b, ':'), uint64(t.Port), 10))
}

// recordable is a path as it is recorded. What was refused may hold a token, or
// be of any length.
func recordable(path string) string {
	if holdsToken(path) {
		return "[held a token]"
	}
	return clip(path, maxTarget)
}

func clip(s string, most int) string {
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// refuse answers with a fault, unless an answer has begun already; then it
// breaks the agent's side, so that a torn answer never looks whole.
func (e *exchange) refuse(f *Fault) {
	e.fault = f
	if f.Err != nil {
		e.log.Warn("exchange refused", "request", e.id, "code", f.Code, "host", e.Target.Host, "err", f.Err)
	}
	if e.status != 0 {
		panic(http.ErrAbortHandler)
	}
	e.status, _, _ = faultResponse(e.Entrance, f, "")
	writeFault(e.w, e.Entrance, f, e.id)
}

// finish is the outcome stage: the one deferred call. It contains a panic and
// passes on net/http's own.
func (e *exchange) finish() {
	p := recover()
	if p != nil && !errors.Is(asError(p), http.ErrAbortHandler) {
		e.log.Error("panic in an exchange", "request", e.id, "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		e.fault = NewFault(CodeInternal)
		if e.status == 0 {
			e.status = e.fault.Status
			writeFault(e.w, e.Entrance, e.fault, e.id)
			p = nil
		} else {
			p = http.ErrAbortHandler
		}
	}
	if e.ctx.Begun() {
		e.ctx.End()
	}
	e.settle()
	e.settleHeld()
	e.passed.leave()
	e.recordOutcome()
	if e.room > 0 {
		e.holds(0)
	}
	if e.occupies {
		e.session.live.leave()
	}
	e.metrics.inFlight.Dec()
	if p != nil {
		panic(p)
	}
}

func asError(p any) error {
	err, _ := p.(error)
	return err
}

// recordOutcome lets the record of the end be written with the next intent: the
// exchange is over, and waits for nothing.
func (e *exchange) recordOutcome() {
	now := e.now()
	e.metrics.observe(e.Entrance, e.status, e.fault, now.Sub(e.start))
	if e.scrubbed > 0 {
		e.metrics.scrubbed.Add(float64(e.scrubbed))
	}
	if e.session == nil {
		return // nobody: counted, not recorded
	}
	if e.fault != nil && e.fault.Code == CodeRateLimited && !e.session.live.excess.AllowN(now, 1) {
		return // or a flood that is refused would fill the disk
	}
	r := e.record("outcome", now)
	r.Status, r.BytesIn, r.BytesOut, r.Scrubbed, r.Foreign = e.status, e.bytesIn, e.bytesOut, e.scrubbed, e.foreign
	r.Micros = now.Sub(e.start).Microseconds()
	if e.body != nil {
		r.BytesIn += e.body.n.Load()
	}
	if e.fault != nil {
		r.Fault = e.fault.Code
	}
	if err := e.audit.AppendLater(r); err != nil {
		e.log.Error("outcome could not be recorded", "request", e.id, "err", err)
	}
}
