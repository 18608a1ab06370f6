package vault_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"agentvault/vault"
)

// askingHeld is a request of the fixture's session, as the broker holds it.
func (f *fixture) askingHeld(t *testing.T, path string) (vault.Held, vault.HeldContent) {
	t.Helper()
	return vault.Held{
			VaultID: f.get(t, mainVault).ID, AskerKind: vault.KindSession, AskerID: f.sessionID, AskerName: "a label",
			Service: "stripe", Method: "POST", Target: "https://api.stripe.com", Path: path,
		}, vault.HeldContent{
			Query: "amount=5", HasQuery: true, Body: []byte(`{"secret-looking": "words of the body"}`),
			Header: []vault.HeldField{{Name: "Authorization", Value: "Bearer the-agents-own"}, {Name: "Content-Type", Value: "application/json"}},
		}
}

func (f *fixture) hold(t *testing.T, path string) vault.Held {
	t.Helper()
	asked, c := f.askingHeld(t, path)
	h, err := f.holder.Hold(t.Context(), asked, c)
	must(t, err)
	return h
}

func (f *fixture) heldReview(t *testing.T, number int64) vault.HeldReview {
	t.Helper()
	rv, err := f.Registry.HeldRequest(t.Context(), f.owner, mainVault, number)
	must(t, err)
	return rv
}

func (f *fixture) decideHeld(t *testing.T, number int64, allow bool) {
	t.Helper()
	_, err := f.DecideHeld(t.Context(), f.owner, mainVault, number, vault.HeldDecision{Digest: f.heldReview(t, number).Digest, Allow: allow, Note: "a note"})
	must(t, err)
}

func (f *fixture) send(t *testing.T, h vault.Held, request string) bool {
	t.Helper()
	sends, err := f.holder.Send(t.Context(), h, request)
	must(t, err)
	return sends
}

func (f *fixture) end(t *testing.T, h vault.Held, request string, end vault.HeldEnd) {
	t.Helper()
	must(t, f.holder.End(t.Context(), h, request, end))
}

// wantHeld asks again, and looks at what question it is and how that stands.
func (f *fixture) wantHeld(t *testing.T, what string, number int64, status string) {
	t.Helper()
	if h := f.hold(t, "/v1/charges"); h.Number != number || h.Status != status {
		t.Errorf("%s: it is %d, %s; want %d, %s", what, h.Number, h.Status, number, status)
	}
}

// The same request is the same question, for ten minutes in each state.
func TestAHeldRequestLives(t *testing.T) {
	f := newFixture(t)
	const most, life = 10*time.Minute - time.Millisecond, time.Millisecond
	f.hold(t, "/v1/charges")
	f.pass(most)
	f.wantHeld(t, "almost over", 1, vault.HeldPending)
	f.pass(life)
	f.wantHeld(t, "nobody decided", 2, vault.HeldPending)
	if rv := f.heldReview(t, 1); rv.Status != vault.HeldExpired {
		t.Errorf("the first is %s", rv.Status)
	}
	f.refresh(t)
	f.decideHeld(t, 2, false)
	f.wantHeld(t, "denied", 2, vault.HeldDenied)
	f.pass(most + life)
	f.wantHeld(t, "denied long ago", 3, vault.HeldPending)
	f.decideHeld(t, 3, true)
	f.wantHeld(t, "approved", 3, vault.HeldApproved)
	f.pass(most)
	h := f.hold(t, "/v1/charges")
	if !f.send(t, h, "R1") || f.send(t, h, "R2") || f.send(t, h, "R1") {
		t.Error("it was not sent once")
	}
	f.wantHeld(t, "sent", 3, vault.HeldSent)
	f.end(t, h, "R2", vault.HeldEnd{Answered: true}) // not by who sent it
	f.wantHeld(t, "sent", 3, vault.HeldSent)
	f.end(t, h, "R1", vault.HeldEnd{Answered: true, Answer: &vault.HeldAnswer{Status: 201, Header: http.Header{"A": {"b"}}, Body: []byte("the answer")}})
	f.pass(most)
	f.wantHeld(t, "answered", 3, vault.HeldAnswered)
	a, err := f.holder.Answer(t.Context(), h)
	must(t, err)
	diff(t, "the answer", &vault.HeldAnswer{Status: 201, Header: http.Header{"A": {"b"}}, Body: []byte("the answer")}, a)
	f.pass(life)
	f.wantHeld(t, "answered long ago", 4, vault.HeldPending)
}

// An approved request that was not sent is approved no longer than ten minutes.
func TestAnApprovalEnds(t *testing.T) {
	f := newFixture(t)
	h := f.hold(t, "/v1/charges")
	f.decideHeld(t, 1, true)
	f.pass(10 * time.Minute)
	if f.send(t, h, "R1") {
		t.Error("it was sent after its end")
	}
	f.wantHeld(t, "approved long ago", 2, vault.HeldPending)
}

// What was sent is unknown once its sender is silent, and stays so until the same
// request is a new question. What did not leave is approved as before.
func TestTheSenderOfAHeldRequest(t *testing.T) {
	f := newFixture(t)
	h := f.hold(t, "/v1/charges")
	f.decideHeld(t, 1, true)
	f.pass(time.Minute)
	if !f.send(t, h, "R1") {
		t.Fatal("it was not sent")
	}
	f.end(t, h, "R1", vault.HeldEnd{Unsent: true})
	f.wantHeld(t, "it has not left", 1, vault.HeldApproved)
	f.pass(8 * time.Minute)
	if !f.send(t, h, "R2") {
		t.Fatal("it was not sent again")
	}
	for range 100 {
		f.pass(20 * time.Second)
		f.wantHeld(t, "its sender is there", 1, vault.HeldSent)
		must(t, f.holder.Beat(t.Context(), h, "R2"))
	}
	f.pass(20*time.Second + time.Millisecond)
	f.wantHeld(t, "its sender is silent", 1, vault.HeldUnknown)
	f.pass(9 * time.Minute)
	f.wantHeld(t, "its sender is silent", 1, vault.HeldUnknown)
	if f.send(t, h, "R3") {
		t.Error("what may have been sent is sent again")
	}
	f.pass(time.Minute)
	f.wantHeld(t, "a new question", 2, vault.HeldPending)

	f.refresh(t)
	f.decideHeld(t, 2, true)
	h = f.hold(t, "/v1/charges")
	f.send(t, h, "R4")
	f.end(t, h, "R4", vault.HeldEnd{}) // it gives up
	f.wantHeld(t, "its sender has gone", 2, vault.HeldUnknown)
}

// A decision is about all that is said: whatever differs is another question.
func TestADecisionIsAboutTheWholeRequest(t *testing.T) {
	f := newFixture(t, func(o *vault.Options) {})
	seen := map[[32]byte]string{}
	for name, change := range map[string]func(*vault.Held, *vault.HeldContent){
		"as it is":          func(*vault.Held, *vault.HeldContent) {},
		"another service":   func(h *vault.Held, _ *vault.HeldContent) { h.Service = "other" },
		"another method":    func(h *vault.Held, _ *vault.HeldContent) { h.Method = "PUT" },
		"another scheme":    func(h *vault.Held, _ *vault.HeldContent) { h.Target = "http://api.stripe.com" },
		"another path":      func(h *vault.Held, _ *vault.HeldContent) { h.Path += "/" },
		"another auth":      func(_ *vault.Held, c *vault.HeldContent) { c.Carries = `{"type":"bearer"}` },
		"another session":   func(h *vault.Held, _ *vault.HeldContent) { h.AskerID = "s-2" },
		"an agent":          func(h *vault.Held, _ *vault.HeldContent) { h.AskerKind = vault.KindAgent },
		"an upgrade":        func(h *vault.Held, _ *vault.HeldContent) { h.Upgrade = "websocket" },
		"another query":     func(_ *vault.Held, c *vault.HeldContent) { c.Query += "0" },
		"an empty query":    func(_ *vault.Held, c *vault.HeldContent) { c.Query = "" },
		"no query":          func(_ *vault.Held, c *vault.HeldContent) { c.Query, c.HasQuery = "", false },
		"another body":      func(_ *vault.Held, c *vault.HeldContent) { c.Body = append(c.Body, ' ') },
		"no body":           func(_ *vault.Held, c *vault.HeldContent) { c.Body = nil },
		"another value":     func(_ *vault.Held, c *vault.HeldContent) { c.Header[1].Value = "text/plain" },
		"a hidden value":    func(_ *vault.Held, c *vault.HeldContent) { c.Header[0].Value = "Bearer another" },
		"no header":         func(_ *vault.Held, c *vault.HeldContent) { c.Header = nil },
		"a field as a body": func(_ *vault.Held, c *vault.HeldContent) { c.Header, c.Body = nil, []byte("Content-Type") },
	} {
		h, c := f.askingHeld(t, "/v1/charges")
		h.VaultID, c.Header = "v", slices.Clone(c.Header)
		change(&h, &c)
		d := vault.DigestHeld(f.key, h, c)
		if was, ok := seen[d]; ok {
			t.Errorf("%s is %s", name, was)
		}
		seen[d] = name
	}
	h, c := f.askingHeld(t, "/v1/charges")
	other := h
	other.VaultID = "v2"
	if h.VaultID = "v1"; vault.DigestHeld(f.key, h, c) == vault.DigestHeld(f.key, other, c) {
		t.Error("another vault's request is the same")
	}
}

// Fields that say nothing of what is asked may change from try to try. All others
// may not, whoever invented them.
func TestHeldHeader(t *testing.T) {
	got := vault.HeldHeader(http.Header{
		"User-Agent": {"curl"}, "X-Request-Id": {"1"}, "X-Stainless-Retry-Count": {"2"}, "Traceparent": {"3"}, "Sec-Websocket-Key": {"4"}, "Content-Length": {"5"},
		"Stripe-Account": {"acct_1"}, "Accept": {"b", "a"}, "Idempotency-Key": {"k"}, "Cookie": {"c"},
	})
	diff(t, "fields", []vault.HeldField{
		{Name: "Accept", Value: "b"}, {Name: "Accept", Value: "a"}, {Name: "Cookie", Value: "c"}, {Name: "Idempotency-Key", Value: "k"}, {Name: "Stripe-Account", Value: "acct_1"},
	}, got)
}

// A person sees what the agent sent, but not what it signs in with by itself.
// Nobody who reads the files sees any of it, nor anything once it is over.
func TestWhatAHeldRequestSays(t *testing.T) {
	f := newFixture(t)
	h := f.hold(t, "/v1/charges")
	rv := f.heldReview(t, 1)
	_, c := f.askingHeld(t, "/v1/charges")
	c.Header[0].Value, c.Header[0].Hidden = "", len("Bearer the-agents-own")
	diff(t, "content", c, rv.Content)
	if u := rv.URL(rv.Content); u != "https://api.stripe.com/v1/charges?amount=5" {
		t.Errorf("URL %s", u)
	}
	f.decideHeld(t, 1, true)
	last := f.lastEvent(t)
	if want := fmt.Sprintf("approved 1: POST https://api.stripe.com/v1/charges digest %x", h.Digest); last.Object != want || last.Action != "approval.decide" || last.ActorName != "owner@example.com" {
		t.Errorf("the record says %+v, want %s", last, want)
	}
	f.send(t, h, "R1")
	last = f.lastEvent(t)
	if want := fmt.Sprintf("sent 1: POST https://api.stripe.com/v1/charges digest %x request R1", h.Digest); last.Object != want || last.Action != "approval.send" || last.ActorName != "a label" {
		t.Errorf("the record says %+v, want %s", last, want)
	}
	f.end(t, h, "R1", vault.HeldEnd{Answered: true, Answer: &vault.HeldAnswer{Status: 200, Body: []byte("words of the answer")}})
	for _, words := range []string{"words of the body", "words of the answer", "the-agents-own", "amount=5"} {
		if strings.Contains(f.files(t), words) {
			t.Errorf("%q stands in the files", words)
		}
	}
	f.pass(10 * time.Minute)
	must(t, f.Sweep(t.Context()))
	f.refresh(t)
	if rv := f.heldReview(t, 1); !rv.Forgotten || rv.Content.Body != nil || rv.Status != vault.HeldAnswered {
		t.Errorf("after its time: %+v", rv)
	}
	if a, err := f.holder.Answer(t.Context(), h); a != nil || err != nil {
		t.Errorf("its answer: %v, %v", a, err)
	}
	f.pass(7 * 24 * time.Hour)
	must(t, f.Sweep(t.Context()))
	f.refresh(t)
	_, err := f.Registry.HeldRequest(t.Context(), f.owner, mainVault, 1)
	refused(t, "after a week", vault.CodeApprovalNotFound, "no request has the number 1 in the vault main-vault", err)
}

func TestDecideHeldRefusals(t *testing.T) {
	f := newFixture(t)
	decide := func(number int64, digest, note string) error {
		_, err := f.DecideHeld(t.Context(), f.owner, mainVault, number, vault.HeldDecision{Digest: digest, Allow: true, Note: note})
		return err
	}
	refused(t, "none", vault.CodeApprovalNotFound, "no request has the number 1 in the vault main-vault", decide(1, "", ""))
	f.hold(t, "/v1/charges")
	digest := f.heldReview(t, 1).Digest
	refused(t, "another digest", vault.CodeApprovalChanged, "this is not the request that you were shown; look at it again", decide(1, "", ""))
	refused(t, "a note", vault.CodeBadRequest, "note: at most 2000 characters of UTF-8 without control characters", decide(1, digest, "\x1b"))
	f.decideHeld(t, 1, false)
	refused(t, "decided", vault.CodeApprovalClosed, "the request does not wait for a decision any more: it is denied", decide(1, digest, ""))
	f.hold(t, "/v1/refunds")
	digest = f.heldReview(t, 2).Digest
	must(t, f.RevokeSession(t.Context(), f.owner, f.sessionID))
	refused(t, "its session has ended", vault.CodeApprovalClosed, "the request does not wait for a decision any more: the session that sent it has ended", decide(2, digest, ""))
}

func tooMany(t *testing.T, what, message string, err error) {
	t.Helper()
	var many vault.TooManyHeldError
	if !errors.As(err, &many) || string(many) != message {
		t.Errorf("%s:\n got %v\nwant %s", what, err, message)
	}
}

// A flood asks little: the same is one question, and there are only so many.
func TestHeldLimits(t *testing.T) {
	f := newFixture(t)
	hold := func(session, path string) error {
		h, c := f.askingHeld(t, path)
		h.AskerID = session
		_, err := f.holder.Hold(t.Context(), h, c)
		return err
	}
	for i := range 20 {
		for range 3 {
			must(t, hold(fmt.Sprint("s-", i/5), fmt.Sprint("/", i%5)))
		}
	}
	tooMany(t, "a session's sixth", "5 requests of this session wait for a person already; wait until some have been decided", hold("s-0", "/6"))
	tooMany(t, "the vault's 21st", "20 requests wait for a person in this vault already; wait until some have been decided", hold("s-4", "/0"))
	must(t, hold("s-3", "/4")) // attaches
	list, err := f.HeldRequests(t.Context(), f.owner, mainVault, true, 0, 100)
	must(t, err)
	if len(list) != 20 {
		t.Errorf("%d are pending", len(list))
	}
	_, err = f.db.Write(t.Context(), func(tx vault.Tx) error { // as if one had been decided
		list[0].Status = vault.HeldDenied
		return tx.PutHeld(list[0].Held)
	})
	must(t, err)
	must(t, hold("s-4", "/0"))
	tooMany(t, "and again", "20 requests wait for a person in this vault already; wait until some have been decided", hold("s-4", "/1"))
	f.pass(10 * time.Minute)
	must(t, hold("s-4", "/1"))
}

// Of many that would send at once, one does.
func TestOneSends(t *testing.T) {
	f := newFixture(t)
	h := f.hold(t, "/v1/charges")
	f.decideHeld(t, 1, true)
	var all sync.WaitGroup
	var mu sync.Mutex
	sent := 0
	for i := range 16 {
		all.Go(func() {
			sends, err := f.holder.Send(t.Context(), h, fmt.Sprint("R", i))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if sends {
				sent++
			}
		})
	}
	all.Wait()
	if sent != 1 {
		t.Errorf("%d have sent it", sent)
	}
}

// Who watches is told when there is something else to be seen.
func TestWaitHeldRequests(t *testing.T) {
	f, begun := waiters(t)
	got := make(chan []vault.ListedHeld, 1)
	watch := func(tag string) {
		list, err := f.WaitHeldRequests(t.Context(), f.owner, mainVault, true, 10, vault.HeldWait{Tag: tag, Wait: time.Hour})
		if err != nil {
			t.Error(err)
		}
		got <- list
	}
	none := vault.HeldTag(nil)
	go watch(none)
	<-begun
	f.hold(t, "/v1/charges")
	one := <-got
	if len(one) != 1 || one[0].Vault != mainVault {
		t.Errorf("%+v", one)
	}
	go watch(vault.HeldTag(one))
	<-begun
	f.decideHeld(t, 1, true)
	if list := <-got; len(list) != 0 {
		t.Errorf("%+v", list)
	}
	watch("another")
	if list := <-got; len(list) != 0 {
		t.Errorf("%+v", list)
	}
	stop := make(chan struct{})
	close(stop)
	if _, err := f.WaitHeldRequests(t.Context(), f.owner, "", true, 10, vault.HeldWait{Tag: none, Wait: time.Hour, Stop: stop}); err != nil {
		t.Error(err)
	}
	<-begun
}

// Who waits is told of a decision, and of an end that nobody signals.
func TestWaitHeld(t *testing.T) {
	for want, end := range map[string]func(*fixture){
		vault.HeldApproved: func(f *fixture) { f.decideHeld(t, 1, true) },
		vault.HeldDenied:   func(f *fixture) { f.decideHeld(t, 1, false) },
		vault.HeldExpired:  func(f *fixture) { f.pass(10 * time.Minute) },
	} {
		f, begun := waiters(t)
		h := f.hold(t, "/v1/charges")
		got := make(chan vault.Held, 1)
		go func() {
			now, err := f.holder.Wait(t.Context(), h, time.Hour)
			if err != nil {
				t.Error(err)
			}
			got <- now
		}()
		<-begun
		end(f)
		if now := <-got; now.Status != want {
			t.Errorf("it is %s, want %s", now.Status, want)
		}
	}
	f := newFixture(t)
	h := f.hold(t, "/v1/charges")
	if now, err := f.holder.Wait(t.Context(), h, time.Millisecond); err != nil || now.Status != vault.HeldPending {
		t.Errorf("the time is over: %v %v", now.Status, err)
	}
	must(t, f.DeleteVault(t.Context(), f.owner, mainVault))
	if now, err := f.holder.Wait(t.Context(), h, time.Hour); err != nil || now.Status != vault.HeldExpired {
		t.Errorf("its vault has gone: %v %v", now.Status, err)
	}
}
