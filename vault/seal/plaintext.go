package seal

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "redacted"

func writeRedacted(w io.Writer) {
	_, _ = io.WriteString(w, redacted) // fmt.State has no way to fail
}

// A Plaintext is a credential in clear. Whatever prints, formats, marshals or
// logs it gets "redacted"; only [Plaintext.Bytes] gives the value. Copies share
// the value. The zero Plaintext is empty.
type Plaintext struct {
	// Two pointers deep, because fmt does not call methods on unexported fields:
	// printing a struct that holds a Plaintext in one goes by reflection. That
	// follows one pointer (with a verb that does not suit, as %s of such a
	// struct), and prints the second as an address.
	value **[]byte
}

// NewPlaintext takes ownership of b.
func NewPlaintext(b []byte) Plaintext {
	p := &b
	return Plaintext{value: &p}
}

// Bytes returns the value itself, not a copy. Its callers are what injects and
// what scrubs.
func (p Plaintext) Bytes() []byte {
	if p.value == nil {
		return nil
	}
	return **p.value
}

// Len returns the value's length in bytes.
func (p Plaintext) Len() int { return len(p.Bytes()) }

// Clear overwrites the value with zeros, in every copy of p. It is best effort:
// the garbage collector may have left others behind. Nobody may be using the
// value meanwhile.
func (p Plaintext) Clear() { clear(p.Bytes()) }

// String returns "redacted".
func (Plaintext) String() string { return redacted }

// GoString returns "redacted".
func (Plaintext) GoString() string { return redacted }

// Format writes "redacted" for every verb and flag.
func (Plaintext) Format(f fmt.State, _ rune) { writeRedacted(f) }

// MarshalJSON returns the JSON string "redacted".
func (Plaintext) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns "redacted".
func (Plaintext) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "redacted".
func (Plaintext) LogValue() slog.Value { return slog.StringValue(redacted) }
