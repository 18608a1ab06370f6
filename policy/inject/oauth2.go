package inject

import (
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"agentvault/policy"
	"agentvault/vault/seal"
)

// Grants of the kind oauth2.
const (
	grantClient  = "client_credentials" // RFC 6749 §4.4
	grantRefresh = "refresh_token"      // RFC 6749 §6
	grantJWT     = "jwt_bearer"         // RFC 7523 §2.1
)

// Where a client's id and secret stand in a request for a token.
const (
	styleHeader = "header" // RFC 6749 §2.3.1: HTTP Basic; the default
	styleBody   = "body"
)

// oauth2Auth sends an access token that a token endpoint gives for stored
// credentials.
type oauth2Auth struct {
	Grant    string `json:"grant"`
	TokenURL string `json:"token_url"` // https

	// AuthorizationURL is where a person connects an account; see [Connecter].
	AuthorizeAt string `json:"authorization_url"`

	ClientID        string `json:"client_id"`         // a credential key
	ClientIDLiteral string `json:"client_id_literal"` // or the id itself, which is no secret
	ClientSecret    string `json:"client_secret"`     // a credential key; a public client has none
	RefreshToken    string `json:"refresh_token"`     // a credential key, of grant refresh_token; replaced when the endpoint rotates it
	PrivateKey      string `json:"private_key"`       // a credential key, of grant jwt_bearer: PEM
	KeyID           string `json:"key_id"`            // "kid" of the assertion
	Issuer          string `json:"issuer"`            // "iss" of the assertion
	Subject         string `json:"subject"`           // "sub" of the assertion
	AssertionFor    string `json:"assertion_for"`     // "aud" of the assertion; default the token_url

	Scopes    []string `json:"scopes"`
	Audience  string   `json:"audience"`   // a parameter that some endpoints want
	Resource  string   `json:"resource"`   // RFC 8707
	AuthStyle string   `json:"auth_style"` // "header" or "body"

	Header string  `json:"header"` // default Authorization
	Prefix *string `json:"prefix"` // default "Bearer "

	endpoint   *url.URL
	authorizer string // the host of AuthorizeAt, with a port that is not the usual one
}

var _ = register("oauth2", func(a oauth2Auth) (Injector, error) {
	if err := a.checkGrant(); err != nil {
		return nil, err
	}
	var err error
	if a.endpoint, err = endpointURL("token_url", a.TokenURL); err != nil {
		return nil, err
	}
	if a.AuthorizeAt != "" {
		if a.Grant != grantRefresh {
			return nil, fieldErrorf("authorization_url", "it belongs to the grant %s", grantRefresh)
		}
		if a.ClientIDLiteral == "" {
			return nil, fieldErrorf("authorization_url", "it needs a client_id_literal: who connects an account gets to see the id")
		}
		u, err := endpointURL("authorization_url", a.AuthorizeAt)
		if err != nil {
			return nil, err
		}
		a.authorizer = u.Host
	}
	if err := a.checkClient(); err != nil {
		return nil, err
	}
	if err := checkTokenWords(map[string]string{"key_id": a.KeyID, "issuer": a.Issuer, "subject": a.Subject, "assertion_for": a.AssertionFor, "audience": a.Audience, "resource": a.Resource}); err != nil {
		return nil, err
	}
	if err := checkScopes(a.Scopes); err != nil {
		return nil, err
	}
	a.Header, err = tokenPlace(a.Header, &a.Prefix)
	return a, err
})

// checkGrant holds the fields that belong to one grant against it.
func (a *oauth2Auth) checkGrant() error {
	of := map[string]string{"refresh_token": grantRefresh, "private_key": grantJWT, "key_id": grantJWT, "issuer": grantJWT, "subject": grantJWT, "assertion_for": grantJWT}
	set := map[string]string{"refresh_token": a.RefreshToken, "private_key": a.PrivateKey, "key_id": a.KeyID, "issuer": a.Issuer, "subject": a.Subject, "assertion_for": a.AssertionFor}
	if !slices.Contains([]string{grantClient, grantRefresh, grantJWT}, a.Grant) {
		return fieldErrorf("grant", "it is one of %s, %s, %s", grantClient, grantRefresh, grantJWT)
	}
	for _, field := range []string{"refresh_token", "private_key", "key_id", "issuer", "subject", "assertion_for"} {
		if set[field] != "" && of[field] != a.Grant {
			return fieldErrorf(field, "it belongs to the grant %s", of[field])
		}
	}
	switch a.Grant {
	case grantRefresh:
		return checkKey("refresh_token", a.RefreshToken)
	case grantJWT:
		if err := checkKey("private_key", a.PrivateKey); err != nil {
			return err
		}
		if a.Issuer == "" {
			return fieldErrorf("issuer", "it is missing; it is who signs, as the token endpoint knows them")
		}
	}
	return nil
}

// checkClient holds who asks for tokens against RFC 6749 §2.
func (a *oauth2Auth) checkClient() error {
	switch {
	case a.ClientID != "" && a.ClientIDLiteral != "":
		return fieldErrorf("client_id_literal", "it stands beside client_id; one of them is enough")
	case a.ClientID != "":
		if err := checkKey("client_id", a.ClientID); err != nil {
			return err
		}
	case a.ClientIDLiteral == "" && a.Grant != grantJWT:
		return fieldErrorf("client_id", "it is missing; it names a credential key, or client_id_literal is the id itself")
	}
	if err := checkTokenWords(map[string]string{"client_id_literal": a.ClientIDLiteral}); err != nil {
		return err
	}
	if a.ClientSecret != "" {
		if err := checkKey("client_secret", a.ClientSecret); err != nil {
			return err
		}
		if a.ClientID == "" && a.ClientIDLiteral == "" {
			return fieldErrorf("client_secret", "it is of no use without a client_id")
		}
	} else if a.Grant == grantClient {
		return fieldErrorf("client_secret", "it is missing; it names a credential key, as in CLIENT_SECRET")
	}
	switch a.AuthStyle {
	case "":
		a.AuthStyle = styleHeader
		if a.ClientSecret == "" {
			a.AuthStyle = styleBody // RFC 6749 §3.2.1: a public client says its id there
		}
	case styleHeader, styleBody:
		if a.AuthStyle == styleHeader && a.ClientSecret == "" {
			return fieldErrorf("auth_style", "header needs a client_secret")
		}
	default:
		return fieldErrorf("auth_style", "it is %s or %s", styleHeader, styleBody)
	}
	return nil
}

// endpointURL checks a URL that credentials, or a person, are sent to. Plain http
// is not among them, whatever the service (R7).
func endpointURL(field, spelled string) (*url.URL, error) {
	if spelled == "" {
		return nil, fieldErrorf(field, "it is missing; it is an https:// URL")
	}
	u, err := url.Parse(spelled)
	switch {
	case err != nil || len(spelled) > 2048 || u.Opaque != "":
		return nil, fieldErrorf(field, "it is not a URL")
	case u.Scheme != "https":
		return nil, fieldErrorf(field, "it is an https:// URL: credentials go nowhere without TLS")
	case u.User != nil || u.Fragment != "" || strings.Contains(spelled, "#"):
		return nil, fieldErrorf(field, "it has no user and no fragment")
	}
	t, err := policy.ParseTarget(u.Scheme, u.Host)
	if err != nil {
		return nil, fieldErrorf(field, "%v", err)
	}
	u.Host = t.Authority()
	return u, nil
}

// checkTokenWords refuses literal text that could not be a parameter or a claim.
func checkTokenWords(words map[string]string) error {
	for _, field := range []string{"client_id_literal", "key_id", "issuer", "subject", "assertion_for", "audience", "resource"} {
		if s := words[field]; len(s) > 512 || !httpguts.ValidHeaderFieldValue(s) || strings.TrimSpace(s) != s {
			return fieldErrorf(field, "it is text of at most 512 bytes without line breaks")
		}
	}
	return nil
}

// checkScopes: RFC 6749 §3.3.
func checkScopes(scopes []string) error {
	if len(scopes) > 64 {
		return fieldErrorf("scopes", "there are at most 64")
	}
	for _, s := range scopes {
		bad := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }
		if s == "" || len(s) > 256 || strings.IndexFunc(s, bad) >= 0 {
			return fieldErrorf("scopes", "a scope is a word without spaces, quotes and backslashes, at most 256 bytes long")
		}
	}
	return nil
}

// tokenPlace checks where a token goes, and fills in the defaults.
func tokenPlace(header string, prefix **string) (string, error) {
	if header == "" {
		header = authorization
	}
	if err := headerName("header", header); err != nil {
		return "", err
	}
	header = canonical(header)
	if *prefix == nil {
		usual := ""
		if header == authorization {
			usual = "Bearer "
		}
		*prefix = &usual
	}
	if p := **prefix; !httpguts.ValidHeaderFieldValue(p) || len(p) > 64 || strings.Contains(p, "{{") {
		return "", fieldErrorf("prefix", "it is short literal text, as in \"Token \"")
	}
	return header, nil
}

func (a oauth2Auth) Type() string        { return "oauth2" }
func (a oauth2Auth) Slots() Slots        { return headerSlots(a.Header) }
func (a oauth2Auth) Endpoints() []string { return []string{a.endpoint.String()} }

func (a oauth2Auth) Keys() []string {
	var keys []string
	for _, k := range []string{a.ClientID, a.ClientSecret, a.RefreshToken, a.PrivateKey} {
		if k != "" && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (a oauth2Auth) Inject(r *Request, _ func(string) (seal.Plaintext, error)) error {
	return setToken(r, a.Header, *a.Prefix, a.Keys()[0])
}

// setToken puts a minted token into a field. The key is named where it cannot
// stand there.
func setToken(r *Request, header, prefix, key string) error {
	if r.Token.Len() == 0 {
		return errNoToken
	}
	return setHeader(r, header, prefix+string(r.Token.Bytes()), key)
}
