package broker_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"agentvault/broker"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// use gives example.com another auth, and the vault more values.
func (k *kit) use(t testing.TB, spelled string, values map[string]string) {
	t.Helper()
	v := k.snapshot.Vaults[0]
	v.Services = slices.Clone(v.Services)
	v.Services[0].Auth = auth(t, spelled)
	for key, value := range values {
		version := v.Credentials[key].Version + 10
		box, err := k.key.ForVault("v1").Seal(seal.Context{Vault: "v1", Credential: key, Field: vault.FieldValue, Version: version}, seal.NewPlaintext([]byte(value)))
		if err != nil {
			t.Fatal(err)
		}
		v.Credentials[key] = vault.Credential{Key: key, Version: version, Box: box}
	}
	k.snapshot.Vaults = []vault.Vault{v}
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Whoever has a new value of the cookie has the credential.
func TestCookieIsNotRenewedAtTheAgent(t *testing.T) {
	var got []string
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header["Cookie"]
		w.Header()["Set-Cookie"] = []string{"session=rotated; Path=/", "mine=kept; Path=/", " SESSION = rotated", "echo=" + r.Header.Get("Cookie")}
	}), nil)
	k.use(t, `{"type":"cookie","cookies":{"session":"SESSION"}}`, map[string]string{"SESSION": "the-value-of-the-session"})
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Header.Set("Cookie", "a=b; session=of-the-agent")
	w := httptest.NewRecorder()
	k.Serve(w, r, k.request(t, "example.com", "/"))
	if want := []string{"session=the-value-of-the-session; a=b"}; !slices.Equal(got, want) {
		t.Errorf("the upstream got %q, want %q", got, want)
	}
	if got, want := w.Header()["Set-Cookie"], []string{"mine=kept; Path=/", "echo=session=************************; a=b"}; !slices.Equal(got, want) {
		t.Errorf("the agent got %q, want %q", got, want)
	}
	k.use(t, `{"type":"cookie","cookies":{"session":"SESSION"}}`, map[string]string{"SESSION": "no value; of a cookie"})
	if w := k.get(t, "example.com", "/"); code(t, w) != broker.CodeCredentialInvalid {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	k.use(t, `{"type":"cookie","cookies":{"session":"MISSING"}}`, nil)
	if w := k.get(t, "example.com", "/"); code(t, w) != broker.CodeCredentialMissing {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
