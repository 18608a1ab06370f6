package broker_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"agentvault/broker"
	"agentvault/policy/inject"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// Several credentials for one host: by the placeholder that is sent, and by who
// sends it. The placeholder goes no further.
func TestServicesOfOneHost(t *testing.T) {
	const pA, pB = "__key_of_team_a__", "__key_of_team_b__"
	var got string
	k := newKit(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = fmt.Sprintf("%s %s key=%q", r.RequestURI, r.Header.Get("Authorization"), r.Header["X-Api-Key"])
	}), nil)
	v := &k.snapshot.Vaults[0]
	for key, value := range map[string]string{"KEY_A": "value-of-team-a", "KEY_B": "value-of-team-b", "KEY_BOB": "value-of-bob"} {
		box, err := k.key.ForVault("v1").Seal(seal.Context{Vault: "v1", Credential: key, Field: vault.FieldValue, Version: 1}, seal.NewPlaintext([]byte(value)))
		if err != nil {
			t.Fatal(err)
		}
		v.Credentials[key] = vault.Credential{Key: key, Version: 1, Box: box}
	}
	service := func(name, placeholder, key string, agents ...string) vault.Service {
		return vault.Service{Name: name, Host: "example.com", Enabled: true, Auth: auth(t, `{"type":"bearer","token":"`+key+`"}`), Placeholder: placeholder, Switches: vault.Switches{Agents: agents}}
	}
	v.Services = []vault.Service{
		service("everybody", "", "API_KEY"), service("team-a", pA, "KEY_A"), service("team-b", pB, "KEY_B"), service("bob", "", "KEY_BOB", "bob"),
		service("dummy", vault.PlaceholderDummy, "KEY_BOB"),
	}
	v.Services[2].Substitutions = []inject.Substitution{{Placeholder: pB, Credential: "KEY_B", In: []string{"header:X-Api-Key"}}}
	bob := vault.NewToken(vault.PrefixAgent)
	k.snapshot.Agents = []vault.Agent{{ID: "a1", Name: "bob", Digest: vault.DigestToken(bob), Vaults: map[string]vault.Grant{"v1": {}}}}
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	dummy := vault.DummyOf(k.key.ForVault("v1"), "KEY_BOB")
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:"+pA))
	for _, tt := range []struct {
		name     string
		entrance broker.Entrance
		token    string
		target   string
		header   [2]string
		want     string // what the upstream sees, or a code
	}{
		{"no placeholder", broker.MITM, k.token, "/", [2]string{}, `/ Bearer ` + credential + ` key=[]`},
		{"a key of the agent's own", broker.MITM, k.token, "/", [2]string{"Authorization", "Bearer mine"}, `/ Bearer ` + credential + ` key=[]`},
		{"in Authorization", broker.MITM, k.token, "/", [2]string{"Authorization", "Bearer " + pA}, `/ Bearer value-of-team-a key=[]`},
		{"in Basic", broker.MITM, k.token, "/", [2]string{"Authorization", basic}, `/ Bearer value-of-team-a key=[]`},
		{"in another field", broker.Path, k.token, "/", [2]string{"X-Api-Key", pA}, `/ Bearer value-of-team-a key=[]`},
		{"in the query", broker.Path, k.token, "/?a=%41&key=__key%5Fof_team_a__&b", [2]string{}, `/?a=%41&b Bearer value-of-team-a key=[]`},
		{"a dummy", broker.MITM, k.token, "/", [2]string{"Authorization", "Bearer " + dummy}, `/ Bearer value-of-bob key=[]`},
		{"where the service replaces it", broker.Path, k.token, "/", [2]string{"X-Api-Key", pB}, `/ Bearer value-of-team-b key=["value-of-team-b"]`},
		{"of bob", broker.Path, bob, "/", [2]string{}, `/ Bearer value-of-bob key=[]`},
		{"of bob with a placeholder", broker.Path, bob, "/", [2]string{"X-Api-Key", pA}, `/ Bearer value-of-team-a key=[]`},
		{"two", broker.Path, k.token, "/?k=" + pB, [2]string{"X-Api-Key", pA}, broker.CodePlaceholder},
		{"in the path", broker.Path, k.token, "/" + pA, [2]string{}, broker.CodePlaceholder},
		{"among other text", broker.Path, k.token, "/", [2]string{"X-Api-Key", "a" + pA}, broker.CodePlaceholder},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got = ""
			x := k.request(t, "example.com", tt.target)
			x.Entrance, x.Identity = tt.entrance, broker.Identify(tt.token, "default")
			r := httptest.NewRequestWithContext(t.Context(), "GET", tt.target, nil)
			if tt.header[0] != "" {
				r.Header.Set(tt.header[0], tt.header[1])
			}
			w := httptest.NewRecorder()
			k.Serve(w, r, x)
			if fault := code(t, w); fault != "" {
				got = fault
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
