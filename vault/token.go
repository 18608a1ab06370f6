package vault

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"math/big"
	"strings"
)

// Prefixes of tokens. Agents' and people's are different kinds (R19).
const (
	PrefixSession = "av_sess_"
	PrefixAgent   = "av_agt_"
	PrefixLogin   = "av_login_"
	PrefixLease   = "av_lease_" // renews a session's lease, and nothing else
	PrefixInvite  = "av_inv_"   // makes one agent
	PrefixJoin    = "av_join_"  // makes one user
	PrefixApprove = "av_appr_"  // shows a proposal
)

var prefixes = [...]string{PrefixSession, PrefixAgent, PrefixLogin, PrefixLease, PrefixInvite, PrefixJoin, PrefixApprove}

const (
	tokenBytes = 32
	bodyChars  = 43 // 62^43 > 2^256
	sumChars   = 6  // 62^6 > 2^32
	base62     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// NewToken returns prefix + 32 random bytes in base62 + CRC32 of what stands
// before in base62. The checksum lets a scanner of leaked text, and
// [CheckToken], tell a token from noise without asking anyone.
func NewToken(prefix string) string {
	var b [tokenBytes]byte
	rand.Read(b[:]) // crypto/rand never fails
	return spellToken(prefix, b)
}

func spellToken(prefix string, b [tokenBytes]byte) string {
	head := prefix + encode62(new(big.Int).SetBytes(b[:]), bodyChars)
	sum := checksum(head)
	return head + string(sum[:])
}

// checksum is the CRC32 of s in base62.
func checksum(s string) [sumChars]byte {
	var out [sumChars]byte
	n := crc32.ChecksumIEEE([]byte(s))
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = base62[n%62]
		n /= 62
	}
	return out
}

func encode62(n *big.Int, width int) string {
	out := make([]byte, width)
	base, digit := big.NewInt(62), new(big.Int)
	for i := width - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = base62[digit.Int64()]
	}
	return string(out)
}

// CheckToken reports whether a string has the form of a token, and which
// prefix. It says nothing of whether the token is anybody's.
func CheckToken(token string) (prefix string, ok bool) {
	for _, prefix := range prefixes {
		body, found := strings.CutPrefix(token, prefix)
		if !found {
			continue
		}
		if len(body) != bodyChars+sumChars || strings.IndexFunc(body, notBase62) >= 0 {
			return "", false
		}
		head := token[:len(token)-sumChars]
		sum := checksum(head)
		if string(sum[:]) != token[len(head):] {
			return "", false
		}
		return prefix, true
	}
	return "", false
}

func notBase62(c rune) bool {
	return !('0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z')
}

// DigestToken is how a token is stored: its SHA-256. Tokens have 256 random
// bits, so there is nothing to slow down.
func DigestToken(token string) [32]byte {
	return sha256.Sum256(append(make([]byte, 0, 128), token...)) // on the stack: each request has one
}

// newID returns a random id, 26 characters of base32.
func newID() string { return strings.ToLower(rand.Text()) }
