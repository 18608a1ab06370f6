package broker_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"agentvault/broker"
	"agentvault/policy"
	"agentvault/store"
	"agentvault/vault"
)

// charges is an upstream that takes what it is sent, but for its body's length in
// cents.
func charges(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body) // what was read is counted
	fmt.Fprintf(w, `{"charged":0.%02d}`, len(b))
}

// A budget is reserved when a person has allowed the request, not before, once, and is
// settled by the answer. Who asks again gets that and spends nothing.
func TestBudgetOfWhatIsHeld(t *testing.T) {
	h := newHeldKit(t, charges, time.Minute)
	h.changeVault(t, func(v *vault.Vault) { v.Services[0].Limits = []policy.Limit{tenADay} })
	pay := func(body string) <-chan answer {
		got := make(chan answer, 1)
		go func() { got <- h.sendJSON(t.Context(), body) }()
		return got
	}
	spends := func(what string, want int64) {
		t.Helper()
		if got := spent(t, h.db, "api", "amount"); got != want {
			t.Errorf("%s: %d are spent, want %d", what, got, want)
		}
	}
	first := pay(`{"amount": 9}`)
	h.pending(t, 1)
	spends("while it waits", 0)
	h.decide(t, 1, true)
	h.want(t, "allowed", <-first, "", 1)
	spends("allowed", 130_000)
	again := <-pay(`{"amount": 9}`)
	if h.want(t, "asked again", again, "", 1); !again.replayed {
		t.Errorf("%+v", again)
	}
	spends("asked again", 130_000)

	denied := pay(`{"amount": 8}`)
	h.pending(t, 2)
	h.decide(t, 2, false)
	h.want(t, "denied", <-denied, broker.CodeApprovalDenied, 1)
	spends("denied", 130_000)

	over := pay(`{"amount": 9.9}`)
	h.pending(t, 3)
	h.decide(t, 3, true)
	h.want(t, "allowed, and too much", <-over, broker.CodeBudgetExceeded, 1)
	spends("too much", 130_000)
	h.changeVault(t, func(v *vault.Vault) {
		more := tenADay
		more.Budget = "20.00"
		v.Services[0].Limits = []policy.Limit{more}
	})
	h.want(t, "what was allowed, with more room", <-pay(`{"amount": 9.9}`), "", 2)
	spends("with more room", 280_000)
}

// sendJSON is post with a body of JSON.
func (h *heldKit) sendJSON(ctx context.Context, body string) answer {
	r, err := http.NewRequestWithContext(ctx, "POST", h.url+"/pay?n=5", strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	r.Header.Set("Content-Type", "application/json")
	return h.does(r)
}

// A countedLedger counts what it is asked.
type countedLedger struct {
	*store.DB
	reserved, settled atomic.Int64
}

func (l *countedLedger) Reserve(ctx context.Context, request string, now time.Time, charges []vault.Charge) (int, int64, error) {
	l.reserved.Add(1)
	return l.DB.Reserve(ctx, request, now, charges)
}

func (l *countedLedger) Settle(ctx context.Context, request string, now time.Time, charges []vault.Charge) error {
	l.settled.Add(1)
	return l.DB.Settle(ctx, request, now, charges)
}

// A request that is sent once more after a 401 is reserved once, and settled by the
// last answer.
func TestBudgetOfWhatIsSentAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		last   int // status of the second answer
		refuse bool
		want   int64
	}{
		{"taken then", http.StatusOK, false, 130_000},
		{"refused then", http.StatusBadRequest, false, 0},
		{"broken off then", http.StatusOK, true, 4_500_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
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
			ledger := &countedLedger{DB: db}
			e := &endpoint{life: 3600}
			var revoked atomic.Bool
			e.api = func(w http.ResponseWriter, r *http.Request) {
				switch {
				case revoked.Load() && strings.HasSuffix(r.Header.Get("Authorization"), "0001"):
					w.WriteHeader(http.StatusUnauthorized)
					fmt.Fprint(w, `{"charged":7}`)
				case revoked.Load() && tt.refuse:
					panic(http.ErrAbortHandler)
				case !revoked.Load():
					fmt.Fprint(w, `{"charged":0}`)
				default:
					w.WriteHeader(tt.last)
					fmt.Fprint(w, `{"charged":0.13}`)
				}
			}
			k := newMintKit(t, e, oauthClient, func(o *broker.Options) { o.Ledger = ledger })
			k.changeVault(t, func(v *vault.Vault) { v.Services[0].Limits = []policy.Limit{tenADay} })
			pay := func() *httptest.ResponseRecorder {
				r := httptest.NewRequestWithContext(t.Context(), "POST", "/pay", strings.NewReader(`{"amount": 4.50}`))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				k.Serve(w, r, k.request(t, "example.com", "/pay"))
				return w
			}
			pay() // with the first token
			revoked.Store(true)
			k.pass(t, time.Minute)
			w := pay()
			if e.calls.Load() != 3 || ledger.reserved.Load() != 2 || ledger.settled.Load() != 2 {
				t.Errorf("%d %s: sent %d times, reserved %d times, settled %d times", w.Code, w.Body, e.calls.Load(), ledger.reserved.Load(), ledger.settled.Load())
			}
			if got := spent(t, db, "api", "amount"); got != tt.want {
				t.Errorf("%d %s: %d are spent, want %d", w.Code, w.Body, got, tt.want)
			}
		})
	}
}
