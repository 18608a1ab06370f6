package when_test

import (
	"testing"
	"time"

	"agentvault/policy/when"
)

// What agents send most: BenchmarkEval makes a new Input for each request.
func request(body string) *when.Input {
	state := when.BodyUnread
	if body != "" {
		state = when.BodyWhole
	}
	return &when.Input{
		Method: "POST", Path: "/v1/charges", RawQuery: "expand=customer&limit=10", Agent: "billing",
		Header: map[string][]string{
			"Accept": {"application/json"}, "Content-Type": {"application/json"}, "User-Agent": {"agent/1.0"},
			"Authorization": {"Bearer x"}, "Accept-Encoding": {"gzip"}, "X-Request-Id": {"1"}, "Content-Length": {"40"}, "Idempotency-Key": {"k"},
		},
		Now:  time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC).UnixNano(),
		Body: []byte(body), BodyState: state,
	}
}

func preset(t testing.TB, name string) string {
	t.Helper()
	expr, err := when.Preset(name)
	if err != nil {
		t.Fatal(err)
	}
	return expr
}

func compile(t testing.TB, expr string) *when.Condition {
	t.Helper()
	c, err := when.Compile(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return c
}

func BenchmarkEval(b *testing.B) {
	for _, bb := range []struct{ name, expr, body string }{
		{"method", `method == "POST"`, ""},
		{"path", `method in ["GET", "POST"] && path.startsWith("/v1/charges")`, ""},
		{"regexp", `path.matches("^/v1/charges(/[0-9]+)?$")`, ""},
		{"query", `query.limit == ["10"]`, ""},
		{"headers", `"idempotency-key" in headers`, ""},
		{"read-only", preset(b, "read-only"), ""},
		{"business-hours", preset(b, "business-hours"), ""},
		{"business-hours in Berlin", preset(b, "business-hours Europe/Berlin"), ""},
		{"json", `json.amount < 500.0 && json.currency == "usd"`, `{"amount": 499.99, "currency": "usd", "customer": "cus_1"}`},
		{"graphql", `graphql.type == "query" && graphql.fields.all(f, f in ["viewer", "user"])`,
			`{"query": "query Q($id: ID!) { viewer { login } u: user(id: $id) { name ...F } } fragment F on User { email }", "operationName": "Q", "variables": {"id": 1}}`},
	} {
		b.Run(bb.name, func(b *testing.B) {
			c := compile(b, bb.expr)
			header := request("").Header
			b.ReportAllocs()
			for b.Loop() {
				in := &when.Input{Method: "POST", Path: "/v1/charges", RawQuery: "expand=customer&limit=10", Agent: "billing", Header: header, Now: 1795780800e9}
				if bb.body != "" {
					in.Body, in.BodyState = []byte(bb.body), when.BodyWhole
				}
				c.Eval(in)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		compile(b, `method == "POST" && json.amount < 500.0 && json.currency in ["usd", "eur"]`)
	}
}
