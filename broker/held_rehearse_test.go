package broker_test

import (
	"net/http"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/policy/inject"
	"agentvault/vault"
)

// Nobody is asked about what could not be sent. It fails as it would without asking.
func TestNobodyIsAskedInVain(t *testing.T) {
	h := newHeldKit(t, pays, time.Minute)
	for _, tt := range []struct {
		name   string
		change func(s *vault.Service)
		body   string
		want   string
	}{
		{"no value", func(s *vault.Service) { s.Auth = auth(t, `{"type":"bearer","token":"NOT_SET"}`) }, "5", broker.CodeCredentialMissing},
		{"no value of a token's credentials", func(s *vault.Service) { s.Auth = auth(t, oauthClient) }, "5", broker.CodeCredentialMissing},
		{"no value for a placeholder", func(s *vault.Service) {
			s.Substitutions = []inject.Substitution{{Placeholder: placeheld, Credential: "NOT_SET", In: []string{"query"}}}
		}, "5", broker.CodeCredentialMissing},
		{"no service to sign for", func(s *vault.Service) {
			s.Auth = auth(t, `{"type":"aws-sigv4","access_key_id":"API_KEY","secret_access_key":"API_KEY_2"}`)
		}, "5", broker.CodeBadRequest},
		{"no service to sign for, behind a certificate", func(s *vault.Service) {
			s.Auth = auth(t, `{"type":"mtls","certificate":"API_KEY","private_key":"API_KEY","auth":{"type":"aws-sigv4","access_key_id":"API_KEY","secret_access_key":"API_KEY_2"}}`)
		}, "5", broker.CodeBadRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h.changeVault(t, func(v *vault.Vault) { tt.change(&v.Services[0]) })
			path := "/pay"
			if tt.name == "no value for a placeholder" {
				path += "?key=" + placeheld
			}
			h.want(t, tt.name, h.send(t.Context(), "POST", path, tt.body), tt.want, 0)
			if err := h.db.Read(t.Context(), func(tx vault.Tx) error {
				pending, err := tx.ListHeld(vault.HeldFilter{VaultID: "v1", Pending: h.clock.Now()})
				if len(pending) > 0 {
					t.Errorf("a person is asked: %+v", pending)
				}
				return err
			}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// An answer that was kept is given again when the credential has gone since.
func TestAnswerOutlivesItsCredential(t *testing.T) {
	h := newHeldKit(t, pays, time.Minute)
	got := h.later(t.Context(), "5")
	h.pending(t, 1)
	h.decide(t, 1, true)
	first := <-got
	h.want(t, "allowed", first, "", 1)
	h.changeVault(t, func(v *vault.Vault) { delete(v.Credentials, "API_KEY") })
	if again := h.post(t.Context(), "5"); again.status != http.StatusOK || !again.replayed || h.seen.Load() != 1 {
		t.Errorf("%+v, seen %d times", again, h.seen.Load())
	}
}

// A person allows what they saw: the service with its credential. Once another would
// go with the request, it is another question.
func TestAnApprovalIsOfTheServiceAsItWas(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *vault.Service){
		"another credential": func(t *testing.T, s *vault.Service) { s.Auth = auth(t, `{"type":"bearer","token":"OTHER_KEY"}`) },
		"another place of it": func(t *testing.T, s *vault.Service) {
			s.Auth = auth(t, `{"type":"query","parameter":"key","key":"API_KEY"}`)
		},
		"what placeholders mean": func(_ *testing.T, s *vault.Service) {
			s.Substitutions = []inject.Substitution{{Placeholder: "placeholder-of-mine", Credential: "API_KEY", In: []string{"body"}}}
		},
		"nothing but words": func(*testing.T, *vault.Service) {},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeldKit(t, pays, 20*time.Millisecond)
			h.want(t, "nobody decided", h.post(t.Context(), "5"), broker.CodeApprovalTimeout, 0)
			h.decide(t, 1, true)
			h.changeVault(t, func(v *vault.Vault) {
				v.Credentials["OTHER_KEY"] = v.Credentials["API_KEY"]
				v.Services[0].Description = "Other words"
				change(t, &v.Services[0])
			})
			again := h.post(t.Context(), "5")
			if name == "nothing but words" {
				h.want(t, "it", again, "", 1)
				return
			}
			h.want(t, "it", again, broker.CodeApprovalTimeout, 0)
			h.pending(t, 2)
		})
	}
}
