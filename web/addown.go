package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"agentvault/api"
	"agentvault/api/shown"
)

// ownFields are those of the form for a service that is not in the catalog.
func ownFields() []string {
	return []string{
		"host", "name", "description", "scheme", "auth", "key", "username", "place", "prefix", "rules", "sure", "allow_short",
		"value.key", "value.username",
	}
}

// ownPage is that form. What leads here may know the host already, and nothing
// else: a link is anybody's.
func ownPage(v *visit) error {
	a, err := v.newAddition()
	if err != nil {
		return err
	}
	a.Form = url.Values{"host": {v.r.URL.Query().Get("host")}}
	return v.show(http.StatusOK, "own.html", "Add a service", a)
}

// addOwn adds the service that the form describes.
func addOwn(v *visit) error {
	a, err := v.newAddition()
	if err != nil {
		return err
	}
	l, err := v.ownService()
	if err != nil {
		err = &api.ClientError{Status: http.StatusBadRequest, Message: err.Error()}
	} else {
		err = v.review(&a, l)
	}
	if err == nil {
		err = v.confirmed(&a)
	}
	if err == nil {
		_, err = v.client.AddServices(v.ctx(), a.Vault, api.AddServicesRequest{
			Services: l.Services, Credentials: v.ownValues(), AllowShort: v.form.Has("allow_short"),
		})
	}
	return v.added(a, "own.html", err)
}

// ownValues are the values of the form by the keys that are typed beside them.
func (v *visit) ownValues() map[string]string {
	values := make(map[string]string)
	for field, value := range v.typedValues() {
		if key := v.form.Get(field); slices.Contains(v.ownKeys(), field) {
			values[key] = value
		}
	}
	return values
}

// ownKeys are the fields with keys that the kind of auth uses.
func (v *visit) ownKeys() []string {
	switch v.form.Get("auth") {
	case "passthrough":
		return nil
	case "basic":
		return []string{"username", "key"}
	}
	return []string{"key"}
}

// ownService is the service that the form describes. The API checks it.
func (v *visit) ownService() (l api.ServiceList, err error) {
	get := func(name string) string { return strings.TrimSpace(v.form.Get(name)) }
	auth := map[string]string{"type": get("auth")}
	switch get("auth") {
	case "bearer":
		auth["token"] = get("key")
	case "api-key":
		auth["key"], auth["header"], auth["prefix"] = get("key"), get("place"), v.form.Get("prefix")
	case "query":
		auth["key"], auth["parameter"] = get("key"), get("place")
	case "basic":
		auth["username"], auth["password"] = get("username"), get("key")
	}
	rules, err := readRules(v.form.Get("rules"))
	if err != nil {
		return l, err
	}
	b, err := json.Marshal(map[string]any{"services": []any{map[string]any{
		"name": cmp.Or(get("name"), nameFor(get("host"))), "host": get("host"), "scheme": get("scheme"), "description": get("description"),
		"auth": auth, "rules": rules,
	}}})
	if err != nil {
		return l, err
	}
	return l, json.Unmarshal(b, &l)
}

// nameFor makes up a service's name.
func nameFor(host string) string {
	return strings.Trim(strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			return c
		}
		return '-'
	}, strings.ToLower(host)), "-")
}

type typedRule struct {
	Methods []string `json:"methods,omitempty"`
	Paths   []string `json:"paths,omitempty"`
	Preset  string   `json:"preset,omitempty"`
	When    string   `json:"when,omitempty"`
	Action  string   `json:"action,omitempty"`
}

// readRules reads a rule of each line: allow, ask or deny, and what it is about.
func readRules(text string) (rules []typedRule, err error) {
	allows := false
	for line := range strings.Lines(text) {
		action, about, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch action {
		case "":
			continue
		case "allow", "ask":
			allows = true
		case "deny":
		default:
			return nil, fmt.Errorf("rules: %q does not begin with allow, ask or deny", strings.TrimSpace(line))
		}
		parsed, err := shown.ParseRule(cmp.Or(strings.TrimSpace(about), "*"))
		if err != nil {
			return nil, fmt.Errorf("rules: %w", err)
		}
		r := typedRule{parsed.Methods, parsed.Paths, parsed.Preset, parsed.When, action}
		if action == "allow" {
			r.Action = "" // what a rule does
		}
		rules = append(rules, r)
	}
	if len(rules) > 0 && !allows {
		return nil, fmt.Errorf("rules: with deny alone nothing is allowed; put a line with allow below, to allow all the rest")
	}
	return rules, nil
}
