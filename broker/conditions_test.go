package broker_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"agentvault/broker"
	"agentvault/policy"
	"agentvault/vault"
)

// Conditions see the body, and what they saw goes upstream byte for byte. It is
// read only where the outcome depends on it.
func TestConditionsOnBodies(t *testing.T) {
	const large = 1<<20 + 1
	var log bytes.Buffer
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%d %v %d:%.20s", r.ContentLength, r.TransferEncoding, len(body), body)
	}), func(o *broker.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	k.changeVault(t, func(v *vault.Vault) {
		v.Services[0].Rules = []policy.Rule{
			{Methods: []string{"POST"}, Paths: []string{"/pay"}, When: "json.amount < 500.0"},
			{Methods: []string{"POST"}, Paths: []string{"/free"}, When: "path == '/free' || json.amount < 500.0"},
		}
	})
	for _, tt := range []struct {
		name, path, body, coding string
		chunked                  bool
		want                     string // of the upstream; "" for a refusal
		fault                    string // a part of its message
		log                      string // likewise of the operator's log
	}{
		{name: "met", path: "/pay", body: `{"amount": 10}`, want: `14 [] 14:{"amount": 10}`},
		{name: "met, in chunks", path: "/pay", body: `{"amount": 10}`, chunked: true, want: `-1 [chunked] 14:{"amount": 10}`},
		{name: "not met", path: "/pay", body: `{"amount": 500}`, fault: "does not meet"},
		{name: "no JSON", path: "/pay", body: `amount=10`, fault: "does not meet; its body cannot be read as JSON", log: "rule 0 of the service api cannot be told (body_not_json)"},
		{name: "twins", path: "/pay", body: `{"amount": 10, "amount": 1000}`, fault: "a name stands twice in its body", log: "(body_names_twice)"},
		{name: "another field", path: "/pay", body: `{"sum": 10}`, fault: "missing in it, or of another type", log: "(value_unfit)"},
		{name: "nothing", path: "/pay", fault: "cannot be read as JSON"},
		{name: "too long", path: "/pay", body: `{"amount": 10, "s": "` + strings.Repeat("a", large) + `"}`, fault: "longer than 1 MiB"},
		{name: "too long, in chunks", path: "/pay", body: `{"amount": 10, "s": "` + strings.Repeat("a", large) + `"}`, chunked: true, fault: "longer than 1 MiB"},
		{name: "coded", path: "/pay", body: `{"amount": 10}`, coding: "gzip", fault: "Content-Encoding"},
		{name: "it does not depend on the body", path: "/free", body: strings.Repeat("a", large), want: fmt.Sprintf("%d [] %d:aaaaaaaaaaaaaaaaaaaa", large, large)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), "POST", tt.path, io.NopCloser(strings.NewReader(tt.body)))
			r.ContentLength = int64(len(tt.body))
			if tt.chunked {
				r.ContentLength = -1
			}
			r.Header.Set("Content-Type", "application/json")
			if tt.coding != "" {
				r.Header.Set("Content-Encoding", tt.coding)
			}
			w := httptest.NewRecorder()
			log.Reset()
			k.Serve(w, r, k.request(t, "example.com", tt.path))
			if !strings.Contains(log.String(), tt.log) || tt.log == "" && tt.fault == "does not meet" && log.Len() > 0 {
				t.Errorf("the log says %q, want %q", log.String(), tt.log)
			}
			for _, text := range []string{w.Body.String(), log.String()} {
				if tt.want == "" && (strings.Contains(text, "amount") || strings.Contains(text, "sum")) {
					t.Errorf("%q repeats the body", text)
				}
			}
			switch {
			case tt.want != "" && w.Body.String() != tt.want:
				t.Errorf("the upstream got %q, want %q", w.Body, tt.want)
			case tt.want == "" && (code(t, w) != broker.CodeConditionNotMet || !strings.Contains(w.Body.String(), tt.fault)):
				t.Errorf("%d %s, want %s with %q", w.Code, w.Body, broker.CodeConditionNotMet, tt.fault)
			}
		})
	}
}

// What was decided by the body stays while nobody changes the vault's services, and
// is cut when somebody does: the body is not there any more to decide anew.
func TestDecidedByTheBody(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		change     func(*vault.Vault)
	}{
		{"another service", broker.CodeUnavailable, func(v *vault.Vault) {
			v.Services = append(slices.Clone(v.Services), vault.Service{Name: "more", Host: "more.example.com", Enabled: true, Auth: v.Services[0].Auth})
		}},
		{"another setting", "", func(v *vault.Vault) { v.UnmatchedHosts = vault.UnmatchedTunnel }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			more := make(chan struct{})
			k := newKit(t, streaming(more), nil)
			ruled := func(v *vault.Vault) { v.Services[0].Rules = []policy.Rule{{When: "json.amount < 500.0"}} }
			k.changeVault(t, ruled)
			k.changingUnder(t, k.request(t, "example.com", "/"), `{"amount": 1}`, more, tt.want, func() {
				k.changeVault(t, func(v *vault.Vault) { ruled(v); tt.change(v) })
			})
		})
	}
}

// Sessions come and go while services stay: a View that finds them as they were
// compiles none anew, however many conditions they have.
func BenchmarkViewOfConditions(b *testing.B) {
	k := newKit(b, echo, nil)
	for i := range 200 {
		k.snapshot.Vaults[0].Services = append(k.snapshot.Vaults[0].Services, vault.Service{
			Name: fmt.Sprintf("service-%d", i), Host: fmt.Sprintf("h%d.example.com", i), Enabled: true, Auth: auth(b, `{"type":"passthrough"}`),
			Rules: []policy.Rule{{When: "json.amount < 500.0 && path.startsWith('/v1/')"}},
		})
	}
	for b.Loop() {
		k.source.set(k.snapshot, nil)
		if err := k.Refresh(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
