package api

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"

	"agentvault/vault"
)

// loginsPerMinute is how many logins one address may try. Loopback is not
// exempt.
const loginsPerMinute = 20

type attempts = rate.Limiter

func newAttempts() *otter.Cache[string, *attempts] {
	return otter.Must(&otter.Options[string, *attempts]{
		MaximumSize:      10_000,
		ExpiryCalculator: otter.ExpiryAccessing[string, *attempts](2 * time.Minute),
	})
}

// limited slows password guessing from one address.
func (s *server) limited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		limiter, err := s.attempts.Get(r.Context(), host, otter.LoaderFunc[string, *attempts](
			func(context.Context, string) (*attempts, error) {
				return rate.NewLimiter(rate.Every(time.Minute/loginsPerMinute), loginsPerMinute), nil
			}))
		if err != nil || !limiter.Allow() {
			s.writeError(w, r, &vault.Error{Code: vault.CodeRateLimited, Message: "too many sign-ins from this address; wait a minute", Err: err})
			return
		}
		next.ServeHTTP(w, r)
	})
}
