package broker

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"agentvault/broker/scrub"
)

// countingBody counts what the agent sends, bounds how long it may stand still,
// and hands its trailers on when the body ends. No token of the vault gets
// through it.
type countingBody struct {
	io.ReadCloser
	e       *exchange
	in, out *http.Request
	rc      *http.ResponseController // nil until it is sent
	n       atomic.Int64
	until   time.Time   // deadline of the agent's side, zero before the first read
	ended   atomic.Bool // nothing more will be read
	whole   atomic.Bool // it has ended as it should
	guard   tokenGuard
	find    *scrub.Finder // of placeholders; nil where there are none
	trailed *Fault        // what was found in a trailer
}

// Read implements io.Reader. It is called by the upstream's transport.
func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.guard.read((*agentsBody)(b), p)
	if b.find != nil && b.find.Find(p[:n], errors.Is(err, io.EOF)) {
		b.e.use.cut(misplaced("the body"))
		return 0, errMisplaced
	}
	switch {
	case errors.Is(err, errToken) && b.trailed != nil:
		b.e.use.cut(b.trailed)
	case errors.Is(err, errToken):
		b.e.use.cut(tokenFault("the body"))
	}
	return n, err
}

// agentsBody is the body as the agent sends it.
type agentsBody countingBody

// deadlineStep is how far a deadline may lag behind, so that not every read and
// write moves it.
const deadlineStep = 5 * time.Second

func (b *agentsBody) Read(p []byte) (int, error) {
	if now := time.Now(); b.rc != nil && b.until.Sub(now) < streamIdle-deadlineStep {
		b.until = now.Add(streamIdle)
		b.setDeadline(b.until)
	}
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	if !b.e.flows(b.e.passed.up, n) {
		return 0, errUsedUp
	}
	if err != nil {
		b.ended.Store(true)
	}
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	b.whole.Store(true)
	if b.rc != nil {
		b.setDeadline(time.Time{}) // net/http reads on, to notice an agent that goes
	}
	for name := range b.out.Trailer {
		for _, v := range b.in.Trailer[name] {
			if b.trailed = b.e.trailerFault(v); b.trailed != nil {
				return 0, errToken
			}
			b.out.Trailer[name] = append(b.out.Trailer[name], v)
		}
	}
	return n, err
}

// setDeadline bounds the agent's side, unless the exchange is over: the
// transport may read on when the handler has returned, and net/http's writer for
// HTTP/2 must not be touched then (it panics, and there nobody recovers).
func (b *agentsBody) setDeadline(t time.Time) {
	b.e.use.whileOpen(func() { _ = b.rc.SetReadDeadline(t) }) // not every writer has one
}

// interrupt ends a read that waits for the agent. Once the body has ended it does
// nothing: net/http waits on the connection by then, for the next request.
func (b *countingBody) interrupt() {
	if b != nil && b.rc != nil && !b.ended.Load() {
		_ = b.rc.SetReadDeadline(time.Now()) // not every writer has one
	}
}

// A duplex writes an answer that may come before the request's body has ended. Once
// full duplex is enabled, net/http uses a connection again though the body was not
// read to its end: it takes what is left for the next request, or panics. So such an
// answer ends the connection (RFC 9112 §9.3).
type duplex struct {
	http.ResponseWriter
	body *countingBody
}

// WriteHeader implements http.ResponseWriter.
func (d *duplex) WriteHeader(status int) {
	if status >= http.StatusOK && !d.body.whole.Load() {
		d.Header()["Connection"] = []string{"close"}
	}
	d.ResponseWriter.WriteHeader(status)
}

// Unwrap is what http.ResponseController calls.
func (d *duplex) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// BoundUploads keeps a request that was answered before its body had been read
// from holding its connection: net/http reads on for a while, so that the client
// sees the answer, and does so without a limit of time.
func BoundUploads(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			defer func() {
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(uploadRest)) // not every writer has one
			}()
		}
		next.ServeHTTP(w, r)
	})
}

// uploadRest is how long a client may go on sending what nobody wants.
const uploadRest = 2 * time.Second
