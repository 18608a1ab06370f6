package broker

import (
	"context"
	"crypto/sha256"
	"net/http"

	"agentvault/policy/inject"
	"agentvault/vault"
)

// ExchangeCode trades a code that a person came back with from an authorization
// server. It is recorded and guarded like everything that a token endpoint is asked.
// The error is a *vault.Error with the reason for the person.
func (b *Broker) ExchangeCode(ctx context.Context, x vault.CodeExchange) (inject.Token, error) {
	refuse := func(f *Fault) (inject.Token, error) {
		code := vault.CodeUnavailable
		if f.Status == http.StatusBadGateway {
			code = vault.CodeConnectFailed
		}
		return inject.Token{}, &vault.Error{Code: code, Message: f.Message, Err: f.Err}
	}
	view, f := b.current(b.now())
	if f != nil {
		return refuse(f)
	}
	v := view.vaults[x.Vault]
	in, err := inject.Parse(x.Auth)
	c, ok := in.(inject.Connecter)
	if err != nil || !ok || v == nil || v.id != x.VaultID {
		return refuse(NewFault(CodeUnavailable))
	}
	auth, err := x.Auth.MarshalJSON()
	if err != nil {
		return refuse(unavailable(err))
	}
	known := v.known
	if known == nil {
		known = new(knownTokens)
	}
	j := &minting{
		Broker: b, vault: v,
		mint: &mint{
			id: vault.MintID{VaultID: v.id, Auth: sha256.Sum256(auth)}, service: x.Service, keys: in.Keys(), known: known,
			minter: &codeMinter{Connecter: c, signIn: x.SignIn, code: x.Code},
		},
		by: Record{Session: x.UserID, Agent: x.User, AgentKind: "user", VaultID: v.id, Vault: v.name, Service: x.Service},
	}
	token, f := j.mintOnce(ctx, v.open)
	if f != nil {
		return refuse(f)
	}
	return token, nil
}

// A codeMinter mints by a code, once.
type codeMinter struct {
	inject.Connecter
	signIn inject.SignIn
	code   string
}

// Mint implements inject.Minter.
func (m *codeMinter) Mint(ctx context.Context, with inject.Minting) (inject.Token, error) {
	return m.Exchange(ctx, with, m.signIn, m.code)
}
