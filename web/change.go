package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"agentvault/api"
	"agentvault/api/shown"
)

// A change is what becomes of one service, field by field.
type change struct {
	What string // "Adds", "Changes", "Removes"
	Name string
	Rows []row
}

// A row is one field of a service.
type row struct {
	Label         string
	Before, After []string // lines; none: the service does not have it
	Host          bool     // the lines are hosts
}

// Differs reports whether there is something on both sides, and not the same.
func (r row) Differs() bool {
	return len(r.Before) > 0 && len(r.After) > 0 && !slices.Equal(r.Before, r.After)
}

// labels are those of the fields, in the order in which they are shown. Fields
// that are missing here follow under their own names: none is hidden.
var labels = [][2]string{
	{"host", "Host"}, {"scheme", "Scheme"}, {"auth", "Credential"}, {"rules", "Requests"}, {"enabled", "Enabled"},
	{"description", "Description, in the agent's words"},
	{"scrub", "Answers are searched"}, {"undecodable", "Answers that cannot be searched"}, {"pins", "Pins"}, {"upgrades", "Upgrades"}, {"expires_at", "Ends"}, {"limits", "Limits"},
}

// reviewed are the changes of a review.
func reviewed(rv api.ProposalReview) (list []change, err error) {
	for _, d := range rv.Changes {
		c := change{What: "Changes", Name: d.Name}
		var before, after map[string]json.RawMessage
		if d.Before == nil {
			c.What = "Adds"
		} else if before, err = fields(d.Before); err != nil {
			return nil, err
		}
		if d.After == nil {
			c.What = "Removes"
		} else if after, err = fields(d.After); err != nil {
			return nil, err
		}
		if c.Rows, err = rows(before, after); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// asked are the changes as they were asked for, without what the vault has.
func asked(p api.ProposalInfo) (list []change, err error) {
	for _, s := range p.Services {
		c := change{What: "Sets", Name: s.Name}
		if s.Action == "delete" {
			c.What = "Removes"
		}
		after, err := fields(s)
		if err != nil {
			return nil, err
		}
		if c.Rows, err = rows(nil, after); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// fields are those of a service, as the API spells them.
func fields(service any) (m map[string]json.RawMessage, err error) {
	b, err := json.Marshal(service)
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(b, &m)
	delete(m, "name")
	delete(m, "action")
	if _, ok := m["host"]; ok && m["rules"] == nil {
		m["rules"] = json.RawMessage("[{}]") // no rules: everything
	}
	return m, err
}

func rows(before, after map[string]json.RawMessage) (list []row, err error) {
	names := slices.Collect(maps.Keys(before))
	names = append(names, slices.Collect(maps.Keys(after))...)
	slices.Sort(names)
	order := labels
	for _, name := range slices.Compact(names) {
		if !slices.ContainsFunc(labels, func(l [2]string) bool { return l[0] == name }) {
			order = append(slices.Clone(order), [2]string{name, name})
		}
	}
	for _, l := range order {
		r := row{Label: l[1], Host: l[0] == "host"}
		if r.Before, err = lines(l[0], before[l[0]]); err != nil {
			return nil, err
		}
		if r.After, err = lines(l[0], after[l[0]]); err != nil {
			return nil, err
		}
		usual := l[0] == "enabled" && !r.Differs() && !slices.Equal(r.After, []string{"no"})
		if len(r.Before)+len(r.After) > 0 && !usual {
			list = append(list, r)
		}
	}
	return list, nil
}

// lines are the value of a field in words.
func lines(name string, value json.RawMessage) ([]string, error) {
	if value == nil {
		return nil, nil
	}
	switch name {
	case "rules":
		return ruleLines(value)
	case "limits":
		return limitLines("", value)
	}
	return spelled("", value)
}

// ruleLines are rules in words, each followed by what else it has.
func ruleLines(value json.RawMessage) (words []string, err error) {
	var rules []map[string]json.RawMessage
	if err := json.Unmarshal(value, &rules); err != nil {
		return nil, err
	}
	for _, fields := range rules {
		var r struct {
			Action, Preset, When string
			Methods, Paths       []string
		}
		b, err := json.Marshal(fields)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, &r); err != nil {
			return nil, err
		}
		words = append(words, shown.Rule(r.Action, r.Methods, r.Paths, r.Preset, r.When))
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			var more []string
			switch name {
			case "action", "methods", "paths", "preset", "when":
			case "limits":
				more, err = limitLines("of these at most ", fields[name])
			case "expires_at":
				more, err = spelled("this rule ends ", fields[name])
			default: // none is hidden
				more, err = spelled(name+": ", fields[name])
			}
			if err != nil {
				return nil, err
			}
			words = append(words, more...)
		}
	}
	return words, nil
}

// limitLines are limits, one in a line, as the CLI takes them.
func limitLines(prefix string, value json.RawMessage) (words []string, err error) {
	var limits []map[string]json.RawMessage
	if err := json.Unmarshal(value, &limits); err != nil {
		return nil, err
	}
	for _, l := range limits {
		fields := make([]string, 0, len(l))
		for _, name := range slices.Sorted(maps.Keys(l)) {
			fields = append(fields, name+"="+shown.Plain(strings.Trim(string(l[name]), `"`)))
		}
		words = append(words, prefix+strings.Join(fields, ","))
	}
	return words, nil
}

// spelled are the lines of any value.
func spelled(prefix string, value json.RawMessage) ([]string, error) {
	var v any
	if err := json.Unmarshal(value, &v); err != nil {
		return nil, err
	}
	return spell(prefix, v), nil
}

// spell writes a JSON value in lines: of the object that an auth is, its type first,
// then "field: value" for each other field. What an agent wrote there is one line,
// and what is empty is said to be.
func spell(prefix string, v any) (out []string) {
	switch v := v.(type) {
	case map[string]any:
		kind, typed := v["type"].(string)
		if typed = typed && prefix == ""; typed {
			out = append(out, shown.Plain(kind))
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if name != "type" || !typed {
				out = append(out, spell(prefix+shown.Plain(name)+": ", v[name])...)
			}
		}
	case []any:
		for _, x := range v {
			out = append(out, spell(prefix, x)...)
		}
	case bool:
		return []string{prefix + map[bool]string{true: "yes", false: "no"}[v]}
	default:
		return spellText(prefix, fmt.Sprint(v))
	}
	if out == nil && prefix != "" {
		out = []string{prefix + "nothing"}
	}
	return out
}

// spellText writes a text. That of a service itself may have several lines.
func spellText(prefix, text string) []string {
	switch {
	case prefix != "" && text == "":
		return []string{prefix + `""`}
	case prefix != "":
		return []string{prefix + shown.Plain(text)}
	case text == "":
		return nil
	}
	return []string{text}
}

// A value is what becomes of a credential, and what a person may give.
type value struct {
	Key, What                               string
	Description, Obtain, ObtainInstructions string // the agent's words
	ObtainHost                              string
	Needed, Settable                        bool
	Typed, Problem                          string
}

// values are those of a review.
func values(rv api.ProposalReview) (list []value) {
	for _, d := range rv.Values {
		v := value{
			Key: d.Key, Description: d.Description, Obtain: d.Obtain, ObtainInstructions: d.ObtainInstructions,
			Needed: d.Needed, Settable: d.Action == "set", What: "its value stays as it is",
		}
		switch {
		case d.Action == "delete":
			v.What = "removed, with all its versions"
		case d.HasValue && d.Exists:
			v.What = "replaced by a value that the agent gave"
		case d.HasValue:
			v.What = "the agent gave a value"
		case d.Needed:
			v.What = "you give its value"
		}
		v.ObtainHost = hostOf(d.Obtain)
		list = append(list, v)
	}
	return list
}

// askedValues are those of a proposal as it was asked for.
var askedWords = map[string]string{"set": "the agent asks that it be set", "delete": "the agent asks that it be removed"}

func askedValues(p api.ProposalInfo) (list []value) {
	for _, s := range p.Credentials {
		v := value{Key: s.Key, What: askedWords[s.Action], Description: s.Description, Obtain: s.Obtain, ObtainInstructions: s.ObtainInstructions, ObtainHost: hostOf(s.Obtain)}
		if s.HasValue {
			v.What += ", with a value that the agent gave"
		}
		list = append(list, v)
	}
	return list
}

// hostOf is where a link leads, whatever stands before it.
func hostOf(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}
