package policy_test

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"agentvault/policy"
	"agentvault/policy/when"

	"github.com/google/go-cmp/cmp"
)

func compile(t testing.TB, services ...policy.Service) *policy.Set {
	t.Helper()
	s, err := policy.Compile(services)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(host, path string) policy.Query {
	return policy.Query{Scheme: "https", Host: host, Port: 443, Method: "GET", Path: path}
}

func on(host string, rules ...policy.Rule) policy.Service {
	return policy.Service{Name: host, Host: host, Enabled: true, Rules: rules}
}

// Code that forgets to decide fails closed.
func TestZeroDenies(t *testing.T) {
	var d policy.Decision
	var s *policy.Set
	if d.Verdict != policy.Deny || s.Decide(get("a.example", "/")).Verdict != policy.Deny || s.Covers("https", "a.example", 443) {
		t.Error("a zero value allows")
	}
	if got := s.AllowedMethods(get("a.example", "/")); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if got := compile(t).Decide(get("a.example", "/")); got.Verdict != policy.Deny || got.Reason != policy.NoService || got.Service != -1 {
		t.Errorf("an empty Set: %+v", got)
	}
}

// The more specific service wins, whatever the order.
func TestPrecedence(t *testing.T) {
	services := []policy.Service{
		0: on("*.example.com"),
		1: on("a.example.com"),
		2: on("a.example.com:443"),
		3: on("a.example.com/v1/*"),
		4: on("a.example.com/v1/users/*"),
		5: on("a.example.com/v1/users/me"),
		6: on("a.example.com:8443"),
		7: on("b.example.com/api/*"),
		8: {Name: "plain", Host: "a.example.com:80", Scheme: "http", Enabled: true},
		9: on("*.example.com:8443"),
	}
	rows := []struct {
		q    policy.Query
		want int
	}{
		{get("a.example.com", "/"), 2}, // a named port stands over every path without one
		{get("a.example.com", "/v1/users/me"), 2},
		{get("x.example.com", "/"), 0},
		{get("x.y.example.com", "/"), -1},
		{get("example.com", "/"), -1},
		{get("b.example.com", "/api/x"), 7},
		{get("b.example.com", "/other"), 0}, // falls through to the wildcard
		{policy.Query{Scheme: "https", Host: "a.example.com", Port: 8443, Method: "GET", Path: "/"}, 6},
		{policy.Query{Scheme: "https", Host: "z.example.com", Port: 8443, Method: "GET", Path: "/"}, 9},
		{policy.Query{Scheme: "https", Host: "a.example.com", Port: 8080, Method: "GET", Path: "/"}, -1},
		{policy.Query{Scheme: "http", Host: "a.example.com", Port: 80, Method: "GET", Path: "/"}, 8},
		{policy.Query{Scheme: "http", Host: "x.example.com", Port: 80, Method: "GET", Path: "/"}, -1},
	}
	check := func(services []policy.Service, at []int, rows []struct {
		q    policy.Query
		want int
	}) {
		s := compile(t, services...)
		for _, r := range rows {
			d := s.Decide(r.q)
			got := d.Service
			if got >= 0 {
				got = at[got]
			}
			if got != r.want || (d.Verdict == policy.Allow) != (r.want >= 0) {
				t.Errorf("%+v: service %d (%v), want %d", r.q, got, d.Reason, r.want)
			}
			if s.Covers(r.q.Scheme, r.q.Host, r.q.Port) != (r.want >= 0) {
				t.Errorf("Covers(%+v) = %v", r.q, r.want < 0)
			}
		}
	}
	for range 50 {
		order := rand.Perm(len(services))
		shuffled := make([]policy.Service, len(services))
		for i, n := range order {
			shuffled[i] = services[n]
		}
		check(shuffled, order, rows)
		// Without the port-443 service the paths are ranked among themselves.
		var rest []policy.Service
		var at []int
		for i, n := range order {
			if n != 2 {
				rest, at = append(rest, shuffled[i]), append(at, n)
			}
		}
		check(rest, at, []struct {
			q    policy.Query
			want int
		}{
			{get("a.example.com", "/"), 1},
			{get("a.example.com", "/v1/x"), 3},
			{get("a.example.com", "/v1/users/1"), 4},
			{get("a.example.com", "/v1/users/me"), 5},
			{get("a.example.com", "/v1/users/%6de"), 5}, // what it means, not how it is spelled
		})
	}
}

func TestOverlapIsRefused(t *testing.T) {
	rows := []struct {
		a, b string
		ok   bool
	}{
		{"a.example.com", "a.example.com", false},
		{"a.example.com", "A.example.com", false},
		{"a.example.com", "a.example.com:443", true},
		{"a.example.com:443", "a.example.com:8443", true},
		{"*.example.com", "*.example.com", false},
		{"*.example.com", "a.example.com", true},
		{"a.example.com/v1/*", "a.example.com/v2/*", true},
		{"a.example.com/v1/*", "a.example.com/v1/*", false},
		{"a.example.com/v1/*/x", "a.example.com/v1/*/y", true},
		{"a.example.com/v1/*/x", "a.example.com/v1/a/*", true}, // ranked by literal prefix
		{"a.example.com/v*/a", "a.example.com/v*/*", true},     // by literal bytes
		{"a.example.com/*a/b", "a.example.com/*/ab", true},
		{"a.example.com/*ab", "a.example.com/*bb", true},
		{"a.example.com/*a*b", "a.example.com/*b*a", true},
		{"a.example.com/*a*", "a.example.com/*b*", false},
	}
	for _, r := range rows {
		_, err := policy.Compile([]policy.Service{{Name: "one", Host: r.a, Enabled: true}, {Name: "two", Host: r.b, Enabled: false}})
		if (err == nil) != r.ok {
			t.Errorf("%s and %s: %v", r.a, r.b, err)
		}
		if err != nil && (!strings.Contains(err.Error(), `"one"`) || !strings.Contains(err.Error(), `"two"`)) {
			t.Errorf("the error does not name both: %v", err)
		}
	}
}

func TestRules(t *testing.T) {
	s := compile(t, on("a.example.com",
		policy.Rule{Methods: []string{"DELETE"}, Paths: []string{"/v1/keep/*"}, Action: policy.ActionDeny},
		policy.Rule{Methods: []string{"GET", "DELETE"}, Paths: []string{"/v1/*"}},
		policy.Rule{Methods: []string{"POST"}, Paths: []string{"/v1/charges", "/v1/@me"}},
		policy.Rule{Paths: []string{"/open"}},
	), on("off.example.com"), policy.Service{Name: "d", Host: "disabled.example.com"})
	rows := []struct {
		method, path string
		want         policy.Reason
		methods      []string
	}{
		{"GET", "/v1/x", policy.Allowed, nil},
		{"GET", "/v1/", policy.Allowed, nil},
		{"GET", "/v1", policy.PathNotAllowed, []string{}},
		{"GET", "/v1/a/b/c", policy.Allowed, nil},
		{"DELETE", "/v1/x", policy.Allowed, nil},
		{"DELETE", "/v1/keep/x", policy.MethodNotAllowed, []string{"GET"}},
		{"GET", "/v1/keep/x", policy.Allowed, nil},
		{"DELETE", "/v1/kee%70/x", policy.MethodNotAllowed, []string{"GET"}},
		{"POST", "/v1/charges", policy.Allowed, nil},
		{"POST", "/v1/%40me", policy.Allowed, nil},
		{"POST", "/v1/charges/1", policy.MethodNotAllowed, []string{"DELETE", "GET"}},
		{"PUT", "/v1/charges", policy.MethodNotAllowed, []string{"DELETE", "GET", "POST"}},
		{"PROPFIND", "/open", policy.Allowed, nil},
		{"GET", "/other", policy.PathNotAllowed, []string{}},
		{"GET", "*", policy.PathAmbiguous, nil},
		{"GET", "/v1/../v2", policy.PathAmbiguous, nil},
	}
	for _, r := range rows {
		q := get("a.example.com", r.path)
		q.Method = r.method
		d := s.Decide(q)
		if d.Reason != r.want || (d.Verdict == policy.Allow) != (r.want == policy.Allowed) {
			t.Errorf("%s %s: %v, want %v", r.method, r.path, d.Reason, r.want)
		}
		if r.methods != nil {
			if diff := cmp.Diff(r.methods, s.AllowedMethods(q)); diff != "" {
				t.Errorf("%s %s: allowed methods %s", r.method, r.path, diff)
			}
		}
	}
	if d := s.Decide(get("disabled.example.com", "/")); d.Reason != policy.ServiceDisabled || d.Verdict != policy.Deny {
		t.Errorf("%+v", d)
	}
}

// R13: where a path is looked at it has one reading; elsewhere bytes pass.
func TestAmbiguousPaths(t *testing.T) {
	s := compile(t, on("rules.example.com", policy.Rule{Paths: []string{"/**"}}), on("part.example.com/api/*"), on("free.example.com"))
	for _, path := range []string{
		"", "*", "a", "//", "/a//b", "/a/./b", "/a/../b", "/.", "/..", "/a/.", "/a/..", "/%2e%2e/a", "/.%2E/a", "/a/%2e",
		"/a\\b", "/a%5cb", "/a%5Cb", "/a%2fb", "/a%2Fb", "/a%00", "/a%25", "/a%252f", "/a;b", "/a%3bb", "/a%3B", "/%", "/%2", "/%zz", "/a%",
		"/\x00", "/\x1f", "/\x7f", "/%0a", "/%0D", "/%7f", "/%ff", "/%c0%af", "/\xff", "/%e2%82", "/%ed%a0%80", "/a%e2b",
	} {
		for _, host := range []string{"rules.example.com", "part.example.com"} {
			if d := s.Decide(get(host, path)); d.Verdict != policy.Deny || d.Reason != policy.PathAmbiguous {
				t.Errorf("%s%q: %v", host, path, d.Reason)
			}
		}
		if d := s.Decide(get("free.example.com", path)); d.Verdict != policy.Allow {
			t.Errorf("without path rules %q is refused: %v", path, d.Reason)
		}
	}
	for _, path := range []string{"/", "/a", "/a/", "/a.b", "/...", "/a/..b", "/.well-known/x", "/%e2%82%ac", "/\u20ac", "/a%20b", "/a+b", "/%41", "/~x", "/a:b@c"} {
		if d := s.Decide(get("rules.example.com", path)); d.Verdict != policy.Allow {
			t.Errorf("%q: %v", path, d.Reason)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	rows := []struct {
		service policy.Service
		want    string
	}{
		{policy.Service{Name: "s", Host: "*"}, `service "s": host "*": `},
		{policy.Service{Name: "s", Host: "a.example.com", Scheme: "ftp"}, `service "s": scheme: "ftp" is neither https nor http`},
		{policy.Service{Name: "s", Host: "a.example.com", Scheme: "http"}, `service "s": scheme: clear-text http needs a port`},
		{policy.Service{Name: "s", Host: "a.example.com", Rules: []policy.Rule{{}, {Methods: []string{"get"}}}}, `service "s": rules[1].methods: "get" is not a method in upper case`},
		{policy.Service{Name: "s", Host: "a.example.com", Rules: []policy.Rule{{Paths: []string{"v1"}}}}, `service "s": rules[0].paths: "v1": a path begins with /`},
		{policy.Service{Name: "s", Host: "a.example.com", Rules: []policy.Rule{{Paths: []string{"/a/../b"}}}}, `service "s": rules[0].paths: `},
		{policy.Service{Name: "s", Host: "a.example.com", Rules: []policy.Rule{{Paths: []string{"/a?b"}}}}, `service "s": rules[0].paths: `},
		{policy.Service{Name: "s", Host: "a.example.com", Rules: []policy.Rule{{Action: "maybe"}}}, `service "s": rules[0].action: "maybe" is neither allow, deny nor ask`},
	}
	for _, r := range rows {
		_, err := policy.Compile([]policy.Service{r.service})
		if err == nil || !strings.HasPrefix(err.Error(), r.want) {
			t.Errorf("%+v:\n got %v\nwant %s…", r.service, err, r.want)
		}
	}
}

// reference is the slow and obvious reading of a glob.
func reference(glob string) *regexp.Regexp {
	decoded, err := url.PathUnescape(glob)
	if err != nil {
		decoded = glob
	}
	var b strings.Builder
	b.WriteString(`(?s)^`)
	for i := 0; i < len(decoded); i++ {
		switch {
		case strings.HasPrefix(decoded[i:], "**"):
			b.WriteString(`.*`)
			i++
		case decoded[i] == '*' && i == len(decoded)-1 && decoded[i-1] == '/':
			b.WriteString(`.*`)
		case decoded[i] == '*':
			b.WriteString(`[^/]*`)
		default:
			b.WriteString(regexp.QuoteMeta(decoded[i : i+1]))
		}
	}
	return regexp.MustCompile(b.String() + `$`)
}

func FuzzGlob(f *testing.F) {
	f.Add("/v1/*", "/v1/a/b")
	f.Add("/*a*b/**c*/d", "/xaxb/y/c/z/d")
	f.Add("/repos/*/*/issues", "/repos/o/r/issues")
	f.Add("/**x**y", "/axbxcy")
	f.Add("/a/*/**/b*c", "/a/x/y/z/bqc")
	f.Fuzz(func(t *testing.T, glob, path string) {
		if strings.Contains(glob, "%") || len(glob) > 64 || len(path) > 256 {
			return
		}
		for i := range len(glob) {
			if glob[i] >= 0x80 {
				return // the reference matches runes, the glob bytes
			}
		}
		s, err := policy.Compile([]policy.Service{{Name: "s", Host: "h.example", Enabled: true, Rules: []policy.Rule{{Paths: []string{glob}}}}})
		if err != nil {
			return
		}
		d := s.Decide(get("h.example", path))
		if d.Reason == policy.PathAmbiguous {
			return
		}
		decoded, err := url.PathUnescape(path)
		if err != nil {
			t.Fatalf("%q has broken percent-encoding and is not ambiguous", path)
		}
		if want := reference(glob).MatchString(decoded); (d.Verdict == policy.Allow) != want {
			t.Errorf("glob %q, path %q (%q): %v, want %v", glob, path, decoded, d.Reason, want)
		}
	})
}

// What is allowed on a service with a path rule has one reading: decoding it
// once or twice, or cleaning it, leads to the same place.
func FuzzAllowedPathsHaveOneReading(f *testing.F) {
	for _, p := range []string{"/a/b", "/%2e%2e/x", "/a%252fb", "/a/%c3%a4", "/a;b/../c"} {
		f.Add(p)
	}
	s, err := policy.Compile([]policy.Service{{Name: "s", Host: "h.example", Enabled: true, Rules: []policy.Rule{{Paths: []string{"/**"}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if s.Decide(get("h.example", path)).Verdict != policy.Allow {
			return
		}
		once, err := url.PathUnescape(path)
		if err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		if twice, err := url.PathUnescape(once); err != nil || twice != once {
			t.Errorf("%q decodes to %q and then to %q, %v", path, once, twice, err)
		}
		for segment := range strings.SplitSeq(strings.Trim(once, "/"), "/") {
			if segment == "." || segment == ".." || segment == "" && once != "/" {
				t.Errorf("%q has the segment %q", path, segment)
			}
		}
		if strings.Count(once, "/") != strings.Count(path, "/") || strings.ContainsAny(once, "\\;\x00\r\n") || strings.ToValidUTF8(once, "") != once {
			t.Errorf("%q means %q", path, once)
		}
	})
}

// The order in which services are given never changes a decision.
func FuzzOrder(f *testing.F) {
	f.Add(uint64(1), "/v1/users/me", uint16(443))
	pool := []policy.Service{
		on("a.example.com"), on("a.example.com/v1/*"), on("a.example.com/v1/users/*"), on("*.example.com"), on("a.example.com:8443"),
		on("*.example.com/v1/*"), on("a.example.com:443/x*"), {Name: "off", Host: "a.example.com/v1/users/me"},
	}
	f.Fuzz(func(t *testing.T, seed uint64, path string, port uint16) {
		q := policy.Query{Scheme: "https", Host: "a.example.com", Port: port, Method: "GET", Path: path}
		straight := compile(t, pool...).Decide(q)
		order := rand.New(rand.NewPCG(seed, 0)).Perm(len(pool))
		shuffled := make([]policy.Service, len(pool))
		for i, n := range order {
			shuffled[i] = pool[n]
		}
		d := compile(t, shuffled...).Decide(q)
		if d.Service >= 0 {
			d.Service = order[d.Service]
		}
		if d != straight {
			t.Errorf("%+v: %+v in one order and %+v in another", q, straight, d)
		}
	})
}

func thousand() []policy.Service {
	services := make([]policy.Service, 0, 1000)
	for i := range 250 {
		host := fmt.Sprintf("api-%d.example.com", i)
		services = append(services,
			on(host, policy.Rule{Methods: []string{"GET"}, Paths: []string{"/v1/*", "/v2/**/x*y"}}, policy.Rule{Methods: []string{"POST"}, Paths: []string{"/v1/charges"}}),
			on(host+":8443"), on(host+"/special/*"), on("*."+host))
	}
	return services
}

func TestDecideAllocatesNothing(t *testing.T) {
	s := compile(t, thousand()...)
	for _, q := range []policy.Query{
		get("api-7.example.com", "/v1/things/%40me?"), get("api-7.example.com", "/nope"), get("x.api-7.example.com", "/"),
		get("unknown.example.org", "/"), get("api-7.example.com", "/special/%2e%2e"),
	} {
		if n := testing.AllocsPerRun(100, func() { s.Decide(q) }); n != 0 {
			t.Errorf("%+v: %v allocations", q, n)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		services := thousand()[:n]
		s := compile(b, services...)
		for name, path := range map[string]string{"allow": "/v1/charges/ch_1234567890/refunds", "deny": "/admin"} {
			b.Run(fmt.Sprintf("services=%d/%s", n, name), func(b *testing.B) {
				q := get("api-0.example.com", path)
				b.ReportAllocs()
				for b.Loop() {
					s.Decide(q)
				}
			})
		}
	}
}

// Of one host, services are looked at one after the other.
func BenchmarkDecideOneHost(b *testing.B) {
	for _, n := range []int{10, 1000} {
		services := make([]policy.Service, n)
		for i := range services {
			services[i] = on(fmt.Sprintf("api.example.com/v1/%04d/*", i))
		}
		s := compile(b, services...)
		for name, q := range map[string]policy.Query{"last": get("api.example.com", fmt.Sprintf("/v1/%04d/x", n-1)), "none": get("api.example.com", "/v2/")} {
			b.Run(fmt.Sprintf("services=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s.Decide(q)
				}
			})
		}
	}
}

func BenchmarkDecideCondition(b *testing.B) {
	s := compile(b, on("api.example.com", policy.Rule{Methods: []string{"GET"}, When: "path.startsWith('/v1/') && agent != 'x'"}, policy.Rule{Preset: "read-only"}))
	b.ReportAllocs()
	for b.Loop() {
		q := get("api.example.com", "/v1/charges")
		q.Input = &when.Input{Method: q.Method, Path: q.Path, Agent: "robot"}
		if s.Decide(q).Verdict != policy.Allow {
			b.Fatal("refused")
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	services := thousand()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Compile(services); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleSet_Decide() {
	set, err := policy.Compile([]policy.Service{{
		Name: "stripe", Host: "api.stripe.com", Enabled: true,
		Rules: []policy.Rule{{Methods: []string{"GET"}, Paths: []string{"/v1/*"}}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, method := range []string{"GET", "POST"} {
		target, err := policy.ParseTarget("https", "API.Stripe.com")
		if err != nil {
			fmt.Println(err)
			return
		}
		d := set.Decide(policy.Query{Scheme: target.Scheme, Host: target.Host, Port: target.Port, Method: method, Path: "/v1/charges"})
		fmt.Println(method, d.Verdict == policy.Allow, d.Reason)
	}
	// Output:
	// GET true allowed
	// POST false method_not_allowed
}

// ByPath: a host whose services look at paths anywhere has to keep to one path.
func TestByPath(t *testing.T) {
	set, err := policy.Compile([]policy.Service{
		{Name: "plain", Host: "plain.example.com", Enabled: true, Rules: []policy.Rule{{Methods: []string{"GET"}}}},
		{Name: "rules", Host: "rules.example.com", Enabled: true, Rules: []policy.Rule{{Paths: []string{"/v1/*"}}}},
		{Name: "host", Host: "host.example.com/v1/*", Enabled: true},
		{Name: "rest", Host: "host.example.com", Enabled: true},
		{Name: "wild", Host: "*.wild.example.com/v1/*", Enabled: false},
		{Name: "port", Host: "port.example.com:8443", Enabled: true, Rules: []policy.Rule{{Paths: []string{"/a"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for authority, want := range map[string]bool{
		"plain.example.com": false, "rules.example.com": true, "rules.example.com:8443": false, "host.example.com": true,
		"a.wild.example.com": true, "wild.example.com": false, "port.example.com": false, "port.example.com:8443": true, "other.test": false,
	} {
		q, err := policy.ParseTarget("https", authority)
		if err != nil {
			t.Fatal(err)
		}
		if got := set.ByPath(q.Scheme, q.Host, q.Port); got != want {
			t.Errorf("%s: %t, want %t", authority, got, want)
		}
	}
	if (*policy.Set)(nil).ByPath("https", "rules.example.com", 443) {
		t.Error("a nil Set looks at nothing")
	}
}
