package broker

import (
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault"
)

// plainly is how lenient upstreams read a field's name, spelled for a test.
func plainly(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			return c
		}
		return '-'
	}, name)
}

// mayPass says by itself whether a field may go upstream.
func mayPass(e *exchange, name string) bool {
	plain := plainly(name)
	switch plain {
	case "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings", "x-vault":
		return false
	case "content-length", "host":
		return name == http.CanonicalHeaderKey(plain) // net/http says these itself
	case "authorization":
		if e.Entrance == Path {
			return false
		}
	}
	for _, slot := range e.service.slots.Headers {
		if plainly(slot) == plain {
			return false
		}
	}
	for _, line := range e.r.Header["Connection"] {
		for _, named := range strings.Split(line, ",") {
			if named = strings.Trim(named, " \t"); named != "" && plainly(named) == plain {
				return false
			}
		}
	}
	return !strings.HasPrefix(plain, "proxy-")
}

// FuzzHeaderFilter: no dropped name, slot or token survives, and what is kept is
// kept byte for byte.
func FuzzHeaderFilter(f *testing.F) {
	token := vault.NewToken(vault.PrefixSession)
	f.Add("Accept: */*\nX_Api_Key: mine\nAuthorization: Bearer x", "X-Api-Key", true)
	f.Add("Connection: X-A, close\nX-A: 1\nx_a: 2\nTe: trailers", "Authorization", false)
	f.Add("X-B: "+token+"\nX-Vault: default\nProxy.Authorization: x", "X-Key", false)
	f.Add("Cookie: a=b; agent_vault_login=x\nCookie: c\nContent_Length: 3", "Authorization", true)
	f.Add("X-Av_sess_: 1\nX-Copy: Basic YXZfc2Vzc18=", "Authorization", true)
	set, err := policy.Compile([]policy.Service{{Name: "api", Host: "example.com", Enabled: true}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, lines, slot string, path bool) {
		r := &http.Request{Method: "GET", Header: http.Header{}}
		for line := range strings.SplitSeq(lines, "\n") {
			name, value, _ := strings.Cut(line, ":")
			value = strings.Trim(value, " \t")
			if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
				continue // net/http refuses it
			}
			r.Header.Add(name, value)
		}
		before := r.Header.Clone()
		vv := &vaultView{set: set, services: []service{{slots: inject.Slots{Headers: []string{slot}}, own: []string{plainName(slot)}}}}
		e := &exchange{Request: Request{Entrance: MITM, Path: "/"}, r: r, session: &session{vault: vv}, vault: vv, service: &vv.services[0], rule: -1}
		e.use.query = policy.Query{Scheme: "https", Host: "example.com", Port: 443, Method: "GET", Path: "/"}
		if path {
			e.Entrance = Path
		}
		fault := e.strip()
		kept := e.stripped.Header
		for name, values := range kept {
			switch {
			case name == "User-Agent" && values == nil:
				continue
			case name == "Te" && slices.Equal(values, []string{"trailers"}):
				continue
			case name == "Cookie" && strings.Contains(strings.Join(before[name], ""), "agent_vault_login"):
				for _, v := range values {
					if strings.HasPrefix(v, "agent_vault_login=") || strings.Contains(v, "; agent_vault_login=") {
						t.Fatalf("the vault's own cookie passed: %q", v)
					}
				}
			case !mayPass(e, name):
				t.Fatalf("%q passed", name)
			case !slices.Equal(values, before[name]):
				t.Fatalf("%q was %q and became %q", name, before[name], values)
			}
			if fault != nil {
				continue
			}
			for _, text := range append([]string{strings.ToLower(name)}, values...) {
				if strings.Contains(text, "av_sess_") || strings.Contains(text, "av_agt_") {
					t.Fatalf("%q: %q passed", name, values)
				}
			}
		}
		for name := range before {
			if _, ok := kept[name]; !ok && mayPass(e, name) && name != "Cookie" {
				t.Fatalf("%q was dropped", name)
			}
		}
	})
}

// The short way through plainName gives what the long one does.
func TestPlainNames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const bytes = "aZx09--__. %\x00\x80é:"
	for range 20_000 {
		name := make([]byte, r.IntN(6))
		for i := range name {
			name[i] = bytes[r.IntN(len(bytes))]
		}
		if got, want := plainName(string(name)), textproto.CanonicalMIMEHeaderKey(strings.Map(plainRune, string(name))); got != want {
			t.Fatalf("plainName(%q) = %q, want %q", name, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { plainName("X-Amz-Content-Sha256") }); n > 0 {
		t.Errorf("a name that is plain already: %v allocations", n)
	}
}
