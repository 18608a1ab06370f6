package broker

import (
	"time"

	"agentvault/vault"
)

// soonest is the time at which the first of the services ends that have not yet,
// or an earlier one that is known already.
func soonest(known time.Time, services []vault.Service, now time.Time) time.Time {
	for _, s := range services {
		if !s.ExpiresAt.IsZero() && !s.Expired(now) {
			known = earlier(known, s.ExpiresAt)
		}
		for _, r := range s.Rules {
			if end := vault.RuleEnd(r); now.Before(end) {
				known = earlier(known, end)
			}
		}
	}
	return known
}

// earlier is the earlier of two times, of which the first may be zero.
func earlier(known, end time.Time) time.Time {
	if known.IsZero() || end.Before(known) {
		return end
	}
	return known
}
