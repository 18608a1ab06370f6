package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/policy"
	"agentvault/store"
	"agentvault/vault"
)

// budgetKit is a kit whose service example.com has limits, and the ledger in which
// they are counted. The upstream answers as the request's X-Answer says.
func budgetKit(t testing.TB, limits []policy.Limit, rules []policy.Rule) (*kit, *store.DB) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "store", "db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Write(t.Context(), func(tx vault.Tx) error {
		return tx.PutVault(vault.Vault{ID: "v1", Name: "default", UnmatchedHosts: vault.UnmatchedDeny, CreatedAt: time.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	k := newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		status, body := 200, "{}"
		fmt.Sscan(r.Header.Get("X-Answer"), &status, &body)
		if body == "long" {
			body = `{"x":"` + strings.Repeat("x", 1<<20) + `","charged":1}`
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}), func(o *broker.Options) {
		o.Ledger = db
		addr := o.Dialer.Hosts["example.com"]
		o.Dialer.Hosts["broken.example.com"] = addr
		o.Dialer.Hosts["refuses.test"] = broker.HostAddress{Addr: netip.MustParseAddr("127.0.0.1"), Port: 1}
	})
	k.snapshot.Vaults[0].Services = append(k.snapshot.Vaults[0].Services,
		vault.Service{Name: "refuses", Host: "refuses.test", Enabled: true, Auth: auth(t, `{"type":"passthrough"}`)})
	for i := range k.snapshot.Vaults[0].Services {
		k.snapshot.Vaults[0].Services[i].Limits, k.snapshot.Vaults[0].Services[i].Rules = limits, rules
	}
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k, db
}

// spend sends an amount, and returns the code of a fault and its message.
func (k *kit) spend(t testing.TB, host, body, answer string) (status int, code, message string) {
	t.Helper()
	return k.spendAt(t, host, "/pay", body, http.Header{"Content-Type": {"application/json"}, "X-Answer": {answer}})
}

func (k *kit) spendAt(t testing.TB, host, path, body string, header http.Header) (status int, fault, message string) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(body))
	r.Header = header
	w := httptest.NewRecorder()
	k.Serve(w, r, k.request(t, host, path))
	if fault = code(t, w); fault != "" {
		_, message, _ = strings.Cut(w.Body.String(), `"message":"`)
		message, _, _ = strings.Cut(message, `","request_id"`)
	}
	return w.Code, fault, message
}

// spent is what an account of a service holds, in millionths.
func spent(t testing.TB, db *store.DB, service, name string) (total int64) {
	t.Helper()
	if err := db.Read(t.Context(), func(tx vault.Tx) error {
		all, err := tx.Spent("v1", service, time.Now(), nil)
		for _, s := range all {
			if s.Name == name {
				total += s.Total
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return total
}

var tenADay = policy.Limit{Budget: "10.00", Field: "amount", Settle: "charged", Window: "24h"}

// What a request comes to in the end: what was reserved, unless it was certainly
// not sent, or the upstream says otherwise.
func TestBudgetIsSettled(t *testing.T) {
	for _, c := range []struct {
		name, host, body, answer string
		fault                    string
		want                     int64
	}{
		{"accepted", "example.com", `{"amount": 4.50}`, `200 {}`, "", 4_500_000},
		{"charged less", "example.com", `{"amount": 4.50}`, `200 {"charged":3.25}`, "", 3_250_000},
		{"charged nothing", "example.com", `{"amount": 4.50}`, `200 {"charged":0}`, "", 0},
		{"charged more", "example.com", `{"amount": 4.50}`, `201 {"charged":25}`, "", 25_000_000},
		{"charged in words", "example.com", `{"amount": 4.50}`, `200 {"charged":"1"}`, "", 4_500_000},
		{"charged twice", "example.com", `{"amount": 4.50}`, `200 {"charged":1,"charged":2}`, "", 4_500_000},
		{"charged below zero", "example.com", `{"amount": 4.50}`, `200 {"charged":-1}`, "", 4_500_000},
		{"charged at the end of too much", "example.com", `{"amount": 4.50}`, `200 long`, "", 4_500_000},
		{"refused as bad", "example.com", `{"amount": 4.50}`, `400 {}`, "", 0},
		{"refused as unprocessable", "example.com", `{"amount": 4.50}`, `422 {"charged":1}`, "", 0},
		{"refused as too many", "example.com", `{"amount": 4.50}`, `429 {}`, "", 0},
		{"in conflict", "example.com", `{"amount": 4.50}`, `409 {}`, "", 4_500_000},
		{"to be paid", "example.com", `{"amount": 4.50}`, `402 {}`, "", 4_500_000},
		{"failed over there", "example.com", `{"amount": 4.50}`, `500 {}`, "", 4_500_000},
		{"redirected", "example.com", `{"amount": 4.50}`, `307 {}`, "", 4_500_000},
		{"no credential that opens", "broken.example.com", `{"amount": 4.50}`, ``, broker.CodeUnavailable, 0},
		{"no connection", "refuses.test", `{"amount": 4.50}`, ``, broker.CodeUpstreamError, 0},
		{"more than there is", "example.com", `{"amount": 10.000001}`, ``, broker.CodeBudgetExceeded, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, db := budgetKit(t, []policy.Limit{tenADay}, nil)
			service := map[string]string{"example.com": "api", "broken.example.com": "broken", "refuses.test": "refuses"}[c.host]
			if _, fault, message := k.spend(t, c.host, c.body, c.answer); fault != c.fault {
				t.Errorf("fault %q (%s), want %q", fault, message, c.fault)
			}
			if got := spent(t, db, service, "amount"); got != c.want {
				t.Errorf("it came to %d millionths, want %d", got, c.want)
			}
		})
	}
}

// An answer that breaks off, and a connection that does so before one, keep what
// was reserved: nobody knows what came of it.
func TestBudgetIsKeptWhenUnknown(t *testing.T) {
	k, db := budgetKit(t, []policy.Limit{tenADay}, nil)
	k.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})
	if _, fault, _ := k.spend(t, "example.com", `{"amount": 4}`, ""); fault != broker.CodeUpstreamError {
		t.Errorf("fault %q", fault)
	}
	if got := spent(t, db, "api", "amount"); got != 4_000_000 {
		t.Errorf("it came to %d", got)
	}
}

// Amounts add up exactly, and what does not fit is refused until something did.
func TestBudgetIsExact(t *testing.T) {
	k, db := budgetKit(t, []policy.Limit{{Budget: "1", Field: "amount", Window: "10m", Per: policy.PerAgent}, {Uses: 12}}, nil)
	for n := range 9 {
		if status, _, message := k.spend(t, "example.com", `{"amount": 0.1}`, "200 {}"); status != 200 {
			t.Fatalf("%d: %d %s", n, status, message)
		}
	}
	_, fault, message := k.spend(t, "example.com", `{"amount": 0.100001}`, "200 {}")
	if want := "this would go beyond what the service allows: 1.00 of amount of each agent in 10m, of which 0.10 are left"; fault != broker.CodeBudgetExceeded || message != want {
		t.Errorf("%s: %s\nwant %s", fault, message, want)
	}
	if status, _, message := k.spend(t, "example.com", `{"amount": 0.1}`, "200 {}"); status != 200 {
		t.Errorf("the last: %d %s", status, message)
	}
	if status, fault, _ := k.spend(t, "example.com", `{"amount": 0.000001}`, "200 {}"); status != 403 || fault != broker.CodeBudgetExceeded {
		t.Errorf("beyond: %d %s", status, fault)
	}
	k.clock.advance(10*time.Minute + time.Second)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		if status, _, message := k.spend(t, "example.com", `{"amount": 0}`, "400 {}"); status != 400 {
			t.Fatalf("%d: %d %s", n, status, message)
		}
	}
	_, fault, message = k.spend(t, "example.com", `{"amount": 0}`, "200 {}")
	if fault != broker.CodeBudgetExceeded || message != "this would go beyond what the service allows: 12 uses" {
		t.Errorf("%s: %s", fault, message)
	}
	if got := spent(t, db, "api", "uses"); got != 12 {
		t.Errorf("%d uses", got)
	}
}

// What spends of a budget must say how much, in one way only.
func TestBudgetRefusesWhatIsUnclear(t *testing.T) {
	asJSON := func(more ...string) http.Header {
		h := http.Header{"Content-Type": {"application/json"}}
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = append(h[more[i]], more[i+1])
		}
		return h
	}
	const held = "the budget amount of this service cannot be held: "
	const form = "the budget amount of this service is for bodies of JSON: send Content-Type: application/json, and no Content-Encoding"
	k, db := budgetKit(t, []policy.Limit{tenADay}, nil)
	k.upstream.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	for _, c := range []struct {
		name, path, body string
		header           http.Header
		code, want       string
	}{
		{"nothing", "/pay", "", asJSON(), broker.CodeBadRequest, held + "there is no body"},
		{"missing", "/pay", `{}`, asJSON(), broker.CodeBadRequest, held + "amount: it is missing"},
		{"twice", "/pay", `{"amount":1,"amount":2}`, asJSON(), broker.CodeBadRequest, held + "amount: it stands there twice"},
		{"a sign", "/pay", `{"amount":-1}`, asJSON(), broker.CodeBadRequest, held + "amount: it is not a plain decimal number of at most 15 digits, 6 of them behind the point, without sign and exponent"},
		{"no JSON", "/pay", `amount=1`, asJSON(), broker.CodeBadRequest, held + "the body is not JSON"},
		{"too long", "/pay", `{"amount":1}` + strings.Repeat(" ", 1<<20), asJSON(), broker.CodeRequestTooLarge, "this service must see the body whole before it is sent, and takes at most 1048576 bytes of it"},
		{"coded", "/pay", `{"amount":1}`, asJSON("Content-Encoding", "gzip"), broker.CodeBadRequest, form},
		{"coded by a twin", "/pay", `{"amount":1}`, asJSON("Content_encoding", "gzip"), broker.CodeBadRequest, form},
		{"no type", "/pay", `{"amount":1}`, http.Header{}, broker.CodeBadRequest, form},
		{"a form", "/pay", `{"amount":1}`, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, broker.CodeBadRequest, form},
		{"two types", "/pay", `{"amount":1}`, asJSON("Content-Type", "text/plain"), broker.CodeBadRequest, form},
		{"a twin of the type", "/pay", `{"amount":1}`, asJSON("Content_Type", "text/plain"), broker.CodeBadRequest, form},
		{"another charset", "/pay", `{"amount":1}`, http.Header{"Content-Type": {"application/json; charset=utf-7"}}, broker.CodeBadRequest, form},
		{"in the query", "/pay?x=1&%61mount%5B%5D=500", `{"amount":1}`, asJSON(), broker.CodeBadRequest, held + "a parameter of the query has the name amount too"},
		{"in the query, before a NUL", "/pay?amount%00x=500", `{"amount":1}`, asJSON(), broker.CodeBadRequest, held + "a parameter of the query has the name amount too"},
		{"in the query, as an object", "/pay?amount.x=500", `{"amount":1}`, asJSON(), broker.CodeBadRequest, held + "a parameter of the query has the name amount too"},
		{"in the query, in other letters", "/pay?x=1;Amount=500", `{"amount":1}`, asJSON(), broker.CodeBadRequest, held + "a parameter of the query has the name amount too"},
	} {
		if _, code, message := k.spendAt(t, "example.com", c.path, c.body, c.header); code != c.code || message != c.want {
			t.Errorf("%s: %s: %s\nwant %s: %s", c.name, code, message, c.code, c.want)
		}
	}
	if got := spent(t, db, "api", "amount"); got != 0 {
		t.Errorf("they came to %d", got)
	}
}

// A rule's limits are of what it lets through, and the service's come on top.
func TestLimitsOfRules(t *testing.T) {
	k, db := budgetKit(t, []policy.Limit{{Uses: 3, Name: "all"}}, []policy.Rule{
		{Paths: []string{"/read"}},
		{Paths: []string{"/pay"}, Limits: []policy.Limit{tenADay, {Uses: 1}}},
	})
	for n, c := range []struct {
		path, body string
		want       int
	}{{"/read", "", 200}, {"/pay", `{"amount":1}`, 200}, {"/pay", `{"amount":1}`, 403}, {"/read", "", 200}, {"/read", "", 403}} {
		if status, _, message := k.spendAt(t, "example.com", c.path, c.body, http.Header{"Content-Type": {"application/json"}}); status != c.want {
			t.Errorf("%d: %s: %d %s, want %d", n, c.path, status, message, c.want)
		}
	}
	for name, want := range map[string]int64{"all": 3, "uses": 1, "amount": 1_000_000} {
		if got := spent(t, db, "api", name); got != want {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
}

// Without a ledger that answers nothing is sent.
func TestBudgetWithoutLedger(t *testing.T) {
	for name, ledger := range map[string]broker.Ledger{"none": nil, "one that fails": failingLedger{}} {
		k := newKit(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("%s: it was sent", name) }), func(o *broker.Options) { o.Ledger = ledger })
		k.snapshot.Vaults[0].Services[0].Limits = []policy.Limit{{Uses: 1}}
		k.source.set(k.snapshot, nil)
		if err := k.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if w := k.get(t, "example.com", "/"); w.Code != 503 || code(t, w) != broker.CodeUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

type failingLedger struct{}

func (failingLedger) Reserve(context.Context, string, time.Time, []vault.Charge) (int, int64, error) {
	return -1, 0, errors.New("the disk is full")
}
func (failingLedger) Settle(context.Context, string, time.Time, []vault.Charge) error { return nil }
