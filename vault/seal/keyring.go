package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// Values of Keyring.KDF.
const (
	KDFPassword = "argon2id"
	KDFKeyFile  = "keyfile"
)

// Argon2id's cost (RFC 9106 §4, second recommended option, with its parallelism).
const (
	argonTime      = 3
	argonMemoryKiB = 64 << 10
	argonThreads   = 4
	saltSize       = 16 // bytes
)

// What Unlock accepts, so that a damaged row can neither exhaust the machine
// nor weaken the derivation to nothing.
const (
	maxArgonTime      = 64
	minArgonMemoryKiB = 8 << 10
	maxArgonMemoryKiB = 4 << 20
)

// ErrWrongMaster says that a password or key file does not belong to a Keyring.
var ErrWrongMaster = errors.New("wrong master password or key file")

// A Keyring is how a store keeps its data key: wrapped under a master, beside
// what is needed to derive the wrapping key again. Nothing in it is worth
// anything without the master.
type Keyring struct {
	KDF        string // "argon2id" (password) or "keyfile"
	Salt       []byte // 16 random bytes
	Time       uint32 // argon2id: passes
	MemoryKiB  uint32 // argon2id: memory in KiB
	Threads    uint8  // argon2id: lanes
	WrappedKey []byte // the data key's box
}

// A Master is what a person or a machine holds: [Password] or [KeyFile].
type Master interface {
	// kdf is the Keyring.KDF that this kind of master unlocks.
	kdf() string
	// cost fills in what a new Keyring needs to derive with.
	cost(*Keyring)
	// wrappingKey derives the key that wraps the data key.
	wrappingKey(Keyring) (Key, error)
	// Clear overwrites it with zeros, once nothing is to be unlocked any more. It
	// is best effort, as [Plaintext.Clear] is.
	Clear()
}

// Password returns the master of a password. It keeps pw.
func Password(pw []byte) Master { return passwordMaster{NewPlaintext(pw)} }

// KeyFile returns the master of a key file's content, KeySize bytes. It keeps
// key.
func KeyFile(key []byte) Master { return keyFileMaster{NewPlaintext(key)} }

// NewKeyring makes a random data key and wraps it under m.
func NewKeyring(m Master) (Keyring, Key, error) {
	r := Keyring{KDF: m.kdf(), Salt: make([]byte, saltSize)}
	_, _ = rand.Read(r.Salt) // never fails: crypto/rand ends the process instead
	m.cost(&r)
	wrapping, err := m.wrappingKey(r)
	if err != nil {
		return Keyring{}, Key{}, err
	}
	defer wrapping.Clear()
	key := NewKey()
	r.WrappedKey, err = wrapping.Seal(r.context(), NewPlaintext((*key.bytes)[:]))
	if err != nil {
		return Keyring{}, Key{}, fmt.Errorf("data key: %w", err)
	}
	return r, key, nil
}

// Unlock returns the data key. The error is, or wraps, ErrWrongMaster unless
// the Keyring itself is damaged.
func (r Keyring) Unlock(m Master) (Key, error) {
	if r.KDF != m.kdf() {
		return Key{}, fmt.Errorf("%w: the keyring was made with %s, not with %s", ErrWrongMaster, kindOf(r.KDF), kindOf(m.kdf()))
	}
	wrapping, err := m.wrappingKey(r)
	if err != nil {
		return Key{}, err
	}
	defer wrapping.Clear()
	p, err := wrapping.Open(r.context(), r.WrappedKey)
	if err != nil {
		return Key{}, ErrWrongMaster
	}
	defer p.Clear()
	return KeyFromBytes(p.Bytes())
}

// context binds the wrapped key to how it was derived.
func (r Keyring) context() Context {
	return Context{
		Credential: "data key",
		Field:      fmt.Sprintf("%s t=%d m=%d p=%d salt=%x", r.KDF, r.Time, r.MemoryKiB, r.Threads, r.Salt),
		Version:    1,
	}
}

func kindOf(kdf string) string {
	switch kdf {
	case KDFPassword:
		return "a password"
	case KDFKeyFile:
		return "a key file"
	}
	return "an unknown kind of master"
}

type passwordMaster struct{ password Plaintext }

func (passwordMaster) kdf() string { return KDFPassword }

func (passwordMaster) cost(r *Keyring) {
	r.Time, r.MemoryKiB, r.Threads = argonTime, argonMemoryKiB, argonThreads
}

func (m passwordMaster) wrappingKey(r Keyring) (Key, error) {
	if m.password.Len() == 0 {
		return Key{}, errors.New("master password is empty")
	}
	if r.Time < 1 || r.Time > maxArgonTime || r.Threads < 1 || len(r.Salt) < saltSize ||
		r.MemoryKiB < minArgonMemoryKiB || r.MemoryKiB > maxArgonMemoryKiB {
		return Key{}, errors.New("keyring: argon2id parameters out of range")
	}
	return newKey((*[KeySize]byte)(argon2.IDKey(m.password.Bytes(), r.Salt, r.Time, r.MemoryKiB, r.Threads, KeySize))), nil
}

func (m passwordMaster) Clear() { m.password.Clear() }

type keyFileMaster struct{ key Plaintext }

func (keyFileMaster) kdf() string { return KDFKeyFile }

func (keyFileMaster) cost(*Keyring) {}

func (m keyFileMaster) wrappingKey(r Keyring) (Key, error) {
	if m.key.Len() != KeySize {
		return Key{}, fmt.Errorf("key file: %d bytes, want %d", m.key.Len(), KeySize)
	}
	b, err := hkdf.Key(sha256.New, m.key.Bytes(), r.Salt, "agent-vault key file v1", KeySize)
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	return newKey((*[KeySize]byte)(b)), nil
}

func (m keyFileMaster) Clear() { m.key.Clear() }
