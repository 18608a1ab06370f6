package main_test

import (
	"strings"
	"testing"
	"time"
)

// An agent without access has one service for as long, and as often, as it was
// granted.
func TestVaultGrant(t *testing.T) {
	w := newWorld(t)
	bot := strings.TrimSpace(w.must("", "agent", "create", "guest-bot", "--vault", "second"))
	ask := func(e entrance) (code any) {
		a := w.doIn(e, bot, "default", call{host: "api.test", target: "/"})
		if a.status == 200 {
			return nil
		}
		return a.fault(t)["error"]
	}
	want := func(what string, e entrance, code any) {
		t.Helper()
		if got := ask(e); got != code {
			t.Errorf("%s: %v, want %v", what, got, code)
		}
	}
	want("before", ways[0], "vault_forbidden")
	said := w.must("", "vault", "grant", "--agent", "guest-bot", "--service", "api", "--for", "1h", "--uses", "2")
	if !strings.Contains(said, "default=proxy (api until ") || !strings.Contains(said, " or for 2 uses)") {
		t.Errorf("it says %s", said)
	}
	want("the first", ways[0], nil)
	want("the second", ways[1], nil)
	want("the third", ways[0], "budget_exceeded")
	if list := w.must("", "agent", "list"); !strings.Contains(list, "api until ") || !strings.Contains(list, " or for 2 uses (0 left)") {
		t.Errorf("the list:\n%s", list)
	}
	w.must("", "vault", "ungrant", "--agent", "guest-bot", "--service", "api")
	want("taken away", ways[0], "vault_forbidden")
	w.must("", "vault", "grant", "--agent", "guest-bot", "--service", "api", "--for", "1s")
	granted := time.Now()
	looks := time.NewTicker(20 * time.Millisecond)
	defer looks.Stop()
	for ask(ways[0]) == nil {
		if time.Since(granted) > 3*time.Second {
			t.Fatal("it does not end")
		}
		<-looks.C
	}
	want("when it has ended", ways[0], "vault_forbidden")
	w.stop()
	w.start()
	want("in another life of the server", ways[0], "vault_forbidden")
}
