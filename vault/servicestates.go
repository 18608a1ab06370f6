package vault

import (
	"context"
	"time"

	"agentvault/policy/inject"
)

// What agents can do with a service.
const (
	StateUsable            = "usable"
	StateCredentialMissing = "credential_missing"
	StateDisabled          = "disabled"
	StateExpired           = "expired"
)

// A ServiceState says whether agents can use a service.
type ServiceState struct {
	Name       string
	State      string
	Keys       []string  // of the credentials that it injects
	Missing    []string  // those of Keys without a value
	Connects   string    // that of Keys which a person obtains by signing in elsewhere; "": none
	LastUsedAt time.Time // zero: never, as far as the request log knows
	ExpiresAt  time.Time // zero: never

	// TokenFailedAt is when a token could last not be obtained for it, unless a
	// request went out by it since, or one of Keys was set; zero: not so.
	TokenFailedAt time.Time
}

// ServiceStates returns the state of each service of a vault, in their order.
func (r *Registry) ServiceStates(ctx context.Context, c Caller, vaultName string) ([]ServiceState, error) {
	states := []ServiceState{}
	err := r.readRecord(ctx, c, actReadVault, func(tx Tx) error {
		v, err := r.wholeVault(tx, c, actReadVault, vaultName)
		if err != nil {
			return err
		}
		uses, err := tx.ServiceUses(v.ID)
		if err != nil {
			return err
		}
		for _, s := range v.Services {
			st := v.state(s, r.now())
			st.LastUsedAt = uses[s.Name]
			if st.TokenFailedAt, err = v.tokenFailed(tx, s, st); err != nil {
				return err
			}
			states = append(states, st)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return states, nil
}

// tokenFailed is the TokenFailedAt of a state that has everything else.
func (v *Vault) tokenFailed(log Requests, s Service, st ServiceState) (time.Time, error) {
	in, err := inject.Parse(s.Auth)
	if _, mints := in.(inject.Minter); err != nil || !mints || st.State != StateUsable {
		return time.Time{}, nil
	}
	since := st.LastUsedAt
	for _, key := range st.Keys {
		if set := v.Credentials[key].UpdatedAt; set.After(since) {
			since = set
		}
	}
	last, err := log.ListRequests(RequestQuery{VaultIDs: []string{v.ID}, Service: s.Name, Faults: []string{"credential_refresh_failed"}, Since: since, Limit: 1})
	if err != nil || len(last) == 0 || !last[0].Time.After(since) {
		return time.Time{}, err
	}
	return last[0].Time, nil
}

func (v *Vault) state(s Service, now time.Time) ServiceState {
	st := ServiceState{Name: s.Name, State: StateUsable, ExpiresAt: s.ExpiresAt, Keys: s.Keys()}
	st.Connects = s.Connects()
	for _, key := range st.Keys {
		if _, ok := v.Credentials[key]; !ok {
			st.Missing = append(st.Missing, key)
		}
	}
	switch {
	case s.Expired(now):
		st.State = StateExpired
	case !s.Enabled:
		st.State = StateDisabled
	case st.Missing != nil:
		st.State = StateCredentialMissing
	}
	return st
}
