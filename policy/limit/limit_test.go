package limit_test

import (
	"encoding/json"
	"slices"
	"testing"

	"agentvault/policy"
	"agentvault/policy/limit"
)

func all(t *testing.T, service string) (own []limit.Limit, byRule [][]limit.Limit, err error) {
	t.Helper()
	var s struct {
		Limits []policy.Limit
		Rules  []policy.Rule
	}
	if err := json.Unmarshal([]byte(service), &s); err != nil {
		t.Fatal(err)
	}
	return limit.All(s.Limits, s.Rules)
}

func TestAll(t *testing.T) {
	own, byRule, err := all(t, `{"limits": [
		{"requests": 100, "window": "1m"}, {"concurrent": 4, "per": "agent"}, {"request_bytes": 1000, "window": "1h30m"},
		{"response_bytes": 2000, "window": "24h", "per": "service"}, {"uses": 5}, {"budget": "500.00", "field": "amount", "window": "24h", "settle": "charge.total"}],
		"rules": [{"methods": ["GET"]}, {"limits": [{"budget": "0.5", "field": "amount", "name": "refunds", "window": "1m", "per": "agent"}, {"uses": 1, "name": "once"}]}]}`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"100 requests in 1m", "4 requests of each agent at once", "1000 bytes of requests' bodies in 1h30m", "2000 bytes of answers' bodies in 24h",
		"5 uses", "500.00 of amount in 24h", "0.50 of amount of each agent in 1m", "1 uses",
	}
	names := []string{"", "", "", "", "uses", "amount", "refunds", "once"}
	if len(byRule) != 2 || byRule[0] != nil {
		t.Fatalf("limits by rule: %v", byRule)
	}
	for i, l := range append(own, byRule[1]...) {
		if l.String() != want[i] || l.Name != names[i] {
			t.Errorf("%d: %s, %q; want %s, %q", i, l, l.Name, want[i], names[i])
		}
	}
}

// What people decide on says all that limits differ by.
func TestWords(t *testing.T) {
	list := []policy.Limit{
		{Requests: 5, Window: "1m"}, {Uses: 5, Name: "once"}, {},
		{Budget: "500", Field: "amount", Window: "24h"}, {Budget: "500", Field: "amount", Window: "24h", Name: "again", Settle: "charge.total"},
	}
	want := []string{
		"5 requests in 1m", "5 uses (counted as once)",
		"what cannot be understood: it sets one of requests, concurrent, request_bytes, response_bytes, uses and budget to more than 0",
		"500.00 of amount in 24h", "500.00 of amount in 24h (counted as again, settled by charge.total of the answer)",
	}
	if got := limit.Words(list); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBadLimits(t *testing.T) {
	const one = "limits[0]: it sets one of requests, concurrent, request_bytes, response_bytes, uses and budget, and not "
	for list, want := range map[string]string{
		`{}`:              "limits[0]: it sets one of requests, concurrent, request_bytes, response_bytes, uses and budget to more than 0",
		`{"requests": 0}`: "limits[0]: it sets one of requests, concurrent, request_bytes, response_bytes, uses and budget to more than 0",
		`{"requests": 1, "uses": 1, "window": "1m"}`:                               one + "2 of them",
		`{"requests": -1, "window": "1m"}`:                                         "limits[0]: requests: it is from 1 to 100000",
		`{"requests": 100001, "window": "1m"}`:                                     "limits[0]: requests: it is from 1 to 100000",
		`{"uses": 1000001}`:                                                        "limits[0]: uses: it is from 1 to 1000000",
		`{"requests": 1}`:                                                          "limits[0]: window: requests needs one from 1s to 744h in whole seconds, as in 1h30m",
		`{"requests": 1, "window": "500ms"}`:                                       "limits[0]: window: requests needs one from 1s to 744h in whole seconds, as in 1h30m",
		`{"requests": 1, "window": "1d"}`:                                          "limits[0]: window: requests needs one from 1s to 744h in whole seconds, as in 1h30m",
		`{"budget": "5", "field": "a", "window": "59s"}`:                           "limits[0]: window: budget needs one from 1m to 744h in whole seconds, as in 1h30m",
		`{"budget": "5", "field": "a", "window": "745h"}`:                          "limits[0]: window: budget needs one from 1m to 744h in whole seconds, as in 1h30m",
		`{"concurrent": 1, "window": "1m"}`:                                        "limits[0]: window: concurrent has none",
		`{"uses": 1, "window": "1m"}`:                                              "limits[0]: window: uses has none",
		`{"uses": 1, "per": "session"}`:                                            `limits[0]: per: "session" is neither service nor agent; leave it out for service`,
		`{"budget": "-5", "field": "a", "window": "1m"}`:                           "limits[0]: budget: it is an amount like 500.00: more than nothing, of at most 15 digits, 6 of them behind the point",
		`{"budget": "0", "field": "a", "window": "1m"}`:                            "limits[0]: budget: it is an amount like 500.00: more than nothing, of at most 15 digits, 6 of them behind the point",
		`{"budget": "1e3", "field": "a", "window": "1m"}`:                          "limits[0]: budget: it is an amount like 500.00: more than nothing, of at most 15 digits, 6 of them behind the point",
		`{"budget": "5", "window": "1m"}`:                                          "limits[0]: field: it names a field of JSON, as in amount or order.total, of letters, digits, - and _",
		`{"budget": "5", "window": "1m", "field": "a..b"}`:                         "limits[0]: field: it names a field of JSON, as in amount or order.total, of letters, digits, - and _",
		`{"budget": "5", "window": "1m", "field": "$.a"}`:                          "limits[0]: field: it names a field of JSON, as in amount or order.total, of letters, digits, - and _",
		`{"budget": "5", "window": "1m", "field": "a.b.c.d.e.f.g.h.i.j.k"}`:        "limits[0]: field: at most 200 bytes and 10 names",
		`{"budget": "5", "window": "1m", "field": "a", "settle": "b[0]"}`:          "limits[0]: settle: it names a field of JSON, as in amount or order.total, of letters, digits, - and _",
		`{"uses": 5, "field": "a"}`:                                                "limits[0]: field and settle belong to a budget",
		`{"requests": 5, "window": "1m", "name": "x"}`:                             "limits[0]: name: only budgets and uses have one",
		`{"uses": 5, "name": "A B"}`:                                               "limits[0]: name: it has 1 to 64 characters of a-z, 0-9, point, - and _, and begins with a letter or a digit",
		`{"uses": 5}, {"uses": 6}`:                                                 `limits[1]: there is another one of the name "uses"; give this one a name of its own`,
		`{"uses": 5}], "rules": [{}, {"limits": [{"uses": 6}]`:                     "",
		`{"uses": 5}], "rules": [{"action": "deny", "limits": [{"concurrent": 6}]`: "",
	} {
		end := "]}"
		switch list {
		case `{"uses": 5}], "rules": [{}, {"limits": [{"uses": 6}]`:
			end, want = "}]}", `rules[1].limits[0]: there is another one of the name "uses"; give this one a name of its own`
		case `{"uses": 5}], "rules": [{"action": "deny", "limits": [{"concurrent": 6}]`:
			end, want = "}]}", "rules[0].limits: a rule that denies lets nothing through that could be limited"
		}
		_, _, err := all(t, `{"limits": [`+list+end)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v; want %s", list, err, want)
		}
	}
	many := `{"concurrent": 1}`
	for range limit.MaxLimits {
		many += `, {"concurrent": 1}`
	}
	if _, _, err := all(t, `{"limits": [`+many+`]}`); err == nil || err.Error() != "limits[20]: a service and its rules have at most 20 limits" {
		t.Errorf("too many: %v", err)
	}
}
