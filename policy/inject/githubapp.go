package inject

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"agentvault/policy"
	"agentvault/vault/seal"
)

// githubApp sends an installation's access token of a GitHub App: to the API as
// Bearer, to git over HTTPS as the password of x-access-token.
type githubApp struct {
	AppID        literalID         `json:"app_id"`          // or
	ClientID     literalID         `json:"client_id"`       // likewise no secret
	PrivateKey   string            `json:"private_key"`     // in PEM
	Installation literalID         `json:"installation_id"` // the number in the installation's URL
	Repositories []string          `json:"repositories"`    // names without an owner; none: all of the installation's
	Permissions  map[string]string `json:"permissions"`     // none: all of the installation's
	APIURL       string            `json:"api_url"`         // default https://api.github.com

	api *url.URL // without a slash at its end
}

// A literalID is spelled as text or as a number.
type literalID string

func (id *literalID) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) != nil {
		var number json.Number
		if err := json.Unmarshal(b, &number); err != nil {
			return errors.New("an id is text or a number")
		}
		text = number.String()
	}
	*id = literalID(text)
	return nil
}

const (
	githubAPI             = "https://api.github.com"
	maxGithubRepositories = 500 // GitHub's own bound
	maxGithubPermissions  = 64
)

var (
	githubNumber     = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)
	githubClient     = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	githubRepository = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
	githubPermission = regexp.MustCompile(`^[a-z][a-z_]{0,63}$`)
)

var _ = register("github-app", func(g githubApp) (Injector, error) {
	switch {
	case g.AppID == "" && g.ClientID == "":
		return nil, fieldErrorf("app_id", "it is missing; it is the App ID on the app's page, or client_id is its Client ID")
	case g.AppID != "" && g.ClientID != "":
		return nil, fieldErrorf("client_id", "it stands beside app_id; one of them is enough")
	case g.AppID != "" && !githubNumber.MatchString(string(g.AppID)):
		return nil, fieldErrorf("app_id", "it is a number, the App ID on the app's page")
	case g.ClientID != "" && !githubClient.MatchString(string(g.ClientID)):
		return nil, fieldErrorf("client_id", "it is the Client ID on the app's page, as in Iv23liABCdefGHIjklMN")
	}
	if err := checkKey("private_key", g.PrivateKey); err != nil {
		return nil, err
	}
	if !githubNumber.MatchString(string(g.Installation)) {
		return nil, fieldErrorf("installation_id", "it is a number, the last part of the URL of the installation's settings")
	}
	if err := g.checkNarrowing(); err != nil {
		return nil, err
	}
	var err error
	g.api, err = githubURL(g.APIURL)
	return g, err
})

func (g githubApp) checkNarrowing() error {
	const all = "it is empty, and would mean all that the installation has; leave it out where that is meant"
	switch {
	case g.Repositories != nil && len(g.Repositories) == 0:
		return fieldErrorf("repositories", all)
	case g.Permissions != nil && len(g.Permissions) == 0:
		return fieldErrorf("permissions", all)
	}
	if len(g.Repositories) > maxGithubRepositories {
		return fieldErrorf("repositories", "there are at most %d", maxGithubRepositories)
	}
	for _, name := range g.Repositories {
		if !githubRepository.MatchString(name) {
			return fieldErrorf("repositories", "%q is not the name of a repository; it stands without its owner", name)
		}
	}
	if len(g.Permissions) > maxGithubPermissions {
		return fieldErrorf("permissions", "there are at most %d", maxGithubPermissions)
	}
	for _, name := range slices.Sorted(maps.Keys(g.Permissions)) {
		if !githubPermission.MatchString(name) {
			return fieldErrorf("permissions", "%q is not the name of a permission, as in contents", name)
		}
		if level := g.Permissions[name]; level != "read" && level != "write" && level != "admin" {
			return fieldErrorf("permissions", "%s is read, write or admin", name)
		}
	}
	return nil
}

// githubURL checks where the API is.
func githubURL(spelled string) (*url.URL, error) {
	if spelled == "" {
		spelled = githubAPI
	}
	u, err := url.Parse(spelled)
	if err != nil || len(spelled) > 512 || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(spelled, "#") || policy.Malformed("GET", u.EscapedPath()+"/", "") != "" {
		return nil, fieldErrorf("api_url", "it is an https:// URL, as in https://github.example.com/api/v3")
	}
	t, err := policy.ParseTarget(u.Scheme, u.Host)
	if err != nil {
		return nil, fieldErrorf("api_url", "%v", err)
	}
	u.Host = t.Authority()
	return &url.URL{Scheme: u.Scheme, Host: t.Authority(), Path: strings.TrimRight(u.Path, "/")}, nil
}

func (g githubApp) Type() string   { return "github-app" }
func (g githubApp) Keys() []string { return []string{g.PrivateKey} }
func (g githubApp) Slots() Slots   { return headerSlots() }

// Endpoints is where the signed assertion goes.
func (g githubApp) Endpoints() []string {
	return []string{g.api.JoinPath("app", "installations", string(g.Installation), "access_tokens").String()}
}

func (g githubApp) Inject(r *Request, _ func(string) (seal.Plaintext, error)) error {
	if r.Token.Len() == 0 {
		return errNoToken
	}
	if !g.isGit(r) {
		return setToken(r, authorization, "Bearer ", g.PrivateKey)
	}
	if !sendable(r.Token) {
		return &ValueError{g.PrivateKey}
	}
	pair := "x-access-token:" + string(r.Token.Bytes())
	r.set(authorization, "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	return nil
}

// isGit reports whether a request is one of git over HTTPS (gitprotocol-http), or
// of git-lfs, rather than one of the API. On GitHub Enterprise both have one host.
func (g githubApp) isGit(r *Request) bool {
	if r.Host == g.api.Host && (g.api.Path == "" || strings.HasPrefix(r.Path, g.api.Path+"/")) {
		return false
	}
	for _, end := range []string{"/info/refs", "/git-upload-pack", "/git-receive-pack"} {
		if strings.HasSuffix(r.Path, end) {
			return true
		}
	}
	return strings.Contains(r.Path, "/info/lfs/")
}
