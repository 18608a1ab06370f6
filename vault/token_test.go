package vault_test

import (
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"

	"agentvault/vault"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

var prefixes = []string{vault.PrefixSession, vault.PrefixAgent, vault.PrefixLogin}

func Example_token() {
	token := vault.NewToken(vault.PrefixSession)
	prefix, ok := vault.CheckToken(token)
	fmt.Println(prefix, ok)

	mistyped := token[:len(token)-1] + "-"
	_, ok = vault.CheckToken(mistyped)
	fmt.Println(ok)
	// Output:
	// av_sess_ true
	// false
}

func ExampleNewToken() {
	token := vault.NewToken(vault.PrefixAgent)
	fmt.Println(len(token), token[:len(vault.PrefixAgent)])
	// Output: 56 av_agt_
}

func ExampleCheckToken() {
	_, ok := vault.CheckToken("av_agt_not-a-token")
	fmt.Println(ok)
	// Output: false
}

func TestNewTokenHasItsForm(t *testing.T) {
	for _, prefix := range prefixes {
		seen := make(map[string]bool)
		for range 200 {
			token := vault.NewToken(prefix)
			body, ok := strings.CutPrefix(token, prefix)
			if !ok || len(body) != 49 || strings.Trim(body, base62) != "" {
				t.Errorf("NewToken(%q) = %q, want the prefix and 49 characters of base62", prefix, token)
			}
			if got, ok := vault.CheckToken(token); got != prefix || !ok {
				t.Errorf("CheckToken(%q) = %q, %t; want %q, true", token, got, ok, prefix)
			}
			if seen[token] {
				t.Errorf("NewToken(%q) gave %q twice", prefix, token)
			}
			seen[token] = true
		}
	}
}

func TestTheChecksumCatchesAnyOneCharacter(t *testing.T) {
	for _, prefix := range prefixes {
		token := vault.NewToken(prefix)
		for at := range len(token) {
			for _, c := range []byte(base62 + "_-. \x00\n") {
				if c == token[at] {
					continue
				}
				changed := token[:at] + string(rune(c)) + token[at+1:]
				if _, ok := vault.CheckToken(changed); ok {
					t.Errorf("CheckToken(%q) is true; %q was the token", changed, token)
				}
			}
		}
	}
}

func TestCheckTokenRefuses(t *testing.T) {
	token := vault.NewToken(vault.PrefixSession)
	body := strings.TrimPrefix(token, vault.PrefixSession)
	for name, s := range map[string]string{
		"empty":                    "",
		"only a prefix":            vault.PrefixAgent,
		"no prefix":                body,
		"another kind's prefix":    vault.PrefixAgent + body,
		"unknown prefix":           "av_user_" + body,
		"upper case prefix":        strings.ToUpper(vault.PrefixSession) + body,
		"cut":                      token[:len(token)-1],
		"longer":                   token + "0",
		"space before":             " " + token,
		"line break after":         token + "\n",
		"a body of other letters":  signed(vault.PrefixSession, strings.Repeat("-", 43)),
		"a body that is too short": signed(vault.PrefixSession, strings.Repeat("0", 42)),
		"a body that is too long":  signed(vault.PrefixSession, strings.Repeat("0", 44)),
	} {
		if prefix, ok := vault.CheckToken(s); ok || prefix != "" && !strings.HasPrefix(s, prefix) {
			t.Errorf("%s: CheckToken(%q) = %q, true; want false", name, s, prefix)
		}
	}
}

func TestDigestTokenIsSHA256(t *testing.T) {
	token := vault.NewToken(vault.PrefixLogin)
	if got, want := vault.DigestToken(token), sha256.Sum256([]byte(token)); got != want {
		t.Errorf("DigestToken(%q) = %x, want %x", token, got, want)
	}
}

// signed is another implementation of a token's form: the prefix, the body and
// the right checksum.
func signed(prefix, body string) string {
	head := prefix + body
	n := uint64(crc32.ChecksumIEEE([]byte(head)))
	var sum [6]byte
	for i := range sum {
		sum[5-i] = base62[n%62]
		n /= 62
	}
	return head + string(sum[:])
}

// FuzzCheckToken: a string passes exactly if it is a prefix, 43 characters of
// base62 and their checksum; and no string passes that is one byte beside.
func FuzzCheckToken(f *testing.F) {
	f.Add(uint(0), strings.Repeat("0", 43), uint(3), byte('x'))
	f.Add(uint(1), strings.Repeat("z", 43), uint(20), byte('0'))
	f.Add(uint(2), strings.Repeat("-", 43), uint(55), byte(0))
	f.Add(uint(0), "short", uint(0), byte('A'))
	f.Add(uint(1), strings.Repeat("é", 21)+"a", uint(9), byte(0xff))
	f.Add(uint(2), "\n"+strings.Repeat("7", 42), uint(49), byte('\n'))
	f.Fuzz(func(t *testing.T, kind uint, body string, at uint, to byte) {
		prefix := prefixes[kind%3]
		token := signed(prefix, body)
		want := len(body) == 43 && strings.Trim(body, base62) == ""
		got, ok := vault.CheckToken(token)
		if ok != want || ok && got != prefix {
			t.Errorf("CheckToken(%q) = %q, %t; want %q, %t", token, got, ok, prefix, want)
		}
		changed := []byte(token)
		i := at % uint(len(changed))
		if changed[i] == to {
			return
		}
		changed[i] = to
		if _, ok := vault.CheckToken(string(changed)); ok && want {
			t.Errorf("CheckToken(%q) is true, and so is that of %q", changed, token)
		}
		if _, ok := vault.CheckToken(body); ok != (len(body) > 49 && body == signed(body[:len(body)-49], body[len(body)-49:len(body)-6])) {
			t.Errorf("CheckToken(%q) = %t", body, ok)
		}
	})
}
