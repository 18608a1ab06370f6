package vault_test

import (
	"strings"
	"testing"
	"time"

	"agentvault/vault"
)

func TestMintSession(t *testing.T) {
	f := newFixture(t)
	f.pass(time.Minute)
	for _, row := range []struct {
		name  string
		ttl   time.Duration
		label string
		lives time.Duration // 0: refused
	}{
		{"the default", 0, "", 24 * time.Hour},
		{"the shortest", 5 * time.Minute, "an agent", 5 * time.Minute},
		{"the longest", 7 * 24 * time.Hour, strings.Repeat("ü", 100), 7 * 24 * time.Hour},
		{"too short", 5*time.Minute - time.Millisecond, "", 0},
		{"too long", 7*24*time.Hour + time.Millisecond, "", 0},
		{"negative", -time.Hour, "", 0},
		{"the least", -1 << 63, "", 0},
		{"the most", 1<<63 - 1, "", 0},
	} {
		before := f.revision(t)
		m, err := f.MintSession(t.Context(), f.owner, vault.NewSession{Vault: mainVault, TTL: row.ttl, Label: row.label})
		token, s := m.Token, m.Session
		if row.lives == 0 {
			refused(t, row.name, vault.CodeBadRequest, "ttl_seconds: a session lives from 300 to 604800 seconds", err)
			if m != (vault.Minted{}) || f.revision(t) != before {
				t.Errorf("%s: %v came back beside the refusal; revision %d, want %d", row.name, m, f.revision(t), before)
			}
			continue
		}
		must(t, err)
		want := vault.Session{
			ID: s.ID, Digest: vault.DigestToken(token), VaultID: f.get(t, mainVault).ID, Label: row.label,
			CreatedBy: "owner", CreatedAt: f.now(), ExpiresAt: f.now().Add(row.lives),
		}
		diff(t, row.name, want, s)
		if prefix, ok := vault.CheckToken(token); !ok || prefix != vault.PrefixSession || len(s.ID) != 26 {
			t.Errorf("%s: token %q, id %q", row.name, token, s.ID)
		}
		must(t, f.db.Read(t.Context(), func(tx vault.Tx) error {
			stored, err := tx.SessionByID(s.ID)
			diff(t, row.name+": what is stored", want, stored)
			return err
		}))
		f.caller(t, token)
	}
}

func TestLabelsOfSessions(t *testing.T) {
	f := newFixture(t)
	before := f.snapshot(t)
	for name, label := range map[string]string{
		"101 characters":         strings.Repeat("a", 101),
		"not UTF-8":              "a\xff",
		"a NUL":                  "a\x00",
		"an escape sequence":     "\x1b[31mred",
		"a carriage return":      "a\rb",
		"a C1 control character": "a\u009bb",
		"a line break":           "a\nb",
		"a tab":                  "a\tb",
		"a line separator":       "a\u2028b",
		"text from the right":    "a\u202eb",
	} {
		_, err := f.MintSession(t.Context(), f.owner, vault.NewSession{Vault: mainVault, Label: label})
		refused(t, name, vault.CodeBadRequest, "label: at most 100 characters on one line", err)
	}
	diff(t, "the instance", before, f.snapshot(t))
}

// Sessions are of one vault, the newest first, without those that have ended.
func TestSessionsAreThoseThatLive(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	_, err := f.CreateVault(ctx, f.owner, "other-vault")
	must(t, err)
	mint := func(of string, ttl time.Duration) vault.Session {
		t.Helper()
		f.pass(time.Second)
		m, err := f.MintSession(ctx, f.owner, vault.NewSession{Vault: of, TTL: ttl})
		must(t, err)
		return m.Session
	}
	short, long, other := mint(mainVault, 5*time.Minute), mint(mainVault, 48*time.Hour), mint("other-vault", 48*time.Hour)
	for _, step := range []struct {
		at   time.Time
		want []string
	}{
		{f.now(), []string{long.ID, short.ID, f.sessionID}},
		{short.ExpiresAt.Add(-time.Millisecond), []string{long.ID, short.ID, f.sessionID}},
		{short.ExpiresAt, []string{long.ID, f.sessionID}},
		{epoch.Add(time.Hour), []string{long.ID}},
		{long.ExpiresAt, []string{}},
	} {
		f.pass(step.at.Sub(f.now()))
		list, err := f.Sessions(ctx, f.owner, mainVault)
		must(t, err)
		ids := []string{}
		for _, s := range list {
			ids = append(ids, s.ID)
		}
		diff(t, "sessions at "+step.at.String(), step.want, ids)
	}
	f.pass(other.CreatedAt.Sub(f.now()))
	list, err := f.Sessions(ctx, f.owner, "other-vault")
	must(t, err)
	diff(t, "the other vault's", []vault.ListedSession{{Session: other, By: "owner@example.com"}}, list)
}

func TestRevokeSession(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	s := f.mint(t, mainVault)
	token := s.Token
	must(t, f.RevokeSession(ctx, f.owner, s.ID))
	_, err := f.Authenticate(ctx, token)
	wantCode(t, "its token", vault.CodeUnauthorized, err)
	f.caller(t, f.sessionToken) // the other one lives

	before := f.revision(t)
	for id, quoted := range map[string]string{
		s.ID:                      `"` + s.ID + `"`,
		"":                        `""`,
		token:                     `"` + token + `"`, // a token is not an id
		"%":                       `"%"`,
		strings.Repeat("a", 1000): `"` + strings.Repeat("a", 80) + `… (1000 bytes)"`,
	} {
		err := f.RevokeSession(ctx, f.owner, id)
		refused(t, quoted, vault.CodeNotFound, "there is no session "+quoted, err)
	}
	if after := f.revision(t); after != before {
		t.Errorf("revision %d after refusals, want %d", after, before)
	}
}

// A session may end itself, and only itself; that it has ended already is no
// error.
func TestRevokeOwnSession(t *testing.T) {
	f := newFixture(t)
	ctx := t.Context()
	token := f.mint(t, mainVault).Token
	own := f.caller(t, token)
	for range 2 {
		must(t, f.RevokeOwnSession(ctx, own))
		_, err := f.Authenticate(ctx, token)
		wantCode(t, "its token", vault.CodeUnauthorized, err)
	}
	f.caller(t, f.sessionToken)
	must(t, f.DeleteVault(ctx, f.owner, mainVault))
	must(t, f.RevokeOwnSession(ctx, f.session)) // went with its vault
}
