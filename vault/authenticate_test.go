package vault_test

import (
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

// whoIs spells a caller.
func whoIs(c vault.Caller) string {
	switch u := c.User(); {
	case u != nil:
		return "user " + u.ID
	case c.IsAgent():
		return "agent"
	}
	return "nobody"
}

func TestAuthenticateFindsTheHolder(t *testing.T) {
	f := newFixture(t)
	for token, want := range map[string]string{f.loginToken: "user owner", f.sessionToken: "agent", f.agentToken: "agent"} {
		if c, err := f.Authenticate(t.Context(), token); err != nil || whoIs(c) != want {
			t.Errorf("Authenticate(%.8s…) = %s, %v; want %s", token, whoIs(c), err, want)
		}
	}
}

// Whatever is wrong with a token, the answer is the same.
func TestAuthenticateRefuses(t *testing.T) {
	f := newFixture(t)
	body := func(token string) string { return token[strings.LastIndexByte(token, '_')+1:][:43] }
	for name, token := range map[string]string{
		"nothing":                        "",
		"a password":                     "correct horse battery",
		"a mistyped token":               f.sessionToken[:len(f.sessionToken)-1] + "-",
		"a token with a space":           f.sessionToken + " ",
		"an unknown session":             vault.NewToken(vault.PrefixSession),
		"an unknown agent":               vault.NewToken(vault.PrefixAgent),
		"an unknown login":               vault.NewToken(vault.PrefixLogin),
		"a session's as an agent's":      signed(vault.PrefixAgent, body(f.sessionToken)),
		"a session's as a login":         signed(vault.PrefixLogin, body(f.sessionToken)),
		"an agent's as a session's":      signed(vault.PrefixSession, body(f.agentToken)),
		"an agent's as a login":          signed(vault.PrefixLogin, body(f.agentToken)),
		"a login as a session's":         signed(vault.PrefixSession, body(f.loginToken)),
		"a login as an agent's":          signed(vault.PrefixAgent, body(f.loginToken)),
		"a kind that there is not":       signed("av_inv_", body(f.sessionToken)),
		"a session's id":                 f.sessionID,
		"the digest for the token":       string(digestOf(f.sessionToken)),
		"two tokens with a line between": f.sessionToken + "\n" + f.sessionToken,
	} {
		c, err := f.Authenticate(t.Context(), token)
		refused(t, name, vault.CodeUnauthorized, "the token is missing, unknown, expired or revoked", err)
		if whoIs(c) != "nobody" {
			t.Errorf("%s: %s came back beside the refusal", name, whoIs(c))
		}
	}
}

func digestOf(token string) []byte {
	d := vault.DigestToken(token)
	return d[:]
}

// Tokens end by the clock of the Registry, at the millisecond; agents' tokens
// end when they are rotated or deleted.
func TestTokensEndByTheClock(t *testing.T) {
	for _, row := range []struct {
		name  string
		token func(*fixture) string
		lives time.Duration // 0: without end
	}{
		{"login", func(f *fixture) string { return f.loginToken }, time.Hour},
		{"session", func(f *fixture) string { return f.sessionToken }, time.Hour},
		{"agent", func(f *fixture) string { return f.agentToken }, 0},
	} {
		f := newFixture(t)
		token := row.token(f)
		if row.lives == 0 {
			f.pass(50 * 365 * 24 * time.Hour)
			f.caller(t, token)
			continue
		}
		f.pass(row.lives - time.Millisecond)
		f.caller(t, token)
		f.pass(time.Millisecond)
		_, err := f.Authenticate(t.Context(), token)
		refused(t, row.name+" at its end", vault.CodeUnauthorized, "the token is missing, unknown, expired or revoked", err)
		f.pass(-time.Millisecond)
		f.caller(t, token) // by that clock, and no other
	}
}
