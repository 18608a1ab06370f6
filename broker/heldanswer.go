package broker

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"agentvault/vault"
)

// ReplayedHeader marks an answer that was kept and is given again: nothing was
// sent for it. An upstream's header of that name is dropped.
const ReplayedHeader = "X-Agent-Vault-Replayed"

// A keeper passes an answer on to the agent, and keeps it, up to a bound. An agent
// that goes does not end it: the answer is for the one that asks again.
type keeper struct {
	http.ResponseWriter
	gone    bool // the agent
	status  int
	header  http.Header
	body    bytes.Buffer
	tooLong bool
}

// WriteHeader implements http.ResponseWriter.
func (k *keeper) WriteHeader(status int) {
	if status >= http.StatusOK && k.status == 0 {
		k.status, k.header = status, k.Header().Clone()
	}
	k.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter. It fails once there is nobody to whom the
// answer could be of use.
func (k *keeper) Write(p []byte) (int, error) {
	if !k.tooLong && k.body.Len()+len(p) > vault.MaxHeldBody {
		k.tooLong, k.body = true, bytes.Buffer{}
	}
	if !k.tooLong {
		k.body.Write(p)
	}
	if !k.gone {
		n, err := k.ResponseWriter.Write(p)
		if err == nil {
			return n, nil
		}
		k.gone = true
	}
	if k.tooLong {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// FlushError is what http.ResponseController calls.
func (k *keeper) FlushError() error {
	if k.gone {
		return nil
	}
	if err := http.NewResponseController(k.ResponseWriter).Flush(); err != nil {
		k.gone = true
	}
	return nil
}

// Unwrap is what http.ResponseController calls.
func (k *keeper) Unwrap() http.ResponseWriter { return k.ResponseWriter }

// answer is what was kept, or nil.
func (k *keeper) answer() *vault.HeldAnswer {
	if k.status == 0 || k.tooLong {
		return nil
	}
	a := &vault.HeldAnswer{Status: k.status, Header: make(http.Header), Trailer: make(http.Header), Body: k.body.Bytes()}
	for name, values := range k.header {
		if !hopByHop(name) {
			a.Header[name] = values
		}
	}
	for name, values := range k.Header() { // trailers stand there by now
		if bare, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			a.Trailer[bare] = values
		} else if slices.Contains(k.header["Trailer"], name) {
			a.Trailer[name] = values
		}
	}
	return a
}

// replay gives the answer that was kept, by the way that it came.
func (e *exchange) replay(held vault.Held) *Fault {
	ctx, cancel := context.WithTimeout(e.r.Context(), settleTime)
	defer cancel()
	a, err := e.approvals.Answer(ctx, held)
	switch {
	case err != nil:
		return e.heldFault(err)
	case a == nil:
		return ofHeld(NewFault(CodeApprovalNotKept), held)
	}
	resp := &http.Response{StatusCode: a.Status, Header: a.Header, Trailer: a.Trailer, ContentLength: -1, Body: io.NopCloser(bytes.NewReader(a.Body))}
	if len(a.Body) == 0 {
		resp.Body, resp.ContentLength = http.NoBody, 0
	} else if resp.Header["Content-Length"] != nil {
		resp.ContentLength = int64(len(a.Body))
	}
	e.rc = http.NewResponseController(e.w)
	maps.Copy(e.w.Header(), http.Header{ReplayedHeader: {"true"}})
	if f := e.respond(resp); f != nil {
		return f
	}
	e.fault = NewFault(CodeApprovalReplayed) // in the record
	return nil
}
