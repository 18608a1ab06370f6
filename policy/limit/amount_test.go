package limit_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"agentvault/policy/limit"
)

func TestReadAmount(t *testing.T) {
	long := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	for _, c := range []struct {
		field, body string
		want        int64
		err         string
	}{
		{"amount", `{"amount": 12.5}`, 12_500_000, ""},
		{"amount", ` {"x": [1, {"amount": 9}], "amount": 0.000001, "y": "amount"} `, 1, ""},
		{"amount", `{"amount": 0}`, 0, ""},
		{"amount", `{"amount": 1.50000000}`, 1_500_000, ""},
		{"amount", `{"amount": 999999999999}`, 999_999_999_999_000_000, ""},
		{"amount", `{"\u0061mount": 7}`, 7_000_000, ""},
		{"order.total", `{"order": {"total": 3, "tax": 1}, "total": 4}`, 3_000_000, ""},

		{"amount", ``, 0, "there is no body"},
		{"amount", " \n", 0, "there is no body"},
		{"amount", `amount=5`, 0, "the body is not JSON"},
		{"amount", `{"amount": 5} {"amount": 6}`, 0, "the body is not JSON"},
		{"amount", `{"amount": 5,}`, 0, "the body is not JSON"},
		{"amount", "\ufeff" + `{"amount": 5}`, 0, "the body is not JSON"},
		{"amount", "{\"amount\": 5, \"a\xff\": 1}", 0, "the body is not JSON"},
		{"amount", `{"amount": NaN}`, 0, "the body is not JSON"},
		{"amount", `{"amount": +5}`, 0, "the body is not JSON"},
		{"amount", `{"amount": 05}`, 0, "the body is not JSON"},
		{"amount", `{"amount": 0x10}`, 0, "the body is not JSON"},
		{"amount", `{"x": ` + long + `, "amount": 5}`, 0, "the body is not JSON"},
		{"amount", `[{"amount": 5}]`, 0, "the body is not an object"},
		{"amount", `5`, 0, "the body is not an object"},
		{"amount", `{}`, 0, "amount: it is missing"},
		{"amount", `{"order": {"amount": 5}}`, 0, "amount: it is missing"},
		{"amount", `{"amount": 5, "amount": 5}`, 0, "amount: it stands there twice"},
		{"amount", `{"amount": 5, "\u0061mount": 6}`, 0, "amount: it stands there twice"},
		{"amount", `{"Amount": 600, "amount": 5}`, 0, "amount: a name that some readers take for it stands there too"},
		{"amount", `{"AMOUNT": 600}`, 0, "amount: a name that some readers take for it stands there too"},
		{"amount", `{"amount\u0000x": 600, "amount": 5}`, 0, "amount: a name that some readers take for it stands there too"},
		{"amount", `{" amount": 600, "amount": 5}`, 0, "amount: a name that some readers take for it stands there too"},
		{"kind", `{"\u212aind": 600, "kind": 5}`, 0, "kind: a name that some readers take for it stands there too"},
		{"amount", `{"amount": "5"}`, 0, "amount: it is not a number"},
		{"amount", `{"amount": null}`, 0, "amount: it is not a number"},
		{"amount", `{"amount": [5]}`, 0, "amount: it is not a number"},
		{"amount", `{"amount": {"amount": 5}}`, 0, "amount: it is not a number"},
		{"amount", `{"amount": true}`, 0, "amount: it is not a number"},
		{"amount", `{"amount": -5}`, 0, "amount: " + plain},
		{"amount", `{"amount": -0}`, 0, "amount: " + plain},
		{"amount", `{"amount": 5e2}`, 0, "amount: " + plain},
		{"amount", `{"amount": 5E-400}`, 0, "amount: " + plain},
		{"amount", `{"amount": 0.0000001}`, 0, "amount: " + plain},
		{"amount", `{"amount": 1000000000000}`, 0, "amount: " + plain},
		{"amount", `{"amount": 99999999999.99999}`, 0, "amount: " + plain},
		{"order.total", `{"order": 5}`, 0, "order is not an object"},
		{"order.total", `{"order": [{"total": 5}]}`, 0, "order is not an object"},
		{"order.total", `{"order": {"total": 5}, "Order": {"total": 600}}`, 0, "order.total: a name that some readers take for it stands there too"},
	} {
		got, err := limit.ReadAmount([]byte(c.body), strings.Split(c.field, "."))
		said := ""
		if err != nil {
			said = err.Error()
		}
		if got != c.want || said != c.err {
			t.Errorf("%s of %.80s: %d, %q; want %d, %q", c.field, c.body, got, said, c.want, c.err)
		}
	}
}

const plain = "it is not a plain decimal number of at most 15 digits, 6 of them behind the point, without sign and exponent"

func TestFormatAmount(t *testing.T) {
	for n, want := range map[int64]string{0: "0.00", 1: "0.000001", 1_500_000: "1.50", 500_000_000: "500.00", 1_234_567: "1.234567", 10_000_000_000: "10000.00"} {
		if got := limit.FormatAmount(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

// What is read as an amount is what encoding/json and math/big read there, it is
// spelled as the same number again, and it stands there once.
func FuzzAmount(f *testing.F) {
	for _, body := range []string{
		`{"amount": 12.5}`, `{"amount":1e3}`, `{"amount":0.1000000,"b":[{}]}`, `{"amount":5,"Amount":6}`, `{"a":{"amount":1},"amount":2}`,
		`{"amount":999999999999.999}`, `{"amount":-1}`, `{"amount":"5"}`, `{"\u0061mount":7,"amount":8}`, `[]`, `{"amount":5}x`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		n, unclear := limit.ReadAmount(body, []string{"amount"})
		if unclear != nil {
			if n != 0 {
				t.Errorf("%q: %d beside %v", body, n, unclear)
			}
			return
		}
		var all map[string]any
		d := json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&all); err != nil {
			t.Fatalf("%q is %d, and encoding/json says %v", body, n, err)
		}
		number, ok := all["amount"].(json.Number)
		if !ok {
			t.Fatalf("%q is %d, and encoding/json reads %v", body, n, all["amount"])
		}
		want, ok := new(big.Rat).SetString(number.String())
		if !ok || want.Cmp(big.NewRat(n, limit.Scale)) != 0 {
			t.Errorf("%q is %d millionths, and math/big reads %s", body, n, want)
		}
		if n < 0 || n >= limit.MaxAmount {
			t.Errorf("%q is %d", body, n)
		}
		if again, err := limit.ParseAmount(limit.FormatAmount(n)); err != nil || again != n {
			t.Errorf("%d is spelled %s, which is %d, %v", n, limit.FormatAmount(n), again, err)
		}
		var loose struct{ Amount json.Number } // takes names in every letter case
		if err := json.Unmarshal(body, &loose); err != nil || loose.Amount != number {
			t.Errorf("%q: a reader that does not care for letter case takes %s, not %s (%v)", body, loose.Amount, number, err)
		}
		// So does one with binary floating point, to all of its digits.
		float, err := number.Float64()
		if read, _ := new(big.Rat).SetString(strconv.FormatFloat(float, 'g', 15, 64)); err != nil || read.Cmp(want) != 0 {
			t.Errorf("%q: a reader with binary floating point takes %v (%v)", body, float, err)
		}
	})
}
