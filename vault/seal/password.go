package seal

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/crypto/argon2"
)

// ErrBusy says that too many passwords wait to be hashed. Try again later.
var ErrBusy = errors.New("too many passwords wait to be hashed")

// Hashing takes 64 MiB and a tenth of a second each, on purpose; so it is
// bounded for the whole process, whoever asks.
const (
	hashersAtOnce  = 2
	hashersWaiting = 8
)

var hashers = queue{slots: make(chan struct{}, hashersAtOnce), waiting: hashersWaiting}

// A queue lets cap(slots) callers in at once and as many as waiting wait.
type queue struct {
	slots   chan struct{}
	waiting int64
	present atomic.Int64 // inside and waiting
}

// enter returns ErrBusy, or nil once the caller may go on; then it must leave.
func (q *queue) enter() error {
	if q.present.Add(1) > q.waiting+int64(cap(q.slots)) {
		q.present.Add(-1)
		return ErrBusy
	}
	q.slots <- struct{}{}
	return nil
}

func (q *queue) leave() {
	<-q.slots
	q.present.Add(-1)
}

// HashPassword returns the Argon2id hash of pw as a PHC string
// ($argon2id$v=19$m=65536,t=3,p=4$salt$hash). The only error is ErrBusy.
func HashPassword(pw []byte) (string, error) {
	if err := hashers.enter(); err != nil {
		return "", err
	}
	defer hashers.leave()
	h := phc{memoryKiB: argonMemoryKiB, time: argonTime, threads: argonThreads, salt: make([]byte, saltSize)}
	_, _ = rand.Read(h.salt) // never fails: crypto/rand ends the process instead
	h.hash = h.compute(pw, KeySize)
	return h.String(), nil
}

// VerifyPassword reports whether pw is the password behind a PHC string of
// HashPassword. A string that is not one matches nothing. The only error is
// ErrBusy: then nothing is known about pw.
func VerifyPassword(encoded string, pw []byte) (bool, error) {
	if err := hashers.enter(); err != nil {
		return false, err
	}
	defer hashers.leave()
	h, ok := parsePHC(encoded)
	if !ok {
		return false, nil
	}
	return subtle.ConstantTimeCompare(h.compute(pw, uint32(len(h.hash))), h.hash) == 1, nil
}

// A phc is a password hash with its parameters, in the string format of the
// Password Hashing Competition.
type phc struct {
	memoryKiB, time uint32
	threads         uint8
	salt, hash      []byte
}

func (h phc) compute(pw []byte, size uint32) []byte {
	return argon2.IDKey(pw, h.salt, h.time, h.memoryKiB, h.threads, size)
}

var phcBase64 = base64.RawStdEncoding.Strict()

func (h phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version,
		h.memoryKiB, h.time, h.threads, phcBase64.EncodeToString(h.salt), phcBase64.EncodeToString(h.hash))
}

// parsePHC accepts exactly what String prints, within bounds that a hostile
// row could not use to exhaust the machine.
func parsePHC(s string) (phc, bool) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || len(s) > 256 {
		return phc{}, false
	}
	var h phc
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memoryKiB, &h.time, &h.threads); err != nil {
		return phc{}, false
	}
	var errSalt, errHash error
	h.salt, errSalt = phcBase64.DecodeString(parts[4])
	h.hash, errHash = phcBase64.DecodeString(parts[5])
	ok := errSalt == nil && errHash == nil &&
		len(h.salt) >= 8 && len(h.hash) >= 16 && len(h.hash) <= 64 &&
		h.time >= 1 && h.time <= maxArgonTime && h.threads >= 1 &&
		h.memoryKiB >= 8*uint32(h.threads) && h.memoryKiB <= maxArgonMemoryKiB
	return h, ok && h.String() == s
}
