package when_test

import (
	"testing"

	"agentvault/policy/when"
)

func TestEval(t *testing.T) {
	for _, tt := range []struct {
		expr string
		body string
		want when.Outcome
	}{
		{`method == "POST"`, ``, when.True},
		{`json.amount < 500.0`, `{"amount": 499.99}`, when.True},
		{`json.amount < 500.0`, `{"amount": 500}`, when.False},
		{`json.amount < 500.0`, `{}`, when.Unknown},
		{`json.amount <= 500.0`, `{"amount": 500.00000000000000001}`, when.Unknown},
		{`json.id == 9007199254740993`, `{"id": 9007199254740993}`, when.True},
		{`json.id == 9007199254740992`, `{"id": 9007199254740993}`, when.False},
		{`json.amount < 500.0`, `{"amount": 5, "amount": 5000}`, when.Unknown},
		{`json.amount < 500.0`, `{"amount": 5, "Amount": 5000}`, when.Unknown},
		{`json.amount < 500.0 || method == "POST"`, `{`, when.True},
	} {
		c, err := when.Compile(tt.expr)
		if err != nil {
			t.Errorf("%s: %v", tt.expr, err)
			continue
		}
		in := &when.Input{Method: "POST", Path: "/v1/charges", Body: []byte(tt.body), BodyState: when.BodyWhole}
		if got := c.Eval(in); got != tt.want {
			t.Errorf("%s of %s: %v, want %v", tt.expr, tt.body, got, tt.want)
		}
	}
}
