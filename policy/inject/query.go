package inject

import "agentvault/vault/seal"

// query sends a key as a query parameter.
type query struct {
	Key       string `json:"key"`
	Parameter string `json:"parameter"`
}

var _ = register("query", func(q query) (Injector, error) {
	if err := checkKey("key", q.Key); err != nil {
		return nil, err
	}
	return q, parameterName("parameter", q.Parameter)
})

// parameterName refuses what cannot name a query parameter in one spelling.
func parameterName(field, name string) error {
	if name == "" || len(name) > 64 {
		return fieldErrorf(field, "it names the query parameter, as in api_key")
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == '&' || c == ';' || c == '=' || c == '#' || c == '%' || c == '+' {
			return fieldErrorf(field, "it may not hold %q", string(rune(c)))
		}
	}
	return nil
}

func (q query) Type() string   { return "query" }
func (q query) Keys() []string { return []string{q.Key} }

func (q query) Slots() Slots {
	s := headerSlots()
	s.Query = []string{q.Parameter}
	return s
}

func (q query) Inject(r *Request, open func(string) (seal.Plaintext, error)) error {
	key, err := open(q.Key)
	if err != nil {
		return err
	}
	r.RawQuery = addParameter(r.RawQuery, q.Parameter, string(key.Bytes()))
	return nil
}
