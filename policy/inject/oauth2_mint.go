package inject

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"agentvault/vault/seal"
)

// A tokenRequest is what a token endpoint is asked (RFC 6749 §3.2). Every grant is
// one of these: clientcredentials sends the grant that it is told to.
type tokenRequest struct {
	endpoint           string
	clientID, secret   string
	style              string
	scopes             []string
	params             url.Values // the rest, grant_type among them
	key                string     // of the credential that an error is about
	clientKey          string     // likewise, where the client is not known
	connect            bool       // a person connects the account anew, instead of setting a value
	now                time.Time
	do                 func(*http.Request) (*http.Response, error)
	refreshedFrom      string // the refresh token that was sent
	refreshTokenStored string // the credential that holds it
}

// doer is a Minting's Do as a RoundTripper.
type doer func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (d doer) RoundTrip(r *http.Request) (*http.Response, error) { return d(r) }

// send asks for a token.
func (t tokenRequest) send(ctx context.Context) (Token, error) {
	style := oauth2.AuthStyleInHeader
	if t.style == styleBody {
		style = oauth2.AuthStyleInParams
	}
	conf := clientcredentials.Config{
		ClientID: t.clientID, ClientSecret: t.secret, TokenURL: t.endpoint,
		Scopes: t.scopes, EndpointParams: t.params, AuthStyle: style,
	}
	got, err := conf.Token(context.WithValue(ctx, oauth2.HTTPClient, withoutRedirects(t.do)))
	if err != nil {
		return Token{}, t.failed(err)
	}
	out := Token{Value: seal.NewPlaintext([]byte(got.AccessToken))}
	if !got.Expiry.IsZero() {
		out.Expires = t.now.Add(time.Until(got.Expiry)) // by the caller's clock
	}
	if t.refreshTokenStored != "" && got.RefreshToken != "" && got.RefreshToken != t.refreshedFrom {
		out.Rotated = map[string]seal.Plaintext{t.refreshTokenStored: seal.NewPlaintext([]byte(got.RefreshToken))}
	}
	return out, nil
}

// withoutRedirects is a client for x/oauth2: what a token endpoint answers with is
// its answer.
func withoutRedirects(do func(*http.Request) (*http.Response, error)) *http.Client {
	return &http.Client{Transport: doer(do), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// failed says what a person must do. The endpoint's own words are not repeated:
// they may hold what it was sent.
func (t tokenRequest) failed(err error) error {
	var answered *oauth2.RetrieveError
	if !errors.As(err, &answered) {
		var sent *url.Error
		if errors.As(err, &sent) {
			return &MintError{Reason: "the token endpoint could not be asked; try again later", Err: sent.Err}
		}
		return &MintError{Reason: "the token endpoint's answer is no token; try again later", Err: errors.New("the answer of the token endpoint holds no token")}
	}
	status := 0
	if answered.Response != nil {
		status = answered.Response.StatusCode
	}
	cause := &EndpointError{Status: status, Code: knownError(answered.ErrorCode)}
	out := &MintError{Key: t.key, Final: true, Err: cause}
	switch cause.Code {
	case "invalid_grant":
		out.Reason = "the token endpoint no longer takes the credential " + t.key + "; ask a person to set it again"
		if t.connect {
			out.Reason = "the token endpoint no longer takes the credential " + t.key + ": it has ended or was withdrawn; ask a person to connect it again, or to set it"
		}
	case "invalid_client", "unauthorized_client":
		out.Key = t.clientKey
		out.Reason = "the token endpoint does not take the client of this service; ask a person to check its client id, its secret and its grant"
	case "invalid_scope", "invalid_target":
		out.Reason = "the token endpoint does not give a token for the scopes, the audience or the resource of this service; ask a person to check them"
	case "invalid_request", "unsupported_grant_type":
		out.Reason = "the token endpoint does not understand the request for a token; ask a person to check the service's auth"
	default:
		out.Key, out.Final = "", status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests
		out.Reason = "the token endpoint refused to give a token; try again later"
		if out.Final {
			out.Key, out.Reason = t.key, "the token endpoint refused to give a token; ask a person to check the service's auth and its credentials"
		}
	}
	return out
}

// An EndpointError is what a token endpoint answered, as far as it may be logged.
type EndpointError struct {
	Status int
	Code   string
}

func (e *EndpointError) Error() string {
	text := "the token endpoint answered " + http.StatusText(e.Status)
	if e.Code != "" {
		text += " (" + e.Code + ")"
	}
	return text
}

// knownError is a code of RFC 6749 §5.2, RFC 8707 §2 or "": an endpoint may have
// written anything there.
func knownError(code string) string {
	switch code {
	case "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
		"invalid_target", "temporarily_unavailable", "server_error", "slow_down":
		return code
	}
	return ""
}

// Mint implements [Minter].
func (a oauth2Auth) Mint(ctx context.Context, m Minting) (Token, error) {
	values, err := openAll(m.Open, a.Keys())
	if err != nil {
		return Token{}, err
	}
	t := a.request(m, values)
	switch a.Grant {
	case grantClient:
		t.params.Set("grant_type", "client_credentials")
		t.key = a.ClientSecret
	case grantRefresh:
		t.params.Set("grant_type", "refresh_token")
		t.params.Set("refresh_token", values[a.RefreshToken])
		t.refreshedFrom, t.refreshTokenStored, t.key, t.connect = values[a.RefreshToken], a.RefreshToken, a.RefreshToken, a.AuthorizeAt != ""
	case grantJWT:
		says := assertion{keyID: a.KeyID, issuer: a.Issuer, subject: a.Subject, audience: cmp.Or(a.AssertionFor, a.TokenURL)}
		text, why := says.signed([]byte(values[a.PrivateKey]), m.Now)
		if why != "" {
			return Token{}, &UnfitError{a.PrivateKey, why}
		}
		t.params.Set("grant_type", grantTypeJWT)
		t.params.Set("assertion", text)
		t.key = a.PrivateKey
	}
	if t.clientKey == "" {
		t.clientKey = t.key
	}
	return t.send(ctx)
}

// request is what requests of all grants have in common.
func (a oauth2Auth) request(m Minting, values map[string]string) tokenRequest {
	t := tokenRequest{
		endpoint: a.endpoint.String(), clientID: a.ClientIDLiteral, style: a.AuthStyle, scopes: a.Scopes,
		params: make(url.Values), clientKey: a.ClientSecret, now: m.Now, do: m.Do,
	}
	if a.ClientID != "" {
		t.clientID = values[a.ClientID]
	}
	if a.ClientSecret != "" {
		t.secret = values[a.ClientSecret]
	}
	if a.Audience != "" {
		t.params.Set("audience", a.Audience)
	}
	if a.Resource != "" {
		t.params.Set("resource", a.Resource)
	}
	return t
}

// openAll opens credentials by their keys.
func openAll(open func(string) (seal.Plaintext, error), keys []string) (map[string]string, error) {
	values := make(map[string]string, len(keys))
	for _, key := range keys {
		p, err := open(key)
		if err != nil {
			return nil, err
		}
		values[key] = string(p.Bytes())
	}
	return values, nil
}
