package broker

import (
	"fmt"
	"net/url"
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
}

// Identify digests a token once, so that a tunnel need not do it for every
// request. The vault is what X-Vault, or the password part of the proxy's
// credentials, named; "" if nothing did.
func Identify(token, vaultName string) Identity {
	if _, ok := vault.CheckToken(token); !ok {
		return Identity{}
	}
	return Identity{digest: vault.DigestToken(token), vault: vaultName, given: true}
}

// holdsToken reports whether s, as it stands or percent-decoded, holds something
// that looks like a token of ours. Such text never goes upstream (R8).
func holdsToken(s string) bool {
	if strings.IndexByte(s, '%') >= 0 {
		if plain, err := url.PathUnescape(s); err == nil && plain != s && holdsToken(plain) {
			return true
		}
	}
	for {
		i := strings.Index(s, "av_")
		if i < 0 {
			return false
		}
		s = s[i+len("av_"):]
		for _, kind := range []string{"sess_", "agt_", "login_", "inv_", "appr_"} {
			if strings.HasPrefix(s, kind) {
				return true
			}
		}
	}
}
