package broker

import (
	"bytes"
	"maps"
	"net/http"
	"time"

	"agentvault/broker/upstream"
)

const (
	// replayBody is how long a body may be, in bytes, to be kept so that it can be
	// sent again.
	replayBody = 64 << 10

	// youngToken is how old a token is at most for an upstream's 401 not to be about
	// its age, unless it is to be replaced anyway: an upstream that answers everything
	// so would have one minted for each request.
	youngToken = 30 * time.Second
)

// keepForReplay reads a short body to its end, where the service's tokens may turn
// out to be over. One without a length may be half of a conversation, and is not
// waited for.
func (e *exchange) keepForReplay() (f *Fault) {
	n := e.r.ContentLength
	if e.service.mint != nil && e.upgrade == "" && n > 0 && n <= replayBody && len(e.trailer) == 0 {
		_, f = e.wholeBody(replayBody)
	}
	return f
}

// keepBare remembers the request as it is without the vault's credential.
func (e *exchange) keepBare() {
	if e.service.mint != nil {
		e.bare = e.stripped
		e.bare.Header = maps.Clone(e.stripped.Header)
	}
}

// refusesToken reports whether an answer says that a minted token is not taken, and
// the request can go out with another: none of it is lost, and one is there already,
// or this one is not new, or due: its endpoint may have ended it when it gave the
// next one, which is on its way here. What a person has allowed is sent once.
func (e *exchange) refusesToken(resp *http.Response) bool {
	if resp.StatusCode != http.StatusUnauthorized || e.used == nil || e.sending != nil || e.upgrade != "" || e.body != nil && !e.hasWhole {
		return false
	}
	latest, now := e.service.mint.token.Load(), e.now()
	return latest == nil || latest.serial > e.used.serial || now.Sub(e.used.minted) >= youngToken || e.used.due(now)
}

// resend sends the request again, with a token that is later than the one that it
// had. The session, and what was decided, are looked at as long as it waits.
func (e *exchange) resend(refused *http.Response) (*http.Response, *Fault) {
	_ = refused.Body.Close() // what it says is of the token
	if f := e.mintToken(e.used.serial); f != nil {
		if cut := e.use.cutBy(); cut != nil {
			return nil, e.hinting(cut)
		}
		return nil, f
	}
	var f *Fault
	open := e.use.whileOpen(func() { // a cut looks at the body
		token := e.stripped.Token
		e.stripped = e.bare
		e.stripped.Token = token
		if e.hasWhole && e.r.Body != nil {
			e.r.Body = putBack{bytes.NewReader(e.whole), e.r.Body}
		}
		if f = e.fillIn(); f == nil {
			e.newCall()
		}
	})
	switch {
	case f != nil:
		return nil, f
	case !open:
		return nil, e.hinting(e.use.cutBy())
	}
	resp, err := e.transport(false).Do(&e.ctx, &e.call)
	e.call.Unsent = false // the upstream has seen it once
	if err != nil {
		return nil, e.upstreamFault(err)
	}
	return resp, nil
}

// newCall makes a call of what goes upstream.
func (e *exchange) newCall() {
	e.call = upstream.Call{Request: &e.out, Address: e.Target.Address(), Interim: e.forward, Once: e.sending != nil}
	if e.body == nil {
		return
	}
	e.body.rc, e.call.Interrupt = e.rc, e.body.interrupt
	if d, ok := e.w.(*duplex); ok {
		d.body = e.body
	}
}
