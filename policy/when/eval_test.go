package when_test

import (
	"strings"
	"sync"
	"testing"

	"agentvault/policy/when"
)

const (
	yes     = when.True
	no      = when.False
	unknown = when.Unknown
)

// ask evaluates an expression on a POST with a body in JSON.
func ask(t *testing.T, expr, body string) when.Outcome {
	t.Helper()
	return compile(t, expr).Eval(&when.Input{
		Method: "POST", Path: "/v1/charges", Header: map[string][]string{"Content-Type": {"application/json"}},
		Body: []byte(body), BodyState: when.BodyWhole,
	})
}

// What the request's head says.
func TestHead(t *testing.T) {
	for expr, want := range map[string]when.Outcome{
		`method == "POST"`:                                           yes,
		`method == "post"`:                                           no,
		`method in ["GET", "HEAD"]`:                                  no,
		`path == "/v1/charges"`:                                      yes,
		`path.startsWith("/v1/") && path.endsWith("s")`:              yes,
		`path.matches("^/v1/[a-z]+$")`:                               yes,
		`path.contains("refund")`:                                    no,
		`agent == "billing"`:                                         yes,
		`agent.startsWith("b") ? true : false`:                       yes,
		`now > timestamp("2026-11-27T11:59:59Z")`:                    yes,
		`now < timestamp("2026-11-27T12:00:00Z")`:                    no,
		`now.getFullYear() == 2026 && now.getMonth() == 10`:          yes, // months are counted from 0
		`now.getHours("Europe/Berlin") == 13`:                        yes,
		`now.getHours("+05:30") == 17`:                               yes,
		`now - timestamp("2026-11-27T00:00:00Z") == duration("12h")`: yes,

		`query.limit == ["10"]`:                         yes,
		`"10" in query.limit`:                           yes,
		`query["limit"][0] == "10"`:                     yes,
		`query.limit == ["10", "20"]`:                   no,
		`"limit" in query`:                              yes,
		`has(query.expand)`:                             yes,
		`has(query.after)`:                              no,
		`query.after == ["x"]`:                          unknown,
		`has(query.after) && query.after == ["x"]`:      no,
		`query.after == ["x"] || method == "POST"`:      yes, // the other side decides
		`method == "POST" || query.after == ["x"]`:      yes,
		`query.after == ["x"] && method == "GET"`:       no,
		`query.after == ["x"] && method == "POST"`:      unknown,
		`!(query.after == ["x"])`:                       unknown,
		`query.all(name, name in ["expand", "limit"])`:  yes,
		`query.exists(name, name.startsWith("filter"))`: no,

		`headers["x-request-id"] == ["1"]`:                          yes,
		`"idempotency-key" in headers`:                              yes,
		`"Idempotency-Key" in headers`:                              no, // names are in lower case
		`headers["content-type"][0].startsWith("application/json")`: yes,
		`"authorization" in headers`:                                no, // held back
		`headers.authorization == ["Bearer x"]`:                     unknown,
		`headers.exists(n, n.startsWith("proxy"))`:                  no,
		`size(headers) == 7`:                                        yes,

		`json.amount == 1`:                          unknown, // not read
		`has(json.amount)`:                          unknown,
		`json.amount == 1 || method == "POST"`:      yes,
		`graphql.type == "query"`:                   unknown,
		`method == "GET" && graphql.type == "none"`: no,
	} {
		in := request("")
		in.Header["Proxy-Authorization"], in.Header["COOKIE"] = []string{"Basic x"}, []string{"a=b"}
		if got := compile(t, expr).Eval(in); got != want {
			t.Errorf("%s: %v, want %v", expr, got, want)
		}
	}
}

// A query that servers cut into parameters differently has none.
func TestQueryWithTwoReadings(t *testing.T) {
	c := compile(t, `query.a == ["1"]`)
	for query, want := range map[string]when.Outcome{
		"a=1": yes, "%61=1": yes, "a=%31": yes, "a=1&a=2": no, "a": no, "": unknown,
		"a=1;a=2": unknown, "a=1;b=2": unknown, "a=%zz": unknown, "b=%&a=1": unknown,
	} {
		if got := c.Eval(&when.Input{RawQuery: query}); got != want {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
	}
}

// Fields of one name in several spellings are one field.
func TestHeadersOfOneName(t *testing.T) {
	in := &when.Input{Header: map[string][]string{"X-Mode": {"test"}, "x-mode": {"live"}}}
	if got := compile(t, `headers["x-mode"] == ["live", "test"]`).Eval(in); got != yes {
		t.Errorf("got %v", got)
	}
}

func TestJSON(t *testing.T) {
	nested := func(depth int) string {
		return `{"amount":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`
	}
	for _, tt := range []struct {
		expr, body string
		want       when.Outcome
	}{
		{`json.amount < 500.0`, `{"amount": 499.99}`, yes},
		{`json.amount < 500.0`, `{"amount": 500}`, no},
		{`json.amount < 500.0`, `{"amount": 5e2}`, no},
		{`json.amount < 500`, `{"amount": 499.99}`, yes},
		{`json.amount == 500`, `{"amount": 500.0}`, yes},
		{`json.amount == 499.99`, `{"amount": 499.990}`, yes},
		{`json.amount < 500.0`, `{"amount": "5"}`, unknown},
		{`json.amount < 500.0`, `{"amount": null}`, unknown},
		{`json.amount < 500.0`, `{"amount": [5]}`, unknown},
		{`json.amount < 500.0`, `{}`, unknown},
		{`json.amount < 500.0`, `[]`, unknown},
		{`json.amount < 500.0`, ``, unknown},
		{`has(json.amount)`, `{"amount": null}`, yes},
		{`has(json.amount)`, `{}`, no},
		{`!has(json.amount) || json.amount < 500.0`, `{}`, yes},
		{`json.a.b.c == "x"`, `{"a": {"b": {"c": "x"}}}`, yes},
		{`json.items.all(i, i.price < 10.0)`, `{"items": [{"price": 1}, {"price": 9.5}]}`, yes},
		{`json.items.all(i, i.price < 10.0)`, `{"items": [{"price": 1}, {"price": 10.5}]}`, no},
		{`json.items.all(i, i.price < 10.0)`, `{"items": [{"price": 1}, {}]}`, unknown},
		{`json.items.all(i, i.price < 10.0)`, `{"items": [{}, {"price": 10.5}]}`, no}, // absorbed
		{`json.items[1].price == 2`, `{"items": [{"price": 1}, {"price": 2}]}`, yes},
		{`json.items[2].price == 2`, `{"items": []}`, unknown},
		{`size(json.items) <= 2`, `{"items": [1, 2, 3]}`, no},
		{`json.currency in ["usd", "eur"]`, `{"currency": "usd"}`, yes},
		{`json.ok == true`, `{"ok": true}`, yes},
		{`json == null`, `null`, yes},
		{`json["a-b"] == "\u00e9"`, `{"a-b": "\u00e9"}`, yes},
		{`type(json) == map`, `[{"amount": 1}]`, no},
		{`json.amount + 1 == 6`, `{"amount": 5}`, yes},
		{`json.amount + 1 == 6`, `{"amount": 9223372036854775807}`, unknown}, // overflows

		// Numbers are what was written, or nothing.
		{`json.n == 9007199254740993`, `{"n": 9007199254740993}`, yes},
		{`json.n == 9007199254740992`, `{"n": 9007199254740993}`, no},
		{`json.n == 9007199254740993`, `{"n": 9007199254740993.0}`, yes},
		{`json.n == 18446744073709551615u`, `{"n": 18446744073709551615}`, yes},
		{`json.n < 500.0`, `{"n": 18446744073709551616}`, unknown},
		{`json.n == 18446744073709551615u`, `{"n": 18446744073709551616}`, no},
		{`json.n <= 500.0`, `{"n": 500.00000000000000001}`, unknown},
		{`500.0 >= json.n`, `{"n": 500.00000000000000001}`, unknown},
		{`json.n == 500.0`, `{"n": 500.00000000000000001}`, no},
		{`json.n in [500.0]`, `{"n": 500.00000000000000001}`, no},
		{`json == {"n": 500.0}`, `{"n": 500.00000000000000001}`, no},
		{`json.n != 500.0`, `{"n": 500.00000000000000001}`, yes},
		{`double(json.n) <= 500.0`, `{"n": 500.00000000000000001}`, unknown},
		{`string(json.n) == "500"`, `{"n": 500.00000000000000001}`, unknown},
		{`json.n < 500.0`, `{"n": 499.99999999999999999999}`, unknown},
		{`json.n < 500.0`, `{"n": 1e300}`, unknown},
		{`json.n < 500.0`, `{"n": 1e-400}`, unknown},
		{`json.n < 500.0`, `{"n": 1e99999999999999999999}`, unknown},
		{`json.n < 500.0 || json.m == 1`, `{"n": 1e99999999999999999999, "m": 1}`, unknown}, // of all of it
		{`json.n == json.m`, `{"n": 1.00000000000000000001, "m": 10000000000000000000.11e-19}`, no},
		{`json.n == json.m`, `{"n": 1.00000000000000000001, "m": 100000000000000000001e-20}`, yes},
		{`json.n == 0`, `{"n": -0.0e5}`, yes},
		{`json.n == 0.1`, `{"n": 0.1}`, yes},
		{`json.n == 5e-324`, `{"n": 5e-324}`, yes},
		{`json.n == 100000000000000000`, `{"n": 1e17}`, yes},
		{`json.n < 0`, `{"n": -1e16}`, yes},

		// Two readings are none.
		{`json.amount < 500.0`, `{"amount": 5, "amount": 5000}`, unknown},
		{`json.amount < 500.0`, `{"amount": 5, "\u0061mount": 5000}`, unknown},
		{`json.amount < 500.0`, `{"amount": 5, "Amount": 5000}`, unknown},
		{`json.task < 500.0`, `{"task": 5, "ta\u017fk": 5000}`, unknown}, // long s
		{`json.amount < 500.0`, `{"amount": 5, "x": {"a": 1, "a": 2}}`, unknown},
		{`json.amount < 500.0`, `{"amount": 5} {"amount": 5000}`, unknown},
		{`json.amount < 500.0`, `{"amount": 5}]`, unknown},
		{`json.amount < 500.0`, "{\"amount\": 5}\x00", unknown},
		{`json.amount < 500.0`, "{\"amount\": 5}\n", yes},
		{`json.amount < 500.0`, "\xef\xbb\xbf{\"amount\": 5}", unknown},
		{`json.amount < 500.0`, "{\x00\"\x00a\x00m\x00o\x00u\x00n\x00t\x00\"\x00:\x005\x00}\x00", unknown},
		{`json.amount < 500.0`, "{\"amount\": 5, \"x\": \"\xff\"}", unknown},
		{`json.amount < 500.0`, `{"amount": 5, "x": "\ud800"}`, unknown},
		{`json.amount < 500.0`, `{"amount": 5, "x": NaN}`, unknown},
		{`json.amount < 500.0`, `{"amount": 5 /* 5000 */}`, unknown},
		{`json.amount < 500.0`, "{\"amount\": 5} // \n", unknown},
		{`json.amount < 500.0`, `{"amount": 5,}`, unknown},
		{`json.amount < 500.0`, `{'amount': 5}`, unknown},
		{`json.amount < 500.0`, `{"amount": 05}`, unknown},
		{`json.amount < 500.0`, `{"amount": +5}`, unknown},
		{`has(json.amount)`, nested(63), yes},
		{`has(json.amount)`, nested(64), unknown},
		{`size(json) == 99999`, "[" + strings.Repeat("0,", 99_998) + "0]", yes},
		{`size(json) == 100000`, "[" + strings.Repeat("0,", 99_999) + "0]", unknown},
	} {
		if got := ask(t, tt.expr, tt.body); got != tt.want {
			t.Errorf("%s of %.80q: %v, want %v", tt.expr, tt.body, got, tt.want)
		}
	}
}

// A body is JSON if it is said to be, once.
func TestJSONOfAnotherType(t *testing.T) {
	c := compile(t, "json.amount < 500.0")
	for _, tt := range []struct {
		header map[string][]string
		state  when.BodyState
		want   when.Outcome
	}{
		{map[string][]string{"Content-Type": {"application/json"}}, when.BodyWhole, yes},
		{map[string][]string{"content-type": {"Application/JSON; charset=UTF-8"}}, when.BodyWhole, yes},
		{map[string][]string{"Content-Type": {"application/vnd.api+json"}}, when.BodyWhole, yes},
		{map[string][]string{"Content-Type": {"application/json; charset=utf-16"}}, when.BodyWhole, unknown},
		{map[string][]string{"Content-Type": {"application/json", "text/plain"}}, when.BodyWhole, unknown},
		{map[string][]string{"Content-Type": {"application/json"}, "Content_Type": {"text/plain"}}, when.BodyWhole, unknown},
		{map[string][]string{"Content-Type": {"application/json, text/plain"}}, when.BodyWhole, unknown},
		{map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}}, when.BodyWhole, unknown},
		{map[string][]string{"Content-Type": {"text/plain"}}, when.BodyWhole, unknown},
		{nil, when.BodyWhole, unknown},
		{map[string][]string{"Content-Type": {"application/json"}}, when.BodyUnread, unknown},
		{map[string][]string{"Content-Type": {"application/json"}}, when.BodyTooLong, unknown},
		{map[string][]string{"Content-Type": {"application/json"}}, when.BodyCoded, unknown},
	} {
		in := &when.Input{Header: tt.header, Body: []byte(`{"amount": 5}`), BodyState: tt.state}
		if got := c.Eval(in); got != tt.want {
			t.Errorf("%v, state %d: %v, want %v", tt.header, tt.state, got, tt.want)
		}
	}
}

// Who writes the body does not choose how long an evaluation takes: it comes to
// an end, without an answer.
func TestEvalIsBounded(t *testing.T) {
	list := func(n int, element string) string { return "[" + strings.Repeat(element+",", n-1) + element + "]" }
	deep := "[" + list(300, `"0123456789"`) + "]"
	for _, tt := range []struct{ expr, body string }{
		{`json.all(x, json.all(y, x == y))`, list(10_000, "0")},
		{`json.all(x, json.all(y, json.all(z, x == z)))`, list(300, "0")},
		{`json.all(x, json.all(y, x == y))`, list(250, deep)},
		{`json.all(x, x in json)`, list(250, deep)},
		{`json.all(x, json == json)`, list(250, deep)},
		{`json.map(x, json.map(y, [x, y])).size() > 0`, list(1000, "0")},
		{`json.all(x, !json[0].contains(x + "b"))`, "[" + strings.Repeat(`"`+strings.Repeat("a", 10_000)+`",`, 40) + `""]`},
		{`json.all(x, !x.matches("^(a|b|ab)*c$"))`, list(200, `"`+strings.Repeat("ab", 2000)+`"`)},
	} {
		got := ask(t, tt.expr, tt.body)
		if got != unknown {
			t.Errorf("%s: %v, want unknown", tt.expr, got)
		}
	}
}

// An Input may be asked by several at once.
func TestInputAtOnce(t *testing.T) {
	var conditions []*when.Condition
	for _, expr := range []string{
		`query.limit == ["10"]`, `"accept" in headers`, `json.variables.id == 1`, `graphql.type == "query"`, `graphql.name == "A"`, `"viewer" in graphql.fields`,
	} {
		conditions = append(conditions, compile(t, expr))
	}
	in := request(`{"query": "query A { viewer }", "variables": {"id": 1}}`)
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			if c := conditions[i%len(conditions)]; c.Eval(in) != yes {
				t.Error("not true")
			}
		})
	}
	wg.Wait()
}

func TestZeroValues(t *testing.T) {
	var c *when.Condition
	if got := c.Eval(&when.Input{}); got != unknown {
		t.Errorf("nil Condition: %v", got)
	}
	if got := new(when.Condition).Eval(&when.Input{}); got != unknown {
		t.Errorf("zero Condition: %v", got)
	}
	if got := compile(t, "true").Eval(nil); got != unknown {
		t.Errorf("nil Input: %v", got)
	}
	if got := compile(t, `method == "" && path == "" && agent == "" && size(headers) == 0 && size(query) == 0`).Eval(&when.Input{}); got != yes {
		t.Errorf("zero Input: %v", got)
	}
	for o, want := range map[when.Outcome]string{unknown: "unknown", yes: "true", no: "false", 7: "unknown"} {
		if o.String() != want {
			t.Errorf("%d is called %s", o, o)
		}
	}
}

// A second type in an odd spelling is a second type.
func TestContentTypeInOddSpellings(t *testing.T) {
	c, err := when.Compile("json.a == 1.0")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]when.Outcome{
		"Content-Length-": when.True, "Contentxtype": when.True, "Content0Type": when.True,
		"content-type": when.Unknown, "Content_Type": when.Unknown, "Content.Type": when.Unknown, "CONTENT!TYPE": when.Unknown,
	} {
		in := &when.Input{Method: "POST", Path: "/", Body: []byte(`{"a": 1}`), BodyState: when.BodyWhole, Header: map[string][]string{"Content-Type": {"application/json"}, name: {"text/plain"}}}
		if got := c.Eval(in); got != want {
			t.Errorf("beside %s: %v, want %v", name, got, want)
		}
	}
}
