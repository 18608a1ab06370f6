package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
)

const (
	// KeySize is the length of a Key in bytes (AES-256).
	KeySize = 32

	// boxFormat is the first byte of every box, and part of what is
	// authenticated. A new layout gets a new number.
	boxFormat = 1

	// boxOverhead is by how much a box is longer than its plaintext: format,
	// nonce (12) and tag (16), in bytes.
	boxOverhead = 1 + 12 + 16
)

// A Context is what a box is bound to. A box moved to another vault, another
// credential, another field or another version does not open.
type Context struct {
	Vault      string // the vault's id; names can be taken by another vault later
	Credential string // the credential's key, e.g. "STRIPE_KEY"
	Field      string // which value of it, e.g. "value"
	Version    int64  // the credential's version: an old box cannot be put back
}

// A Key seals and opens boxes. It prints as "redacted". The zero Key does
// neither.
type Key struct {
	bytes **[KeySize]byte // two pointers deep for the same reason as in Plaintext
}

func newKey(b *[KeySize]byte) Key { return Key{bytes: &b} }

// NewKey returns a fresh random key.
func NewKey() Key {
	var b [KeySize]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return newKey(&b)
}

// Clear overwrites the key with zeros, in every copy of k; then it is no key any
// more. It is best effort, as [Plaintext.Clear] is: cipher and hash have kept
// what they made of it.
func (k Key) Clear() {
	if k.bytes != nil {
		clear((*k.bytes)[:])
	}
}

// KeyFromBytes copies b, which must be KeySize bytes long.
func KeyFromBytes(b []byte) (Key, error) {
	if len(b) != KeySize {
		return Key{}, fmt.Errorf("key: %d bytes, want %d", len(b), KeySize)
	}
	return newKey((*[KeySize]byte)(append([]byte(nil), b...))), nil
}

// Seal encrypts p under c with AES-256-GCM and a random nonce.
//
// A key may seal about 2^32 values before nonces could repeat (NIST SP 800-38D
// §8.3); a vault holds thousands.
func (k Key) Seal(c Context, p Plaintext) ([]byte, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	box := make([]byte, 1, p.Len()+boxOverhead)
	box[0] = boxFormat
	return aead.Seal(box, nil, p.Bytes(), c.associatedData()), nil
}

// Len returns how many bytes the plaintext of a box has, without opening it.
func Len(box []byte) int { return max(0, len(box)-boxOverhead) }

// Open decrypts a box that was sealed under the same key and context. Every
// refusal is an *OpenError.
func (k Key) Open(c Context, box []byte) (Plaintext, error) { return k.Opener().Open(c, box) }

// Opener returns what opens boxes under the key with less work for each: it
// keeps the key expanded. Clear does not reach it. That of the zero Key opens
// nothing.
func (k Key) Opener() Opener {
	aead, err := k.aead()
	if err != nil {
		return Opener{}
	}
	return Opener{&aead}
}

// An Opener opens the boxes of one key. It is safe for use by many goroutines.
// The zero Opener opens nothing.
type Opener struct {
	aead *cipher.AEAD // of which whatever prints it shows the address
}

// Open is [Key.Open].
func (o Opener) Open(c Context, box []byte) (Plaintext, error) {
	if o.aead == nil {
		return Plaintext{}, &OpenError{Context: c, Reason: "zero key"}
	}
	if len(box) < boxOverhead {
		return Plaintext{}, &OpenError{Context: c, Reason: "box too short"}
	}
	if box[0] != boxFormat {
		return Plaintext{}, &OpenError{Context: c, Reason: "unknown box format"}
	}
	b, err := (*o.aead).Open(nil, nil, box[1:], c.associatedData())
	if err != nil {
		return Plaintext{}, &OpenError{Context: c, Reason: "sealed under another key or context, or changed"}
	}
	return NewPlaintext(b), nil
}

// ForVault derives the key of one vault (HKDF-SHA256, RFC 5869). The zero Key
// derives the zero Key.
func (k Key) ForVault(vaultID string) Key { return k.derive("agent-vault vault key v1\x00" + vaultID) }

// ForAudit derives the key of the audit chain, KeySize bytes for an HMAC. The
// zero Key derives nil.
func (k Key) ForAudit() []byte {
	sub := k.derive("agent-vault audit chain v1")
	if sub.bytes == nil {
		return nil
	}
	return (*sub.bytes)[:]
}

// ForCheckpoints derives the seed of the Ed25519 key that signs exports of the
// audit log, KeySize bytes (RFC 8032 §5.1.5). The zero Key derives nil.
func (k Key) ForCheckpoints() []byte {
	sub := k.derive("agent-vault audit checkpoints v1")
	if sub.bytes == nil {
		return nil
	}
	return (*sub.bytes)[:]
}

// MAC is a HMAC-SHA256 of the message under a key for the purpose alone.
// The zero Key has none, and panics.
func (k Key) MAC(purpose, message string) (sum [sha256.Size]byte) {
	sub := k.derive("agent-vault mac v1\x00" + purpose)
	defer sub.Clear()
	h := hmac.New(sha256.New, (*sub.bytes)[:])
	h.Write([]byte(message))
	h.Sum(sum[:0])
	return sum
}

// derive returns the subkey for one purpose.
func (k Key) derive(info string) Key {
	if k.bytes == nil {
		return Key{}
	}
	// Errors only for lengths over 255 hashes: not for 32 bytes.
	b, err := hkdf.Key(sha256.New, (*k.bytes)[:], nil, info, KeySize)
	if err != nil {
		return Key{}
	}
	return newKey((*[KeySize]byte)(b))
}

func (k Key) aead() (cipher.AEAD, error) {
	if k.bytes == nil {
		return nil, errors.New("zero key")
	}
	block, err := aes.NewCipher((*k.bytes)[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// associatedData is the context, unambiguously: each string behind its length.
func (c Context) associatedData() []byte {
	b := make([]byte, 0, 64)
	b = append(b, boxFormat)
	for _, s := range [...]string{c.Vault, c.Credential, c.Field} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return binary.BigEndian.AppendUint64(b, uint64(c.Version))
}

// An OpenError is why a box did not open. It says nothing of the value.
type OpenError struct {
	Context Context
	Reason  string
}

func (e *OpenError) Error() string {
	return fmt.Sprintf("open credential %q version %d: %s", e.Context.Credential, e.Context.Version, e.Reason)
}

// String returns "redacted".
func (Key) String() string { return redacted }

// GoString returns "redacted".
func (Key) GoString() string { return redacted }

// Format writes "redacted" for every verb and flag.
func (Key) Format(f fmt.State, _ rune) { writeRedacted(f) }

// MarshalJSON returns the JSON string "redacted".
func (Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText returns "redacted".
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "redacted".
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }
