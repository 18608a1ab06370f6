package vault

import "time"

// An Account is what a budget, or a number of uses, is counted in.
type Account struct {
	VaultID string
	Service string // its name
	Name    string // of the limit; unique in the service
	Subject string // the ID of an agent or a session; "": all of them together
}

// A Charge is what one request asks of an account.
type Charge struct {
	Account
	Amount int64         // of a budget in millionths; never negative
	Most   int64         // that the account may hold
	Window time.Duration // how long an amount counts; 0: for good
}

// ReservedFor is how much longer than its window a reservation counts that was
// never settled: a request that is on its way for longer cannot begin to count
// with the upstream when it no longer does here.
const ReservedFor = 10 * time.Minute

// MaxSpent is the most that an account holds. What would go beyond it is not
// counted; no limit is as high.
const MaxSpent = 1 << 62

// Spent is what an account holds.
type Spent struct {
	Account
	Total int64
}
