package inject

import (
	"bytes"
	"encoding/base64"

	"agentvault/vault/seal"
)

// basic sends "Authorization: Basic …" (RFC 7617). Without a password the
// user name stands alone before the colon, as many APIs want their key.
type basic struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

var _ = register("basic", func(b basic) (Injector, error) {
	if err := checkKey("username", b.Username); err != nil {
		return nil, err
	}
	if b.Password != "" {
		return b, checkKey("password", b.Password)
	}
	return b, nil
})

func (b basic) Type() string { return "basic" }
func (b basic) Slots() Slots { return headerSlots() }

func (b basic) Keys() []string {
	if b.Password == "" || b.Password == b.Username {
		return []string{b.Username}
	}
	return []string{b.Username, b.Password}
}

func (b basic) Inject(r *Request, open func(string) (seal.Plaintext, error)) error {
	user, err := open(b.Username)
	if err != nil {
		return err
	}
	// RFC 7617 §2: a colon in the user name would move the border.
	if !sendable(user) || bytes.IndexByte(user.Bytes(), ':') >= 0 {
		return &ValueError{b.Username}
	}
	pair := append(bytes.Clone(user.Bytes()), ':')
	if b.Password != "" {
		password, err := open(b.Password)
		switch {
		case err != nil:
			return err
		case !sendable(password):
			return &ValueError{b.Password}
		}
		pair = append(pair, password.Bytes()...)
	}
	r.set(authorization, "Basic "+base64.StdEncoding.EncodeToString(pair))
	return nil
}
