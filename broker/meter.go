package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"agentvault/policy"
	"agentvault/policy/limit"
)

// A meter counts, in the memory of this process, what goes through one limit of a
// service. What it has counted outlives Views.
type meter struct {
	limit.Limit
	key string // of the same limit in another View
	*counters
}

// counters are of all together, or each agent's own.
type counters struct {
	all  counter
	each sync.Map // by the ID of an agent or a session: *counter
}

// counter returns the one that counts for who acts.
func (m *meter) counter(subject string) *counter {
	if !m.PerAgent {
		return &m.all
	}
	if c, ok := m.each.Load(subject); ok {
		return c.(*counter)
	}
	c, _ := m.each.LoadOrStore(subject, new(counter))
	return c.(*counter)
}

// A counter counts one thing: what is open, requests, or bytes.
type counter struct {
	open atomic.Int64

	mu    sync.Mutex
	times []time.Time // of requests in the window; the oldest at first
	first int
	parts [windowParts + 1]part // of bytes, by the time modulo their number
}

// windowParts is into how many parts a window is divided to count bytes: one more
// covers a window wherever it begins.
const windowParts = 60

type part struct {
	number int64 // of the part since 1970
	n      int64
}

// admit counts a request, unless there were most in the window. wait is until one
// may come.
func (c *counter) admit(now time.Time, most int64, window time.Duration) (wait time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.first < len(c.times) && now.Sub(c.times[c.first]) >= window {
		c.first++
	}
	if c.first > len(c.times)/2 {
		c.times = c.times[:copy(c.times, c.times[c.first:])]
		c.first = 0
	}
	if over := int64(len(c.times)-c.first) - most; over >= 0 {
		return c.times[c.first+int(over)].Add(window).Sub(now), false
	}
	c.times = append(c.times, now)
	return 0, true
}

// take counts bytes, unless they would be more than most in the window. With n 0
// it asks whether there is room for one.
func (c *counter) take(now time.Time, n, most int64, window time.Duration) (wait time.Duration, ok bool) {
	step := int64(window) / windowParts
	number := now.UnixNano() / step
	c.mu.Lock()
	defer c.mu.Unlock()
	sum, oldest := int64(0), number
	for _, p := range c.parts {
		if number-p.number <= windowParts && p.n > 0 {
			sum, oldest = sum+p.n, min(oldest, p.number)
		}
	}
	if max(n, 1) > most-sum {
		return time.Duration((oldest+windowParts+1)*step - now.UnixNano()), false
	}
	if p := &c.parts[number%(windowParts+1)]; p.number != number {
		*p = part{number, n}
	} else {
		p.n += n
	}
	return 0, true
}

// used is what is counted now.
func (m *meter) used(c *counter, now time.Time) int64 {
	switch m.Kind {
	case limit.Concurrent:
		return c.open.Load()
	case limit.Requests:
		c.mu.Lock()
		defer c.mu.Unlock()
		n := int64(0)
		for _, t := range c.times[c.first:] {
			if now.Sub(t) < m.Window {
				n++
			}
		}
		return n
	}
	number, sum := now.UnixNano()/(int64(m.Window)/windowParts), int64(0)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.parts {
		if number-p.number <= windowParts {
			sum += p.n
		}
	}
	return sum
}

// meterLimits makes meters of the limits that are not durable.
func (s *service) meterLimits(rules []policy.Rule) error {
	var err error
	if s.meters, err = meters(s.name, "", s.limits); err != nil || s.ruleLimits == nil {
		return err
	}
	s.ruleMeters = make([][]*meter, len(s.ruleLimits))
	for i, list := range s.ruleLimits {
		rule := rules[i]
		rule.Limits = nil
		if s.ruleMeters[i], err = meters(s.name, rule, list); err != nil {
			return err
		}
	}
	return nil
}

// meters are recognized by the service, what is limited, and how. A rule that is
// changed begins anew.
func meters(service string, of any, list []limit.Limit) (out []*meter, err error) {
	spelled, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	seen := make(map[string]int)
	for _, l := range list {
		if l.Kind.Durable() {
			continue
		}
		key := fmt.Sprintf("%s %s %v %v %s", service, l.Kind, l.PerAgent, l.Window, spelled)
		seen[key]++
		out = append(out, &meter{Limit: l, key: fmt.Sprint(seen[key], " ", key), counters: new(counters)})
	}
	return out, nil
}

// keepMeters goes on counting where the View before left off.
func (v *View) keepMeters(before map[string]*vaultView) {
	ids := make(map[string]bool, len(v.sessions))
	for _, s := range v.sessions {
		ids[s.id] = true
	}
	for _, vv := range v.vaults {
		vv.keepMeters(before[vv.id], ids)
	}
}

// keepMeters goes on with what was counted for the vault before, for sessions that
// are still there.
func (v *vaultView) keepMeters(before *vaultView, sessions map[string]bool) {
	if before == nil {
		return
	}
	known := make(map[string]*counters)
	before.eachMeter(func(m *meter) { known[m.key] = m.counters })
	v.eachMeter(func(m *meter) {
		if c := known[m.key]; c != nil {
			if m.counters != c { // a service that did not change is in use already
				m.counters = c
			}
			c.each.Range(func(id, _ any) bool {
				if !sessions[id.(string)] {
					c.each.Delete(id)
				}
				return true
			})
		}
	})
}

func (v *vaultView) eachMeter(f func(*meter)) {
	for i := range v.services {
		for _, m := range v.services[i].meters {
			f(m)
		}
		for _, list := range v.services[i].ruleMeters {
			for _, m := range list {
				f(m)
			}
		}
	}
}

// meterFault names the limit.
func meterFault(m *meter, wait time.Duration) *Fault {
	f := NewFault(CodeRateLimited)
	f.Message = "this would go beyond what the service allows: " + m.String() + "; wait and try again"
	f.RetryAfter = max(time.Second, wait)
	return f
}

// passage is what an exchange goes through on its way.
type passage struct {
	open     []*counter // places that are taken
	up, down []gauge    // for bytes
}

// A gauge is a meter of bytes, for who acts.
type gauge struct {
	*meter
	*counter
}

// pass counts the exchange where it is limited.
func (e *exchange) pass() *Fault {
	if f := e.passMeters(e.service.meters); f != nil {
		return f
	}
	if e.service.ruleMeters != nil && e.rule >= 0 {
		if f := e.passMeters(e.service.ruleMeters[e.rule]); f != nil {
			return f
		}
	}
	if e.passed.down != nil {
		e.w = &gaugedWriter{e.w, e}
	}
	return nil
}

func (e *exchange) passMeters(list []*meter) *Fault {
	for _, m := range list {
		c := m.counter(e.session.id)
		var wait time.Duration
		ok := true
		switch m.Kind {
		case limit.Concurrent:
			if ok = enter(&c.open, int(m.Most)); ok {
				e.passed.open = append(e.passed.open, c)
			}
		case limit.Requests:
			wait, ok = c.admit(e.start, m.Most, m.Window)
		case limit.RequestBytes:
			e.passed.up = append(e.passed.up, gauge{m, c})
			if e.r.ContentLength != 0 {
				wait, ok = c.fits(e.start, e.r.ContentLength, m)
			}
		case limit.ResponseBytes:
			e.passed.down = append(e.passed.down, gauge{m, c})
			wait, ok = c.take(e.start, 0, m.Most, m.Window)
		}
		if !ok {
			return meterFault(m, wait)
		}
	}
	return nil
}

// fits reports whether there is room for a body of a length, without taking it.
func (c *counter) fits(now time.Time, length int64, m *meter) (wait time.Duration, ok bool) {
	if wait, ok = c.take(now, 0, m.Most, m.Window); !ok || length <= m.Most-m.used(c, now) {
		return wait, ok
	}
	return m.Window / windowParts, false
}

// leave gives back the places that are taken.
func (p *passage) leave() {
	for _, c := range p.open {
		c.open.Add(-1)
	}
	p.open = nil
}

// flows counts bytes, and cuts the exchange where they are more than there may be:
// they do not go on then.
func (e *exchange) flows(gauges []gauge, n int) bool {
	for _, g := range gauges {
		if wait, ok := g.take(e.now(), int64(n), g.Most, g.Window); !ok && n > 0 {
			e.use.cut(meterFault(g.meter, wait))
			return false
		}
	}
	return true
}

// A gaugedWriter counts the answer's bytes.
type gaugedWriter struct {
	http.ResponseWriter
	e *exchange
}

// Write implements io.Writer.
func (w *gaugedWriter) Write(p []byte) (int, error) {
	if w.e.fault == nil && !w.e.flows(w.e.passed.down, len(p)) {
		return 0, errUsedUp
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is what http.ResponseController calls.
func (w *gaugedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

var errUsedUp = errors.New("a limit of the service is used up")

// A gaugedReader counts bytes of a stream.
type gaugedReader struct {
	io.Reader
	e      *exchange
	gauges []gauge
}

// Read implements io.Reader.
func (r *gaugedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if !r.e.flows(r.gauges, n) {
		return 0, errUsedUp
	}
	return n, err
}
