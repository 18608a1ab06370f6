package vault

import (
	"context"
	"slices"
)

// A ServicesReview is what a person must see to add services.
type ServicesReview struct {
	Services []Service // in canonical form
	Opened   []string  // requests that they let through
	Warnings []string  // what could be overlooked
	Missing  []string  // keys of credentials that they need and the vault has not
}

// ReviewServices works out what AddServices would do, which may refuse it all
// the same.
func (r *Registry) ReviewServices(ctx context.Context, c Caller, vaultName string, added []Service) (ServicesReview, error) {
	if err := actReadVault.admits(c); err != nil {
		return ServicesReview{}, err
	}
	if len(added) == 0 {
		return ServicesReview{}, badRequest("services: none given")
	}
	checked, err := r.checkServices(added)
	if err != nil {
		return ServicesReview{}, err
	}
	var v Vault
	err = r.readAs(ctx, c, actReadVault, func(tx Tx) (err error) {
		v, err = r.wholeVault(tx, c, actReadVault, vaultName)
		return err
	})
	if err != nil {
		return ServicesReview{}, err
	}
	rv := ServicesReview{Services: checked, Missing: []string{}}
	changes := make([]ServiceDiff, 0, len(checked))
	for i := range checked {
		s := &checked[i]
		if v.service(s.Name) >= 0 {
			return ServicesReview{}, taken(s.Name)
		}
		changes = append(changes, ServiceDiff{Name: s.Name, After: s})
		for _, key := range s.Keys() {
			if _, there := v.Credentials[key]; !there && !slices.Contains(rv.Missing, key) {
				rv.Missing = append(rv.Missing, key)
			}
		}
	}
	rv.Opened, rv.Warnings = opened(changes, r.now()), append(warnings(v, changes), r.resemblances(v, Review{Changes: changes})...)
	return rv, nil
}

// taken refuses a service by a name that another has.
func taken(name string) error {
	return refuse(CodeConflict, "there is a service %q already; remove it first, or give another name", shorten(name))
}
