package catalog_test

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/catalog"
)

// categories are those that README.md lists.
var categories = []string{"ai", "cloud", "code", "commerce", "customers", "data", "messaging", "monitoring", "reference", "search", "security", "work"}

// minimum is how many entries the catalog promises to have.
const minimum = 45

var serviceName = regexp.MustCompile(`^[a-z0-9-]{3,64}$`)

// instantiate fills in an entry's own example.
func instantiate(t *testing.T, e catalog.Entry) []vault.Service {
	t.Helper()
	services, err := e.Instantiate(e.Tenant.Example)
	if err != nil {
		t.Fatalf("%s: Instantiate(%q): %v", e.Name, e.Tenant.Example, err)
	}
	return services
}

func compile(services []vault.Service) error {
	var ps []policy.Service
	for _, s := range services {
		ps = append(ps, s.Policy())
	}
	_, err := policy.Compile(ps)
	return err
}

func TestEntriesCompile(t *testing.T) {
	entries := catalog.All()
	if len(entries) < minimum {
		t.Errorf("%d entries, want at least %d", len(entries), minimum)
	}
	var all []vault.Service
	names := make(map[string]string) // of services → entry
	for _, e := range entries {
		services := instantiate(t, e)
		if len(services) == 0 {
			t.Errorf("%s: no services", e.Name)
		}
		if err := compile(services); err != nil {
			t.Errorf("%s: %v", e.Name, err)
		}
		for i, s := range services {
			if !serviceName.MatchString(s.Name) {
				t.Errorf("%s: service name %q", e.Name, s.Name)
			}
			if other, taken := names[s.Name]; taken {
				t.Errorf("%s: service %q is one of %s too", e.Name, s.Name, other)
			}
			names[s.Name] = e.Name
			if (i == 0) != (s.Name == e.Name) {
				t.Errorf("%s: service %d is called %q; the first alone is called like the entry", e.Name, i, s.Name)
			}
			if !s.Enabled {
				t.Errorf("%s: service %q is not enabled", e.Name, s.Name)
			}
		}
		all = append(all, services...)
	}
	if err := compile(all); err != nil {
		t.Errorf("all entries together: %v", err)
	}
}

// A credential goes to its own vendor only, so a key belongs to one entry.
func TestEntriesCredentials(t *testing.T) {
	owner := make(map[string]string)
	for _, e := range catalog.All() {
		declared := make(map[string]bool)
		for _, c := range e.Credentials {
			if !inject.ValidKey(c.Key) {
				t.Errorf("%s: %q is not a credential key", e.Name, c.Key)
			}
			if declared[c.Key] {
				t.Errorf("%s: credential %s stands there twice", e.Name, c.Key)
			}
			declared[c.Key] = true
			if other, taken := owner[c.Key]; taken {
				t.Errorf("%s: credential %s belongs to %s", e.Name, c.Key, other)
			}
			owner[c.Key] = e.Name
		}
		used := make(map[string]bool)
		for _, s := range e.Services {
			in, err := inject.Parse(s.Auth)
			if err != nil {
				t.Errorf("%s: %s: %v", e.Name, s.Host, err)
				continue
			}
			if len(in.Keys()) == 0 {
				t.Errorf("%s: %s: auth %s carries no credential", e.Name, s.Host, in.Type())
			}
			for _, k := range in.Keys() {
				used[k] = true
			}
		}
		if !maps.Equal(declared, used) {
			t.Errorf("%s: declares %v and uses %v", e.Name, slices.Sorted(maps.Keys(declared)), slices.Sorted(maps.Keys(used)))
		}
	}
}

func TestEntriesHosts(t *testing.T) {
	for _, e := range catalog.All() {
		hasTenant := e.Tenant != catalog.Tenant{}
		if hasTenant && (e.Tenant.Placeholder == "" || e.Tenant.Label == "" || e.Tenant.Example == "") {
			t.Errorf("%s: tenant %+v is not whole", e.Name, e.Tenant)
		}
		services := instantiate(t, e)
		for i, s := range e.Services {
			host, _, _ := strings.Cut(s.Host, "/")
			if strings.Contains(host, "*") {
				t.Errorf("%s: host %q has a wildcard", e.Name, s.Host)
			}
			if hasTenant && strings.Count(s.Host, e.Tenant.Placeholder) != 1 {
				t.Errorf("%s: host %q does not name the tenant once", e.Name, s.Host)
			}
			want := s.Host // entries are written in canonical form
			if hasTenant {
				want = strings.Replace(want, e.Tenant.Placeholder, e.Tenant.Example, 1)
			}
			if got := services[i].Host; got != want || strings.ContainsAny(got, "{}") {
				t.Errorf("%s: host %q became %q, want %q", e.Name, s.Host, got, want)
			}
			if strings.ContainsAny(s.Description, "{}") {
				t.Errorf("%s: description %q: a placeholder stands in hosts only", e.Name, s.Description)
			}
		}
	}
}

// Where strangers have names below a domain, an entry names the tenant's host.
// The hosts listed here stand below such a domain and are the vendor's own.
func TestEntriesSharedDomains(t *testing.T) {
	own := strings.Fields(`
		generativelanguage.googleapis.com maps.googleapis.com places.googleapis.com routes.googleapis.com
		www.googleapis.com youtube.googleapis.com raw.githubusercontent.com
		api.intercom.io api.monday.com api.pagerduty.com files.slack.com`)
	met := make(map[string]bool)
	for _, e := range catalog.All() {
		if e.Tenant != (catalog.Tenant{}) {
			continue
		}
		for _, s := range e.Services {
			host := policy.PatternHost(s.Host)
			_, parent, _ := strings.Cut(host, ".")
			if !strings.Contains(parent, ".") { // host is a domain itself
				continue
			}
			if _, err := policy.CanonicalPattern("*." + parent); err == nil {
				continue
			} else if !slices.Contains(own, host) {
				t.Errorf("%s: %s, and the entry has no tenant: %v", e.Name, host, err)
			}
			met[host] = true
		}
	}
	for _, host := range own {
		if !met[host] {
			t.Errorf("the list names %s, which no entry has", host)
		}
	}
}

func TestEntriesTexts(t *testing.T) {
	for _, e := range catalog.All() {
		text := func(field, s string, limit int) {
			t.Helper()
			n := utf8.RuneCountInString(s)
			if n == 0 || n > limit || strings.TrimSpace(s) != s || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
				t.Errorf("%s: %s: %q, want 1 to %d characters on one line", e.Name, field, s, limit)
			}
		}
		link := func(field, s string) {
			t.Helper()
			text(field, s, 500)
			if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
				t.Errorf("%s: %s: %q is not an https URL", e.Name, field, s)
			}
		}
		if !serviceName.MatchString(e.Name) {
			t.Errorf("name %q", e.Name)
		}
		text("title", e.Title, 80)
		text("description", e.Description, 500)
		link("docs", e.Docs)
		if !slices.Contains(categories, e.Category) {
			t.Errorf("%s: category %q is none of %v", e.Name, e.Category, categories)
		}
		for _, s := range e.Services {
			text("description of "+s.Host, s.Description, 500)
		}
		for _, c := range e.Credentials {
			text(c.Key+": description", c.Description, 500)
			link(c.Key+": obtain", c.Obtain)
			text(c.Key+": instructions", c.ObtainInstructions, 1000)
		}
	}
}

// Kinds of auth that are easily got wrong, as their vendors document them.
func TestEntriesInject(t *testing.T) {
	for _, tt := range []struct {
		entry, host string
		want        string // Auth as JSON, its keys sorted
	}{
		{"openai", "api.openai.com", `{"token":"OPENAI_API_KEY","type":"bearer"}`},
		{"anthropic", "api.anthropic.com", `{"header":"x-api-key","key":"ANTHROPIC_API_KEY","type":"api-key"}`},
		{"gemini", "generativelanguage.googleapis.com", `{"header":"x-goog-api-key","key":"GEMINI_API_KEY","type":"api-key"}`},
		{"discord", "discord.com/api/*", `{"key":"DISCORD_BOT_TOKEN","prefix":"Bot ","type":"api-key"}`},
		{"pagerduty", "api.pagerduty.com", `{"key":"PAGERDUTY_API_KEY","prefix":"Token token=","type":"api-key"}`},
		{"okta", "acme.okta.com/api/*", `{"key":"OKTA_API_TOKEN","prefix":"SSWS ","type":"api-key"}`},
		{"linear", "api.linear.app", `{"key":"LINEAR_API_KEY","type":"api-key"}`},
		{"atlassian", "acme.atlassian.net", `{"password":"ATLASSIAN_API_TOKEN","type":"basic","username":"ATLASSIAN_EMAIL"}`},
		{"github-git", "github.com", `{"password":"GITHUB_TOKEN","type":"basic","username":"GITHUB_TOKEN"}`},
		{"openweather", "api.openweathermap.org", `{"key":"OPENWEATHER_API_KEY","parameter":"appid","type":"query"}`},
		{"datadog", "api.datadoghq.com", `{"headers":{"DD-API-KEY":"{{ DD_API_KEY }}","DD-APPLICATION-KEY":"{{ DD_APP_KEY }}"},"type":"custom"}`},
		{"trello", "api.trello.com", `{"headers":{"Authorization":"OAuth oauth_consumer_key=\"{{ TRELLO_API_KEY }}\", oauth_token=\"{{ TRELLO_TOKEN }}\""},"type":"custom"}`},
	} {
		found := false
		for _, e := range catalog.All() {
			for _, s := range instantiate(t, e) {
				if s.Name != tt.entry {
					continue
				}
				found = true
				if auth, err := s.Auth.MarshalJSON(); err != nil || string(auth) != tt.want || s.Host != tt.host {
					t.Errorf("%s: %s with %s, %v; want %s with %s", s.Name, s.Host, auth, err, tt.host, tt.want)
				}
			}
		}
		if !found {
			t.Errorf("no entry has a service %s", tt.entry)
		}
	}
}

// Git over HTTPS reads everywhere and writes by git's own requests only.
func TestEntriesGit(t *testing.T) {
	for _, tt := range []struct {
		entry, host, method, path string
		want                      policy.Verdict
	}{
		{"github", "github.com", "GET", "/acme/site.git/info/refs", policy.Allow},
		{"github", "github.com", "POST", "/acme/site.git/git-upload-pack", policy.Allow},
		{"github", "github.com", "POST", "/acme/site/git-receive-pack", policy.Allow},
		{"github", "github.com", "POST", "/acme/site.git/info/lfs/objects/batch", policy.Allow},
		{"github", "github.com", "GET", "/acme/site/releases/download/v1/site.tgz", policy.Allow},
		{"github", "github.com", "POST", "/acme/site/issues", policy.Deny},
		{"github", "github.com", "DELETE", "/acme/site.git/info/refs", policy.Deny},
		{"github", "raw.githubusercontent.com", "POST", "/acme/site/main/a.txt", policy.Deny},
		{"gitlab", "gitlab.com", "POST", "/acme/web/site.git/git-receive-pack", policy.Allow},
		{"gitlab", "gitlab.com", "PUT", "/acme/web/site.git/gitlab-lfs/objects/ab/12", policy.Allow},
		{"gitlab", "gitlab.com", "POST", "/acme/web/site/-/issues", policy.Deny},
		{"gitlab", "gitlab.com", "POST", "/api/v4/projects", policy.Allow}, // the API's own service
		{"bitbucket", "bitbucket.org", "POST", "/acme/site.git/git-upload-pack", policy.Allow},
		{"bitbucket", "bitbucket.org", "POST", "/acme/site/pull-requests/new", policy.Deny},
	} {
		e, ok := catalog.Find(tt.entry)
		if !ok {
			t.Fatalf("no entry %q", tt.entry)
		}
		var ps []policy.Service
		for _, s := range instantiate(t, e) {
			ps = append(ps, s.Policy())
		}
		set, err := policy.Compile(ps)
		if err != nil {
			t.Fatal(err)
		}
		got := set.Decide(policy.Query{Scheme: "https", Host: tt.host, Port: 443, Method: tt.method, Path: tt.path})
		if got.Verdict != tt.want {
			t.Errorf("%s: %s https://%s%s: %v (%v), want %v", tt.entry, tt.method, tt.host, tt.path, got.Verdict, got.Reason, tt.want)
		}
	}
}
