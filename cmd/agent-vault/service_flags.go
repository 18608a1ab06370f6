package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api/shown"
	"agentvault/policy"
	"agentvault/policy/inject"
)

// serviceFlags describe one service.
type serviceFlags struct {
	name, host, scheme, description string

	kind                    string
	key, username, password keyFlag
	prefix, parameter       string
	headers                 []string
	fields                  []string // of kinds without flags of their own

	rules []policy.Rule
}

// A keyFlag takes the key of a credential, never its value.
type keyFlag string

func (k *keyFlag) String() string { return string(*k) }
func (k *keyFlag) Type() string   { return "KEY" }

// Set takes everything: pflag would repeat what is refused here, and it may be a
// value. inject.Parse refuses it without.
func (k *keyFlag) Set(s string) error { *k = keyFlag(s); return nil }

// kindFlags are the flags of each kind of auth, and the fields that they fill.
var kindFlags = map[string]map[string]string{
	"bearer":      {"key": "token"},
	"basic":       {"username": "username", "password": "password"},
	"api-key":     {"key": "key", "header": "header", "prefix": "prefix"},
	"query":       {"key": "key", "parameter": "parameter"},
	"custom":      {"header": "headers"},
	"passthrough": {},
}

// neededFlags are those without which a kind of auth cannot be.
var neededFlags = map[string][]string{
	"bearer": {"key"}, "basic": {"username"}, "api-key": {"key"}, "query": {"key", "parameter"},
}

// otherFlags of a service are not about its auth.
var otherFlags = slices.Concat([]string{"name", "host", "scheme", "description", "auth", "allow", "ask", "deny"}, switchNames)

// authFlags are all that kindFlags has.
var authFlags = []string{"key", "username", "password", "header", "prefix", "parameter", "field"}

func (f *serviceFlags) add(c *cobra.Command) {
	kinds := inject.Types()
	flags := c.Flags()
	flags.StringVar(&f.name, "name", "", "the service's name (default: made from the host)")
	flags.StringVar(&f.host, "host", "", "host, *.host or host:port, also with /path/* behind it")
	flags.StringVar(&f.scheme, "scheme", "", "http for plain http, which needs a port in --host (default https)")
	flags.StringVar(&f.description, "description", "", "what agents read about it")
	flags.StringVar(&f.kind, "auth", "", "kind of auth: "+strings.Join(kinds, ", "))
	flags.Var(&f.key, "key", "credential of a bearer, api-key or query auth")
	flags.Var(&f.username, "username", "credential of a basic auth that holds the user name")
	flags.Var(&f.password, "password", "credential of a basic auth that holds the password")
	flags.StringArrayVar(&f.headers, "header", nil, "api-key: the header's name (default Authorization); custom: 'NAME: text with {{ KEY }}', repeatable")
	flags.StringVar(&f.prefix, "prefix", "", "api-key: what stands before the value in the header")
	flags.StringVar(&f.parameter, "parameter", "", "query: the parameter's name")
	flags.StringArrayVar(&f.fields, "field", nil, "other kinds: a field, as in access_key_id=AWS_KEY_ID, of lists and objects as JSON, repeatable")
	flags.Var(&ruleFlag{&f.rules, policy.ActionAllow}, "allow", "rule that allows, as in 'GET,HEAD /v1/*', 'POST /pay if json.amount < 500.0' or 'if read-only', repeatable")
	flags.Var(&ruleFlag{&f.rules, policy.ActionAsk}, "ask", "rule that has a person asked, likewise, repeatable")
	flags.Var(&ruleFlag{&f.rules, policy.ActionDeny}, "deny", "rule that refuses, as in 'DELETE', repeatable")
	completeFlag(c, "auth", fixed(kinds...))
	completeFlag(c, "scheme", fixed("https", "http"))
	for _, flag := range []string{"key", "username", "password"} {
		completeFlag(c, flag, flagOf(credentialKeys))
	}
}

// changed names a flag of these that was given, or is "".
func (f *serviceFlags) changed(c *cobra.Command) string {
	for _, name := range slices.Concat(otherFlags, authFlags) {
		if c.Flags().Changed(name) {
			return name
		}
	}
	return ""
}

// authOf is the auth that the flags describe.
func (f *serviceFlags) authOf(c *cobra.Command) (a inject.Auth, err error) {
	fields := kindFlags[f.kind]
	switch {
	case f.kind == "":
		return a, misused(c, "--auth is missing: it is one of %s", strings.Join(inject.Types(), ", "))
	case !slices.Contains(inject.Types(), f.kind):
		return a, misused(c, "--auth is one of %s", strings.Join(inject.Types(), ", "))
	}
	auth := map[string]any{"type": f.kind}
	if err := f.addFields(c, auth); err != nil {
		return a, err
	}
	for _, flag := range authFlags {
		if flag == "field" && fields == nil {
			continue // added
		}
		if !c.Flags().Changed(flag) {
			continue
		}
		field, ok := fields[flag]
		if !ok {
			return a, misused(c, "--%s is not for --auth %s", flag, f.kind)
		}
		if auth[field], err = f.field(c, flag); err != nil {
			return a, err
		}
	}
	for _, flag := range neededFlags[f.kind] {
		if value, _ := auth[fields[flag]].(string); value == "" {
			return a, misused(c, "--%s is missing", flag)
		}
	}
	raw, err := json.Marshal(auth)
	if err != nil {
		return a, err
	}
	if err := a.UnmarshalJSON(raw); err != nil {
		return a, err
	}
	if _, err := inject.Parse(a); err != nil {
		return a, misused(c, "%w", err)
	}
	return a, nil
}

// addFields adds what --field says, of a kind that has no flags of its own.
func (f *serviceFlags) addFields(c *cobra.Command, auth map[string]any) error {
	if kindFlags[f.kind] != nil {
		return nil
	}
	for _, field := range f.fields {
		name, text, ok := strings.Cut(field, "=")
		if !ok || name == "" || name == "type" {
			return misused(c, "--field is written as in access_key_id=AWS_KEY_ID")
		}
		if _, twice := auth[name]; twice {
			return misused(c, "--field %s stands there twice", plain(name))
		}
		auth[name] = text
		if text != "" && strings.ContainsRune("{[", rune(text[0])) && !strings.HasPrefix(text, "{{") { // a template's placeholder
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				return misused(c, "--field %s is no JSON, though it begins like it", plain(name))
			}
			auth[name] = v
		}
	}
	return nil
}

// field is what a flag says of the auth.
func (f *serviceFlags) field(c *cobra.Command, flag string) (any, error) {
	if flag != "header" {
		return c.Flags().Lookup(flag).Value.String(), nil
	}
	if f.kind != "custom" {
		if len(f.headers) > 1 {
			return nil, misused(c, "--header is given once with --auth %s", f.kind)
		}
		return f.headers[0], nil
	}
	headers := make(map[string]string)
	for _, h := range f.headers {
		name, text, ok := strings.Cut(h, ":")
		if !ok {
			return nil, misused(c, "--header of --auth custom is written as 'X-Api-Key: {{ API_KEY }}'")
		}
		if _, twice := headers[name]; twice {
			return nil, misused(c, "--header %s stands there twice", plain(name))
		}
		headers[name] = strings.TrimSpace(text)
	}
	return headers, nil
}

// checkRules refuses rules that allow nothing, which a person who writes --deny
// alone does not mean.
func (f *serviceFlags) checkRules(c *cobra.Command) error {
	if len(f.rules) > 0 && !slices.ContainsFunc(f.rules, func(r policy.Rule) bool { return r.Action != policy.ActionDeny }) {
		return &usageError{hint(fmt.Errorf("%s: with --deny alone nothing is allowed", shortPath(c)), "put --allow '*' behind it, to allow all the rest")}
	}
	return nil
}

// A ruleFlag adds rules to a list that --allow, --ask and --deny share, so that their
// order on the command line is that of the rules.
type ruleFlag struct {
	rules  *[]policy.Rule
	action policy.Action
}

func (f *ruleFlag) String() string { return "" }
func (f *ruleFlag) Type() string   { return "rule" }

func (f *ruleFlag) Set(s string) error {
	parsed, err := shown.ParseRule(s)
	if err != nil {
		return err
	}
	r := policy.Rule{Methods: parsed.Methods, Paths: parsed.Paths, Preset: parsed.Preset, When: parsed.When}
	if f.action != policy.ActionAllow { // allow is what a rule does
		r.Action = f.action
	}
	*f.rules = append(*f.rules, r)
	return nil
}
