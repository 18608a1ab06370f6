package inject

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"agentvault/vault/seal"
)

const (
	// githubBack and githubLife are what GitHub advises and bounds an assertion by.
	githubBack = time.Minute
	githubLife = 9 * time.Minute

	maxGithubAnswer = 256 << 10 // bytes
)

// Mint trades an assertion that the app's key signs for a token of the
// installation, which is good for an hour.
func (g githubApp) Mint(ctx context.Context, m Minting) (Token, error) {
	assertion, err := g.assertion(m)
	if err != nil {
		return Token{}, err
	}
	var narrowed []byte
	if len(g.Repositories) > 0 || len(g.Permissions) > 0 {
		if narrowed, err = json.Marshal(struct {
			Repositories []string          `json:"repositories,omitempty"`
			Permissions  map[string]string `json:"permissions,omitempty"`
		}{g.Repositories, g.Permissions}); err != nil {
			return Token{}, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.Endpoints()[0], bytes.NewReader(narrowed))
	if err != nil {
		return Token{}, err
	}
	r.Header = http.Header{
		"Authorization": {"Bearer " + assertion}, "Accept": {"application/vnd.github+json"},
		"User-Agent": {"agent-vault"}, "X-Github-Api-Version": {"2022-11-28"},
	}
	if narrowed != nil {
		r.Header["Content-Type"] = []string{"application/json"}
	}
	resp, err := m.Do(r)
	if err != nil {
		return Token{}, &MintError{Reason: "GitHub could not be asked for a token; try again later", Err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxGithubAnswer))
	if err != nil {
		return Token{}, &MintError{Reason: "GitHub broke off while it was asked for a token; try again later", Err: err}
	}
	if resp.StatusCode != http.StatusCreated {
		return Token{}, g.refused(resp, body)
	}
	var answer struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Token == "" {
		return Token{}, &MintError{Reason: "GitHub's answer is no token; ask a person to check the service's api_url", Err: errors.New("an answer without a token")}
	}
	return Token{Value: seal.NewPlaintext([]byte(answer.Token)), Expires: answer.ExpiresAt}, nil
}

func (g githubApp) assertion(m Minting) (string, error) {
	pem, err := m.Open(g.PrivateKey)
	if err != nil {
		return "", err
	}
	key, err := signingKey(g.PrivateKey, "RS256", pem)
	if err != nil {
		return "", err
	}
	issuer := g.ClientID
	if issuer == "" {
		issuer = g.AppID
	}
	claims := jwt.MapClaims{"iss": string(issuer), "iat": m.Now.Add(-githubBack).Unix(), "exp": m.Now.Add(githubLife).Unix()}
	return jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(key)
}

// refused says what a person must do. GitHub's own words are read, and not
// repeated.
func (g githubApp) refused(resp *http.Response, body []byte) error {
	var answer struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(body, &answer) // what is no JSON says nothing
	said := func(words string) bool { return strings.Contains(strings.ToLower(answer.Message), words) }
	e := &MintError{Key: g.PrivateKey, Final: true, Err: fmt.Errorf("GitHub answered %d", resp.StatusCode)}
	slowed := resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusForbidden &&
		(resp.Header.Get("Retry-After") != "" || resp.Header.Get("X-RateLimit-Remaining") == "0" || said("rate limit"))
	switch {
	case slowed:
		e.Key, e.Final, e.Reason = "", false, "GitHub takes no more requests for tokens of this app for now; try again later"
	case resp.StatusCode == http.StatusUnauthorized && (said("'exp'") || said("'iat'")):
		e.Key, e.Final, e.Reason = "", false, "GitHub does not take the time of the app's assertion; ask a person to set the clock of the vault's machine"
	case resp.StatusCode == http.StatusUnauthorized:
		e.Reason = "GitHub does not take the private key of the app: it was deleted, or is another app's; ask a person to generate one in the app's settings, and to set the credential " + g.PrivateKey
	case resp.StatusCode == http.StatusForbidden && said("suspended"):
		e.Key, e.Reason = "", "the installation "+string(g.Installation)+" of the app is suspended; ask a person to unsuspend it in the settings of its account on GitHub"
	case resp.StatusCode == http.StatusForbidden:
		e.Key, e.Reason = "", "GitHub refuses the app a token for the installation "+string(g.Installation)+"; ask a person to look at the app's and the installation's settings on GitHub"
	case resp.StatusCode == http.StatusNotFound:
		e.Key, e.Reason = "", "GitHub knows no installation "+string(g.Installation)+" of this app: it was uninstalled, or the ids are not the app's; ask a person to install the app, and to check app_id or client_id, installation_id and api_url of the service"
	case resp.StatusCode == http.StatusUnprocessableEntity:
		e.Key, e.Reason = "", "the installation "+string(g.Installation)+" of the app lacks repositories or permissions that the service asks for; ask a person to grant them to the installation on GitHub, or to take them out of the service"
	default:
		e.Key, e.Final, e.Reason = "", false, "GitHub gives no token; try again later"
	}
	return e
}
