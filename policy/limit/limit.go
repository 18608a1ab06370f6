// Package limit answers two questions about a service's limits: what do they
// mean, and how much does one request ask of a budget?
//
// It counts nothing: what is used up stands in the broker's memory and, of
// budgets and uses, in the store. Amounts are whole millionths and never
// floating-point numbers, and what could be read in two ways is no amount.
//
// The zero Limit allows nothing.
package limit

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"agentvault/policy"
)

// A Kind is what a Limit counts.
type Kind uint8

const (
	None Kind = iota // the zero value
	Requests
	Concurrent
	RequestBytes
	ResponseBytes
	Uses   // durable, and for good
	Budget // durable
)

var kindNames = [...]string{"none", "requests", "concurrent", "request_bytes", "response_bytes", "uses", "budget"}

func (k Kind) String() string { return kindNames[k] }

// Durable reports whether what is used up outlives the process.
func (k Kind) Durable() bool { return k == Uses || k == Budget }

// A Limit is one that was checked.
type Limit struct {
	Kind     Kind
	Name     string // unique among the durable ones of a service
	PerAgent bool
	Most     int64         // of a budget in millionths
	Window   time.Duration // 0: none
	Field    []string      // of a budget: where the amount stands
	Settle   []string      // likewise in the answer; nil: nowhere
}

// Bounds of limits.
const (
	MaxLimits   = 20 // of one service, those of its rules among them
	minWindow   = time.Second
	minBudget   = time.Minute // the window of a budget
	MaxWindow   = 31 * 24 * time.Hour
	maxRequests = 100_000 // the time of each is remembered
	maxCount    = 1_000_000_000_000_000
	maxUses     = 1_000_000
	maxField    = 200 // bytes
	maxDepth    = 10  // names in a field
)

// All checks the limits of a service: its own and those of its rules, by their
// index. The error names the limit and the field.
func All(own []policy.Limit, rules []policy.Rule) (service []Limit, byRule [][]Limit, err error) {
	names := make(map[string]bool)
	n := 0
	some := func(where string, list []policy.Limit) ([]Limit, error) {
		var out []Limit
		for i, p := range list {
			at := fmt.Sprintf("%slimits[%d]", where, i)
			l, err := compile(p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
			if n++; n > MaxLimits {
				return nil, fmt.Errorf("%s: a service and its rules have at most %d limits", at, MaxLimits)
			}
			if l.Kind.Durable() {
				if names[l.Name] {
					return nil, fmt.Errorf("%s: there is another one of the name %q; give this one a name of its own", at, l.Name)
				}
				names[l.Name] = true
			}
			out = append(out, l)
		}
		return out, nil
	}
	if service, err = some("", own); err != nil {
		return nil, nil, err
	}
	byRule = make([][]Limit, len(rules))
	for i, r := range rules {
		where := fmt.Sprintf("rules[%d].", i)
		if len(r.Limits) > 0 && r.Action == policy.ActionDeny {
			return nil, nil, fmt.Errorf("%slimits: a rule that denies lets nothing through that could be limited", where)
		}
		if byRule[i], err = some(where, r.Limits); err != nil {
			return nil, nil, err
		}
	}
	return service, byRule, nil
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

func compile(p policy.Limit) (Limit, error) {
	l, err := kindOf(p)
	if err != nil {
		return Limit{}, err
	}
	switch p.Per {
	case "", policy.PerService:
	case policy.PerAgent:
		l.PerAgent = true
	default:
		return Limit{}, fmt.Errorf("per: %q is neither service nor agent; leave it out for service", p.Per)
	}
	if err := l.window(p.Window); err != nil {
		return Limit{}, err
	}
	if l.Kind == Budget {
		if l.Field, err = path("field", p.Field); err != nil {
			return Limit{}, err
		}
		if p.Settle != "" {
			if l.Settle, err = path("settle", p.Settle); err != nil {
				return Limit{}, err
			}
		}
	} else if p.Field != "" || p.Settle != "" {
		return Limit{}, fmt.Errorf("field and settle belong to a budget")
	}
	return l, l.named(p)
}

// kindOf finds the one thing that is counted.
func kindOf(p policy.Limit) (Limit, error) {
	var l Limit
	found := 0
	for _, c := range []struct {
		kind       Kind
		most, ceil int64
	}{
		{Requests, p.Requests, maxRequests},
		{Concurrent, p.Concurrent, maxRequests},
		{RequestBytes, p.RequestBytes, maxCount},
		{ResponseBytes, p.ResponseBytes, maxCount},
		{Uses, p.Uses, maxUses},
	} {
		switch {
		case c.most == 0:
			continue
		case c.most < 0 || c.most > c.ceil:
			return l, fmt.Errorf("%s: it is from 1 to %d", c.kind, c.ceil)
		}
		l.Kind, l.Most = c.kind, c.most
		found++
	}
	if p.Budget != "" {
		most, err := ParseAmount(string(p.Budget))
		if err != nil || most == 0 {
			return l, fmt.Errorf("budget: it is an amount like 500.00: more than nothing, of at most 15 digits, 6 of them behind the point")
		}
		l.Kind, l.Most = Budget, most
		found++
	}
	if found == 0 {
		return l, fmt.Errorf("it sets one of requests, concurrent, request_bytes, response_bytes, uses and budget to more than 0")
	}
	if found != 1 {
		return l, fmt.Errorf("it sets one of requests, concurrent, request_bytes, response_bytes, uses and budget, and not %d of them", found)
	}
	return l, nil
}

func (l *Limit) window(spelled string) error {
	if l.Kind == Concurrent || l.Kind == Uses {
		if spelled != "" {
			return fmt.Errorf("window: %s has none", l.Kind)
		}
		return nil
	}
	least := minWindow
	if l.Kind == Budget {
		least = minBudget
	}
	d, err := time.ParseDuration(spelled)
	if err != nil || d < least || d > MaxWindow || d%time.Second != 0 {
		return fmt.Errorf("window: %s needs one from %s to %s in whole seconds, as in 1h30m", l.Kind, short(least), short(MaxWindow))
	}
	l.Window = d
	return nil
}

// named gives a limit the name by which what is used up is kept.
func (l *Limit) named(p policy.Limit) error {
	switch {
	case !l.Kind.Durable() && p.Name != "":
		return fmt.Errorf("name: only budgets and uses have one")
	case p.Name != "" && !namePattern.MatchString(p.Name):
		return fmt.Errorf("name: it has 1 to 64 characters of a-z, 0-9, point, - and _, and begins with a letter or a digit")
	case p.Name != "":
		l.Name = p.Name
	case l.Kind == Budget:
		l.Name = p.Field
	case l.Kind == Uses:
		l.Name = l.Kind.String()
	}
	return nil
}

// path parses names with points between them.
func path(what, spelled string) ([]string, error) {
	names := strings.Split(spelled, ".")
	if len(spelled) > maxField || len(names) > maxDepth {
		return nil, fmt.Errorf("%s: at most %d bytes and %d names", what, maxField, maxDepth)
	}
	for _, n := range names {
		if n == "" || strings.Trim(n, nameBytes) != "" {
			return nil, fmt.Errorf("%s: it names a field of JSON, as in amount or order.total, of letters, digits, - and _", what)
		}
	}
	return names, nil
}

const nameBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

// short spells a duration without units that are zero.
func short(d time.Duration) string {
	s := d.String()
	s, _ = strings.CutSuffix(s, "m0s")
	if len(s) != len(d.String()) {
		s += "m"
	}
	if h, ok := strings.CutSuffix(s, "h0m"); ok {
		s = h + "h"
	}
	return s
}

// Spell writes an amount of what is limited.
func (l Limit) Spell(n int64) string {
	if l.Kind == Budget {
		return FormatAmount(n)
	}
	return strconv.FormatInt(n, 10)
}

// Words say what is limited, and what it is counted by where that was said. What is
// no limit is said to be one that nobody keeps.
func Words(list []policy.Limit) (words []string) {
	for _, p := range list {
		l, err := compile(p)
		if err != nil {
			words = append(words, "what cannot be understood: "+err.Error())
			continue
		}
		words = append(words, l.String()+counted(p))
	}
	return words
}

// counted is how a limit is counted, as far as it says so: under another name it
// begins anew.
func counted(p policy.Limit) string {
	var how []string
	if p.Name != "" {
		how = append(how, "counted as "+p.Name)
	}
	if p.Settle != "" {
		how = append(how, "settled by "+p.Settle+" of the answer")
	}
	if how == nil {
		return ""
	}
	return " (" + strings.Join(how, ", ") + ")"
}

// String says in words what is limited.
func (l Limit) String() string {
	per := ""
	if l.PerAgent {
		per = " of each agent"
	}
	switch l.Kind {
	case Requests:
		return fmt.Sprintf("%d requests%s in %s", l.Most, per, short(l.Window))
	case Concurrent:
		return fmt.Sprintf("%d requests%s at once", l.Most, per)
	case RequestBytes:
		return fmt.Sprintf("%d bytes of requests' bodies%s in %s", l.Most, per, short(l.Window))
	case ResponseBytes:
		return fmt.Sprintf("%d bytes of answers' bodies%s in %s", l.Most, per, short(l.Window))
	case Uses:
		return fmt.Sprintf("%d uses%s", l.Most, per)
	case Budget:
		return fmt.Sprintf("%s of %s%s in %s", FormatAmount(l.Most), strings.Join(l.Field, "."), per, short(l.Window))
	}
	return "nothing"
}
