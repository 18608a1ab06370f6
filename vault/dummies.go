package vault

import (
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
