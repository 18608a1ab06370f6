package vault

import (
	"context"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// DummyOf is the dummy of a credential of a vault, whose key is given: what looks
// like its value to a client that checks the shape, and is none. It depends on the
// vault and on the credential's name, not on the value, and is always the same.
func DummyOf(vaultKey seal.Key, key string) string {
	return inject.Dummy(key, vaultKey.MAC("dummy", key))
}

func (r *Registry) dummyOf(v Vault, key string) string {
	return DummyOf(r.key.ForVault(v.ID), key)
}

// checkDummies refuses a placeholder that looks like a dummy and is not that of its
// credential: it could be another's.
func (r *Registry) checkDummies(v Vault) error {
	for _, s := range v.Services {
		for _, c := range claims([]Service{s}) {
			if inject.IsDummy(c.Placeholder) && c.Placeholder != r.dummyOf(v, c.For) {
				return badRequest("service %q: the placeholder %s is not the dummy of %s in this vault; leave it out to have that", s.Name, c.Placeholder, c.For)
			}
		}
	}
	return nil
}

// Dummy returns the dummy of a credential of a vault, which need not have a value.
func (r *Registry) Dummy(ctx context.Context, c Caller, vaultName, key string) (string, error) {
	if err := actReadVault.admits(c); err != nil {
		return "", err
	}
	if !inject.ValidKey(key) {
		return "", badRequest("key: it has A-Z, 0-9 and _, and begins with a letter") // it may be a value
	}
	var dummy string
	err := r.readAs(ctx, c, actReadVault, func(tx Tx) error {
		v, err := r.wholeVault(tx, c, actReadVault, vaultName)
		dummy = r.dummyOf(v, key)
		return err
	})
	if err != nil {
		return "", err
	}
	return dummy, nil
}
