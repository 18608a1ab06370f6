package vault

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// FuzzProposal: what is taken of an agent's JSON keeps every limit of the
// contract, names hosts that agents may ask for, compiles, and refers to keys
// that there are; taken again it is the same. What is refused is refused in one
// short line that repeats no value.
func FuzzProposal(f *testing.F) {
	for _, seed := range []string{
		`{"services":[{"action":"set","name":"stripe","host":"api.stripe.com","auth":{"type":"bearer","token":"STRIPE_KEY"}}],"credentials":[{"action":"set","key":"STRIPE_KEY","description":"d","obtain":"https://dashboard.stripe.com/apikeys","obtain_instructions":"o"}],"message":"m","user_message":"u"}`,
		`{"services":[{"action":"set","host":"*.example.com/v1/*","auth":{"type":"custom","headers":{"X-Key":"{{ OLD }}"}},"rules":[{"methods":["GET"],"paths":["/v1/**"],"action":"deny"}]}]}`,
		`{"services":[{"action":"delete","name":"old"}],"credentials":[{"action":"delete","key":"OLD"}]}`,
		`{"services":[{"action":"set","host":"127.0.0.1","auth":{"type":"passthrough"}},{"action":"set","host":"*","auth":null}]}`,
		`{"services":[{"action":"set","host":"xn--80ak6aa92e.com","auth":{"type":"query","key":"NEW","parameter":"k"}}],"credentials":[{"action":"set","key":"NEW","value":"a-value-of-an-agent"}]}`,
		`{"credentials":[{"action":"set","key":"sk-live-3f9a77c1e2d4b6a8","obtain":"javascript:alert(1)"}],"message":"\u202e"}`,
	} {
		f.Add([]byte(seed))
	}
	var bearer inject.Auth
	if err := json.Unmarshal([]byte(`{"type":"bearer","token":"OLD"}`), &bearer); err != nil {
		f.Fatal(err)
	}
	r := &Registry{}
	v := Vault{ID: "v", Name: "default", Services: []Service{{Name: "old", Host: "old.example.com", Enabled: true, Auth: bearer}},
		Credentials: map[string]Credential{"OLD": {Key: "OLD", Version: 1}}}
	f.Fuzz(func(t *testing.T, spelled []byte) {
		var in struct {
			Services    []ServiceChange
			Credentials []struct {
				CredentialSlot
				Value *string
			}
			Message     string
			UserMessage string `json:"user_message"`
		}
		if json.Unmarshal(spelled, &in) != nil {
			return
		}
		n := NewProposal{Services: in.Services, Message: in.Message, UserMessage: in.UserMessage, Values: make(map[string]seal.Plaintext)}
		for _, c := range in.Credentials {
			n.Credentials = append(n.Credentials, c.CredentialSlot)
			if c.Value != nil {
				n.Values[c.Key] = seal.NewPlaintext([]byte(*c.Value))
			}
		}
		p, err := r.checkProposal(v, n)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Code == "" || len(e.Message) > 1000 || strings.IndexFunc(e.Message, unicode.IsControl) >= 0 {
				t.Fatalf("%s: %v", spelled, err)
			}
			for key, value := range n.Values {
				if s := string(value.Bytes()); len(s) >= 8 && strings.Contains(e.Message, s) && !strings.Contains(s, key) && strings.Count(string(spelled), s) == 1 {
					t.Fatalf("%s: the refusal repeats a value: %v", spelled, err)
				}
			}
			return
		}
		wantLimits(t, p)
		for _, s := range p.Services {
			wantProposable(t, s)
		}
		again, err := r.checkProposal(v, NewProposal{Services: p.Services, Credentials: p.Credentials, Values: n.Values, Message: p.Message, UserMessage: p.UserMessage})
		if err != nil {
			t.Fatalf("%s: taken once, then %v", spelled, err)
		}
		if diff := cmp.Diff(spellProposal(t, p), spellProposal(t, again)); diff != "" {
			t.Fatalf("%s: %s", spelled, diff)
		}
	})
}

func wantLimits(t *testing.T, p Proposal) {
	t.Helper()
	if len(p.Services) > 10 || len(p.Credentials) > 10 || len(p.Services)+len(p.Credentials) == 0 {
		t.Fatalf("%d services, %d credentials", len(p.Services), len(p.Credentials))
	}
	texts := map[string]int{p.Message: 2000, p.UserMessage: 5000}
	for _, s := range p.Services {
		texts[s.Description] = max(texts[s.Description], 500)
	}
	for _, c := range p.Credentials {
		texts[c.ObtainInstructions] = max(texts[c.ObtainInstructions], 1000)
		texts[c.Description] = max(texts[c.Description], 500)
		texts[c.Obtain] = max(texts[c.Obtain], 500)
		if !inject.ValidKey(c.Key) {
			t.Fatalf("the key %q was taken", c.Key)
		}
		if c.Obtain != "" && !strings.HasPrefix(strings.ToLower(c.Obtain), "http") {
			t.Fatalf("%q was taken as a URL", c.Obtain)
		}
	}
	for text, most := range texts {
		if !utf8.ValidString(text) || utf8.RuneCountInString(text) > most {
			t.Fatalf("a text of %d characters was taken: %.100q", utf8.RuneCountInString(text), text)
		}
	}
}

func wantProposable(t *testing.T, s ServiceChange) {
	t.Helper()
	if s.Action == ActionDelete {
		return
	}
	host := policy.PatternHost(s.Host)
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") || host != strings.ToLower(host) || strings.HasSuffix(host, ".") {
		t.Fatalf("the host %q was taken", s.Host)
	}
	service := s.service()
	if _, err := policy.Compile([]policy.Service{service.Policy()}); err != nil {
		t.Fatalf("%s was taken and does not compile: %v", s.Host, err)
	}
	if _, err := inject.Parse(service.Auth); err != nil {
		t.Fatalf("%s was taken: %v", s.Host, err)
	}
}

func spellProposal(t *testing.T, p Proposal) string {
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
