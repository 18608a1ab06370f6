package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"agentvault/api"
	"agentvault/vault"
)

// recorded puts requests of the vault "default" into the log, a second apart and
// the last one now.
func (f *fixture) recorded(requests ...vault.Request) {
	f.t.Helper()
	var id string
	if err := f.db.Read(f.t.Context(), func(tx vault.Tx) error {
		v, err := tx.VaultByName("default")
		id = v.ID
		return err
	}); err != nil {
		f.t.Fatal(err)
	}
	for i := range requests {
		r := &requests[i]
		r.Time = f.clock.now().Add(time.Duration(i+1-len(requests)) * time.Second)
		r.VaultID, r.Vault, r.Entrance = id, "default", "path"
		_, r.Host, _ = strings.Cut(r.Target, "://")
		r.Host, _, _ = strings.Cut(r.Host, ":")
	}
	if err := f.db.AppendRequests(f.t.Context(), vault.RequestBatch{Requests: requests}); err != nil {
		f.t.Fatal(err)
	}
}

func answered(id, path string, status int) vault.Request {
	return vault.Request{ID: id, Target: "https://api.test:443", Method: "POST", Path: path, Agent: "robot", AgentKind: vault.KindAgent, Service: "api", Status: &status, Micros: 12_000}
}

func refusedTo(id, target string) vault.Request {
	status := http.StatusForbidden
	return vault.Request{ID: id, Target: target, Method: "GET", Path: "/", Agent: "builder", AgentKind: vault.KindSession, Status: &status, Fault: "forbidden", Micros: 90}
}

func TestLog(t *testing.T) {
	f := newOwned(t)
	f.recorded(answered("a", "/one", 200), answered("b", "/two", 502), refusedTo("c", "https://other.test:8443"), vault.Request{ID: "d", Target: "tunnel://blind.test:443", Method: "CONNECT", SessionID: "s-1"})
	b := f.signedIn()
	b.get("/vaults/default/traffic").status(200).says("robot", "POST api.test /one", "200", "12ms", "502", "builder", "GET other.test:8443 /", "403 forbidden", "CONNECT blind.test", "s-1", "open")
	for query, want := range map[string]string{
		"agent=robot": "ba", "host=other.test": "c", "service=api": "ba", "status=5xx": "b", "status=forbidden": "c", "refused=yes": "c", "since=15m": "dcba", "status=unknown": "d",
		"agent=robot&status=200&since=1h": "a", "agent=nobody": "", "": "dcba",
	} {
		p := b.get("/vaults/default/traffic?" + query).status(200)
		got := ""
		for _, n := range p.nodes() {
			if id, ok := strings.CutPrefix(attr(n, "id"), "r-"); ok {
				got += id
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	b.get("/vaults/default/traffic?status=9").status(400).says(`Status: "9" is none of`)
	b.get("/vaults/default/traffic?status=200&refused=yes").status(400).says("Give a status, or")
	b.get("/vaults/default/traffic?since=x").status(400).says("Since when")
	b.get("/vaults/default/traffic?cursor=x").status(400)
	b.get("/vaults/none/traffic").status(404)
	f.browser().get("/vaults/default/traffic").status(401)
}

// Pages lead to what is older and back, and only the newest is live.
func TestLogPages(t *testing.T) {
	f := newOwned(t)
	var requests []vault.Request
	for i := range 120 {
		requests = append(requests, answered(fmt.Sprintf("n%d", i), "/", 200))
	}
	f.recorded(requests...)
	b := f.signedIn()
	at, seen := "/vaults/default/traffic?agent=robot", 0
	for at != "" {
		p := b.get(at).status(200)
		newest := at == "/vaults/default/traffic?agent=robot"
		at = ""
		for _, n := range p.nodes() {
			if strings.HasPrefix(attr(n, "id"), "r-") {
				seen++
			}
			if n.Data == "a" && n.FirstChild.Data == "Older" {
				at = attr(n, "href")
			}
			if attr(n, "id") == "pause" && !newest {
				t.Errorf("an older page is live: %s", attr(n, "value"))
			}
		}
		if !newest {
			p.says("To the newest")
		}
	}
	if seen != 120 {
		t.Errorf("%d requests on all pages, want 120", seen)
	}
}

func TestCharts(t *testing.T) {
	f := newOwned(t)
	b := f.signedIn()
	b.get("/vaults/default/traffic/charts").status(200).says("0 requests, 0 of them refused", "There were no requests.")
	f.recorded(answered("a", "/", 200), answered("b", "/", 200), refusedTo("c", "https://other.test:443"))
	for over, each := range map[string]string{"hour": "in a minute", "day": "in 30 minutes", "week": "in 2 hours"} {
		p := b.get("/vaults/default/traffic/charts?over="+over).status(200).says("3 requests, 1 of them refused", each, "2 requests that an upstream answered")
		count := map[string]int{}
		for _, n := range p.nodes() {
			count[n.Data]++
		}
		// By chance the seconds are of two minutes.
		if count["svg"] != 2 || count["rect"] < 2 || count["rect"] > 3 || count["polyline"] < 2 || count["desc"] != 2 {
			t.Errorf("%s: %v", over, count)
		}
	}
	b.get("/vaults/default/traffic/charts?over=year").status(400)
}

// A host that was refused becomes a service by the form that it leads to, with
// what the catalog knows of it.
func TestHostBecomesAService(t *testing.T) {
	f := newOwned(t)
	f.recorded(refusedTo("a", "https://api.github.com:443"), refusedTo("b", "https://other.test:8443"), refusedTo("c", "http://plain.test:80"))
	b := f.signedIn()
	b.get("/vaults/default/traffic/hosts").status(200).says("other.test:8443", "Make it a service: other.test:8443", "The catalog knows it as github.", "Once, last just now", "builder", "plain.test over plain http")
	b.get("/vaults/default/traffic/hosts?since=15m").status(200).says("other.test:8443")

	p := b.get("/vaults/default/traffic/hosts")
	for _, to := range []string{"/vaults/default/catalog/github", "/vaults/default/services?host=other.test%3A8443", "/vaults/default/services?host=plain.test%3A80"} {
		if !slices.ContainsFunc(p.nodes(), func(n *html.Node) bool { return attr(n, "href") == to }) {
			t.Errorf("nothing leads to %s", to)
		}
		b.get(to).status(200)
	}
	checkFields(t, b.get("/vaults/default/services?host=other.test:8443"), "host", "other.test:8443")
	added := `{"services": [{"name": "other", "host": "other.test:8443", "auth": {"type": "passthrough"}}]}`
	var l api.AddServicesRequest
	if err := json.Unmarshal([]byte(added), &l); err != nil {
		t.Fatal(err)
	}
	if _, err := f.owner.AddServices(t.Context(), "default", l); err != nil {
		t.Fatal(err)
	}
	b.get("/vaults/default/traffic/hosts").says("A service names it by now.")
}

func checkFields(t *testing.T, p page, pairs ...string) {
	t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		found := false
		for _, n := range p.nodes() {
			found = found || attr(n, "name") == pairs[i] && attr(n, "value") == pairs[i+1]
		}
		if !found {
			t.Errorf("the field %s is not %q in\n%s", pairs[i], pairs[i+1], p.body)
		}
	}
}
