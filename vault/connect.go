package vault

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// Bounds of connecting accounts.
const (
	ConnectTTL     = 10 * time.Minute // for a person to sign in at the authorization server
	maxConnections = 1000             // that were begun and not finished
	maxCode        = 4096             // bytes of a code
)

// A Connection is a person's way to an authorization server and back.
type Connection struct {
	URL       string // where the person signs in
	State     string
	Redirect  string // where they come back
	ExpiresAt time.Time
}

// A Connected says what was stored.
type Connected struct {
	Vault, Service, Credential string
}

// A CodeExchange asks for the credential that a code is good for.
type CodeExchange struct {
	VaultID, Vault, Service string
	Auth                    inject.Auth
	SignIn                  inject.SignIn
	Code                    string
	UserID, User            string // who asks; the email
}

// A begun connection is known to the node where it began, and to who began it.
type begun struct {
	CodeExchange
	key     string // of the credential
	auth    string // as it was declared
	page    string // of this server, where the person comes back; "": on loopback
	expires time.Time
}

// connections are those that were begun, by their state.
type connections struct {
	mu  sync.Mutex
	all map[string]begun
}

func (l *connections) put(state string, b begun, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s, one := range l.all {
		if !now.Before(one.expires) {
			delete(l.all, s)
		}
	}
	if len(l.all) >= maxConnections {
		return false
	}
	if l.all == nil {
		l.all = make(map[string]begun)
	}
	l.all[state] = b
	return true
}

// take gives a connection once, and to the person who began it only.
func (l *connections) take(state, userID string, now time.Time) (begun, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, ok := l.all[state]
	if !ok || b.UserID != userID {
		return begun{}, false
	}
	delete(l.all, state)
	return b, now.Before(b.expires)
}

// BeginConnection says where a person signs in so that a service gets its refresh
// token (RFC 6749 §4.1, RFC 7636). The authorization server sends them back to
// redirect, a port of loopback (RFC 8252 §7.3), below a path of its own; "" is a page
// of this server.
func (r *Registry) BeginConnection(ctx context.Context, c Caller, vaultName, service, redirect string) (Connection, error) {
	var b begun
	var in inject.Connecter
	err := r.readAs(ctx, c, actCredentials, func(tx Tx) error {
		v, err := r.wholeVault(tx, c, actCredentials, vaultName)
		if err != nil {
			return err
		}
		at, err := v.mustHave(service)
		if err != nil {
			return err
		}
		b.VaultID, b.Vault, b.Service, b.Auth = v.ID, v.Name, service, v.Services[at].Auth
		in, b.key, b.auth, err = connecter(v.Services[at])
		return err
	})
	if err != nil {
		return Connection{}, err
	}
	if redirect == "" {
		if redirect, err = r.pageFor(in.Authorizer()); err != nil {
			return Connection{}, err
		}
		b.page = redirect
	} else if !isLoopback(redirect) {
		return Connection{}, badRequest("redirect_uri: it is http:// to 127.0.0.1 or [::1] with a port and a path")
	} else {
		redirect = strings.TrimSuffix(redirect, "/") + "/" + url.PathEscape(in.Authorizer())
	}
	now := r.now()
	b.UserID, b.User, b.expires = c.user.ID, c.user.Email, now.Add(ConnectTTL)
	b.SignIn = inject.SignIn{Redirect: redirect, State: rand.Text() + rand.Text(), Verifier: inject.NewVerifier()}
	if !r.connections.put(b.SignIn.State, b, now) {
		return Connection{}, refuse(CodeUnavailable, "too many accounts are being connected; try again in some minutes")
	}
	return Connection{URL: in.AuthorizationURL(b.SignIn), State: b.SignIn.State, Redirect: redirect, ExpiresAt: b.expires}, nil
}

// pageFor is the page of this server to which an authorization server sends people
// back. Each has its own, as on loopback, so that none can pass a code off as
// another's, to have it sent to the token endpoint of a service of its choice
// (RFC 9700 §4.4.2.2).
func (r *Registry) pageFor(authorizer string) (string, error) {
	switch page := r.callbackURL(); {
	case page == "":
		return "", badRequest("redirect_uri: it is missing; this server has no page to come back to")
	case !strings.HasPrefix(page, "https://") && !isLoopback(page): // RFC 9700 §2.6
		return "", badRequest("this server's base_url is neither https:// nor an address of loopback, and codes do not travel in clear; connect with `agent-vault credential connect`")
	default:
		return page + url.PathEscape(authorizer), nil
	}
}

// connects is what connects an account of the service, with the credential that a
// person obtains so; nil where there is no account.
func connects(s Service) (in inject.Connecter, key string) {
	parsed, err := inject.Parse(s.Auth)
	if in, ok := parsed.(inject.Connecter); ok && err == nil && in.Connects() != "" {
		return in, in.Connects()
	}
	return nil, ""
}

// Connects is the credential that a person obtains by signing in elsewhere; "" where
// the service has none such.
func (s Service) Connects() string {
	_, key := connects(s)
	return key
}

// connecter is the service's, with the credential that it obtains.
func connecter(s Service) (in inject.Connecter, key, auth string, err error) {
	in, key = connects(s)
	if in == nil {
		return nil, "", "", badRequest("service %q: it has no account to connect; its auth needs the grant refresh_token and an authorization_url", s.Name)
	}
	spelled, err := s.Auth.MarshalJSON()
	return in, key, string(spelled), err
}

// isLoopback reports whether a code that is sent there reaches the machine that the
// person sits at, and no other.
func isLoopback(spelled string) bool {
	u, err := url.Parse(spelled)
	if err != nil || len(spelled) > 512 || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return false
	}
	at, err := netip.ParseAddrPort(u.Host)
	return err == nil && u.Scheme == "http" && at.Addr().IsLoopback() && at.Port() > 0 && u.Path != ""
}

// FinishConnection trades the code that a person came back with for the refresh
// token, and stores it in one transaction. A code is tried once. page is the one of
// this server to which it came; "": it came to loopback.
func (r *Registry) FinishConnection(ctx context.Context, c Caller, state, code, page string) (Connected, error) {
	if err := r.readAs(ctx, c, actCredentials, func(tx Tx) error { return r.asNow(tx, &c, actCredentials) }); err != nil {
		return Connected{}, err
	}
	if code == "" || len(code) > maxCode {
		return Connected{}, badRequest("code: it is missing or too long")
	}
	b, ok := r.connections.take(state, c.user.ID, r.now())
	if !ok {
		return Connected{}, refuse(CodeNotFound, "this connection is not known: it has ended, was finished before, or was begun by another person or before the server was started; begin again")
	}
	if page != b.page {
		return Connected{}, badRequest("redirect_uri: the answer did not come from the authorization server that was asked, or not to where it was to come; nothing was stored")
	}
	if err := r.readAs(ctx, c, actCredentials, func(tx Tx) error { // they may have lost the role
		_, err := r.inVault(tx, c, actCredentials, b.Vault)
		return err
	}); err != nil {
		return Connected{}, err
	}
	b.Code = code
	token, err := r.exchange(ctx, b.CodeExchange)
	if err != nil {
		return Connected{}, err
	}
	defer token.Value.Clear()
	value := token.Rotated[b.key]
	defer value.Clear()
	if err := checkValues(map[string]seal.Plaintext{b.key: value}); err != nil {
		return Connected{}, err
	}
	_, err = r.change(ctx, c, actCredentials, b.Vault, func(tx Tx, v *Vault) (string, error) {
		at, err := v.mustHave(b.Service)
		if err != nil {
			return "", err
		}
		if spelled, err := v.Services[at].Auth.MarshalJSON(); err != nil || v.ID != b.VaultID || string(spelled) != b.auth {
			return "", refuse(CodeConflict, "the service %s was changed meanwhile; begin again", b.Service)
		}
		return fmt.Sprintf("connect %s of the service %s", b.key, b.Service), r.setCredential(tx, v, b.key, value, false)
	})
	return Connected{Vault: b.Vault, Service: b.Service, Credential: b.key}, err
}
