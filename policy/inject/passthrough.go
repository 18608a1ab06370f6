package inject

import "agentvault/vault/seal"

// passthrough injects nothing and leaves what the agent sent: the host is
// allowed, and the agent brings its own credential or needs none.
type passthrough struct{}

var _ = register("passthrough", func(p passthrough) (Injector, error) { return p, nil })

func (passthrough) Type() string   { return "passthrough" }
func (passthrough) Keys() []string { return nil }
func (passthrough) Slots() Slots   { return Slots{} }

func (passthrough) Inject(*Request, func(string) (seal.Plaintext, error)) error { return nil }
