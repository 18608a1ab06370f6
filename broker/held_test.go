package broker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/policy"
	"agentvault/store"
	"agentvault/vault"
)

// A heldKit is a kit whose service asks a person about every POST, and about
// WebSockets. The upstream counts what it sees.
type heldKit struct {
	*kit
	db     *store.DB
	holder *vault.Holder
	stop   chan struct{} // closed: the server stops
	seen   atomic.Int64
	url    string
}

func newHeldKit(t *testing.T, upstream http.HandlerFunc, wait time.Duration) *heldKit {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "data", "vault.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &heldKit{db: db, stop: make(chan struct{})}
	h.kit = newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.seen.Add(1)
		upstream(w, r)
	}), func(o *broker.Options) {
		h.holder = vault.NewHolder(db, o.Key, o.Now)
		o.Approvals, o.ApprovalWait, o.Stopping, o.Ledger = h.holder, wait, h.stop, db
	})
	if _, err := db.Write(t.Context(), func(tx vault.Tx) error {
		return tx.PutVault(vault.Vault{ID: "v1", Name: "default", UnmatchedHosts: vault.UnmatchedDeny, CreatedAt: time.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	h.snapshot.Vaults[0].Services[0].Rules = asking
	h.changeVault(t, func(*vault.Vault) {})
	h.url = "http://" + h.listen(t, h.request(t, "example.com", "/"))
	return h
}

var asking = []policy.Rule{{Methods: []string{"POST"}, Action: policy.ActionAsk}, {Methods: []string{"GET"}, Paths: []string{"/ws"}, Action: policy.ActionAsk}, {Methods: []string{"GET"}}}

// An answer is what an agent got.
type answer struct {
	status         int
	code, body     string
	header         http.Header
	number         int64
	err            error
	replayed, torn bool
}

func (h *heldKit) post(ctx context.Context, body string) answer {
	return h.send(ctx, "POST", "/pay?amount=5", body)
}

func (h *heldKit) send(ctx context.Context, method, path, body string) answer {
	r, err := http.NewRequestWithContext(ctx, method, h.url+path, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	return h.does(r)
}

func (h *heldKit) does(r *http.Request) answer {
	r.Close = true // a connection that is used again may end in the midst of a POST
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, body: string(b), header: resp.Header, torn: err != nil, replayed: resp.Header.Get(broker.ReplayedHeader) == "true"}
	var f struct {
		Error    string
		Approval int64
	}
	if resp.Header.Get(broker.ErrorHeader) != "" && json.Unmarshal(b, &f) == nil {
		a.code, a.number = f.Error, f.Approval
	}
	return a
}

// later is post while the test goes on.
func (h *heldKit) later(ctx context.Context, body string) <-chan answer {
	got := make(chan answer, 1)
	go func() { got <- h.post(ctx, body) }()
	return got
}

// pending waits until the request of a number waits for a person.
func (h *heldKit) pending(t *testing.T, number int64) { h.reaches(t, number, vault.HeldPending) }

func (h *heldKit) reaches(t *testing.T, number int64, status string) {
	t.Helper()
	changed, stop := h.db.Changes()
	defer stop()
	for {
		var held vault.Held
		err := h.db.Read(t.Context(), func(tx vault.Tx) (err error) {
			held, err = tx.HeldByNumber("v1", number)
			return err
		})
		if err == nil && held.Status == status {
			return
		}
		if err != nil && !errors.Is(err, vault.ErrNotFound) {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatalf("request %d is %q, want %s", number, held.Status, status)
		}
	}
}

// decide is a person's decision.
func (h *heldKit) decide(t *testing.T, number int64, allow bool) {
	t.Helper()
	_, err := h.db.Write(context.WithoutCancel(t.Context()), func(tx vault.Tx) error {
		held, err := tx.HeldByNumber("v1", number)
		if err != nil {
			return err
		}
		held.Status, held.Note = vault.HeldDenied, "not today"
		if allow {
			held.Status = vault.HeldApproved
		}
		held.DecidedAt, held.Until = h.clock.Now(), h.clock.Now().Add(10*time.Minute)
		return tx.PutHeld(held)
	})
	if err != nil {
		t.Error(err)
	}
}

func (h *heldKit) want(t *testing.T, what string, a answer, code string, seen int64) {
	t.Helper()
	if a.err != nil || a.torn || a.code != code || h.seen.Load() != seen {
		t.Errorf("%s: %d %q (%v), seen %d times; want %q and %d", what, a.status, a.body, a.err, h.seen.Load(), code, seen)
	}
}

func pays(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body) // what was read is compared
	w.Header().Set("X-Paid", "yes")
	fmt.Fprintf(w, "%s %s %s %s", r.Method, r.RequestURI, b, r.Header.Get("Authorization"))
}

// What a person allows is sent as it was, once; whoever asks again gets the same
// answer for ten minutes.
func TestAllowedOnce(t *testing.T) {
	h := newHeldKit(t, pays, time.Minute)
	got := h.later(t.Context(), "5 dollars")
	h.pending(t, 1)
	if h.seen.Load() != 0 {
		t.Error("it was sent before anybody decided")
	}
	h.decide(t, 1, true)
	first := <-got
	h.want(t, "allowed", first, "", 1)
	if want := "POST /pay?amount=5 5 dollars Bearer " + stars(); first.body != want || first.replayed {
		t.Errorf("it got %q, want %q", first.body, want)
	}
	again := h.post(t.Context(), "5 dollars")
	h.want(t, "asked again", again, "", 1)
	if again.status != first.status || again.body != first.body || !again.replayed || again.header.Get("X-Paid") != "yes" || again.header.Get("Date") != first.header.Get("Date") {
		t.Errorf("it got %+v, and again %+v", first, again)
	}
	h.clock.advance(10 * time.Minute)
	if err := h.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, giveUp := context.WithCancel(t.Context())
	anew := h.later(ctx, "5 dollars")
	h.pending(t, 2)
	giveUp()
	<-anew
	h.want(t, "GET, about which nobody is asked", h.send(t.Context(), "GET", "/free", ""), "", 2)
}

func TestDeniedAndLate(t *testing.T) {
	h := newHeldKit(t, pays, 20*time.Millisecond)
	a := h.post(t.Context(), "5")
	h.want(t, "nobody decides", a, broker.CodeApprovalTimeout, 0)
	if a.status != 403 || a.number != 1 {
		t.Errorf("%+v", a)
	}
	h.want(t, "and again", h.post(t.Context(), "5"), broker.CodeApprovalTimeout, 0)
	h.decide(t, 1, true) // while nobody waits
	h.want(t, "then somebody does", h.post(t.Context(), "5"), "", 1)
	h.want(t, "another body", h.post(t.Context(), "6"), broker.CodeApprovalTimeout, 1)
	h.decide(t, 2, false)
	a = h.post(t.Context(), "6")
	h.want(t, "denied", a, broker.CodeApprovalDenied, 1)
	if !strings.Contains(a.body, "they say: not today") || a.status != 403 || a.number != 2 {
		t.Errorf("%+v", a)
	}
}

// An agent that gives up while it waits, however often and whenever, finds its
// question again; and of all that ask at once one sends.
func TestGivingUp(t *testing.T) {
	h := newHeldKit(t, pays, time.Minute)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 13 {
				ctx, giveUp := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
				h.post(ctx, "5")
				giveUp()
			}
		})
	}
	all.Wait()
	answers := make(chan answer, 8)
	for range cap(answers) {
		go func() { answers <- h.post(t.Context(), "5") }()
	}
	h.pending(t, 1)
	h.decide(t, 1, true)
	replayed := 0
	for range cap(answers) {
		a := <-answers
		h.want(t, "one of many", a, "", 1)
		if a.replayed {
			replayed++
		}
	}
	if replayed < cap(answers)-1 { // one that has gone is not noticed at once, and may be who sends
		t.Errorf("%d got the answer that was kept", replayed)
	}
	if list := h.list(t); len(list) != 1 {
		t.Errorf("there are %d questions", len(list))
	}
}

func (h *heldKit) list(t *testing.T) (list []vault.Held) {
	t.Helper()
	if err := h.db.Read(t.Context(), func(tx vault.Tx) (err error) {
		list, err = tx.ListHeld(vault.HeldFilter{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return list
}

// An agent that goes once its request was sent may ask for the answer.
func TestTheAnswerOutlivesTheAgent(t *testing.T) {
	arrived, finish := make(chan struct{}), make(chan struct{})
	h := newHeldKit(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-finish
		pays(w, r)
	}, time.Minute)
	ctx, giveUp := context.WithCancel(t.Context())
	got := h.later(ctx, "5")
	h.pending(t, 1)
	h.decide(t, 1, true)
	<-arrived
	giveUp()
	if a := <-got; a.err == nil {
		t.Errorf("it got %+v", a)
	}
	again := h.later(t.Context(), "5")
	close(finish)
	a := <-again
	h.want(t, "asked again", a, "", 1)
	if !a.replayed {
		t.Error("it was not the answer that was kept")
	}
}

// What may have reached the upstream is never sent again, and the agent is told
// that nobody knows.
func TestUnknownOutcome(t *testing.T) {
	h := newHeldKit(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, time.Minute)
	got := h.later(t.Context(), "5")
	h.pending(t, 1)
	h.decide(t, 1, true)
	h.want(t, "the upstream breaks off", <-got, broker.CodeUpstreamError, 1)
	a := h.post(t.Context(), "5")
	h.want(t, "asked again", a, broker.CodeApprovalUnknown, 1)
	if a.status != 409 || a.header.Get("Retry-After") != "" {
		t.Errorf("%+v", a)
	}
}

// What has not left the vault is allowed still.
func TestUnsent(t *testing.T) {
	h := newHeldKit(t, pays, time.Minute)
	h.changeVault(t, func(v *vault.Vault) {
		v.Services[0].Auth = auth(t, `{"type":"bearer","token":"MISSING"}`)
		v.Services = append(v.Services, vault.Service{Name: "away", Host: "away.example.com", Enabled: true, Auth: auth(t, `{"type":"passthrough"}`), Rules: asking})
	})
	h.want(t, "no credential", h.post(t.Context(), "5"), broker.CodeCredentialMissing, 0)
	if list := h.list(t); len(list) != 0 {
		t.Errorf("a person is asked about what cannot be sent: %+v", list)
	}

	h.url = "http://" + h.listen(t, h.request(t, "away.example.com", "/")) // no address
	got := h.later(t.Context(), "5")
	h.pending(t, 1)
	h.decide(t, 1, true)
	h.want(t, "no upstream", <-got, broker.CodeUpstreamError, 0)
	h.reaches(t, 1, vault.HeldApproved)
}

// An answer beyond the bound is passed on and not kept.
func TestAnAnswerTooLong(t *testing.T) {
	for _, size := range []int{vault.MaxHeldBody, vault.MaxHeldBody + 1} {
		h := newHeldKit(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("a", size)) }, time.Minute)
		got := h.later(t.Context(), "5")
		h.pending(t, 1)
		h.decide(t, 1, true)
		if a := <-got; len(a.body) != size {
			t.Errorf("it got %d bytes of %d", len(a.body), size)
		}
		a := h.post(t.Context(), "5")
		if size > vault.MaxHeldBody {
			h.want(t, "asked again", a, broker.CodeApprovalNotKept, 1)
		} else if len(a.body) != size || !a.replayed || h.seen.Load() != 1 {
			t.Errorf("asked again: %d bytes of %d", len(a.body), size)
		}
	}
}

// A stream reaches who sent it as it comes.
func TestAHeldStream(t *testing.T) {
	more := make(chan struct{})
	h := newHeldKit(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		for i := range 3 {
			fmt.Fprintf(w, "part %d\n", i)
			_ = http.NewResponseController(w).Flush() // a test's server can
			<-more
		}
		w.Header().Set("X-Sum", "3")
	}, time.Minute)
	r, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/pay?amount=5", strings.NewReader("5"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		h.pending(t, 1)
		h.decide(t, 1, true)
	}()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprint("part ", i) {
			t.Fatalf("%q, want part %d", lines.Text(), i)
		}
		more <- struct{}{}
	}
	if lines.Scan() || resp.Trailer.Get("X-Sum") != "3" {
		t.Errorf("the end: %q, %v", lines.Text(), resp.Trailer)
	}
	again, err := http.DefaultTransport.RoundTrip(mustRequest(t, h.url+"/pay?amount=5", "5"))
	if err != nil {
		t.Fatal(err)
	}
	defer again.Body.Close()
	if b, err := io.ReadAll(again.Body); string(b) != "part 0\npart 1\npart 2\n" || err != nil || again.Trailer.Get("X-Sum") != "3" {
		t.Errorf("again %q %v %v", b, again.Trailer, err)
	}
}

func mustRequest(t *testing.T, url, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A wait ends with what it is about.
func TestWhatEndsAWait(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(*testing.T, *heldKit)
		code string
	}{
		"the session is revoked": {func(t *testing.T, h *heldKit) {
			h.snapshot.Sessions = nil
			h.source.set(h.snapshot, nil)
			_ = h.Refresh(t.Context()) // its outcome is what the agent gets
		}, broker.CodeUnauthorized},
		"the service is disabled": {func(t *testing.T, h *heldKit) {
			h.changeVault(t, func(v *vault.Vault) { v.Services[0].Enabled = false })
		}, broker.CodeServiceDisabled},
		"the rule denies it": {func(t *testing.T, h *heldKit) {
			h.changeVault(t, func(v *vault.Vault) { v.Services[0].Rules = []policy.Rule{{Methods: []string{"GET"}}} })
		}, broker.CodeMethodNotAllowed},
		"the service has another credential": {func(t *testing.T, h *heldKit) {
			h.changeVault(t, func(v *vault.Vault) { v.Services[0].Auth = auth(t, `{"type":"bearer","token":"BROKEN"}`) })
		}, broker.CodeUnavailable},
		"the server stops": {func(_ *testing.T, h *heldKit) { close(h.stop) }, broker.CodeUnavailable},
		"the rule allows it": {func(t *testing.T, h *heldKit) {
			h.changeVault(t, func(v *vault.Vault) { v.Services[0].Rules = nil })
			h.decide(t, 1, true)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeldKit(t, pays, time.Minute)
			got := h.later(t.Context(), "5")
			h.pending(t, 1)
			tt.end(t, h)
			seen := int64(0)
			if tt.code == "" {
				seen = 1
			}
			h.want(t, "it", <-got, tt.code, seen)
		})
	}
}

func TestWhatIsNotHeld(t *testing.T) {
	h := newHeldKit(t, pays, 20*time.Millisecond)
	h.want(t, "a body too long", h.post(t.Context(), strings.Repeat("a", vault.MaxHeldBody+1)), broker.CodeRequestTooLarge, 0)
	h.want(t, "a token in the body", h.post(t.Context(), "so "+h.token), "bad_request", 0)
	for i := range 5 {
		h.want(t, "five", h.post(t.Context(), fmt.Sprint(i)), broker.CodeApprovalTimeout, 0)
	}
	a := h.post(t.Context(), "the sixth")
	h.want(t, "one too many", a, broker.CodeTooManyApprovals, 0)
	if a.status != 429 || a.header.Get("Retry-After") != "10" {
		t.Errorf("%+v", a)
	}
	if list := h.list(t); len(list) != 5 {
		t.Errorf("%d are held", len(list))
	}
}

// Of a WebSocket the handshake is asked about, and each is another question.
func TestAHeldHandshake(t *testing.T) {
	h := newHeldKit(t, func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n") // the agent looks
		_ = rw.Flush()
		_, _ = io.Copy(io.Discard, c)
	}, time.Minute)
	handshake := func(number int64) {
		t.Helper()
		c, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: key%d\r\n\r\n", number)
		h.pending(t, number)
		h.decide(t, number, true)
		line, err := bufio.NewReader(c).ReadString('\n')
		if line != "HTTP/1.1 101 Switching Protocols\r\n" || err != nil {
			t.Errorf("%q %v", line, err)
		}
	}
	handshake(1)
	h.reaches(t, 1, vault.HeldAnswered)
	handshake(2)
	h.reaches(t, 2, vault.HeldAnswered)
	if list := h.list(t); len(list) != 2 || list[0].Upgrade != "websocket" || h.seen.Load() != 2 {
		t.Errorf("%+v", list)
	}
}

// What happens is in the record: one that was sent has an intent and an outcome,
// an answer that was kept an outcome only.
func TestHeldIsRecorded(t *testing.T) {
	h := newHeldKit(t, pays, time.Minute)
	got := h.later(t.Context(), "5")
	h.pending(t, 1)
	h.decide(t, 1, true)
	<-got
	h.post(t.Context(), "5")
	h.Close()
	var have []string
	for _, r := range h.records(t) {
		have = append(have, fmt.Sprint(r.Kind, r.Status, " ", r.Fault, r.Credentials))
	}
	if want := "intent0 [API_KEY] outcome200 [API_KEY] outcome200 approval_replayed[]"; strings.Join(have, " ") != want {
		t.Errorf("%s, want %s", have, want)
	}
}

func (h *heldKit) records(t *testing.T) (all []broker.Record) {
	t.Helper()
	raw, err := os.ReadFile(h.audit)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var r broker.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Request != "" {
			all = append(all, r)
		}
	}
	return all
}
