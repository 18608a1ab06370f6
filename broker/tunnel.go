package broker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"agentvault/policy"
)

// A Tunnel is one CONNECT that was admitted. Requests inside it are admitted
// and decided anew, each of them.
type Tunnel struct {
	// Blind tells to copy bytes instead of intercepting: no service names the
	// host, and the vault has unmatched_hosts: tunnel.
	Blind bool

	// Answer spells what opening the tunnel is answered with: that it is open,
	// or the fault for which it is not. Nil is HTTP's way, [AnswerConnect].
	Answer func(*Fault) []byte

	broker  *Broker
	view    *View
	session *session
	vault   *vaultView
	target  Target
	close   sync.Once
}

// OpenTunnel admits a CONNECT. A tunnel that was returned must be closed.
func (b *Broker) OpenTunnel(id Identity, t Target) (*Tunnel, *Fault) {
	now := b.now()
	view, f := b.current(now)
	if f != nil {
		return nil, f
	}
	s, v, f := view.admit(id, now)
	if f != nil {
		return nil, f
	}
	if f := s.live.beginTunnel(now); f != nil {
		return nil, f
	}
	b.metrics.tunnels.Inc()
	return &Tunnel{
		Blind:  v.blind(t),
		broker: b, view: view, session: s, vault: v, target: t,
	}, nil
}

// VaultID is the vault that the tunnel was opened in.
func (t *Tunnel) VaultID() string { return t.vault.id }

// Owns says that the tunnel is on the connection of a request's context.
func (t *Tunnel) Owns(ctx context.Context) { connOf(ctx).belongs(t.session.digest, true) }

// Answered returns the bytes that open the tunnel, or with a fault refuse it.
func (t *Tunnel) Answered(f *Fault) []byte {
	if t.Answer != nil {
		return t.Answer(f)
	}
	return AnswerConnect(f)
}

// Named reports whether a service of the vault names the tunnel's target.
func (t *Tunnel) Named() bool {
	return t.vault.set.Covers(t.target.Scheme, t.target.Host, t.target.Port)
}

// Done is closed when the session has ended: the tunnel must be cut.
func (t *Tunnel) Done() <-chan struct{} { return t.session.live.ctx.Done() }

// Close gives the tunnel's place back. It may be called more than once.
func (t *Tunnel) Close() {
	t.close.Do(func() {
		t.session.live.tunnels.Add(-1)
		t.broker.metrics.tunnels.Dec()
	})
}

// Splice carries a blind tunnel: it records, dials through the guard, answers
// on agent and copies both ways until one side ends or the session
// does. It closes agent.
func (b *Broker) Splice(ctx context.Context, t *Tunnel, agent net.Conn) {
	b.open.Add(1)
	defer b.open.Add(-1)
	defer agent.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	open := use{
		by: t.session.digest, vault: t.vault.id, holder: ender(cancel),
		query: policy.Query{Scheme: t.target.Scheme, Host: t.target.Host, Port: t.target.Port},
	}

	start := b.now()
	rec := Record{
		Time: start.UTC(), Kind: "intent", Request: b.newID(), Entrance: MITM.String(), Session: t.session.id, Agent: t.session.name, AgentKind: t.session.kind(),
		VaultID: t.vault.id, Vault: t.vault.name, Target: "tunnel://" + t.target.Address(), Method: http.MethodConnect,
	}
	fault := b.spliceRecorded(ctx, t, agent, &open, &rec)
	status := http.StatusOK
	switch cut := open.cutBy(); {
	case fault != nil:
		b.log.Warn("tunnel refused", "request", rec.Request, "code", fault.Code, "host", t.target.Host, "err", fault.Err)
		status, rec.Fault = fault.Status, fault.Code
		_, _ = agent.Write(t.Answered(fault)) // the connection ends either way
	case cut != nil:
		fault, rec.Fault = cut, cut.Code
	}
	now := b.now()
	b.metrics.observe(MITM, status, fault, now.Sub(start))
	rec.Kind, rec.Time, rec.Status, rec.Micros = "outcome", now.UTC(), status, now.Sub(start).Microseconds()
	if err := b.audit.AppendLater(&rec); err != nil {
		b.log.Error("outcome could not be recorded", "request", rec.Request, "err", err)
	}
}

// An ender is a function that holds a use.
type ender func()

func (f ender) end() { f() }

// spliceRecorded returns the fault with which the CONNECT is to be answered, or
// nil once the tunnel was open and is closed again.
func (b *Broker) spliceRecorded(ctx context.Context, t *Tunnel, agent net.Conn, open *use, rec *Record) *Fault {
	if f := b.hold(t.session.live, open, t.view); f != nil {
		return f
	}
	defer t.session.live.release(open)
	intent := *rec
	if err := b.audit.Append(&intent); err != nil {
		return b.auditFault(err)
	}
	upstream, err := b.dialer.DialContext(ctx, "tcp", t.target.Address())
	if err == nil {
		rec.BytesIn, rec.BytesOut = splice(ctx, agent, upstream, t.Answered(nil), streamIdle)
		return nil
	}
	if f := open.cutBy(); f != nil {
		return f
	}
	return dialFault(err)
}

func dialFault(err error) *Fault {
	code := CodeUpstreamError
	var egress *EgressError
	var netErr net.Error
	switch {
	case isBlocked(err):
		code = CodeNetworkBlocked
	case errors.As(err, &egress):
		code = egress.code()
	case errors.As(err, &netErr) && netErr.Timeout():
		code = CodeUpstreamTimeout
	}
	return upstreamFault(code, err)
}

// AnswerConnect answers a CONNECT over HTTP.
func AnswerConnect(f *Fault) []byte {
	if f == nil {
		return []byte(ConnectEstablished)
	}
	return plainFault(f)
}

// ConnectEstablished answers a CONNECT that was accepted.
const ConnectEstablished = "HTTP/1.1 200 Connection Established\r\n\r\n"
