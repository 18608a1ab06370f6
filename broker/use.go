package broker

import (
	"sync"

	"agentvault/policy"
)

// A use is something that a session has open and that was decided once: an
// exchange, or a blind tunnel. The end of the session cuts it, and so does a
// View that would decide otherwise (R14).
type use struct {
	by      [32]byte     // the digest of the session's token
	vault   string       // the vault's id
	service *service     // nil for a blind tunnel
	asked   bool         // a person allowed it
	shown   string       // the client certificate; see vaultView.shown
	blank   bool         // the vault had no values, so nothing is masked
	query   policy.Query // what was decided
	judged  *policy.Set  // that decided by the body, which the query has not; nil: none did

	// holder is told to break it off: at most once, by another goroutine, and
	// never after stop.
	holder interface{ end() }

	mu   sync.Mutex
	over bool   // it has ended by itself
	why  *Fault // why it was cut
}

// cut ends the use, unless it has ended already. The mutex keeps end off a
// writer that belongs to the next exchange, or to nobody, already.
func (u *use) cut(why *Fault) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.over && u.why == nil {
		u.why = why
		u.holder.end()
	}
}

// whileOpen calls f and returns true, unless the use has ended or was cut: what f
// reaches may belong to somebody else, and what it moves, the cut has set for
// good.
func (u *use) whileOpen(f func()) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over || u.why != nil {
		return false
	}
	f()
	return true
}

// stop says that there is nothing left to cut.
func (u *use) stop() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
}

// cutBy returns why the use was cut, or nil.
func (u *use) cutBy() *Fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.why
}

// refusedBy returns the fault with which a View would refuse the use, or nil.
func (u *use) refusedBy(v *View) *Fault {
	by := v.sessions[u.by]
	if by == nil {
		return NewFault(CodeUnauthorized)
	}
	vv := by.in(u.vault)
	switch {
	case vv == nil || vv.broken:
		return NewFault(CodeUnavailable)
	case u.service == nil:
		if vv.blind(Target{Scheme: u.query.Scheme, Host: u.query.Host, Port: u.query.Port}) {
			return nil
		}
		return NewFault(CodeForbidden)
	}
	d, f := vv.decide(u.query)
	if d.body && vv.set == u.judged {
		d, f = decision{service: d.service, ask: u.asked}, nil // nobody has changed what decided by the body
	}
	if d.body || f == nil && (!d.service.same(u.service) || vv.shown(d.service) != u.shown || d.ask && !u.asked || u.blank && !vv.values.Empty()) {
		f = changedFault()
	}
	return f
}

func changedFault() *Fault {
	f := NewFault(CodeUnavailable)
	f.Message = "the service was changed while the request was under way; send it again"
	return f
}

// same reports whether a request that was decided for one service would go out
// and come back under the other in the same way.
func (s *service) same(as *service) bool {
	return s.name == as.name && s.auth == as.auth && s.written == as.written && s.pins == as.pins && s.upgrades == as.upgrades && s.scrubOff == as.scrubOff && s.passUndecodable == as.passUndecodable
}

// hold makes a use one that the session's end cuts. The fault says that the
// session has ended already; without one, release must be called.
func (lv *live) hold(u *use) *Fault {
	lv.mu.Lock()
	defer lv.mu.Unlock()
	if lv.ctx.Err() != nil {
		return NewFault(CodeUnauthorized)
	}
	if lv.uses == nil {
		lv.uses = make(map[*use]struct{})
	}
	lv.uses[u] = struct{}{}
	return nil
}

// release undoes hold.
func (lv *live) release(u *use) {
	u.stop()
	lv.mu.Lock()
	defer lv.mu.Unlock()
	delete(lv.uses, u)
}

// recheck cuts what a new View would not let begin.
func (lv *live) recheck(v *View) {
	for _, u := range lv.held() {
		if f := u.refusedBy(v); f != nil {
			u.cut(f)
		}
	}
}

func (lv *live) held() []*use {
	lv.mu.Lock()
	defer lv.mu.Unlock()
	held := make([]*use, 0, len(lv.uses))
	for u := range lv.uses {
		held = append(held, u)
	}
	return held
}

// hold registers a use, and holds it against the View of now: it was decided on
// decided, and a View that was published since has not seen it.
func (b *Broker) hold(lv *live, u *use, decided *View) *Fault {
	if f := lv.hold(u); f != nil {
		return f
	}
	if now := b.view.Load(); now != decided {
		if f := u.refusedBy(now); f != nil {
			lv.release(u)
			return f
		}
	}
	return nil
}
