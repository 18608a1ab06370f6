package when_test

import (
	"strings"
	"testing"

	"agentvault/policy/when"
)

const all = "method, path, query, headers, json, graphql.type, graphql.name, graphql.fields, agent and now"

const functions = "there are size, startsWith, endsWith, contains, matches, all, exists, and of times getHours and its like"

// Each error says where it is and what there is instead.
func TestCompileErrors(t *testing.T) {
	for _, tt := range []struct{ expr, want string }{
		{"", "a condition may not be empty"},
		{" \n", "a condition may not be empty"},
		{strings.Repeat("!", 5000) + "true", "a condition has at most 4096 bytes, not 5004"},
		{strings.Repeat("(", 100) + "true" + strings.Repeat(")", 100), "the condition is nested too deeply"},

		{"method ==", "column 10: something is missing at the end"},
		{"method = 'GET'", "column 8: compare with ==, not ="},
		{"'GET", "column 1: the text has no end"},
		{"method == 'GET' & true", "column 17: and is &&, or is ||"},
		{"json.amount < 500.0 and true", "column 21: and is &&, or is ||"},
		{"method == 'GET' ; true", `column 17: ";" is not understood here`},
		{"é == 1", `column 1: "é" is not understood here`},

		{"metod == 'GET'", "column 1: there is no metod; there are " + all},
		{"method == 'GET'\n  && metod == 'x'", "line 2, column 6: there is no metod; there are " + all},
		{"body.amount < 5", "column 1: there is no body; a body is json or graphql"},
		{"graphql == 'query'", "column 1: graphql has type, name and fields, and is nothing by itself"},
		{"graphql.typ == 'query'", "column 8: there is no graphql.typ; there are " + all},
		{"headers.x-mode == ['a']", "column 11: there is no mode; there are " + all},
		{"method.foo()", "column 11: there is no function foo; " + functions},
		{"foo(1)", "column 4: there is no function foo; " + functions},
		{"method == 'GET' &&\n  lower(path) == '/'", "line 2, column 8: there is no function lower; " + functions},
		{"json.items.exists(i)", "column 18: exists takes a name and what is asked of it, as in json.items.exists(i, i.price > 10.0)"},
		{"has(json)", "column 5: has takes a field of something, as in has(json.amount)"},
		{"json" + strings.Repeat(".a", 400) + " == 1", "the condition is nested too deeply"},

		{"json.amount", "the condition gives whatever the request says; compare it with something, as in json.ok == true"},
		{"method", "the condition gives a value of type string; it must be true or false"},
		{"size(json)", "the condition gives a value of type int; it must be true or false"},
		{"method == 5", "column 8: == does not go with (string, int)"},
		{"query.limit == '10'", `column 13: == does not go with (list(string), string); a parameter or field is a list of its values, as in query.limit == ["10"]`},
		{"method in ['GET', 1]", "column 19: expected type 'string' but found 'int'"},

		{"json.n < 9007199254740993.0", "column 10: from 9007199254740992 on, numbers are written without a fraction, which would round them"},
		{"path.matches('(')", "column 14: the pattern is no regular expression (RE2), or too large a one"},
		{"path.matches('(a{900}){3}')", "column 14: the pattern is no regular expression (RE2), or too large a one"},
		{"path.matches(agent)", "column 13: the pattern of matches is a text in quotes"},
		{"matches(path, agent)", "column 8: the pattern of matches is a text in quotes"},
		{"now.getHours('Mars/Olympus') > 1", `column 13: there is no time zone "Mars/Olympus"; they are named like Europe/Berlin or +02:00`},
		{"now.getHours('Local') > 1", `column 13: there is no time zone "Local"; they are named like Europe/Berlin or +02:00`},
		{"now.getHours('+25:00') > 1", `column 13: there is no time zone "+25:00"; they are named like Europe/Berlin or +02:00`},
		{"now.getHours(query.tz[0]) > 1", "column 13: a time zone is a text in quotes"},
		{"timestamp('yesterday') < now", "column 11: a timestamp is written like 2026-11-27T12:00:00Z"},
		{"duration('1 day') < duration('1h')", "column 10: a duration is written like 90s or 1h30m"},
		{"json.all(a, json.all(b, json.all(c, json.all(d, a == d))))", "column 45: macros such as all and exists stand in each other no more than three deep"},
	} {
		c, err := when.Compile(tt.expr)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%.60q: %v\nwant %s", tt.expr, err, tt.want)
		}
		if c != nil {
			t.Errorf("%.60q: a Condition beside an error", tt.expr)
		}
	}
}

func TestNeeds(t *testing.T) {
	for _, tt := range []struct {
		expr       string
		body, path bool
	}{
		{`method == "GET"`, false, false},
		{`path == "/json" && "json" in query && "graphql.type" in headers`, false, true},
		{`json.a == 1`, true, false},
		{`has(json.path)`, true, false},
		{`method == "GET" || (path == "/" ? size(json) > 1 : false)`, true, true},
		{`query.a.exists(x, x == json.a)`, true, false},
		{`[1].exists(json, json == 1)`, true, false}, // better once too often
		{`graphql.type == "query"`, true, false},
		{`"viewer" in graphql.fields`, true, false},
		{`now.getHours() > 8`, false, false},
	} {
		c := compile(t, tt.expr)
		if c.NeedsBody() != tt.body || c.NeedsPath() != tt.path {
			t.Errorf("%s: body %v, path %v", tt.expr, c.NeedsBody(), c.NeedsPath())
		}
	}
}
