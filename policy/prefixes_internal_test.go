package policy

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// A long list finds by prefixes what it finds one after the other.
func TestPrefixesAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	found := 0
	for range 300 {
		var services []Service
		for i := range 80 {
			host := "a.example.com" + pick("", "", ":443", ":8443")
			for range r.IntN(4) {
				host += pick("/a", "/b", "/a%62", "/*", "/**", "/a*b", "/cc")
			}
			s := Service{Name: fmt.Sprint("s", i), Host: host, Enabled: r.IntN(9) > 0}
			if r.IntN(3) == 0 {
				s.Rules = []Rule{{Methods: []string{pick("GET", "POST")}}}
			}
			if _, err := Compile(append(services, s)); err == nil {
				services = append(services, s)
			}
		}
		set, err := Compile(services)
		if err != nil {
			t.Fatal(err)
		}
		plain := *set
		plain.long = nil
		if set.long["a.example.com"] != nil {
			found++
		}
		for range 200 {
			path := ""
			for range 1 + r.IntN(4) {
				path += pick("/a", "/b", "/ab", "/cc", "/%61", "//", "/axb", "/")
			}
			q := Query{Scheme: "https", Host: "a.example.com", Port: []uint16{443, 8443, 1}[r.IntN(3)], Method: pick("GET", "POST"), Path: path}
			if got, want := set.Decide(q), plain.Decide(q); got != want {
				t.Fatalf("%+v of %+v: %+v, want %+v", q, services, got, want)
			}
		}
	}
	if found < 100 {
		t.Errorf("only %d of the lists were long", found)
	}
}
