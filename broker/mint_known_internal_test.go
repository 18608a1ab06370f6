package broker

import (
	"fmt"
	"testing"
	"time"

	"agentvault/vault"
)

// A token is looked for as long as it may be good, however many come after it.
func TestKnownTokens(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var k knownTokens
	id := vault.MintID{}
	value := func(i int) []byte { return fmt.Appendf(nil, "minted-token-number-%04d", i) }
	masked := func(i int) bool { return k.set.Holds(value(i)) }
	for i := range 100 {
		k.learn(id, now, now.Add(time.Hour), value(i))
	}
	for i := range 100 {
		if !masked(i) {
			t.Errorf("token %d is good and not looked for", i)
		}
	}
	now = now.Add(2 * time.Hour)
	k.learn(id, now, time.Time{}, value(100))
	for i, want := range map[int]bool{0: false, 92: false, 93: true, 100: true} {
		if masked(i) != want {
			t.Errorf("token %d, when those before the last are over: looked for %t, want %t", i, !want, want)
		}
	}
	for i := range 200 {
		k.learn(id, now, now.Add(time.Hour), value(1000+i))
	}
	if n := len(k.values[id]); n != mostTokens {
		t.Errorf("%d are kept, want %d", n, mostTokens)
	}
}
