package broker

import (
	"fmt"
	"strconv"
	"strings"

	"agentvault/vault"
)

// An Entrance is the way by which a request came. It labels records and
// metrics, and decides between 401 and 407.
type Entrance uint8

const (
	Path Entrance = iota + 1 // {ADDR}/proxy/{host}/{path}
	MITM                     // HTTPS_PROXY
)

func (e Entrance) String() string {
	switch e {
	case Path:
		return "path"
	case MITM:
		return "mitm"
	}
	return fmt.Sprintf("Entrance(%d)", uint8(e))
}

// An Identity is what an agent presented: a token's digest and, with an agent
// token, the vault that it named. The zero Identity is nobody.
type Identity struct {
	digest [32]byte
	vault  string
	given  bool

	presented bool // something was, a token or not
}

// Identify digests a token once, so that a tunnel need not do it for every
// request. The vault is what X-Vault, or the password part of the proxy's
// credentials, named; "" if nothing did.
func Identify(token, vaultName string) Identity {
	if _, ok := vault.CheckToken(token); !ok {
		return Identity{presented: token != ""}
	}
	return Identity{digest: vault.DigestToken(token), vault: vaultName, given: true, presented: true}
}

// Unreadable is the identity of who presented something that is no token: nobody,
// as by none, but it counts as a failed attempt.
func Unreadable() Identity { return Identity{presented: true} }

// tokenPrefixes begin every token of ours, of whatever kind.
var tokenPrefixes = [...]string{"av_sess_", "av_agt_", "av_login_", "av_lease_", "av_inv_", "av_join_", "av_appr_"}

// holdsToken reports whether s, as it stands or percent-decoded once, holds
// something that looks like a token of ours. Such text never goes upstream
// (R8). It takes one pass and allocates nothing: s is as long as an agent likes.
func holdsToken(s string) bool {
	if !strings.Contains(s, tokenStart) && strings.IndexByte(s, '%') < 0 {
		return false // the usual case
	}
	for i := range len(s) {
		if s[i] != 'a' && s[i] != '%' {
			continue
		}
		for _, prefix := range tokenPrefixes {
			if spells(s[i:], prefix) {
				return true
			}
		}
	}
	return false
}

// nameHoldsToken is holdsToken for the name of a header field, whose letter case
// net/http changes.
func nameHoldsToken(name string) bool {
	return (strings.IndexByte(name, '_') >= 0 || strings.IndexByte(name, '%') >= 0) && holdsToken(strings.ToLower(name))
}

// spells reports whether s, percent-decoded, begins with plain.
func spells(s, plain string) bool {
	for i := range len(plain) {
		if s == "" {
			return false
		}
		c, n := s[0], 1
		if c == '%' && len(s) >= 3 {
			if b, err := strconv.ParseUint(s[1:3], 16, 8); err == nil {
				c, n = byte(b), 3
			}
		}
		if c != plain[i] {
			return false
		}
		s = s[n:]
	}
	return true
}
