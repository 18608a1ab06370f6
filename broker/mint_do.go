package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"agentvault/policy/inject"
)

// maxMintAnswer bounds an endpoint's answer, in bytes.
const maxMintAnswer = 256 << 10

// newMintTransport carries requests for tokens: by the guard, over verified TLS, by
// no proxy of the environment, each over a connection of its own. Only its RoundTrip
// is called, so that it follows no redirect and knows no cookie (R5 to R7).
func (b *Broker) newMintTransport() *http.Transport {
	return &http.Transport{
		DialContext: b.dialer.DialContext, TLSClientConfig: b.tls.Clone(), TLSHandshakeTimeout: b.handshake,
		ForceAttemptHTTP2: true, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
	}
}

// asking is what one minting has asked its endpoints.
type asking struct {
	*minting
	ctx    context.Context
	status int  // of the last answer
	long   bool // one was too long
}

var errOtherEndpoint = errors.New("a token was to be asked for at a place that is none of the kind's endpoints")

// do is a Minting's Do. It asks the Minter's endpoints only.
func (a *asking) do(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || !slices.ContainsFunc(a.minter.Endpoints(), func(e string) bool { return sameAuthority(e, r.URL) }) {
		return nil, errOtherEndpoint
	}
	ctx, cancel := context.WithCancel(r.Context())
	stop := context.AfterFunc(a.ctx, cancel)
	resp, err := a.asks.RoundTrip(r.WithContext(ctx))
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	a.status = resp.StatusCode
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxMintAnswer, long: &a.long, end: func() { stop(); cancel() }}
	return resp, nil
}

func sameAuthority(endpoint string, u *url.URL) bool {
	e, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	one, f := Pin(e.Scheme, e.Host)
	if f != nil {
		return false
	}
	other, f := Pin(u.Scheme, u.Host)
	return f == nil && one == other
}

var errLongAnswer = errors.New("the answer of the token endpoint is longer than 256 KiB")

// A boundedBody is an answer that ends in an error when it is too long.
type boundedBody struct {
	io.ReadCloser
	left int
	long *bool
	end  func()
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		*b.long = true
		return 0, errLongAnswer
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// Close implements io.Closer.
func (b *boundedBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// mintFault is what the agent learns: what happened and what a person must do, and
// no word of the endpoint's.
func (a *asking) fault(err error) *Fault {
	var missing *missingError
	var value *inject.ValueError
	var said *inject.MintError
	switch {
	case errors.As(err, &missing), errors.As(err, &value):
		return injectFault(err)
	}
	f := NewFault(CodeRefreshFailed)
	f.Err = mintCause(err)
	if len(a.keys) > 0 {
		f.Credential = a.keys[0]
	}
	if errors.As(err, &said) {
		f.Message = said.Reason
		f.final = said.Final
		if said.Key != "" {
			f.Credential = said.Key
		}
	}
	switch {
	case isBlocked(err):
		f.Message = "the token endpoint's address is not on the public internet; a person can allow its network with network.allow"
	case a.long:
		f.Message = "the token endpoint's answer is too long to be a token; ask a person to check the service's auth"
	case a.ctx.Err() != nil:
		f.Message = "the token endpoint did not answer in time; try again later"
	case isTLS(err):
		f.Message = "the token endpoint's TLS certificate could not be verified, so nothing was sent to it"
	}
	return f
}

// mintCause is what the operator's log learns, in words of ours (R17).
func mintCause(err error) error {
	var said *inject.MintError
	var answered *inject.EndpointError
	cause := knownCause(err)
	switch {
	case errors.As(err, &answered):
		return answered
	case errors.As(err, &said) && cause != nil:
		return fmt.Errorf("%s: %w", said.Reason, cause)
	case errors.As(err, &said):
		return errors.New(said.Reason)
	}
	return upstreamCause(err)
}

// Times after a failure in which the endpoint is not asked again: doubled with each,
// up to the most.
const (
	firstPause = time.Second
	mostPause  = time.Minute
	finalPause = 30 * time.Second // of what a person must mend, at first
	mostFinal  = 10 * time.Minute
)

// A mintFailure keeps a grant that is broken from hammering its endpoint.
type mintFailure struct {
	fault    *Fault
	versions []int64 // of the credentials; others are tried at once
	pause    time.Duration
	until    time.Time
}

// holds reports whether asking again is too early.
func (m *mintFailure) holds(versions []int64, now time.Time) bool {
	return m != nil && now.Before(m.until) && slices.Equal(m.versions, versions)
}

// next is the failure after this one. What is not the endpoint's doing is not
// waited for.
func (m *mintFailure) next(f *Fault, versions []int64, now time.Time) *mintFailure {
	if f.Code != CodeRefreshFailed {
		return nil
	}
	first, most := firstPause, mostPause
	if f.final {
		first, most = finalPause, mostFinal
	}
	n := &mintFailure{fault: f, versions: versions, pause: first}
	if m != nil && slices.Equal(m.versions, versions) {
		n.pause = min(most, max(first, m.pause*2))
	}
	n.until = now.Add(time.Duration(float64(n.pause) * (0.8 + 0.4*rand.Float64())))
	return n
}

// again is the fault of a request that came too early.
func (m *mintFailure) again(now time.Time) *Fault {
	f := *m.fault
	f.RetryAfter, f.Err = m.until.Sub(now), nil // it was logged once
	return &f
}
