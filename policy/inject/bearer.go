package inject

import "agentvault/vault/seal"

// bearer sends "Authorization: Bearer <token>" (RFC 6750 §2.1).
type bearer struct {
	Token string `json:"token"`
}

var _ = register("bearer", func(b bearer) (Injector, error) {
	return b, checkKey("token", b.Token)
})

func (b bearer) Type() string   { return "bearer" }
func (b bearer) Keys() []string { return []string{b.Token} }
func (b bearer) Slots() Slots   { return headerSlots() }

func (b bearer) Inject(r *Request, open func(string) (seal.Plaintext, error)) error {
	token, err := open(b.Token)
	if err != nil {
		return err
	}
	return setHeader(r, authorization, "Bearer "+string(token.Bytes()), b.Token)
}
