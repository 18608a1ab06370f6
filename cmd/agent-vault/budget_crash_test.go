package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/broker"
	"agentvault/policy"
)

const (
	budgetAgents = 100
	budgetKills  = 3 // of each budget
	budgetMost   = "600.00"
)

// TestBudgetSurvivesKills lets a hundred agents race for a budget while the server
// is killed with SIGKILL again and again, until it is used up. What the upstream
// received never comes to more, by its own exact sum.
func TestBudgetSurvivesKills(t *testing.T) {
	b := newBudgetRace(t)
	for n, name := range b.names {
		b.host = name
		for range budgetKills {
			b.race(func(ended <-chan struct{}) {
				select {
				case <-ended:
				case <-time.After(time.Duration(20+rand.IntN(100)) * time.Millisecond): // a life
				}
				b.kill()
			})
			b.start()
			b.connect()
		}
		b.race(func(ended <-chan struct{}) { <-ended }) // until all of them are refused
		most, _ := new(big.Rat).SetString(budgetMost)
		sum, count := b.origin.sum(name)
		if sum.Cmp(most) > 0 {
			t.Errorf("%s received %s of %s", name, sum.FloatString(6), budgetMost)
		}
		t.Logf("budget %d: %s of %s received by %d requests, %d answered, %d refused", n, sum.FloatString(6), budgetMost, count, b.answered.Swap(0), b.refused.Swap(0))
		if count == 0 {
			t.Error("nothing was received: then this shows nothing")
		}
	}
}

// A budgetRace is an instance with a budget for each host of an origin.
type budgetRace struct {
	*crash
	names             []string
	host              string // of the budget that is raced for
	agents            []string
	origin            *adder
	answered, refused atomic.Int64
}

// An adder sums what it charges. Some it refuses, and of some it charges less
// than it was asked for.
type adder struct {
	mu       sync.Mutex
	received map[string]*big.Rat // by host
	count    map[string]int
}

func (a *adder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := json.NewDecoder(r.Body)
	d.UseNumber()
	var order struct{ Amount json.Number }
	if err := d.Decode(&order); err != nil {
		http.Error(w, err.Error(), 500)
		return
	}
	amount, ok := new(big.Rat).SetString(order.Amount.String())
	if !ok {
		http.Error(w, order.Amount.String(), 500)
		return
	}
	switch rand.IntN(8) {
	case 0:
		http.Error(w, "not this one", http.StatusUnprocessableEntity)
		return
	case 1:
		amount.Mul(amount, big.NewRat(1, 2))
	}
	a.mu.Lock()
	if a.received[r.Host] == nil {
		a.received[r.Host] = new(big.Rat)
	}
	a.received[r.Host].Add(a.received[r.Host], amount)
	a.count[r.Host]++
	a.mu.Unlock()
	fmt.Fprintf(w, `{"charged": %s}`, amount.FloatString(6))
}

func (a *adder) sum(host string) (*big.Rat, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.received[host] == nil {
		return new(big.Rat), 0
	}
	return a.received[host], a.count[host]
}

func newBudgetRace(t *testing.T) *budgetRace {
	t.Helper()
	b := &budgetRace{crash: &crash{}, origin: &adder{received: make(map[string]*big.Rat), count: make(map[string]int)}}
	for n := range 4 {
		b.names = append(b.names, fmt.Sprintf("shop%d.test", n))
	}
	ca := newAuthority(t, "Origin CA")
	addr := startOrigin(t, ca.leaf(t, b.names...), true, b.origin).Addr
	hosts := make(map[string]string)
	var services api.AddServicesRequest
	for n, name := range b.names {
		hosts[name] = addr
		s := service(t, fmt.Sprint("shop", n), name, "", "KEY")
		l := policy.Limit{Budget: budgetMost, Field: "amount", Window: "24h", Settle: "charged"}
		if n%2 == 0 { // on the service, or on the rule that spends
			s.Limits = []policy.Limit{l}
		} else {
			s.Rules = []policy.Rule{{Methods: []string{"POST"}, Paths: []string{"/charge"}, Limits: []policy.Limit{l}}}
		}
		services.Services = append(services.Services, s)
	}
	spelled, err := json.Marshal(hosts)
	must(t, err)
	roots := t.TempDir() + "/origin.pem"
	must(t, os.WriteFile(roots, ca.pem, 0o600))
	b.instance = newInstanceIn(t, inMemory(t), fmt.Sprintf("upstream: {ca_file: %s, hosts: %s}\nnetwork: {allow: [127.0.0.0/8]}\nlimits: {session_rate: 0, session_concurrent: 0}\n", roots, spelled))
	b.register()
	b.owner = &api.Client{}
	b.connect()
	b.freshen()
	_, err = b.owner.SetCredentials(t.Context(), api.SetCredentialsRequest{Vault: "default", Credentials: map[string]string{"KEY": "a-value-of-the-key"}})
	b.ok(err)
	_, err = b.owner.AddServices(t.Context(), "default", services)
	b.ok(err)
	for range budgetAgents {
		s, err := b.owner.MintSession(t.Context(), api.SessionRequest{Vault: "default"})
		b.ok(err)
		b.agents = append(b.agents, s.Token)
	}
	return b
}

// race lets all agents spend until the server is gone or they are refused, and
// meanwhile something happen.
func (b *budgetRace) race(meanwhile func(ended <-chan struct{})) {
	b.t.Helper()
	var agents sync.WaitGroup
	for _, token := range b.agents {
		agents.Go(func() {
			for b.spend(token) {
			}
		})
	}
	ended := make(chan struct{})
	go func() { agents.Wait(); close(ended) }()
	meanwhile(ended)
	<-ended
}

// spend reports whether there may be more.
func (b *budgetRace) spend(token string) bool {
	body := fmt.Sprintf(`{"amount": %d.%02d}`, rand.IntN(3), 1+rand.IntN(99))
	req, err := http.NewRequestWithContext(b.t.Context(), "POST", b.API+"/proxy/"+b.host+"/charge", strings.NewReader(body))
	if err != nil {
		b.t.Error(err)
		return false
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.owner.Transport.RoundTrip(req)
	if err != nil {
		return false // the server is gone
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return false
	case resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusUnprocessableEntity:
		b.answered.Add(1)
		return true
	case strings.Contains(string(said), broker.CodeBudgetExceeded):
		b.refused.Add(1)
		return false
	}
	b.t.Errorf("%d: %s", resp.StatusCode, said)
	return false
}
