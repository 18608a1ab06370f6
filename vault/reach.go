package vault

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/policy/limit"
)

// opened are the requests that a proposal newly lets through, in words: one for
// each rule; all of them where the service has ended. It says too much rather than too little where rules hide one
// another.
func opened(changes []ServiceDiff, now time.Time) []string {
	out := []string{}
	for _, d := range changes {
		if d.After == nil || !d.After.Enabled {
			continue
		}
		s, b := *d.After, d.Before
		where := reach{base: schemeOf(s) + s.Host, with: carried(s)}
		if b == nil || !b.Enabled || b.Expired(now) || b.Host != s.Host || b.Placeholder != s.Placeholder || schemeOf(*b) != schemeOf(s) || carried(*b) != where.with {
			out = append(out, where.all(s.Rules)...)
			continue
		}
		out = append(out, where.more(b.Rules, s.Rules)...)
	}
	return out
}

// A reach is where requests go, and what they carry.
type reach struct{ base, with string }

// all are the requests that rules let through.
func (r reach) all(rules []policy.Rule) (out []string) {
	if len(rules) == 0 {
		return []string{r.words(policy.Rule{})}
	}
	for _, rule := range rules {
		if rule.Action != policy.ActionDeny {
			out = append(out, r.words(rule))
		}
	}
	return out
}

// more are those that rules let through and earlier ones did not.
func (r reach) more(before, after []policy.Rule) (out []string) {
	same := func(list []policy.Rule, rule policy.Rule) bool {
		return slices.ContainsFunc(list, func(x policy.Rule) bool { return sameRule(x, rule) })
	}
	switch {
	case len(before) == 0:
		return nil // everything was
	case len(after) == 0:
		return r.all(nil)
	}
	for _, rule := range after {
		if !denies(rule) && !same(before, rule) {
			out = append(out, r.words(rule))
		}
	}
	for _, rule := range before {
		if denies(rule) && !same(after, rule) {
			out = append(out, "no longer refused: "+r.words(rule))
		}
	}
	if out == nil && !slices.EqualFunc(before, after, sameRule) {
		out = append(out, "perhaps more on "+r.base+": its rules are others, or in another order")
	}
	return out
}

// sameRule compares what rules say, which is more than their words do: a condition
// is any text, and could read like the rest of another rule.
func sameRule(a, b policy.Rule) bool {
	a.Action, b.Action = cmp.Or(a.Action, policy.ActionAllow), cmp.Or(b.Action, policy.ActionAllow)
	return slices.Equal(a.Methods, b.Methods) && slices.Equal(a.Paths, b.Paths) && slices.Equal(a.Limits, b.Limits) &&
		a.Action == b.Action && a.Preset == b.Preset && a.When == b.When && a.ExpiresAt == b.ExpiresAt
}

func denies(r policy.Rule) bool { return r.Action == policy.ActionDeny }

// words say what a rule is about.
func (r reach) words(rule policy.Rule) string {
	methods := "every method"
	if len(rule.Methods) > 0 {
		methods = strings.Join(rule.Methods, ", ")
	}
	paths := "every path"
	if len(rule.Paths) > 0 {
		paths = strings.Join(rule.Paths, ", ")
	}
	conditions := ""
	if rule.Action == policy.ActionAsk {
		conditions = ", each after a person has allowed it"
	}
	for _, c := range []string{rule.Preset, rule.When} {
		if c != "" {
			conditions += ", if " + c
		}
	}
	if rule.ExpiresAt != "" {
		conditions += ", until " + rule.ExpiresAt
	}
	for _, l := range limit.Words(rule.Limits) {
		conditions += ", at most " + l
	}
	return fmt.Sprintf("%s on %s of %s, %s%s", methods, paths, r.base, r.with, conditions)
}

// schemeOf is the scheme of a service, as URLs begin.
func schemeOf(s Service) string {
	if s.Scheme == "http" {
		return "http://"
	}
	return "https://"
}

// carried is which credentials requests of a service carry.
func carried(s Service) string {
	var keys []string
	if in, err := inject.Parse(s.Auth); err == nil {
		keys = in.Keys()
	}
	for _, x := range s.Substitutions {
		keys = append(keys, fmt.Sprintf("%s for a placeholder in %s", x.Credential, strings.Join(x.In, ", ")))
	}
	with := "with no credential"
	if len(keys) > 0 {
		with = "with " + strings.Join(keys, " and ")
	}
	if s.Placeholder != "" {
		with += ", where they have its placeholder"
	}
	return with
}

// resemblances warn of hosts that a person could take for another one: of the
// vault's services, or one that is widely known. Where a credential is to be
// got, a person gives a password.
func (r *Registry) resemblances(v Vault, rv Review) (out []string) {
	for _, d := range rv.Changes {
		if d.After == nil {
			continue
		}
		out = append(out, r.authResemblances(v, d)...)
		if d.Before != nil && d.Before.Host == d.After.Host {
			continue
		}
		host := policy.PatternHost(d.After.Host)
		if domain, shared := policy.Registrable(host); shared && !slices.Contains(r.knownHosts, host) {
			out = append(out, fmt.Sprintf("service %s is for a name below a domain where anyone can have one; see that %s is whose you think", d.Name, domain))
		}
		out = append(out, r.resemblance(v, "service "+d.Name+" is for", host)...)
	}
	for _, d := range rv.Values {
		if u, err := url.Parse(d.Obtain); err == nil && d.Obtain != "" {
			out = append(out, r.resemblance(v, "the value of "+d.Key+" is to come from", policy.PatternHost(u.Hostname()))...)
		}
	}
	return out
}

// authResemblances are those of hosts that a service's auth newly asks for tokens,
// or has people sign in at.
func (r *Registry) authResemblances(v Vault, d ServiceDiff) (out []string) {
	var before Service
	if d.Before != nil {
		before = *d.Before
	}
	for _, host := range without(d.After.tokenHosts(), before.tokenHosts()) {
		out = append(out, r.resemblance(v, "service "+d.Name+" asks for tokens at", policy.PatternHost(host))...)
	}
	if host := d.After.signInHost(); host != "" && host != before.signInHost() {
		out = append(out, r.resemblance(v, "service "+d.Name+" has people sign in at", policy.PatternHost(host))...)
	}
	return out
}

// resemblance warns of one host, of which what says what it is for.
func (r *Registry) resemblance(v Vault, what, host string) (out []string) {
	if strings.Contains("."+host, ".xn--") {
		out = append(out, fmt.Sprintf("%s a host that is spelled with letters beyond a to z: %s", what, host))
	}
	if known := r.resembled(v, host); known != "" {
		out = append(out, fmt.Sprintf("%s %s, which looks like %s, and is another's", what, host, known))
	}
	return out
}

// resembled is the first host that one could be taken for, or "". One of a known
// host's own domain is what it looks like.
func (r *Registry) resembled(v Vault, host string) (found string) {
	domain, _ := policy.Registrable(host)
	known := make([]string, 0, len(v.Services)+len(r.knownHosts))
	for _, s := range v.Services {
		known = append(known, policy.PatternHost(s.Host))
	}
	for _, k := range append(known, r.knownHosts...) {
		if d, _ := policy.Registrable(k); d == domain {
			return ""
		}
		if found == "" && policy.Resembles(host, k) {
			found = k
		}
	}
	return found
}
