package inject

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"agentvault/vault/seal"
)

// googleTokenURL is where Google's service accounts get tokens.
const googleTokenURL = "https://oauth2.googleapis.com/token"

// googleSpellings are what Google's key files say of it, or said once.
var googleSpellings = []string{googleTokenURL, "https://accounts.google.com/o/oauth2/token", "https://www.googleapis.com/oauth2/v4/token"}

// googleAccount sends an access token of a service account of Google's, or of an
// endpoint that works in the same way.
type googleAccount struct {
	Key      string   `json:"key"`       // a credential key: the JSON key file as it was downloaded
	Scopes   []string `json:"scopes"`    // at least one
	Subject  string   `json:"subject"`   // the user for whom the account acts, with domain-wide delegation
	TokenURL string   `json:"token_url"` // default Google's

	endpoint *url.URL
}

var _ = register("google-service-account", func(g googleAccount) (Injector, error) {
	if err := checkKey("key", g.Key); err != nil {
		return nil, err
	}
	if len(g.Scopes) == 0 {
		return nil, fieldErrorf("scopes", "it is missing, as in [\"https://www.googleapis.com/auth/devstorage.read_only\"]")
	}
	if err := checkScopes(g.Scopes); err != nil {
		return nil, err
	}
	if err := checkTokenWords(map[string]string{"subject": g.Subject}); err != nil {
		return nil, err
	}
	if g.TokenURL == "" {
		g.TokenURL = googleTokenURL
	}
	var err error
	g.endpoint, err = endpointURL("token_url", g.TokenURL)
	return g, err
})

func (g googleAccount) Type() string        { return "google-service-account" }
func (g googleAccount) Keys() []string      { return []string{g.Key} }
func (g googleAccount) Slots() Slots        { return headerSlots(authorization) }
func (g googleAccount) Endpoints() []string { return []string{g.endpoint.String()} }

func (g googleAccount) Inject(r *Request, _ func(string) (seal.Plaintext, error)) error {
	return setToken(r, authorization, "Bearer ", g.Key)
}

// A googleFile is what of a key file is used.
type googleFile struct {
	Type         string `json:"type"`
	ClientEmail  string `json:"client_email"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"`
	TokenURI     string `json:"token_uri"`
}

// Mint implements [Minter]. The assertion goes to the endpoint of the service; a
// file that names another is refused, for who wrote the file is not known.
func (g googleAccount) Mint(ctx context.Context, m Minting) (Token, error) {
	p, err := m.Open(g.Key)
	if err != nil {
		return Token{}, err
	}
	var file googleFile
	if err := json.Unmarshal(p.Bytes(), &file); err != nil || file.Type != "service_account" || file.ClientEmail == "" {
		return Token{}, &MintError{Key: g.Key, Final: true, Reason: "the credential " + g.Key + " is not a service account's key file; ask a person to set it again, with the JSON file as it was downloaded"}
	}
	if !g.names(file.TokenURI) {
		return Token{}, &MintError{Key: g.Key, Final: true, Reason: "the key file in " + g.Key + " names a token endpoint that is not the service's; ask a person to check it, and to name it as token_url if it is right"}
	}
	says := assertion{keyID: file.PrivateKeyID, issuer: file.ClientEmail, subject: g.Subject, audience: g.TokenURL, scope: strings.Join(g.Scopes, " ")}
	text, why := says.signed([]byte(file.PrivateKey), m.Now)
	if why != "" {
		return Token{}, &UnfitError{g.Key, "is a key file whose private_key " + why}
	}
	return tokenRequest{
		endpoint: g.endpoint.String(), style: styleBody, key: g.Key, clientKey: g.Key, now: m.Now, do: m.Do,
		params: url.Values{"grant_type": {grantTypeJWT}, "assertion": {text}},
	}.send(ctx)
}

// names reports whether a key file may name that endpoint.
func (g googleAccount) names(uri string) bool {
	return uri == "" || uri == g.TokenURL || g.TokenURL == googleTokenURL && slices.Contains(googleSpellings, uri)
}
