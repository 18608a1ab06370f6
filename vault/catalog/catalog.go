package catalog

import (
	"net/url"
	"slices"
	"strings"

	"agentvault/policy"
	"agentvault/policy/inject"
)

// An Entry is one API of the catalog.
type Entry struct {
	Name        string `json:"name"`        // a service's name; also that of the file
	Title       string `json:"title"`       // as its vendor writes it
	Description string `json:"description"` // one line, at most 500 characters
	Category    string `json:"category"`    // one word in lower case, such as "cloud"; README.md lists them
	Docs        string `json:"docs"`        // https URL of the API's reference
	Tenant      Tenant `json:"tenant,omitzero"`

	// Services has the API itself first, then what belongs to it, such as a
	// host for git or for uploads. There is at least one.
	Services []Service `json:"services"`

	// Credentials are the keys that the services' auths name, each once.
	Credentials []Credential `json:"credentials"`
}

// A Tenant is the part of an entry's hosts that each customer has for
// themselves. The zero Tenant is none.
type Tenant struct {
	Placeholder string `json:"placeholder"` // stands in hosts, such as "{tenant}"
	Label       string `json:"label"`       // completes a question to the person, as in "your Atlassian site"
	Example     string `json:"example"`     // a DNS label that [Entry.Instantiate] takes
}

// A Service is a vault.Service before it has a name and a tenant.
type Service struct {
	Suffix      string        `json:"suffix,omitempty"` // behind the entry's name and "-"; "" for the first only
	Host        string        `json:"host"`             // a pattern; the tenant's placeholder may stand in it
	Description string        `json:"description"`      // at most 500 characters
	Auth        inject.Auth   `json:"auth"`
	Rules       []policy.Rule `json:"rules,omitempty"`
}

// A Credential is a key that services refer to, and how a person gets its
// value. The fields are those of a slot in a proposal, within its limits.
type Credential struct {
	Key                string `json:"key"`
	Description        string `json:"description"`         // at most 500 characters
	Obtain             string `json:"obtain"`              // https URL, at most 500 characters
	ObtainInstructions string `json:"obtain_instructions"` // at most 1,000 characters
}

// All returns the whole catalog, sorted by name. The caller may change what it
// gets.
func All() []Entry {
	entries := slices.Clone(embedded())
	for i := range entries {
		entries[i] = entries[i].clone()
	}
	return entries
}

// Find returns the entry of that exact name. Where there is none, [Suggest]
// may know what was meant.
func Find(name string) (Entry, bool) {
	entries := embedded()
	i, ok := slices.BinarySearchFunc(entries, name, func(e Entry, name string) int {
		return strings.Compare(e.Name, name)
	})
	if !ok {
		return Entry{}, false
	}
	return entries[i].clone(), true
}

// clone copies what a caller could change by way of the entry.
func (e Entry) clone() Entry {
	e.Services = slices.Clone(e.Services)
	for i := range e.Services {
		e.Services[i].Rules = cloneRules(e.Services[i].Rules)
	}
	e.Credentials = slices.Clone(e.Credentials)
	return e
}

func cloneRules(rules []policy.Rule) []policy.Rule {
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].Methods = slices.Clone(rules[i].Methods)
		rules[i].Paths = slices.Clone(rules[i].Paths)
	}
	return rules
}

// Hosts returns the host of each service that is the same for everyone, and of
// each page where a credential is to be got, in A-labels and without wildcard,
// port and path.
func Hosts() (hosts []string) {
	add := func(pattern string) {
		if host := policy.PatternHost(pattern); host != "" { // a tenant's placeholder is in no host's grammar
			hosts = append(hosts, host)
		}
	}
	for _, e := range embedded() {
		for _, s := range e.Services {
			add(s.Host)
		}
		for _, c := range e.Credentials {
			if u, err := url.Parse(c.Obtain); err == nil {
				add(u.Hostname())
			}
		}
	}
	return hosts
}
