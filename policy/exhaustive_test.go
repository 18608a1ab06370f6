package policy_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"agentvault/policy"
)

// words returns every string over the pieces, up to n of them, behind a slash.
func words(n int, pieces ...string) []string {
	all, last := []string{"/"}, []string{"/"}
	for range n {
		var next []string
		for _, w := range last {
			for _, p := range pieces {
				next = append(next, w+p)
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// Every small glob against every small path, and against the slow reference.
func TestGlobIsTheReference(t *testing.T) {
	paths := words(6, "/", "a", "b")
	globs := append(words(4, "/", "a", "*", "**", "b"), "/**a*b/*a", "/**/a*b*/**b", "/*a/**b*a/b", "/**a/*b*a/**")
	seen := make(map[string]bool)
	for _, glob := range globs {
		if seen[glob] {
			continue
		}
		seen[glob] = true
		s, err := policy.Compile([]policy.Service{on("h.example", policy.Rule{Paths: []string{glob}})})
		if err != nil {
			continue
		}
		want := reference(glob)
		for _, path := range paths {
			d := s.Decide(get("h.example", path))
			if d.Reason != policy.PathAmbiguous && (d.Verdict == policy.Allow) != want.MatchString(path) {
				t.Fatalf("glob %q, path %q: %v", glob, path, d.Reason)
			}
		}
	}
}

// Two services that are taken together give one answer in either order, and
// two that are refused share a path.
func TestOverlapIsExact(t *testing.T) {
	paths := words(5, "/", "a", "b")
	globs := words(3, "/", "a", "*", "**", "b")
	matched := make(map[string]map[string]bool)
	var good []string
	for _, glob := range globs {
		s, err := policy.Compile([]policy.Service{on("h.example" + glob)})
		if err != nil || matched[glob] != nil {
			continue
		}
		good, matched[glob] = append(good, glob), make(map[string]bool)
		for _, path := range paths {
			matched[glob][path] = s.Decide(get("h.example", path)).Verdict == policy.Allow
		}
	}
	share := func(a, b string) bool {
		for _, path := range paths {
			if matched[a][path] && matched[b][path] {
				return true
			}
		}
		return false
	}
	for _, a := range good {
		for _, b := range good {
			ab, err := policy.Compile([]policy.Service{on("h.example" + a), on("h.example" + b)})
			if err != nil {
				if !share(a, b) {
					t.Errorf("%s and %s are refused together and share no path", a, b)
				}
				continue
			}
			ba := compile(t, on("h.example"+b), on("h.example"+a))
			for _, path := range paths {
				one, other := ab.Decide(get("h.example", path)), ba.Decide(get("h.example", path))
				if other.Service >= 0 {
					other.Service = 1 - other.Service
				}
				if one != other {
					t.Fatalf("%s and %s on %q: %+v, and in the other order %+v", a, b, path, one, other)
				}
			}
		}
	}
}

// Of two that begin alike, the one without a wildcard comes first.
func TestLiteralPathComesFirst(t *testing.T) {
	s := compile(t, on("h.example/v1/*"), on("h.example/v1/"))
	for path, want := range map[string]int{"/v1/": 1, "/v1/a": 0} {
		if d := s.Decide(get("h.example", path)); d.Service != want {
			t.Errorf("%q: %+v", path, d)
		}
	}
}

// A path that two services of one rank could take has no owner, whichever was
// given first.
func TestAmbiguousPathHasNoService(t *testing.T) {
	one, two := on("a.example.com/v1/*"), on("a.example.com/v2/*")
	for _, s := range []*policy.Set{compile(t, one, two), compile(t, two, one)} {
		if d := s.Decide(get("a.example.com", "/v1/../v2/x")); d.Reason != policy.PathAmbiguous || d.Service != -1 {
			t.Errorf("%+v", d)
		}
	}
	s := compile(t, on("a.example.com", policy.Rule{Paths: []string{"/v1/*"}}))
	if d := s.Decide(get("a.example.com", "//")); d.Reason != policy.PathAmbiguous || d.Service != 0 {
		t.Errorf("%+v", d)
	}
}

// Readers that part a request line at spaces, or a URL at "?" and "#", see
// another path than the rules did.
func TestRawDelimitersAreAmbiguous(t *testing.T) {
	s := compile(t, on("rules.example.com", policy.Rule{Paths: []string{"/v1/*"}}), on("free.example.com"))
	for _, path := range []string{"/v1/a b", "/v1/a HTTP/1.1", "/v1/a?b", "/v1/a#b"} {
		if d := s.Decide(get("rules.example.com", path)); d.Reason != policy.PathAmbiguous {
			t.Errorf("%q: %v", path, d.Reason)
		}
		if d := s.Decide(get("free.example.com", path)); d.Verdict != policy.Allow {
			t.Errorf("without path rules %q: %v", path, d.Reason)
		}
	}
	for _, path := range []string{"/v1/a%20b", "/v1/a%3Fb", "/v1/a%23b"} {
		if d := s.Decide(get("rules.example.com", path)); d.Verdict != policy.Allow {
			t.Errorf("%q: %v", path, d.Reason)
		}
	}
}

// Many upstreams raise methods: a denied one stays denied in lower case, and an
// allowed one is allowed as it is named only.
func TestMethodsInOtherCase(t *testing.T) {
	s := compile(t,
		on("deny.example.com", policy.Rule{Methods: []string{"DELETE"}, Action: policy.ActionDeny}, policy.Rule{}),
		on("allow.example.com", policy.Rule{Methods: []string{"DELETE"}}))
	for _, method := range []string{"delete", "Delete", "dElEtE"} {
		for _, host := range []string{"deny.example.com", "allow.example.com"} {
			q := get(host, "/")
			q.Method = method
			if d := s.Decide(q); d.Verdict != policy.Deny || d.Reason != policy.MethodNotAllowed {
				t.Errorf("%s on %s: %+v", method, host, d)
			}
		}
	}
}

// A Set does not change when what it was compiled from does.
func TestSetKeepsNothingOfTheCallers(t *testing.T) {
	methods, paths := []string{"GET"}, []string{"/a"}
	services := []policy.Service{on("h.example", policy.Rule{Methods: methods, Paths: paths})}
	s := compile(t, services...)
	methods[0], paths[0], services[0].Enabled = "POST", "/b", false
	if d := s.Decide(get("h.example", "/a")); d.Verdict != policy.Allow {
		t.Errorf("%+v", d)
	}
}

func TestAllowedMethodsOfOtherDecisionsAreNone(t *testing.T) {
	s := compile(t, on("h.example", policy.Rule{Methods: []string{"GET"}, Paths: []string{"/a"}}),
		policy.Service{Name: "off", Host: "off.example", Rules: []policy.Rule{{Methods: []string{"GET"}}}})
	for _, q := range []policy.Query{get("h.example", "/a"), get("h.example", "//"), get("h.example", "/b"), get("off.example", "/"), get("no.example", "/")} {
		if got := s.AllowedMethods(q); got == nil || len(got) != 0 {
			t.Errorf("%+v: %#v", q, got)
		}
	}
}

// Wildcards that would let strangers' hosts in, and those that would not.
func TestWildcards(t *testing.T) {
	for _, parent := range []string{
		"com", "co.uk", "github.io", "herokuapp.com", "vercel.app", "workers.dev", "s3.amazonaws.com", "compute.amazonaws.com", "kawasaki.jp", "ck",
		"atlassian.net", "slack.com", "eu.auth0.com", "nip.io", "webhook.site", "test", "localhost", "unlisted",
	} {
		if got, err := policy.CanonicalPattern("*." + parent); err == nil {
			t.Errorf("%q is taken", got)
		}
	}
	for _, parent := range []string{"example.com", "example.co.uk", "yours.github.io", "yours.atlassian.net", "yours.my.salesforce.com", "pkg.example.com", "api.test"} {
		if _, err := policy.CanonicalPattern("*." + parent); err != nil {
			t.Error(err)
		}
	}
	s := compile(t, on("*.example.com"))
	for _, host := range []string{"example.com", ".example.com", "a.b.example.com", "aexample.com", "example.com.evil.test", "a.example.com.", "*.example.net"} {
		if d := s.Decide(get(host, "/")); d.Reason != policy.NoService {
			t.Errorf("%q: %+v", host, d)
		}
	}
}

// Random services over few hosts, ports, schemes and paths: the order in which
// they are given never changes a decision.
func FuzzOrderOfAnyServices(f *testing.F) {
	for seed := range uint64(16) {
		f.Add(seed, seed*7)
	}
	pick := func(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }
	path := func(r *rand.Rand, pieces ...string) string {
		var b strings.Builder
		for range r.IntN(5) {
			b.WriteString(pick(r, pieces...))
		}
		return b.String()
	}
	f.Fuzz(func(t *testing.T, a, b uint64) {
		r := rand.New(rand.NewPCG(a, b))
		var services []policy.Service
		for i := range r.IntN(10) {
			s := policy.Service{Name: fmt.Sprint(i), Enabled: r.IntN(4) > 0, Scheme: pick(r, "", "https", "http")}
			s.Host = pick(r, "a.example.com", "*.example.com", "b.example.com") + pick(r, "", ":443", ":80", ":8443") + pick(r, "", "/v"+path(r, "a", "/b", "*", "**", "%41"))
			if r.IntN(2) == 0 {
				s.Rules = []policy.Rule{{Methods: []string{pick(r, "GET", "PUT")}, Action: policy.Action(pick(r, "", "deny"))}, {Paths: []string{"/v" + path(r, "a", "/b", "*")}}}
			}
			if _, err := policy.Compile(append(services[:len(services):len(services)], s)); err == nil {
				services = append(services, s)
			}
		}
		order := r.Perm(len(services))
		shuffled := make([]policy.Service, len(services))
		for i, n := range order {
			shuffled[i] = services[n]
		}
		straight, mixed := compile(t, services...), compile(t, shuffled...)
		for range 50 {
			q := policy.Query{Scheme: pick(r, "https", "http"), Host: pick(r, "a.example.com", "b.example.com"), Port: uint16([]int{443, 80, 8443}[r.IntN(3)]),
				Method: pick(r, "GET", "PUT", "get"), Path: "/v" + path(r, "a", "/b", "x", "A", "%2e", "/..", "//")}
			one, other := straight.Decide(q), mixed.Decide(q)
			if other.Service >= 0 {
				other.Service = order[other.Service]
			}
			if one != other {
				t.Errorf("%+v: %+v in one order and %+v in another of %+v", q, one, other, services)
			}
		}
	})
}

// The costliest path that a request may have, against the globs that it was
// made for: the time is the path's length times the glob's, never its square.
func BenchmarkHostilePath(b *testing.B) {
	for glob, unit := range map[string]string{
		"/**a*b":     "a",
		"/**a*a*a*b": "a",
		"/**/*a*b/c": "a/",
		"/v*a*b*c":   "ab",
	} {
		b.Run(strings.ReplaceAll(glob, "/", "|"), func(b *testing.B) {
			s := compile(b, on("h.example", policy.Rule{Paths: []string{glob}}))
			q := get("h.example", "/v"+strings.Repeat(unit, (16<<10)/len(unit)))
			b.SetBytes(int64(len(q.Path)))
			b.ReportAllocs()
			for b.Loop() {
				if s.Decide(q).Verdict == policy.Allow {
					b.Fatal("the path was meant not to match")
				}
			}
		})
	}
}
