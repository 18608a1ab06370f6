package broker

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"agentvault/broker/scrub"
)

// headerDelay is how long an answer's header may wait for the first bytes of
// its body before it goes out alone.
const headerDelay = 10 * time.Millisecond

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// respond passes the upstream's answer on: header, body as it comes, trailers.
func (e *exchange) respond(resp *http.Response) *Fault {
	e.begun.Store(true)
	if f := e.use.cutBy(); f != nil { // before it could be seen to have begun
		return e.hinting(f)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 999 { // net/http would panic on it
		f := NewFault(CodeUpstreamError)
		f.Message = brokeOff
		f.Err = errors.New("upstream sent an impossible status")
		return f
	}
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	body, whole := e.atHand(resp, buf[:])
	src := io.Reader(resp.Body)
	if !whole {
		m, f := e.scrubBody(resp)
		if f != nil {
			return f
		}
		if m != nil {
			src = m
			defer func() { e.scrubbed += m.Places() }()
		}
	}
	h := e.w.Header()
	e.responseHeader(h, resp.Header)
	announced := e.announce(h, resp)
	e.status = resp.StatusCode
	e.w.WriteHeader(resp.StatusCode)
	if whole {
		return e.writeWhole(body)
	}
	if f := e.copyBody(resp, src, buf[:]); f != nil {
		return f
	}
	e.trailers(h, resp.Trailer, announced)
	return nil
}

// writeWhole writes a body whose header goes with it.
func (e *exchange) writeWhole(body []byte) *Fault {
	if f := e.use.cutBy(); f != nil { // what was read may have come after the cut
		return f
	}
	if _, err := e.w.Write(body); err != nil {
		return e.agentGone()
	}
	e.bytesOut = int64(len(body))
	return e.bodyFault(nil)
}

// announce names the trailers that will follow, and returns those names. What is
// no name is none: [scrub.Set.Name] looks for what can stand in one.
func (e *exchange) announce(h http.Header, resp *http.Response) (announced []string) {
	if len(resp.Trailer) == 0 {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(resp.Trailer)) {
		if httpguts.ValidHeaderFieldName(name) && e.comesBack(name) {
			announced = append(announced, name)
		}
	}
	if announced != nil {
		h["Trailer"] = announced
		if e.r.ProtoMajor == 1 && e.r.ProtoMinor > 0 && !e.bodiless(resp) {
			delete(h, "Content-Length") // there are no trailers behind a body with a length
		}
	}
	return announced
}

// trailers passes on what stood behind the body.
func (e *exchange) trailers(h, trailer http.Header, announced []string) {
	if len(trailer) == 0 {
		return
	}
	// Without a flush net/http would give a short body a length, and there are
	// no trailers behind a body with a length.
	_ = e.rc.Flush()
	for name, values := range trailer {
		switch {
		case !e.comesBack(name), name == "Set-Cookie": // RFC 9110 §6.5.1
			continue
		case !slices.Contains(announced, name):
			name = http.TrailerPrefix + name
		}
		h[name] = e.maskValues(values)
	}
}

// copyBody streams. What the upstream flushes reaches the agent at once; what
// arrives in one piece goes out in one piece.
func (e *exchange) copyBody(resp *http.Response, src io.Reader, buf []byte) *Fault {
	if e.bodiless(resp) {
		// Flushing here would tear HEADERS and END_STREAM apart, which gRPC's
		// trailers-only answers must have in one frame.
		_, err := io.Copy(io.Discard, resp.Body)
		return e.bodyFault(err)
	}
	if isEventStream(resp.Header) {
		_ = e.rc.Flush()
	}
	early := &delayedFlush{rc: e.rc}
	early.timer = time.AfterFunc(headerDelay, early.flush)
	defer early.stop()

	pace := pacer{use: &e.use, rc: e.rc}
	defer pace.stop()
	for {
		n, err := src.Read(buf)
		early.stop()
		if n > 0 {
			if !pace.beforeWrite() { // what was read may have come after the cut
				return e.bodyFault(nil)
			}
			if _, werr := e.w.Write(buf[:n]); werr != nil {
				return e.agentGone()
			}
			e.bytesOut += int64(n)
			// A full buffer means that more is at hand already.
			if e.bytesOut != resp.ContentLength && (n < len(buf) || resp.ContentLength < 0) {
				if e.rc.Flush() != nil {
					return e.agentGone()
				}
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return e.bodyFault(err)
		}
	}
}

func (e *exchange) bodiless(resp *http.Response) bool {
	return resp.Body == http.NoBody || resp.ContentLength == 0 || e.r.Method == http.MethodHead
}

// bodyFault says why an answer broke off. The agent's side breaks too: an
// answer that is not whole never ends cleanly. Nor does one that was cut: an
// upstream that notices may end its own side cleanly, in the midst of what it had
// to say.
func (e *exchange) bodyFault(err error) *Fault {
	if f := e.use.cutBy(); f != nil {
		return f
	}
	code := CodeUpstreamError
	switch {
	case err == nil:
		return nil
	case e.leftAlone():
		return e.agentGone()
	case errors.Is(err, os.ErrDeadlineExceeded): // stood still too long
		code = CodeUpstreamTimeout
	case errors.Is(err, scrub.ErrUndecodable):
		code = CodeUndecodable
	}
	return upstreamFault(code, err)
}

// leftAlone reports whether the agent has gone. Of one that still sends its body
// that cannot be told: what interrupts an upload ends the request's context too.
func (e *exchange) leftAlone() bool { return e.body == nil && e.r.Context().Err() != nil }

// agentGone ends the exchange without a fault of ours: there is nobody left to
// tell, unless it was cut.
func (e *exchange) agentGone() *Fault {
	if f := e.use.cutBy(); f != nil {
		return f
	}
	e.fault = NewFault(CodeAgentGone)
	panic(http.ErrAbortHandler)
}

func isEventStream(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// delayedFlush sends a header whose body is late. The mutex keeps its flush off
// a writer that belongs to the next exchange already.
type delayedFlush struct {
	rc    *http.ResponseController
	timer *time.Timer
	mu    sync.Mutex
	done  bool
}

func (d *delayedFlush) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.done {
		_ = d.rc.Flush()
	}
}

func (d *delayedFlush) stop() {
	if d.done { // written by this goroutine only
		return
	}
	d.timer.Stop()
	d.mu.Lock()
	d.done = true
	d.mu.Unlock()
}

// A pacer bounds how long the agent may take for what it gets; how long the
// upstream may stand still, its transport does. There is no total limit.
type pacer struct {
	use   *use
	rc    *http.ResponseController
	wrote time.Time // when the deadline was last moved; zero before the second write
	begun bool
}

// beforeWrite reports whether the answer may go on: it has not been cut.
func (p *pacer) beforeWrite() bool {
	if !p.begun {
		p.begun = true // most answers have one write, and need no deadline
		return p.use.cutBy() == nil
	}
	now := time.Now()
	if now.Sub(p.wrote) < deadlineStep {
		return p.use.cutBy() == nil
	}
	p.wrote = now
	return p.use.whileOpen(func() {
		_ = p.rc.SetWriteDeadline(now.Add(writeStall)) // not every writer has one
	})
}

func (p *pacer) stop() {
	if !p.wrote.IsZero() {
		_ = p.rc.SetWriteDeadline(time.Time{}) // the connection lives on
	}
}
