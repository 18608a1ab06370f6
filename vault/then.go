package vault

import (
	"fmt"
	"strings"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/policy/limit"
)

// then says what else happens to a request that a service lets out, in its order:
// who is asked, what is counted, what is replaced, and where tokens come from.
func (s *Service) then(d policy.Decision) (out []string) {
	if d.Verdict == policy.Deny {
		return nil
	}
	if own, byRule, err := limit.All(s.Limits, s.Rules); err == nil {
		for _, l := range own {
			out = append(out, "limit of the service: "+l.String())
		}
		if d.Rule >= 0 {
			for _, l := range byRule[d.Rule] {
				out = append(out, "limit of its rule: "+l.String())
			}
		}
	}
	if d.Verdict == policy.Ask {
		out = append(out, "it waits until a person has allowed it")
	}
	for _, sub := range s.Substitutions {
		what := sub.Placeholder
		if what == "" {
			what = "the dummy of " + sub.Credential
		}
		out = append(out, fmt.Sprintf("%s in its %s is replaced by %s", what, strings.Join(sub.In, ", "), sub.Credential))
	}
	in, err := inject.Parse(s.Auth)
	if err != nil {
		return out
	}
	if m, ok := in.(inject.Minter); ok {
		from := "by the vault itself"
		if at := m.Endpoints(); len(at) > 0 {
			from = "by " + strings.Join(at, ", ")
		}
		out = append(out, "it carries a token that is made "+from+" with "+strings.Join(in.Keys(), " and "))
	}
	return out
}
