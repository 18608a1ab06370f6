package vault

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"agentvault/policy"
	"agentvault/policy/when"
)

// fault is the code that the data plane answers with.
func (o *Verdict) fault(why policy.Reason) string {
	switch why {
	case policy.Allowed, policy.BodyNeeded:
		return ""
	case policy.ServiceDisabled:
		return "service_disabled"
	case policy.MethodNotAllowed:
		return "method_not_allowed"
	case policy.PathNotAllowed, policy.PathAmbiguous:
		return "path_not_allowed"
	case policy.ConditionNotMet:
		return "condition_not_met"
	}
	return "forbidden"
}

func (o *Verdict) explain(why policy.Reason) string {
	switch why {
	case policy.Allowed:
		return o.explainAllowed(nil)
	case policy.ServiceDisabled:
		return fmt.Sprintf("refused: the service %s covers it and is disabled", o.Service)
	case policy.MethodNotAllowed:
		return fmt.Sprintf("refused: %s; on this path the service %s allows %s", o.deniedBy(), o.Service, strings.Join(o.AllowedMethods, ", "))
	case policy.PathNotAllowed:
		return fmt.Sprintf("refused: %s, nor does the service allow another method on this path", o.deniedBy())
	case policy.ConditionNotMet:
		if o.Doubt != when.NoDoubt {
			return fmt.Sprintf("refused: the condition of rule %d of the service %s cannot be told of the request: %s", o.Rule, o.Service, o.Doubt.Words())
		}
		return fmt.Sprintf("refused: the condition of rule %d of the service %s decides against it", o.Rule, o.Service)
	case policy.BodyNeeded:
		return o.explainWithout()
	case policy.PathAmbiguous:
		return "refused: path rules apply, and this path could be read in two ways"
	}
	text := "refused: no service of the vault covers " + o.Target
	if o.Tunnel {
		text += "; the proxy entrance lets it through as a blind tunnel, without credentials (unmatched_hosts: tunnel)"
	}
	return text
}

func (o *Verdict) deniedBy() string {
	if o.Rule >= 0 {
		return fmt.Sprintf("rule %d of the service %s denies it", o.Rule, o.Service)
	}
	return fmt.Sprintf("no rule of the service %s allows it", o.Service)
}

// by is what of the service decided.
func (o *Verdict) by() string {
	if o.Rule >= 0 {
		return fmt.Sprintf("by its rule %d", o.Rule)
	}
	return "which has no rules"
}

// explainAllowed says what goes out; missing are credentials without a value that it
// would need.
func (o *Verdict) explainAllowed(missing []string) string {
	text := fmt.Sprintf("allowed by the service %s, %s", o.Service, o.by())
	if o.Ask {
		text = fmt.Sprintf("a person is asked, says the service %s, %s", o.Service, o.by())
	}
	without := " has no value yet"
	if o.connects != "" && len(missing) == 1 && missing[0] == o.connects {
		without = " is not there until somebody connects the account: agent-vault credential connect " + o.Service
	}
	keys := make([]string, len(o.Credentials))
	for i, c := range o.Credentials {
		keys[i] = c.Key
	}
	switch {
	case missing != nil:
		return fmt.Sprintf("%s, but %s%s, so the agent gets credential_not_found", text, strings.Join(missing, " and "), without)
	case len(keys) == 0:
		return text + "; it goes out as the agent sent it"
	}
	return fmt.Sprintf("%s; it goes out with %s (%s)", text, strings.Join(keys, " and "), o.AuthType)
}

// explainWithout says which rules depend on a body that is not known, and what
// happens where they do not match.
func (o *Verdict) explainWithout() string {
	var rules []string
	for _, step := range o.Steps {
		if step.Finding == string(policy.WantsBody) {
			rules = append(rules, strconv.Itoa(step.Rule))
		}
	}
	which, none := "rule "+rules[0]+" looks", "it does not match"
	if n := len(rules); n > 1 {
		which, none = "rules "+strings.Join(rules[:n-1], ", ")+" and "+rules[n-1]+" look", "none of them matches"
	}
	otherwise := "it is refused"
	if last := o.Steps[len(o.Steps)-1]; last.Finding == string(policy.Matches) {
		otherwise = fmt.Sprintf("rule %d decides: %s", last.Rule, cmp.Or(last.RuleText.Action, policy.ActionAllow))
	}
	return fmt.Sprintf("it depends on the body, at which %s (service %s): give the body to know (--body); where %s, %s", which, o.Service, none, otherwise)
}
