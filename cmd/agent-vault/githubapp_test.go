package main_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A githubWorld is an instance with a service of a GitHub App, in front of an API
// that gives tokens and of git's own server program, which wants one.
type githubWorld struct {
	*world
	dir string // holds octo/website.git
	key *rsa.PrivateKey

	mu       sync.Mutex
	narrowed []string        // what tokens were asked for with
	tokens   map[string]bool // that are good
	removed  bool            // the installation is gone
	refused  []string        // requests without a good token
}

const githubServices = `
      - name: github-api
        host: api.github.com
        auth: &app {type: github-app, client_id: Iv23liTest, private_key: APP_KEY, installation_id: 42, repositories: [website], permissions: {contents: write}}
      - {name: github-git, host: github.com, auth: *app}
`

func newGithubWorld(t *testing.T) *githubWorld {
	t.Helper()
	git := needs(t, "git")
	g := &githubWorld{world: &world{}, dir: t.TempDir(), tokens: map[string]bool{}}
	var err error
	if g.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	runGit(t, g.dir, git, "init", "-q", "-b", "main", "--bare", "octo/website.git")
	runGit(t, g.dir, git, "init", "-q", "-b", "main", "source")
	if err := os.WriteFile(filepath.Join(g.dir, "source", "file.txt"), []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	runGit(t, g.dir, git, "-C", "source", "add", ".")
	runGit(t, g.dir, git, "-C", "source", "commit", "-q", "-m", "first")
	runGit(t, g.dir, git, "-C", "source", "push", "-q", filepath.Join(g.dir, "octo/website.git"), "main")
	backend := filepath.Join(runGit(t, g.dir, git, "--exec-path"), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skip("needs git-http-backend")
	}
	ca := newAuthority(t, "GitHub CA")
	api := startOrigin(t, ca.leaf(t, "api.github.com"), false, http.HandlerFunc(g.api))
	smart := startOrigin(t, ca.leaf(t, "github.com"), false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.git(w, r, backend) }))
	g.startKinds(t, ca, map[string]string{"api.github.com": api.Addr, "github.com": smart.Addr}, githubServices, map[string]string{
		"APP_KEY": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(g.key)})),
	})
	return g
}

func runGit(t *testing.T, dir, git string, args ...string) string {
	t.Helper()
	cmd := exec.Command(git, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.test", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.test", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// api is api.github.com, as far as apps need it.
func (g *githubWorld) api(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if r.URL.Path != "/app/installations/42/access_tokens" {
		if !g.tokens[bearer] {
			g.refused = append(g.refused, r.URL.Path)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, "%s with %s", r.URL.Path, r.Header.Get("Authorization"))
		return
	}
	var claims jwt.RegisteredClaims
	_, err := jwt.ParseWithClaims(bearer, &claims, func(*jwt.Token) (any, error) { return g.key.Public(), nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer("Iv23liTest"), jwt.WithExpirationRequired(), jwt.WithIssuedAt())
	switch {
	case err != nil || r.Method != http.MethodPost || time.Until(claims.ExpiresAt.Time) > 10*time.Minute:
		w.WriteHeader(http.StatusUnauthorized)
	case g.removed:
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"message":"Not Found"}`)
	default:
		body, _ := io.ReadAll(r.Body)
		g.narrowed = append(g.narrowed, string(body))
		token := "ghs_" + rand.Text()
		g.tokens[token] = true
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(map[string]string{"token": token, "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	}
}

// git is github.com for git over HTTPS.
func (g *githubWorld) git(w http.ResponseWriter, r *http.Request, backend string) {
	user, token, _ := r.BasicAuth()
	g.mu.Lock()
	good := user == "x-access-token" && g.tokens[token]
	if !good {
		g.refused = append(g.refused, r.URL.Path)
	}
	g.mu.Unlock()
	if !good {
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	(&cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + g.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=robot", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}).ServeHTTP(w, r)
}

// TestGitHubApp clones and pushes with git through both entrances, and uses the
// API, with tokens that no agent sees.
func TestGitHubApp(t *testing.T) {
	g := newGithubWorld(t)
	git := needs(t, "git")
	const clone = `set -e; export GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.test GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.test; `
	work := map[string]string{
		"mitm": clone + `"$0" clone -q https://github.com/octo/website.git "$1"; cd "$1"; echo second >> file.txt; "$0" commit -q -a -m mitm; "$0" push -q origin main`,
		"path": clone + `header="http.extraHeader=Authorization: Bearer $AGENT_VAULT_SESSION_TOKEN"; unset HTTPS_PROXY https_proxy HTTP_PROXY http_proxy
			"$0" -c "$header" clone -q $AGENT_VAULT_ADDR/proxy/github.com/octo/website.git "$1"; cd "$1"; echo third >> file.txt; "$0" commit -q -a -m path; "$0" -c "$header" push -q origin main`,
	}
	for _, e := range []string{"mitm", "path"} {
		g.underVault(t, "sh", "-c", work[e], git, g.path("clone-"+e))
	}
	log := runGit(t, g.dir, git, "--git-dir", "octo/website.git", "log", "--format=%s", "main")
	if log != "path\nmitm\nfirst" {
		t.Errorf("the repository has %q", log)
	}
	var body string
	for _, e := range ways {
		a := g.do(e, g.token, call{host: "api.github.com", target: "/repos/octo/website"})
		if body == "" {
			body = a.body
		}
		if a.status != 200 || a.body != body || a.body != "/repos/octo/website with Bearer "+strings.Repeat("*", len("ghs_")+26) {
			t.Errorf("%s: %d %s", e, a.status, a.body)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.refused) > 0 {
		t.Errorf("GitHub refused %v", g.refused)
	}
	if len(g.narrowed) != 1 || g.narrowed[0] != `{"repositories":["website"],"permissions":{"contents":"write"}}` {
		t.Errorf("tokens were asked for with %q", g.narrowed)
	}
}

// What GitHub says of an app that was uninstalled reaches the agent as what a
// person must do.
func TestGitHubAppUninstalled(t *testing.T) {
	g := newGithubWorld(t)
	g.removed = true
	for _, e := range ways {
		a := g.do(e, g.token, call{host: "github.com", target: "/octo/website.git/info/refs?service=git-upload-pack"})
		f := a.fault(t)
		if message, _ := f["message"].(string); a.status != 502 || f["error"] != "credential_refresh_failed" || !strings.HasPrefix(message, "GitHub knows no installation 42 of this app: it was uninstalled") {
			t.Errorf("%s: %d %s", e, a.status, a.body)
		}
	}
}
