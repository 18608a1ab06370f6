package shown

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// A ParsedRule is a rule as people write one, without what it does.
type ParsedRule struct {
	Methods, Paths []string // nil: all
	Preset, When   string   // conditions; "" for none
}

// presetName tells the name of a preset, with what it takes, from an expression.
var presetName = regexp.MustCompile(`^[a-z]+(-[a-z]+)+( [A-Za-z0-9_/+-]+)?$`)

// ParseRule reads a rule as [Rule] spells it, in short: methods parted by commas or
// *, then paths, then "if" and a condition, which is a preset's name or an
// expression.
func ParseRule(text string) (r ParsedRule, err error) {
	about, condition, conditional := strings.Cut(" "+text+" ", " if ")
	if condition = strings.TrimSpace(condition); presetName.MatchString(condition) {
		r.Preset = condition
	} else {
		r.When = condition
	}
	if conditional && condition == "" {
		return r, errors.New("behind if stands a condition, as in 'POST /pay if json.amount < 500.0'")
	}
	words := strings.Fields(about)
	if len(words) == 0 && !conditional {
		return r, errors.New("it is written as 'GET,HEAD /v1/*'; '*' is everything")
	}
	if len(words) > 0 && !strings.HasPrefix(words[0], "/") {
		if words[0] != "*" {
			r.Methods = strings.Split(strings.ToUpper(words[0]), ",")
		}
		words = words[1:]
	}
	for _, path := range words {
		if !strings.HasPrefix(path, "/") {
			return r, fmt.Errorf("methods come first, parted by commas; %q is no path, which begins with /", path)
		}
		r.Paths = append(r.Paths, path)
	}
	return r, nil
}
