package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"agentvault/broker/scrub"
	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// A minting is one flight's work. What it needs of the exchange that began it is
// copied: that may end before.
type minting struct {
	*Broker
	*mint
	vault    *vaultView
	versions []int64
	after    int64
	by       Record // what is recorded is recorded of who asked
}

// fly gets a token, tells those who wait, and remembers a failure.
func (j *minting) fly(ctx context.Context, f *flight) {
	f.token, f.fault = j.get(ctx)
	j.mu.Lock()
	if f.fault != nil {
		j.failed = j.failed.next(f.fault, j.versions, j.now())
	} else {
		j.failed = nil
		j.token.Store(f.token)
	}
	j.flight = nil
	j.mu.Unlock()
	if f.fault != nil && f.fault.Err != nil {
		j.log.Warn("no token for a service", "vault", j.vault.name, "service", j.service, "credential", f.fault.Credential, "err", f.fault.Err)
	}
	close(f.done)
}

// get returns a token that another node stored, or mints one in this node's turn.
func (j *minting) get(ctx context.Context) (*token, *Fault) {
	if j.tokens == nil || len(j.minter.Endpoints()) == 0 { // it costs less to make than to store
		return j.alone(ctx)
	}
	q := vault.MintQuestion{MintID: j.id, Keys: j.keys, After: j.after}
	for {
		turn, err := j.tokens.TakeMint(ctx, q)
		switch {
		case err != nil:
			return nil, unavailable(err)
		case turn.Token != nil:
			return j.stored(turn.Token)
		case turn.Claim != "":
			return j.inTurn(ctx, turn)
		}
		select {
		case <-ctx.Done():
			return nil, unavailable(ctx.Err())
		case <-time.After(mintLook):
		}
	}
}

// alone mints without the store.
func (j *minting) alone(ctx context.Context) (*token, *Fault) {
	got, f := j.mintOnce(ctx, j.vault.open)
	if f == nil && len(got.Rotated) > 0 {
		f = unavailable(errors.New("a credential was rotated, and there is nowhere to put it"))
	}
	if f != nil {
		return nil, f
	}
	serial := j.after
	if before := j.token.Load(); before != nil {
		serial = max(serial, before.serial)
	}
	return newToken(got.Value, serial+1, j.versions, j.now(), got.Expires), nil
}

// stored opens a token that a node stored.
func (j *minting) stored(m *vault.MintedToken) (*token, *Fault) {
	p, err := j.vault.opener.Open(m.SealContext(), m.Box)
	if err != nil {
		return nil, unavailable(err)
	}
	j.known.learn(j.id, j.now(), m.ExpiresAt, p.Bytes())
	return j.fromStore(p, m), nil
}

// fromStore is what was stored, or has been there for a while: what it was minted
// at says how much of its life is left.
func (j *minting) fromStore(value seal.Plaintext, m *vault.MintedToken) *token {
	versions := make([]int64, len(j.keys))
	for i, key := range j.keys {
		versions[i] = m.Versions[key]
	}
	return newToken(value, m.Serial, versions, m.MintedAt, m.ExpiresAt)
}

// inTurn mints with the credentials as they are stored now, which may be newer than
// the View's, and stores the token.
func (j *minting) inTurn(ctx context.Context, turn vault.MintTurn) (*token, *Fault) {
	got, f := j.mintOnce(ctx, func(key string) (seal.Plaintext, error) {
		c, ok := turn.Credentials[key]
		if !ok {
			return seal.Plaintext{}, &missingError{key}
		}
		return j.vault.unseal(key, box{c.Version, c.Box})
	})
	// The endpoint's answer counts, whoever has hung up meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	if f != nil {
		if err := j.tokens.DropMint(ctx, turn); err != nil {
			j.log.Warn("a turn to mint could not be ended; it ends by itself", "err", err)
		}
		return nil, f
	}
	kept, err := j.keep(ctx, turn, got)
	if err != nil {
		return nil, unavailable(err)
	}
	return j.fromStore(got.Value, &kept), nil
}

// keepTime bounds how long a token is tried to be stored.
const keepTime = 10 * time.Second

// keep stores a token, and tries again for a while: a credential that the endpoint
// has replaced is lost otherwise.
func (j *minting) keep(ctx context.Context, turn vault.MintTurn, got inject.Token) (vault.MintedToken, error) {
	for wait := 50 * time.Millisecond; ; wait *= 2 {
		kept, err := j.tokens.KeepMint(ctx, turn, got)
		if err == nil || len(got.Rotated) == 0 {
			return kept, err
		}
		select {
		case <-ctx.Done():
			j.log.Error("a credential was replaced by the token endpoint, and could not be stored: a person must set it again", "vault", j.vault.name, "service", j.service, "err", err)
			return kept, err
		case <-time.After(wait):
		}
	}
}

// mintOnce asks the Minter. Its intent is on record before a box is opened (R15).
func (j *minting) mintOnce(ctx context.Context, open func(string) (seal.Plaintext, error)) (got inject.Token, f *Fault) {
	ctx, cancel := context.WithTimeout(ctx, mintTime)
	defer cancel()
	began := j.now()
	rec := j.intent(began)
	if rec.Target != "" { // else nobody is asked, and the exchange's own record says it all
		if err := j.audit.Append(rec); err != nil {
			return got, j.auditFault(err)
		}
	}
	asked := &asking{minting: j, ctx: ctx}
	var opened plaintexts
	defer func() {
		if p := recover(); p != nil {
			j.log.Error("panic in a minter", "type", j.minter.Type(), "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			f = NewFault(CodeInternal)
		}
		opened.clear()
		j.outcome(rec, asked.status, f, began)
	}()
	got, err := j.minter.Mint(ctx, inject.Minting{Open: opened.from(open), Do: asked.do, Now: began})
	if err == nil && got.Value.Len() < scrub.MinLength {
		err = &inject.MintError{Reason: "the token endpoint's answer is no token that could be kept from agents: it is too short", Err: errors.New("a token of fewer than 8 bytes")}
	}
	if err != nil {
		return got, asked.fault(err)
	}
	values := [][]byte{got.Value.Bytes()}
	for _, rotated := range got.Rotated {
		values = append(values, rotated.Bytes())
	}
	j.known.learn(j.id, j.now(), got.Expires, values...)
	return got, nil
}

// Kinds of records of tokens that are obtained: before a box is opened, and at the
// end. They are in the audit log only; the request that they were for is in the
// request log.
const (
	kindMint   = "mint"
	kindMinted = "minted"
)

// intent is what is on record before a box is opened.
func (j *minting) intent(now time.Time) *Record {
	r := j.by
	r.Kind, r.Time, r.Request, r.Method, r.Path, r.Upgrade, r.Target = kindMint, now.UTC(), j.newID(), http.MethodPost, "", "", ""
	r.Credentials = j.keys
	if all := j.minter.Endpoints(); len(all) > 0 {
		if u, err := url.Parse(all[0]); err == nil {
			if t, f := Pin(u.Scheme, u.Host); f == nil {
				r.Target, r.Path = recordedTarget(t), u.EscapedPath()
			}
		}
	}
	return &r
}

func (j *minting) outcome(r *Record, status int, f *Fault, began time.Time) {
	if r.Target == "" {
		return
	}
	now := j.now()
	r.Kind, r.Time, r.Status, r.Micros = kindMinted, now.UTC(), status, now.Sub(began).Microseconds()
	if f != nil {
		r.Fault = f.Code
	}
	if err := j.audit.AppendLater(r); err != nil {
		j.log.Error("outcome could not be recorded", "request", r.Request, "err", err)
	}
}

func unavailable(err error) *Fault {
	f := NewFault(CodeUnavailable)
	f.Err = err
	return f
}
