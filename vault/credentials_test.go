package vault_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http/httpguts"

	"agentvault/vault"
	"agentvault/vault/seal"
)

// open opens a credential as the broker does.
func (f *fixture) open(t *testing.T, v vault.Vault, key string) string {
	t.Helper()
	c, ok := v.Credentials[key]
	if !ok {
		t.Fatalf("the vault %s has no %s", v.Name, key)
	}
	p, err := f.key.ForVault(v.ID).Open(contextOf(v, c), c.Box)
	must(t, err)
	return string(p.Bytes())
}

func contextOf(v vault.Vault, c vault.Credential) seal.Context {
	return seal.Context{Vault: v.ID, Credential: c.Key, Field: vault.FieldValue, Version: c.Version}
}

func TestSetCredentialsSealsAndStores(t *testing.T) {
	f := newFixture(t)
	given := values("B_KEY", "some value b", "A_KEY", "some value a", "STRIPE_KEY", "sk_live_second")
	keys, err := f.SetCredentials(t.Context(), f.owner, mainVault, given, false)
	must(t, err)
	diff(t, "keys, sorted", []string{"A_KEY", "B_KEY", "STRIPE_KEY"}, keys)
	v := f.get(t, mainVault)
	for key, p := range given {
		if got := f.open(t, v, key); got != string(p.Bytes()) {
			t.Errorf("%s opens as %q, want %q", key, got, p.Bytes())
		}
	}
	if got := string(given["A_KEY"].Bytes()); got != "some value a" {
		t.Errorf("the caller's value is %q afterwards", got)
	}
	if len(v.Services) != 1 {
		t.Errorf("services are %v, want them as they were", v.Services)
	}
}

// A value's version grows with each value, also with the same again. When the
// credential was made stays.
func TestVersionsGrow(t *testing.T) {
	f := newFixture(t)
	f.set(t, "OTHER", "another value")
	other := f.get(t, mainVault).Credentials["OTHER"]
	boxes := make(map[string]bool)
	for i, value := range []string{"sk_live_second", "sk_live_second", "sk_live_first"} {
		f.pass(time.Hour)
		f.set(t, "STRIPE_KEY", value)
		v := f.get(t, mainVault)
		c := v.Credentials["STRIPE_KEY"]
		want := vault.Credential{Key: "STRIPE_KEY", Version: int64(i + 2), Box: c.Box, CreatedAt: epoch, UpdatedAt: f.now()}
		diff(t, "the credential", want, c)
		diff(t, "the other one", other, v.Credentials["OTHER"])
		if got := f.open(t, v, "STRIPE_KEY"); got != value {
			t.Errorf("version %d opens as %q, want %q", c.Version, got, value)
		}
		if boxes[string(c.Box)] {
			t.Errorf("version %d has the box of another version", c.Version)
		}
		boxes[string(c.Box)] = true
	}
}

// A box opens under its own key and context only.
func TestBoxesAreBoundToTheirPlace(t *testing.T) {
	f := newFixture(t)
	v := f.get(t, mainVault)
	c := v.Credentials["STRIPE_KEY"]
	own, other := f.key.ForVault(v.ID), f.key.ForVault("another-id")
	for _, row := range []struct {
		name   string
		key    seal.Key
		change func(*seal.Context)
		opens  bool
	}{
		{"its own", own, func(*seal.Context) {}, true},
		{"the vault's name for its id", own, func(c *seal.Context) { c.Vault = mainVault }, false},
		{"another credential", own, func(c *seal.Context) { c.Credential = "OTHER" }, false},
		{"another field", own, func(c *seal.Context) { c.Field = "note" }, false},
		{"another version", own, func(c *seal.Context) { c.Version++ }, false},
		{"another vault's key", other, func(*seal.Context) {}, false},
		{"the data key itself", f.key, func(*seal.Context) {}, false},
		{"another instance's key", seal.NewKey().ForVault(v.ID), func(*seal.Context) {}, false},
	} {
		context := contextOf(v, c)
		row.change(&context)
		if p, err := row.key.Open(context, c.Box); (err == nil) != row.opens {
			t.Errorf("%s: opens %t (%d bytes, %v), want %t", row.name, err == nil, p.Len(), err, row.opens)
		}
	}
}

func TestKeysOfCredentials(t *testing.T) {
	f := newFixture(t)
	for _, key := range []string{"A", "A1", "A_", "STRIPE_KEY", "A" + strings.Repeat("_", 127)} {
		if _, err := f.SetCredentials(t.Context(), f.owner, mainVault, values(key, "some value"), false); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	before := f.snapshot(t)
	for key, quoted := range map[string]string{
		"":                             `""`,
		"stripe_key":                   `"stripe_key"`,
		"Stripe":                       `"Stripe"`,
		"1KEY":                         `"1KEY"`,
		"_KEY":                         `"_KEY"`,
		"A-KEY":                        `"A-KEY"`,
		"A KEY":                        `"A KEY"`,
		"KEY\n":                        `"KEY\n"`,
		"SCHLÜSSEL":                    `"SCHLÜSSEL"`,
		"A" + strings.Repeat("_", 128): `"A` + strings.Repeat("_", 79) + `… (129 bytes)"`,
		"\x1b[31m" + "A":               `"\x1b[31mA"`,
	} {
		_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values("FINE", "some value", key, "some value"), false)
		refused(t, quoted, vault.CodeBadRequest, "credentials: a key has A-Z, 0-9 and _, and begins with a letter", err)
	}
	diff(t, "the instance", before, f.snapshot(t))
}

func TestValuesOfCredentials(t *testing.T) {
	f := newFixture(t)
	for _, value := range []string{"sk_live_1", "two words\tc", "schlüssel", "\xff\xfe\xff\xfe\xff\xfe\xff\xfe", strings.Repeat("a", 64<<10)} {
		f.set(t, "A_KEY", value)
		if got := f.open(t, f.get(t, mainVault), "A_KEY"); got != value {
			t.Errorf("%.20q was stored as %.20q", value, got)
		}
	}
	for _, document := range []string{
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN PRIVATE KEY-----\r\nAAAA\r\n-----END PRIVATE KEY-----\r\n\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
		"{\n\t\"private_key\": \"a\\nb\"\n}",
	} {
		f.set(t, "A_KEY", document)
		if got := f.open(t, f.get(t, mainVault), "A_KEY"); got != document {
			t.Errorf("%q was stored as %q", document, got)
		}
	}
	before := f.snapshot(t)
	for _, row := range []struct{ name, value, want string }{
		{"words between PEM", "-----BEGIN A-----\nAAAA\n-----END A-----\nwords\n-----BEGIN A-----\nAAAA\n-----END A-----", "the value holds a control character"},
		{"PEM without an end", "-----BEGIN A-----\nAAAA", "the value holds a control character"},
		{"an array of JSON on two lines", "[\n]       ", "the value begins or ends with a space or tab; leave it out"},
		{"JSON that ends early", "{\n\"a\": 1", "the value holds a control character"},
		{"nothing", "", "the value is empty"},
		{"a space in front", " sk_live_1", "the value begins or ends with a space or tab; leave it out"},
		{"a space behind", "sk_live_1 ", "the value begins or ends with a space or tab; leave it out"},
		{"a tab behind", "sk_live_1\t", "the value begins or ends with a space or tab; leave it out"},
		{"a byte over 64 KiB", strings.Repeat("a", 64<<10+1), "the value is longer than 64 KiB"},
		{"a line break at the end, as in a file", "sk_live_1\n", "the value ends with a line break; leave it out"},
		{"a Windows line break at the end", "sk_live_1\r\n", "the value ends with a line break; leave it out"},
		{"a line break alone", "\n", "the value ends with a line break; leave it out"},
		{"a header behind it", "sk_live_1\r\nX-Evil: 1", "the value holds a control character"},
		{"a NUL", "sk_live\x00_1", "the value holds a control character"},
		{"a DEL", "sk_live\x7f_1", "the value holds a control character"},
	} {
		_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values("AAA", "some value", "B_KEY", row.value, "CCC", "some value"), false)
		refused(t, row.name, vault.CodeBadRequest, "credential B_KEY: "+row.want, err)
	}
	diff(t, "the instance", before, f.snapshot(t))
}

// R9: exactly what may stand in a header field is taken, byte by byte.
func TestValuesAreWhatHeadersTake(t *testing.T) {
	f := newFixture(t)
	for b := range 256 {
		value := "sk_" + string([]byte{byte(b)}) + "live"
		_, err := f.SetCredentials(t.Context(), f.owner, mainVault, values("A_KEY", value), false)
		if want := httpguts.ValidHeaderFieldValue(value); (err == nil) != want {
			t.Errorf("byte %#02x: %v; a header takes it: %t", b, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "sk_") || strings.Contains(err.Error(), "live")) {
			t.Errorf("byte %#02x: the value stands in the error %v", b, err)
		}
	}
}

func TestSetCredentialsNeedsSome(t *testing.T) {
	f := newFixture(t)
	for _, none := range []map[string]seal.Plaintext{nil, {}} {
		_, err := f.SetCredentials(t.Context(), f.owner, mainVault, none, false)
		refused(t, "none", vault.CodeBadRequest, "credentials: none given", err)
	}
	_, err := f.SetCredentials(t.Context(), f.owner, mainVault, map[string]seal.Plaintext{"A_KEY": {}}, false)
	refused(t, "the zero Plaintext", vault.CodeBadRequest, "credential A_KEY: the value is empty", err)
}

// A vault that is full takes new values of what it has, and nothing else.
func TestAVaultHolds10000Credentials(t *testing.T) {
	f := newFixture(t)
	_, err := f.db.Write(t.Context(), func(tx vault.Tx) error {
		v, err := tx.VaultByName(mainVault)
		for i := range 10_000 - 2 { // STRIPE_KEY is there, and one more is to come
			key := fmt.Sprintf("KEY_%d", i)
			v.Credentials[key] = vault.Credential{Key: key, Version: 1, Box: []byte("a box"), CreatedAt: epoch, UpdatedAt: epoch}
		}
		return errors.Join(err, tx.PutVault(v))
	})
	must(t, err)
	f.set(t, "THE_LAST", "the last value")
	before := f.revision(t)
	const full = "a vault has at most 10000 credentials"
	_, err = f.SetCredentials(t.Context(), f.owner, mainVault, values("A_KEY", "one too many", "STRIPE_KEY", "sk_live_second"), false)
	refused(t, "SetCredentials", vault.CodeBadRequest, full, err)
	_, err = f.Apply(t.Context(), f.owner, declare(vault.VaultDeclaration{Name: mainVault, Credentials: values("A_KEY", "one too many")}))
	wantCode(t, "Apply", vault.CodeBadRequest, err)
	if after := f.revision(t); after != before {
		t.Errorf("revision %d after refusals, want %d", after, before)
	}
	f.set(t, "STRIPE_KEY", "sk_live_second")
}

func TestDeleteCredential(t *testing.T) {
	f := newFixture(t)
	f.set(t, "OTHER", "another value")
	was := f.get(t, mainVault)
	must(t, f.DeleteCredential(t.Context(), f.owner, mainVault, "STRIPE_KEY"))
	v := f.get(t, mainVault)
	diff(t, "what is left", []string{"OTHER"}, slices.Collect(maps.Keys(v.Credentials)))
	diff(t, "the other one", was.Credentials["OTHER"], v.Credentials["OTHER"])
	diff(t, "services, also those that use it", was.Services, v.Services)
	if strings.Contains(f.files(t), string(was.Credentials["STRIPE_KEY"].Box)) {
		t.Error("the box still stands in the files of the store")
	}
	before := f.revision(t)
	for _, key := range []string{"STRIPE_KEY", "other", "", "OTHE_", strings.Repeat("A", 1000)} {
		err := f.DeleteCredential(t.Context(), f.owner, mainVault, key)
		wantCode(t, key, vault.CodeCredentialNotFound, err)
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("the message has %d bytes", len(err.Error()))
		}
	}
	if after := f.revision(t); after != before {
		t.Errorf("revision %d after refusals, want %d", after, before)
	}
}
