package when_test

import (
	"strings"
	"testing"

	"agentvault/policy/when"
)

// Each way in which a condition cannot be told has a reason, which repeats nothing of
// the request; what can be told has none.
func TestDoubt(t *testing.T) {
	const cond = `json.amount < 500.0`
	typed := func(types ...string) map[string][]string { return map[string][]string{"Content-Type": types} }
	json := typed("application/json")
	for _, tt := range []struct {
		expr, query string
		header      map[string][]string
		body        string
		state       when.BodyState
		want        when.Doubt
	}{
		{cond, "", json, `{"amount": 1}`, when.BodyWhole, when.NoDoubt},
		{cond, "", json, `{"amount": 1000}`, when.BodyWhole, when.NoDoubt},
		{cond, "", json, ``, when.BodyUnread, when.BodyNotRead},
		{cond, "", json, ``, when.BodyTooLong, when.BodyLong},
		{cond, "", json, ``, when.BodyCoded, when.BodyUndecoded},
		{cond, "", nil, `{"amount": 1}`, when.BodyWhole, when.TypeMissing},
		{cond, "", typed("text/plain"), `{"amount": 1}`, when.BodyWhole, when.TypeOther},
		{cond, "", typed("application/json", "text/plain"), `{"amount": 1}`, when.BodyWhole, when.TypeOther},
		{cond, "", typed("application/json; charset=latin1"), `{"amount": 1}`, when.BodyWhole, when.TypeOther},
		{cond, "", json, `{"amount": hidden`, when.BodyWhole, when.BodyNoJSON},
		{cond, "", json, ``, when.BodyWhole, when.BodyNoJSON},
		{cond, "", json, `{"amount": 1} hidden`, when.BodyWhole, when.BodyNoJSON},
		{cond, "", json, `{"amount": 1, "amount": 2}`, when.BodyWhole, when.BodyTwins},
		{cond, "", json, `{"amount": 1, "Amount": 2}`, when.BodyWhole, when.BodyTwins},
		{cond, "", json, strings.Repeat("[", 100) + strings.Repeat("]", 100), when.BodyWhole, when.BodyLarge},
		{cond, "", json, `{"hidden": 1}`, when.BodyWhole, when.ValueUnfit},
		{cond, "", json, `{"amount": "hidden"}`, when.BodyWhole, when.ValueUnfit},
		{cond + ` && method == "POST"`, "", json, `{"amount": "hidden"}`, when.BodyWhole, when.ValueUnfit},
		{cond + ` && method == "POST"`, "", nil, `{}`, when.BodyWhole, when.TypeMissing},
		{cond + ` && method == "GET"`, "", nil, `{}`, when.BodyWhole, when.NoDoubt},
		{`!(` + cond + `)`, "", json, `hidden`, when.BodyWhole, when.BodyNoJSON},
		{`query.a == ["1"]`, "a=1;b=hidden", nil, ``, when.BodyWhole, when.QueryTwoWays},
		{`query.a == ["1"]`, "b=hidden", nil, ``, when.BodyWhole, when.ValueUnfit},
		{`graphql.type == "query"`, "", json, `{"query": "{ hidden"}`, when.BodyWhole, when.GraphQLUnclear},
		{`graphql.type == "query"`, "", json, `hidden`, when.BodyWhole, when.BodyNoJSON},
		{`graphql.type == "query"`, "", json, ``, when.BodyUnread, when.BodyNotRead},
		{`json.all(a, json.all(b, json.all(c, a == c)))`, "", json, "[" + strings.Repeat("1,", 200) + "1]", when.BodyWhole, when.TooCostly},
	} {
		c := compile(t, tt.expr)
		in := &when.Input{Method: "POST", Path: "/", RawQuery: tt.query, Header: tt.header, Body: []byte(tt.body), BodyState: tt.state}
		got := c.Doubt(in)
		if got != tt.want || (got == when.NoDoubt) != (c.Eval(in) != when.Unknown) {
			t.Errorf("%s of %.40q: %v, want %v; %v", tt.expr, tt.body, got, tt.want, c.Eval(in))
		}
		if words := got.Words(); words == "" || strings.Contains(words, "hidden") || strings.Contains(words, "amount") {
			t.Errorf("%s of %.40q is told as %q", tt.expr, tt.body, words)
		}
	}
	if s := when.Doubt(200); s.String() != "unknown" || s.Words() != "unknown" {
		t.Errorf("%v", s)
	}
}

// Of a request that was recorded, what is told by its method and path alone is told.
func TestRecorded(t *testing.T) {
	for expr, want := range map[string]when.Outcome{
		`method == "POST"`:                                   yes,
		`path.startsWith("/v2/")`:                            no,
		`method == "GET" && "x" in headers`:                  no,
		`method == "POST" || agent == "a"`:                   yes,
		`"x" in headers`:                                     unknown,
		`query.a == ["1"]`:                                   unknown,
		`has(query.a)`:                                       unknown,
		`agent == ""`:                                        unknown,
		`now > timestamp("2000-01-01T00:00:00Z")`:            unknown,
		`graphql.type == "none"`:                             unknown,
		`["a"].exists(x, x == "a") && type(1) == int`:        yes,
		`json.a == 1 && method == "POST"`:                    unknown,
		`json.a == 1 && method == "GET" || path == "/other"`: no,
	} {
		c, in := compile(t, expr), &when.Input{Method: "POST", Path: "/v1/a", Recorded: true}
		if got := c.Eval(in); got != want {
			t.Errorf("%s: %v, want %v", expr, got, want)
		}
		if d := c.Doubt(in); (d == when.NotRecorded) != (want == unknown) {
			t.Errorf("%s: %v", expr, d)
		}
	}
}
