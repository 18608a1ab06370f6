package when_test

import (
	"fmt"
	"strings"
	"testing"

	"agentvault/policy/when"
)

// asked tells what a request asks of a GraphQL server, by expressions alone.
func asked(t *testing.T, in *when.Input) string {
	t.Helper()
	typ := "unknown"
	for _, c := range []string{"none", "query", "mutation", "subscription"} {
		switch got := compile(t, fmt.Sprintf("graphql.type == %q", c)).Eval(in); {
		case got == when.Unknown && typ != "unknown", got == when.True && typ != "unknown":
			t.Errorf("two types")
		case got == when.True:
			typ = c
		}
	}
	return typ
}

func posted(media, query, body string) *when.Input {
	in := &when.Input{Method: "POST", Path: "/graphql", RawQuery: query, Body: []byte(body), BodyState: when.BodyWhole}
	if media != "" {
		in.Header = map[string][]string{"Content-Type": {media}}
	}
	return in
}

const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

func TestGraphQLType(t *testing.T) {
	for _, tt := range []struct{ media, query, body, want string }{
		// What servers read.
		{jsonType, "", `{"query": "{ a }"}`, "query"},
		{jsonType, "", `{"query": "query A { a }", "operationName": "A", "variables": {"x": 1}}`, "query"},
		{jsonType, "", `{"query": "mutation { a }", "operationName": null, "variables": null}`, "mutation"},
		{jsonType, "", `{"query": "subscription { a }", "operationName": ""}`, "subscription"},
		{"application/graphql+json", "", `{"query": "{ a }"}`, "query"},
		{jsonType, "", `{"query": "# mutation { a }\nquery { a }"}`, "query"},
		{jsonType, "", `{"query": "query { a(x: \"mutation { b }\") }"}`, "query"},
		{jsonType, "", `{"query": "query { a(x: \"\"\"mutation { \\\"\"\" b }\"\"\") }"}`, "query"},
		{jsonType, "", `{"query": "query { mutation }"}`, "query"},
		{jsonType, "", `{"query": "\ufeff{ a }"}`, "query"},
		{jsonType, "", `{"query": "{ a }", "extensions": {"tracing": 1}}`, "query"},
		{"application/graphql", "", `mutation { a }`, "mutation"},
		{"application/graphql", "", `{ a }`, "query"},
		{formType, "", "query=%7B+a+%7D&operationName=", "query"},
		{formType, "", "query=mutation+%7B+a+%7D", "mutation"},
		{"", "query=%7Ba%7D", "", "query"},
		{"", "query=mutation%7Ba%7D", "", "mutation"},
		{"", "query=query+A%7Ba%7Dmutation+B%7Bb%7D&operationName=B", "", "mutation"},
		{jsonType, "operationName=A", `{"query": "query A { a }", "operationName": "A"}`, "query"},

		// Several operations: the named one runs, else they agree.
		{jsonType, "", `{"query": "query A { a } mutation B { b }", "operationName": "A"}`, "query"},
		{jsonType, "", `{"query": "query A { a } mutation B { b }", "operationName": "B"}`, "mutation"},
		{jsonType, "", `{"query": "query A { a } mutation B { b }"}`, "unknown"},
		{jsonType, "", `{"query": "query A { a } mutation B { b }", "operationName": ""}`, "unknown"},
		{jsonType, "", `{"query": "query A { a } mutation B { b }", "operationName": "C"}`, "unknown"},
		{jsonType, "", `{"query": "query A { a } mutation B { b }", "operationName": ["A"]}`, "unknown"},
		{jsonType, "", `{"query": "query A { a } query B { b }"}`, "query"},
		{jsonType, "", `{"query": "query A { a } mutation A { b }", "operationName": "A"}`, "unknown"},
		{jsonType, "", `{"query": "{ a } mutation B { b }"}`, "unknown"},
		{jsonType, "", `{"query": "{ a }", "operationName": "A"}`, "unknown"},

		// Batches.
		{jsonType, "", `[{"query": "{ a }"}, {"query": "query B { b }"}]`, "query"},
		{jsonType, "", `[{"query": "{ a }"}, {"query": "mutation { b }"}]`, "unknown"},
		{jsonType, "", `[{"query": "mutation { a }"}, {"query": "mutation { b }"}]`, "mutation"},
		{jsonType, "", `[{"query": "{ a }"}, {"amount": 1}]`, "unknown"},
		{jsonType, "", `[{"query": "{ a }"}, 1]`, "unknown"},
		{jsonType, "", "[" + strings.Repeat(`{"query": "{ a }"},`, 99) + `{"query": "{ a }"}]`, "query"},
		{jsonType, "", "[" + strings.Repeat(`{"query": "{ a }"},`, 100) + `{"query": "{ a }"}]`, "unknown"},

		// Nothing of GraphQL.
		{jsonType, "", `{"amount": 1}`, "none"},
		{jsonType, "", `{"query": "shoes", "id": 1}`, "none"},
		{jsonType, "", `{"query": {"match": {"a": "mutation { b }"}}}`, "none"},
		{jsonType, "", `[]`, "none"},
		{jsonType, "", `[1, {"a": 2}]`, "none"},
		{jsonType, "", `"mutation { a }"`, "none"},
		{jsonType, "", ``, "none"},
		{"", "", ``, "none"},
		{"", "query=shoes&page=2", ``, "none"},
		{formType, "", "amount=1&currency=usd", "none"},
		{"image/png", "", "\x89PNG\r\n\x1a\n{", "none"},
		{"text/plain", "", "hello {", "none"},

		// A document that is named, not sent.
		{jsonType, "", `{"extensions": {"persistedQuery": {"version": 1, "sha256Hash": "ab"}}}`, "unknown"},
		{jsonType, "", `{"query": "{ a }", "extensions": {"persistedQuery": {"sha256Hash": "ab"}}}`, "unknown"},
		{jsonType, "", `{"query": "{ a }", "extensions": {"PersistedQuery": {"sha256Hash": "ab"}}}`, "unknown"},
		{jsonType, "", `{"documentId": "ab"}`, "unknown"},
		{jsonType, "", `{"doc_id": "ab", "variables": {}}`, "unknown"},
		{jsonType, "", `{"id": "ab", "variables": {}}`, "unknown"},
		{jsonType, "", `{"id": "ab", "query": "{ a }"}`, "unknown"},
		{jsonType, "", `{"operationName": "B"}`, "unknown"},
		{"", `extensions={"persistedQuery":{}}`, "", "unknown"},
		{"", `query={a}&extensions={"\u0070ersistedQuery":{}}`, "", "unknown"},
		{"", `query={a}&extensions={`, "", "unknown"},

		// Two places, of which servers prefer either.
		{jsonType, "query={a}", `{"query": "mutation { b }"}`, "unknown"},
		{jsonType, "query={a}", `{"query": "{ a }"}`, "unknown"},
		{jsonType, "query=mutation{a}", `{"query": "{ a }"}`, "unknown"},
		{jsonType, "query={a}", `{"variables": {}}`, "unknown"},
		{jsonType, "operationName=B", `{"query": "query A { a } mutation B { b }", "operationName": "A"}`, "unknown"},
		{jsonType, "operationName=B", `{"query": "query A { a } mutation B { b }"}`, "unknown"},
		{"application/graphql", "operationName=A", "query A { a } mutation B { b }", "unknown"},
		{jsonType, "variables={}", `{"query": "{ a }"}`, "unknown"},
		{jsonType, "id=1", `{"query": "{ a }"}`, "unknown"},
		{"", "query={a}&query=mutation{b}", "", "unknown"},
		{"", "query=mutation{b}&query={a}", "", "unknown"},
		{formType, "", "query={a}&query=mutation{b}", "unknown"},
		{"", "query=shoes&query=mutation{b}", "", "unknown"},
		{"", "query={a};query=mutation{b}", "", "unknown"},
		{"", "a=1;query=mutation{b}", "", "unknown"},

		// Names that some servers take for others.
		{jsonType, "", `{"query": "{ a }", "query": "mutation { b }"}`, "unknown"},
		{jsonType, "", `{"query": "{ a }", "Query": "mutation { b }"}`, "unknown"},
		{jsonType, "", `{"query": "{ a }", "\u0071uery": "mutation { b }"}`, "unknown"},
		{jsonType, "", `{"Query": "mutation { b }"}`, "unknown"},
		{jsonType, "", `{"query": "query A { a } mutation B { b }", "OperationName": "B"}`, "unknown"},
		{"", "Query=mutation{b}", "", "unknown"},
		{"", "+query=mutation{b}", "", "unknown"},
		{"", "query%5B%5D=mutation{b}", "", "unknown"},
		{"", "query%00x=mutation{b}", "", "unknown"},

		// Bodies that are not what they are said to be.
		{formType, "", `{"query": "mutation { b }"}`, "unknown"},
		{"text/plain", "", `{"query": "mutation { b }"}`, "unknown"},
		{"text/plain", "", "\xef\xbb\xbf \n[{\"query\": \"mutation { b }\"}]", "unknown"},
		{"application/octet-stream", "", "\xff\xfe{\x00\"\x00q\x00", "unknown"},
		{"application/octet-stream", "", "\xfe\xff\x00{\x00\"\x00q", "unknown"},
		{"application/octet-stream", "", "\x00{\x00\"\x00q", "unknown"},
		{"", "", `{"query": "mutation { b }"}`, "unknown"},
		{"application/json; charset=utf-16", "", `{"query": "{ b }"}`, "unknown"},
		{"application/json; charset=utf-7", "", `{"query": "{ b }"}`, "unknown"},
		{"application/json, text/plain", "", `{"query": "{ b }"}`, "unknown"},
		{"application/graphql", "", `{"query": "{ b }"}`, "unknown"},
		{"application/graphql", "", "\xff\xfe{\x00a\x00}\x00", "unknown"},
		{jsonType, "", "\xef\xbb\xbf{\"query\": \"{ a }\"}", "unknown"},
		{jsonType, "", `query=mutation{a}`, "unknown"},
		{"multipart/form-data; boundary=x", "", "--x\r\nContent-Disposition: form-data; name=\"operations\"\r\n\r\n{}\r\n--x--", "unknown"},
		{"multipart/x-mixed", "", "--x--", "unknown"},
		{"application/graphql+-", "", "mutation { a }", "unknown"},
		{"multipart/form-data", "", "", "none"},
		{formType, "", "operations=%7B%7D&map=%7B%7D", "unknown"},
		{formType, "", "oper%61tions=%7B%7D", "unknown"},
		{formType, "", "a=%", "unknown"},

		// Documents with two readings, or none.
		{jsonType, "", `{"query": "{ a"}`, "unknown"},
		{jsonType, "", `{"query": "{ }"}`, "unknown"},
		{jsonType, "", `{"query": "type A { a: Int }"}`, "unknown"},
		{jsonType, "", `{"query": "query { a } type A { a: Int }"}`, "unknown"},
		{jsonType, "", `{"query": "fragment F on Query { a }"}`, "unknown"},
		{jsonType, "", `{"query": "MUTATION { a }"}`, "unknown"},
		{jsonType, "", `{"query": "query{a}#\r\"\"\"\nmutation{b}#\r\"\"\"\nquery{a}"}`, "unknown"},
		{jsonType, "", `{"query": "query{a}#\u2028mutation{b}"}`, "unknown"},
		{jsonType, "", `{"query": "query{a}#\u0085mutation{b}"}`, "unknown"},
		{jsonType, "", `{"query": "query{a}#\u0000\nmutation{b}"}`, "unknown"},
		{jsonType, "", `{"query": "query{a}\u0000mutation{b}"}`, "unknown"},
		{jsonType, "", `{"query": "{ ` + strings.Repeat("a ", 10_000) + `}"}`, "unknown"},
		{jsonType, "", `{"query": "` + strings.Repeat("{a", 2000) + strings.Repeat("}", 2000) + `"}`, "unknown"},
	} {
		if got := asked(t, posted(tt.media, tt.query, tt.body)); got != tt.want {
			t.Errorf("%s ?%s %.100q: %s, want %s", tt.media, tt.query, tt.body, got, tt.want)
		}
	}
}

func TestGraphQLBodyState(t *testing.T) {
	for _, s := range []when.BodyState{when.BodyUnread, when.BodyTooLong, when.BodyCoded} {
		in := posted(jsonType, "query={a}", "")
		in.Method, in.BodyState = "GET", s
		if got := asked(t, in); got != "unknown" {
			t.Errorf("state %d: %s", s, got)
		}
	}
}

// Aliases and fragments are resolved.
func TestGraphQLFields(t *testing.T) {
	for document, want := range map[string]string{
		`{ a b }`:         `["a", "b"]`,
		`{ x: a y: a b }`: `["a", "b"]`,
		`query { safe: deleteAll(x: 1) @include(if: false) { id } }`:                              `["deleteAll"]`,
		`{ ...F } fragment F on Query { a x: b ...G } fragment G on Query { c { d } }`:            `["a", "b", "c"]`,
		`{ ... on Query { a } ... @include(if: true) { b ... { c } } }`:                           `["a", "b", "c"]`,
		`{ ...F ...F a } fragment F on Query { b ...F }`:                                          `["b", "a"]`,
		`{ a } fragment F on Mutation { b }`:                                                      `["a"]`,
		`query A { a } query B { b }`:                                                             `["a", "b"]`,
		`query ($x: [Int!]! = [1] @d) { a(x: $x, y: {z: [1, E, null, 1.5e3]}) { b } __typename }`: `["a", "__typename"]`,
	} {
		in := posted("application/graphql", "", document)
		if got := compile(t, "graphql.fields == "+want).Eval(in); got != yes {
			t.Errorf("%s: fields == %s is %v", document, want, got)
		}
	}
	for _, document := range []string{`{ ...F }`, `{ ...F } fragment F on Q { a } fragment F on Q { b }`, `{ a ... on Q { ...G } }`} {
		in := posted("application/graphql", "", document)
		if got := compile(t, `size(graphql.fields) >= 0`).Eval(in); got != unknown {
			t.Errorf("%s: %v, want unknown", document, got)
		}
	}
}

func TestGraphQLName(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"query": "query A { a }"}`, "A"},
		{`{"query": "query A { a } query B { b }", "operationName": "B"}`, "B"},
		{`{"query": "query A { a } query B { b }"}`, ""},
		{`{"query": "{ a }"}`, ""},
		{`[{"query": "query A { a }"}, {"query": "query A { b }"}]`, "A"},
		{`[{"query": "query A { a }"}, {"query": "query B { b }"}]`, ""},
	} {
		if got := compile(t, fmt.Sprintf("graphql.name == %q", tt.want)).Eval(posted(jsonType, "", tt.body)); got != yes {
			t.Errorf("%s: name == %q is %v", tt.body, tt.want, got)
		}
	}
	// Of what is no GraphQL neither names nor fields are told: of no field
	// everything would hold.
	for _, expr := range []string{`graphql.name == ""`, `graphql.fields.all(f, f == "viewer")`} {
		if got := compile(t, expr).Eval(posted(jsonType, "", `{"amount": 1}`)); got != unknown {
			t.Errorf("%s: %v, want unknown", expr, got)
		}
	}
}
