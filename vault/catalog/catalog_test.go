package catalog_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"agentvault/policy"
	"agentvault/vault"
	"agentvault/vault/catalog"
)

func TestAllIsSortedAndTheCallers(t *testing.T) {
	all := catalog.All()
	if !slices.IsSortedFunc(all, func(a, b catalog.Entry) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("All is not sorted by name")
	}
	for i := range all {
		all[i].Name = ""
		all[i].Services[0].Host = ""
		all[i].Credentials[0].Key = ""
		for _, s := range all[i].Services {
			for _, r := range s.Rules {
				r.Methods[0] = ""
			}
		}
	}
	for _, e := range catalog.All() {
		if e.Name == "" || e.Services[0].Host == "" || e.Credentials[0].Key == "" {
			t.Fatal("what a caller of All changed, the next caller gets")
		}
		for _, s := range e.Services {
			for _, r := range s.Rules {
				if r.Methods[0] == "" {
					t.Fatalf("%s: what a caller of All changed in a rule, the next caller gets", e.Name)
				}
			}
		}
	}
}

func TestFind(t *testing.T) {
	for _, e := range catalog.All() {
		if got, ok := catalog.Find(e.Name); !ok || got.Name != e.Name || got.Title != e.Title {
			t.Errorf("Find(%q) = %q, %v", e.Name, got.Name, ok)
		}
	}
	for _, name := range []string{"", "githu", "GitHub", "github.yaml", "../github", "zzz"} {
		if got, ok := catalog.Find(name); ok || got.Name != "" {
			t.Errorf("Find(%q) = %q, %v, want none", name, got.Name, ok)
		}
	}
}

func TestSuggest(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"github", "github"},
		{"GitHub", "github"},
		{"gihub", "github"},
		{"gitlabs", "gitlab"},
		{"hugging-face", "huggingface"},
		{"new_relic", "new-relic"},
		{"openai-api", "openai"},
		{"supabse", "supabase"},
		{"jira", "atlassian"},
		{"confluence", "atlassian"},
		{"claude", "anthropic"},
		{"grafana", "grafana-cloud"},
		{" stripe ", "stripe"},
		{"", ""},
		{"api", ""},
		{"-", ""},
		{"something-else-entirely", ""},
		{strings.Repeat("github", 1000), ""},
	} {
		if got := catalog.Suggest(tt.name); got != tt.want {
			t.Errorf("Suggest(%.40q) = %q, want %q", tt.name, got, tt.want)
		}
	}
	for _, e := range catalog.All() {
		if got := catalog.Suggest(e.Name); got != e.Name {
			t.Errorf("Suggest(%q) = %q", e.Name, got)
		}
	}
}

func TestInstantiateTenant(t *testing.T) {
	for _, tt := range []struct {
		entry, tenant string
		want          []string // hosts
		wantErr       string
	}{
		{"atlassian", "acme", []string{"acme.atlassian.net"}, ""},
		{"atlassian", "ACME-2", []string{"acme-2.atlassian.net"}, ""},
		{"algolia", "B1G2", []string{"b1g2.algolia.net", "b1g2-dsn.algolia.net", "b1g2-1.algolianet.com", "b1g2-2.algolianet.com", "b1g2-3.algolianet.com"}, ""},
		{"zendesk", "acme", []string{"acme.zendesk.com/api/*"}, ""},
		{"openai", "", []string{"api.openai.com"}, ""},
		{"openai", "acme", nil, "openai has the same hosts for everyone; leave the tenant out"},
		{"atlassian", "", nil, "atlassian needs a tenant: your Atlassian site, as in acme"},
		{"atlassian", "acme.atlassian.net", nil, "tenant: of the host only the part that is yours (your Atlassian site), as in acme"},
		{"atlassian", "https://acme", nil, "tenant: of the host only the part that is yours (your Atlassian site), as in acme"},
		{"atlassian", "*", nil, "tenant: your Atlassian site has 1 to 63 characters of a-z, 0-9 and -, and neither begins nor ends with -, as in acme"},
		{"algolia", strings.Repeat("a", 60), nil, `service "algolia-dsn": host`},
	} {
		e, ok := catalog.Find(tt.entry)
		if !ok {
			t.Fatalf("no entry %q", tt.entry)
		}
		services, err := e.Instantiate(tt.tenant)
		if tt.wantErr != "" {
			var bad *vault.Error
			if !errors.As(err, &bad) || bad.Code != vault.CodeBadRequest || !strings.HasPrefix(bad.Message, tt.wantErr) {
				t.Errorf("%s: Instantiate(%q): %v, want %s", tt.entry, tt.tenant, err, tt.wantErr)
			}
			continue
		}
		var hosts []string
		for _, s := range services {
			hosts = append(hosts, s.Host)
		}
		if err != nil || !slices.Equal(hosts, tt.want) {
			t.Errorf("%s: Instantiate(%q) = %v, %v; want %v", tt.entry, tt.tenant, hosts, err, tt.want)
		}
	}
}

// Nothing but one label gets into a host, whatever the entry.
func TestInstantiateRefuses(t *testing.T) {
	for _, tenant := range []string{"", " ", "*", "a b", "-a", "a-", "a_b", "a*", "a.b", ".", "a/b", "a:8080", "a@b", "a#", "a?", "a\x00", "ä", "{tenant}", strings.Repeat("a", 64)} {
		for _, e := range catalog.All() {
			if services, err := e.Instantiate(tenant); err == nil && (tenant != "" || e.Tenant != catalog.Tenant{}) {
				t.Errorf("%s: Instantiate(%q) = %v", e.Name, tenant, services[0].Host)
			}
		}
	}
}

func TestInstantiateCopies(t *testing.T) {
	e, _ := catalog.Find("github")
	for range 2 {
		services, err := e.Instantiate("")
		if err != nil {
			t.Fatal(err)
		}
		git := services[1]
		if git.Rules[1].Methods[0] != "POST" {
			t.Fatal("what a caller of Instantiate changed, the entry has")
		}
		git.Rules[1].Methods[0] = "DELETE"
	}
}

// A tenant that is taken stands in the place of the placeholder, as one label
// in lower case, and changes nothing else about the hosts.
func FuzzInstantiate(f *testing.F) {
	for _, seed := range []string{"acme", "ACME-2", "a.b", "*", "xn--mnchen-3ya", "a/b", "-", ""} {
		f.Add(seed)
	}
	entries := catalog.All()
	f.Fuzz(func(t *testing.T, tenant string) {
		for _, e := range entries {
			if e.Tenant == (catalog.Tenant{}) {
				continue
			}
			services, err := e.Instantiate(tenant)
			if err != nil {
				continue
			}
			for i, s := range services {
				before, after, _ := strings.Cut(e.Services[i].Host, e.Tenant.Placeholder)
				if want := before + strings.ToLower(tenant) + after; s.Host != want {
					t.Errorf("%s: Instantiate(%q): host %q, want %q", e.Name, tenant, s.Host, want)
				}
				host, _, _ := strings.Cut(s.Host, "/")
				if got := policy.PatternHost(s.Host); got != host {
					t.Errorf("%s: Instantiate(%q): host %q is read as %q", e.Name, tenant, s.Host, got)
				}
			}
		}
	})
}

func TestLoadIsStrict(t *testing.T) {
	const good = "name: abc\nservices:\n  - host: a.example.com\n    auth: {type: bearer, token: KEY}\n"
	for _, tt := range []struct{ name, file, text, wantErr string }{
		{"good", "abc", good, ""},
		{"another name than the file's", "abd", good, `entries/abd.yaml: name: "abc" is not that of the file`},
		{"an unknown field", "abc", good + "colour: red\n", `unknown field "colour"`},
		{"an unknown field of a service", "abc", good + "    port: 8080\n", `unknown field "port"`},
		{"an unknown field of a rule", "abc", good + "    rules: [{method: GET}]\n", `unknown field "method"`},
		{"a key twice", "abc", good + "name: abc\n", `mapping key "name" already defined`},
		{"no mapping", "abc", "- abc\n", "cannot unmarshal"},
		{"auth without a type", "abc", "name: abc\nservices: [{auth: {token: KEY}}]\n", "the field type is missing"},
		{"an empty file", "abc", "", `name: "" is not that of the file`},
	} {
		entries, err := catalog.Load(fstest.MapFS{"entries/" + tt.file + ".yaml": {Data: []byte(tt.text)}})
		switch {
		case tt.wantErr == "" && (err != nil || len(entries) != 1 || entries[0].Name != "abc"):
			t.Errorf("%s: %v, %v", tt.name, entries, err)
		case tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)):
			t.Errorf("%s: %v, want %s", tt.name, err, tt.wantErr)
		}
	}
}

func TestHosts(t *testing.T) {
	hosts := catalog.Hosts()
	if !slices.Contains(hosts, "api.github.com") || !slices.Contains(hosts, "dashboard.stripe.com") || len(hosts) < 50 {
		t.Errorf("%q", hosts)
	}
	for _, h := range hosts {
		if strings.ContainsAny(h, "{*/:") {
			t.Errorf("%q is no host", h)
		}
	}
}
