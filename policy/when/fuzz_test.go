package when_test

import (
	"math/big"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentvault/policy/when"
)

// bound is generous: fuzzing shares its cores with others.
const bound = 30 * time.Second

// FuzzCompile: a condition compiles or has an error of one line, in bounded
// time, and one that needs no body has the same answer whatever it is.
func FuzzCompile(f *testing.F) {
	for _, expr := range []string{
		`method == "GET" && path.startsWith("/v1")`, `json.amount < 500.0`, `graphql.type == "query"`, `now.getHours("Europe/Berlin") > 8`,
		`query.a == ["1"] || "x" in headers`, `json.items.all(i, i.price < 10.0)`, `path.matches("^/v[0-9]+/")`, `method ==`, `[1, 2].exists(x, x == 2)`,
		`{"a": 1}.a == 1`, `duration("1h") < duration("2h")`, `type(json) == map`, `has(query.x) ? true : false`, "\xff", `b'\xff' == b''`, `9223372036854775808 == 1`,
	} {
		f.Add(expr)
	}
	f.Fuzz(func(t *testing.T, expr string) {
		begun := time.Now()
		c, err := when.Compile(expr)
		if err != nil {
			if err.Error() == "" || c != nil {
				t.Errorf("%q: %v, %v", expr, c, err)
			}
		} else {
			unread := c.Eval(request(""))
			in := request(`{"amount": 5}`)
			in.Header["Content-Type"] = []string{"application/json"}
			if whole := c.Eval(in); unread != whole && !c.NeedsBody() {
				t.Errorf("%q needs no body, and is %v without and %v with one", expr, unread, whole)
			} else if unread != whole && unread != when.Unknown {
				t.Errorf("%q was %v before the body was read, and then %v", expr, unread, whole)
			}
		}
		if took := time.Since(begun); took > bound {
			t.Errorf("%q took %v", expr, took)
		}
	})
}

// FuzzEval: whatever a request says, an evaluation ends in bounded time, comes
// to the same answer twice and to the opposite of the opposite's.
func FuzzEval(f *testing.F) {
	f.Add("POST", "/v1", "a=1&b=2", "application/json", []byte(`{"amount": 499.99, "items": [{"a": 1}, "x", null]}`))
	f.Add("GET", "/", "query={a}", "", []byte(nil))
	f.Add("POST", "/graphql", "", "application/graphql", []byte(`query A { a }`))
	f.Add("POST", "/graphql", "operationName=A", "application/x-www-form-urlencoded", []byte(`query=mutation+A{a}`))
	f.Add("PUT", "/%2e", ";", "application/json;charset=utf-8", []byte(`[[[1e400, -0, 18446744073709551616]]]`))
	var pairs [][2]*when.Condition
	for _, expr := range []string{
		`json.amount < 500.0`, `json.items.all(i, json.items.exists(j, i == j))`, `json == json`, `json.a == json.b`, `size(json) > 1`,
		`query.all(n, size(query[n]) == 1)`, `headers.exists(n, n.contains("type"))`, `graphql.type == "query"`, `"a" in graphql.fields`,
		preset(f, "read-only"), preset(f, "no-delete"), preset(f, "business-hours America/New_York"), `json.map(x, [x]).size() > 2`, `path < json.path`,
	} {
		pairs = append(pairs, [2]*when.Condition{compile(f, expr), compile(f, "!("+expr+")")})
	}
	opposite := map[when.Outcome]when.Outcome{yes: no, no: yes, unknown: unknown}
	f.Fuzz(func(t *testing.T, method, path, query, media string, body []byte) {
		in := &when.Input{Method: method, Path: path, RawQuery: query, Header: map[string][]string{"Content-Type": {media}}, Body: body, BodyState: when.BodyWhole}
		begun := time.Now()
		for i, pair := range pairs {
			got := pair[0].Eval(in)
			if again := pair[0].Eval(in); again != got {
				t.Errorf("condition %d is %v and then %v", i, got, again)
			}
			if other := pair[1].Eval(in); other != opposite[got] {
				t.Errorf("condition %d is %v, and its opposite %v", i, got, other)
			}
		}
		if took := time.Since(begun); took > bound {
			t.Errorf("took %v", took)
		}
	})
}

// FuzzNumbers: what is said of a number holds of its decimal, to the last digit.
func FuzzNumbers(f *testing.F) {
	for _, n := range []string{"0", "-0", "500", "499.99", "500.00000000000000001", "5e2", "1e300", "9007199254740993", "9007199254740992.5", "18446744073709551616", "-1e-7", "0.1"} {
		f.Add(n)
	}
	bounds := []string{"500.0", "500", "0.1", "-1e-7", "9007199254740993", "18446744073709551615u", "0"}
	f.Fuzz(func(t *testing.T, raw string) {
		_, exp, _ := strings.Cut(strings.ToLower(raw), "e")
		if e, err := strconv.Atoi(exp); exp != "" && (err != nil || e > 1000 || e < -1000) {
			return // too long for big.Rat
		}
		n, ok := new(big.Rat).SetString(raw)
		if !ok || ask(t, `has(json.n)`, `{"n": `+raw+`}`) != yes {
			return
		}
		for _, b := range bounds {
			limit, _ := new(big.Rat).SetString(strings.TrimSuffix(b, "u"))
			for op, holds := range map[string]bool{"<": n.Cmp(limit) < 0, "<=": n.Cmp(limit) <= 0, "==": n.Cmp(limit) == 0, "!=": n.Cmp(limit) != 0, ">": n.Cmp(limit) > 0} {
				got := ask(t, "json.n "+op+" "+b, `{"n": `+raw+`}`)
				if got == yes && !holds || got == no && holds {
					t.Errorf("%s %s %s is %v", raw, op, b, got)
				}
			}
		}
	})
}

// FuzzGraphQL: a document of which a mutation could run is never called a
// query, as told by a reader that shares nothing with the parser; nor is one to
// which a mutation was added.
func FuzzGraphQL(f *testing.F) {
	for _, d := range []string{
		`{ a }`, `query A { a } mutation B { b }`, `mutation { a }`, `query A($x: Int = 1) @d { a(x: "}") { b } }`, "# x\nquery{a}#\r\"\"\"\nmutation{b}#\r\"\"\"\nquery{a}",
		`"""d""" query A { a }`, `query A { ...F } fragment F on Q { a }`, `query { a(x: """ \""" } mutation { b } """) }`, "\ufeff{a},,", `subscription S { s }`, `{ a(x: "\"") } mutation { b }`,
	} {
		f.Add(d, "")
		f.Add(d, "A")
	}
	isQuery, isMutation := compile(f, `graphql.type == "query"`), compile(f, `graphql.type == "mutation"`)
	read := func(document, name string) *when.Input {
		return posted(formType, "", url.Values{"query": {document}, "operationName": {name}}.Encode())
	}
	f.Fuzz(func(t *testing.T, document, name string) {
		in := read(document, name)
		query := isQuery.Eval(in) == yes
		if query && isMutation.Eval(in) != no {
			t.Errorf("%q is two things", document)
		}
		if !query {
			return
		}
		for _, o := range operations(document) {
			if o[0] != "query" && (name == "" || o[1] == name) {
				t.Errorf("%q with the name %q is called a query, and %v could run", document, name, o)
			}
		}
		for _, more := range []string{document + "\nmutation " + name + " { m }", "mutation " + name + " { m } " + document} {
			if isQuery.Eval(read(more, name)) == yes {
				t.Errorf("%q with the name %q is called a query", more, name)
			}
		}
	})
}

// operations returns keyword and name of the operations in a document, by the
// words that stand outside of all brackets.
func operations(document string) (found [][2]string) {
	var outside []string
	depth := 0
	for rest := document; rest != ""; {
		token := nextToken(rest)
		rest = rest[len(token):]
		switch {
		case strings.ContainsAny(token[:1], "{(["):
			if depth++; depth == 1 {
				outside = append(outside, token)
			}
		case strings.ContainsAny(token[:1], "})]"):
			depth--
		case depth == 0 && strings.Trim(token, letters) == "":
			outside = append(outside, token)
		}
	}
	for i, word := range outside {
		if word != "query" && word != "mutation" && word != "subscription" || i > 0 && outside[i-1] != "{" && strings.Trim(outside[i-1], letters) == "" {
			continue // a name, of an operation or type
		}
		name := ""
		if i+1 < len(outside) && strings.Trim(outside[i+1], letters) == "" {
			name = outside[i+1]
		}
		found = append(found, [2]string{word, name})
	}
	return found
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789"

// nextToken cuts off a comment, a string, a word or one byte.
func nextToken(s string) string {
	end := func(from int, stop string) string {
		if i := strings.Index(s[from:], stop); i >= 0 {
			return s[:from+i+len(stop)]
		}
		return s
	}
	switch {
	case s[0] == '#':
		return end(0, "\n")
	case strings.HasPrefix(s, `"""`):
		for i := 3; i < len(s); i++ {
			if strings.HasPrefix(s[i:], `\"""`) {
				i += 3
			} else if strings.HasPrefix(s[i:], `"""`) {
				return s[:i+3]
			}
		}
		return s
	case s[0] == '"':
		for i := 1; i < len(s); i++ {
			if s[i] == '\\' {
				i++
			} else if s[i] == '"' {
				return s[:i+1]
			}
		}
		return s
	}
	if n := len(s) - len(strings.TrimLeft(s, letters)); n > 0 {
		return s[:n]
	}
	return s[:1]
}
