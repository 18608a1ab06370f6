package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/api"
	"agentvault/broker"
)

// A paidOrigin counts what reaches it, by path, and takes its time.
type paidOrigin struct {
	mu   sync.Mutex
	seen map[string]int
}

func (o *paidOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // it is the path that counts
	o.mu.Lock()
	o.seen[r.URL.Path]++
	n := o.seen[r.URL.Path]
	o.mu.Unlock()
	select {
	case <-time.After(time.Duration(rand.IntN(30)) * time.Millisecond):
	case <-r.Context().Done():
	}
	fmt.Fprintf(w, "%s paid %d", r.URL.Path, n)
}

// A payment is one request that two agents send until they know what came of it.
type payment struct {
	path string

	mu    sync.Mutex
	paid  int // answers of the upstream, the kept one too
	known bool
}

// TestKilledWhileApproving kills the server with SIGKILL between all that happens to
// requests that a person allows, again and again. Agents send each twice at once,
// give up while they wait and send it again. However that goes, the upstream never
// sees one twice, and who was answered was answered alike.
func TestKilledWhileApproving(t *testing.T) {
	origin := &paidOrigin{seen: make(map[string]int)}
	ca := newAuthority(t, "Origin CA")
	o := startOrigin(t, ca.leaf(t, "pay.test"), true, origin)
	roots := t.TempDir() + "/origin.pem"
	if err := os.WriteFile(roots, ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	c := &crash{instance: newInstanceIn(t, inMemory(t), fmt.Sprintf("upstream: {ca_file: %s, hosts: {pay.test: '%s'}}\nnetwork: {allow: [127.0.0.0/8]}\nlimits: {session_rate: 0, session_concurrent: 0}\n", roots, o.Addr))}
	c.register()
	c.owner = &api.Client{}
	c.connect()
	c.freshen()
	var list api.ServiceList
	c.ok(json.Unmarshal([]byte(`{"services":[{"name":"pay","host":"pay.test","auth":{"type":"bearer","token":"PAY_KEY"},"rules":[{"action":"ask"}]}]}`), &list))
	_, err := c.owner.SetCredentials(t.Context(), api.SetCredentialsRequest{Vault: "default", Credentials: map[string]string{"PAY_KEY": "sk-live-3f9a77c1e2d4b6a8"}})
	c.ok(err)
	_, err = c.owner.SetServices(t.Context(), "default", list)
	c.ok(err)
	s, err := c.owner.MintSession(t.Context(), api.SessionRequest{Vault: "default"})
	c.ok(err)
	c.session = s.Token

	var all []*payment
	for range 6 + kills(t)/4 { // each life is longer than those of TestKilledServer
		all = append(all, c.pays(all)...)
		if t.Failed() {
			t.Fatalf("%s", c.stderr)
		}
	}
	c.checkIntegrity()
	c.settles(all)
	origin.mu.Lock()
	defer origin.mu.Unlock()
	paid, unknown, twice := 0, 0, 0
	for _, p := range all {
		switch n := origin.seen[p.path]; {
		case n > 1:
			t.Errorf("%s reached the upstream %d times", p.path, n)
		case p.paid > 0 && n != 1:
			t.Errorf("%s was answered, and reached the upstream %d times", p.path, n)
		case p.paid > 0:
			paid++
		case p.known:
			unknown++
		}
		if p.paid > 1 {
			twice++
		}
	}
	t.Logf("%d payments: %d paid, of which %d were answered more than once; of %d nobody knows", len(all), paid, twice, unknown)
	if paid == 0 || twice == 0 {
		t.Error("then this shows nothing")
	}
}

// settles asks once more, and waits, for what was not known when the server was
// killed last.
func (c *crash) settles(all []*payment) {
	c.t.Helper()
	ctx, stop := context.WithTimeout(c.t.Context(), time.Minute)
	defer stop()
	var busy sync.WaitGroup
	busy.Go(func() { c.allowsAll(ctx) })
	var last sync.WaitGroup
	for _, p := range all {
		if !p.known { // all at once: what nobody knows takes its time
			last.Go(func() {
				for ctx.Err() == nil && !p.isKnown() && p.paid == 0 {
					c.payFor(ctx, p)
				}
			})
		}
	}
	last.Wait()
	stop()
	busy.Wait()
	for _, p := range all {
		if !p.known {
			c.t.Errorf("what became of %s is not told", p.path)
		}
	}
}

// pays lets agents and a person work for a while, on payments that are under way and
// on new ones, kills the server and starts it again. It returns the new ones.
func (c *crash) pays(earlier []*payment) (begun []*payment) {
	c.t.Helper()
	ctx, stop := context.WithCancel(c.t.Context())
	defer stop()
	work := make([]*payment, 0, 4)
	for _, p := range earlier {
		if !p.known && len(work) < 2 {
			work = append(work, p)
		}
	}
	var busy sync.WaitGroup
	for len(work) < 4 {
		p := &payment{path: fmt.Sprint("/pay/", c.number.Add(1))}
		work, begun = append(work, p), append(begun, p)
	}
	for _, p := range work {
		for range 2 {
			busy.Go(func() {
				for ctx.Err() == nil && !p.isKnown() {
					c.pay(ctx, p)
				}
			})
		}
	}
	busy.Go(func() { c.allowsAll(ctx) })
	<-time.After(time.Duration(50+rand.IntN(350)) * time.Millisecond) // a life
	c.kill()
	stop()
	busy.Wait()
	c.start()
	c.connect()
	c.freshen()
	return begun
}

func (p *payment) isKnown() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known && p.paid != 1 // one answer is asked for again
}

// pay sends a payment, and sometimes does not wait for the answer.
func (c *crash) pay(ctx context.Context, p *payment) {
	ctx, giveUp := context.WithTimeout(ctx, time.Duration(5+rand.IntN(300))*time.Millisecond)
	defer giveUp()
	c.payFor(ctx, p)
}

func (c *crash) payFor(ctx context.Context, p *payment) {
	req, err := http.NewRequestWithContext(ctx, "POST", c.API+"/proxy/pay.test"+p.path, strings.NewReader("5 dollars"))
	c.ok(err)
	req.Header.Set("Authorization", "Bearer "+c.session)
	resp, err := c.owner.Transport.RoundTrip(req)
	if err != nil {
		return // it gave up, or the server was killed
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return
	}
	var f struct{ Error string }
	if resp.Header.Get(broker.ErrorHeader) != "" && json.Unmarshal(body, &f) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case resp.StatusCode == http.StatusOK:
		p.known = true
		p.paid++
		if want := p.path + " paid 1"; string(body) != want {
			c.t.Errorf("%s was answered %q, want %q", p.path, body, want)
		}
	case f.Error == broker.CodeApprovalUnknown:
		p.known = true
		if p.paid > 0 {
			c.t.Errorf("%s was paid, and is not known any more", p.path)
		}
	case f.Error == broker.CodeTooManyApprovals, f.Error == broker.CodeUnavailable:
	default:
		c.t.Errorf("%s: %d %s", p.path, resp.StatusCode, body)
	}
}

// allowsAll is a person who allows whatever waits.
func (c *crash) allowsAll(ctx context.Context) {
	tag := ""
	for ctx.Err() == nil {
		l, err := c.owner.WatchApprovals(ctx, "default", true, tag, time.Second, 100)
		if err != nil {
			return
		}
		tag = l.Tag
		for _, a := range l.Approvals {
			rv, err := c.owner.Approval(ctx, "default", a.ID)
			if err == nil {
				_, err = c.owner.AllowRequest(ctx, "default", a.ID, api.ApprovalDecision{Digest: rv.Digest})
			}
			var refused *api.ClientError
			if errors.As(err, &refused) && refused.Code != "approval_closed" {
				c.t.Errorf("it could not be allowed: %v", err)
			}
		}
	}
}
