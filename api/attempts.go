package api

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"agentvault/vault"
)

// guessesPerMinute is how many wrong passwords, and invites that there are not,
// one address or sign-in may try. Loopback is not exempt, and what is right
// counts for nothing: nobody is kept out by others' failures.
const guessesPerMinute = 20

// A caller is what is counted of one address, sign-in or agent.
type caller struct {
	*rate.Limiter
	open atomic.Int64 // calls
}

type callers = otter.Cache[string, *caller]

func newCallers() *callers {
	return otter.Must(&otter.Options[string, *caller]{
		MaximumSize:      10_000,
		ExpiryCalculator: otter.ExpiryAccessing[string, *caller](2 * time.Minute),
	})
}

func callerOf(c *callers, key string, perSecond rate.Limit, burst int) (*caller, error) {
	return c.Get(context.Background(), key, otter.LoaderFunc[string, *caller](func(context.Context, string) (*caller, error) {
		return &caller{Limiter: rate.NewLimiter(perSecond, burst)}, nil
	}))
}

// guesser is whom guesses of this request count against: the sign-in that it is
// made with, or else the address that it comes from.
func (s *server) guesser(rt route, r *http.Request, token string) (*caller, error) {
	key := token
	if rt.access == public {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		key = host
	}
	c, err := callerOf(s.guessers, key, rate.Every(time.Minute/guessesPerMinute), guessesPerMinute)
	if err == nil && c.Tokens() < 1 {
		err = &vault.Error{Code: vault.CodeRateLimited, Message: "too many wrong attempts; wait a minute", Wait: time.Minute / guessesPerMinute}
	}
	return c, err
}

// guessed reports whether an error says that a guess was wrong.
func guessed(err error) bool {
	var e *vault.Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code == vault.CodeUnauthorized || e.Code == vault.CodeWrongPassword || e.Code == vault.CodeInviteNotFound
}

// enterAgent bounds what one token of an agent may ask of the server itself,
// before the store is asked anything.
func (s *server) enterAgent(token string) (leave func(), err error) {
	prefix, ok := vault.CheckToken(token)
	if !ok || prefix != vault.PrefixSession && prefix != vault.PrefixAgent || s.AgentRate <= 0 && s.AgentConcurrent <= 0 {
		return func() {}, nil
	}
	limit := rate.Limit(s.AgentRate)
	if s.AgentRate <= 0 {
		limit = rate.Inf
	}
	digest := vault.DigestToken(token)
	a, err := callerOf(s.agents, string(digest[:]), limit, max(1, 5*s.AgentRate))
	if err != nil {
		return nil, err
	}
	busy := &vault.Error{Code: vault.CodeRateLimited, Message: "too many requests of this token to the server itself; wait and try again", Wait: time.Second}
	if !a.Allow() {
		return nil, busy
	}
	if n := a.open.Add(1); s.AgentConcurrent > 0 && n > int64(s.AgentConcurrent) {
		a.open.Add(-1)
		return nil, busy
	}
	return func() { a.open.Add(-1) }, nil
}
