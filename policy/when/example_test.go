package when_test

import (
	"fmt"

	"agentvault/policy/when"
)

func Example() {
	c, err := when.Compile(`method == "GET" || json.amount < 500.0`)
	if err != nil {
		fmt.Println(err)
		return
	}
	in := &when.Input{Method: "POST", Path: "/v1/charges"}
	fmt.Println(c.Eval(in), c.NeedsBody())

	in = &when.Input{
		Method: "POST", Path: "/v1/charges",
		Header: map[string][]string{"Content-Type": {"application/json"}},
		Body:   []byte(`{"amount": 499.99}`), BodyState: when.BodyWhole,
	}
	fmt.Println(c.Eval(in))

	_, err = when.Compile(`method = "GET"`)
	fmt.Println(err)
	// Output:
	// unknown true
	// true
	// column 8: compare with ==, not =
}
