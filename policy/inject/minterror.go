package inject

import "errors"

// A MintError says why there is no token. It repeats nothing of what an endpoint
// answered.
type MintError struct {
	Key    string // the credential that a person must see to; "" where it is none's fault
	Final  bool   // asking again with the same credentials is of no use
	Reason string // for the agent: what happened, and what a person must do
	Err    error  // for the operator's log; holds no value, nor a body
}

func (e *MintError) Error() string { return e.Reason }

// Unwrap returns the cause.
func (e *MintError) Unwrap() error { return e.Err }

// errNoToken is what a Minter's Inject returns for a request without one.
var errNoToken = errors.New("no token was minted for the request")
