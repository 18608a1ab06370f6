package inject

import (
	"context"
	"errors"
	"net/url"

	"golang.org/x/oauth2"
)

// A Connecter is a Minter whose credential a person obtains by signing in at an
// authorization server: the authorization code flow (RFC 6749 §4.1) with PKCE
// (RFC 7636).
type Connecter interface {
	Minter
	// Connects is the credential that is obtained; "" where the service does not say
	// where to sign in.
	Connects() (key string)
	// Authorizer is the authorization server: its host in A-labels, with a port that
	// is not the usual one.
	Authorizer() string
	// AuthorizationURL is where a person is sent.
	AuthorizationURL(s SignIn) string
	// Exchange trades the code for the credential, which is in the Token's Rotated.
	Exchange(ctx context.Context, m Minting, s SignIn, code string) (Token, error)
}

// A SignIn is one of a person, at an authorization server.
type SignIn struct {
	Redirect string // exactly as in the request before (RFC 9700 §2.1)
	State    string
	Verifier string // RFC 7636 §4.1
}

// NewVerifier returns the verifier for a SignIn.
func NewVerifier() string { return oauth2.GenerateVerifier() }

var errNoRefreshToken = &MintError{Final: true, Reason: "the authorization server gave no refresh token; it may want a scope for it, such as offline_access, or a parameter in authorization_url, such as access_type=offline and prompt=consent"}

func (a oauth2Auth) Connects() string {
	if a.AuthorizeAt == "" {
		return ""
	}
	return a.RefreshToken
}

func (a oauth2Auth) Authorizer() string { return a.authorizer }

func (a oauth2Auth) AuthorizationURL(s SignIn) string {
	conf := oauth2.Config{ClientID: a.ClientIDLiteral, Endpoint: oauth2.Endpoint{AuthURL: a.AuthorizeAt}, RedirectURL: s.Redirect, Scopes: a.Scopes}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(s.Verifier)}
	if a.Audience != "" {
		options = append(options, oauth2.SetAuthURLParam("audience", a.Audience))
	}
	if a.Resource != "" {
		options = append(options, oauth2.SetAuthURLParam("resource", a.Resource))
	}
	return conf.AuthCodeURL(s.State, options...)
}

func (a oauth2Auth) Exchange(ctx context.Context, m Minting, s SignIn, code string) (Token, error) {
	var keys []string
	if a.ClientSecret != "" {
		keys = append(keys, a.ClientSecret)
	}
	values, err := openAll(m.Open, keys)
	if err != nil {
		return Token{}, err
	}
	t := a.request(m, values)
	t.scopes = nil // RFC 6749 §4.1.3: they were in the request for the code
	t.params = url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {s.Redirect}, "code_verifier": {s.Verifier}}
	if a.Resource != "" {
		t.params.Set("resource", a.Resource)
	}
	t.refreshTokenStored, t.key = a.RefreshToken, a.RefreshToken
	token, err := t.send(ctx)
	var refused *MintError
	switch {
	case errors.As(err, &refused) && refused.Key == a.RefreshToken && refused.Final:
		return Token{}, &MintError{Key: a.RefreshToken, Final: true, Reason: "the authorization server does not take the code: it may have ended or been used; connect again", Err: refused.Err}
	case err != nil:
		return Token{}, err
	case token.Rotated[a.RefreshToken].Len() == 0:
		return Token{}, errNoRefreshToken
	}
	return token, nil
}

var _ Connecter = oauth2Auth{}
