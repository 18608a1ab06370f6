package store

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"agentvault/vault"
)

const selectVaults = `SELECT id, name, unmatched_hosts, created_at FROM vaults `

func scanVault(r *sql.Rows, v *vault.Vault) error {
	return r.Scan(&v.ID, &v.Name, &v.UnmatchedHosts, millis{&v.CreatedAt})
}

func (t *tx) VaultByName(name string) (vault.Vault, error) {
	return t.wholeVault(first(t, scanVault, selectVaults+`WHERE name = ?`, name))
}

func (t *tx) VaultByID(id string) (vault.Vault, error) {
	return t.wholeVault(first(t, scanVault, selectVaults+`WHERE id = ?`, id))
}

func (t *tx) wholeVault(v vault.Vault, err error) (vault.Vault, error) {
	if err != nil {
		return v, err
	}
	all := []vault.Vault{v}
	err = t.fill(all, `WHERE vault_id = ?`, v.ID)
	return all[0], err
}

func (t *tx) ListVaults() ([]vault.Vault, error) {
	all, err := list(t, scanVault, selectVaults+`ORDER BY name`)
	if err != nil {
		return nil, err
	}
	return all, t.fill(all, ``)
}

const selectVaultRefs = `SELECT id, name FROM vaults `

func scanVaultRef(r *sql.Rows, v *vault.VaultRef) error { return r.Scan(&v.ID, &v.Name) }

func (t *tx) VaultRefByName(name string) (vault.VaultRef, error) {
	return first(t, scanVaultRef, selectVaultRefs+`WHERE name = ?`, name)
}

func (t *tx) VaultRefByID(id string) (vault.VaultRef, error) {
	return first(t, scanVaultRef, selectVaultRefs+`WHERE id = ?`, id)
}

func (t *tx) ListVaultRefs() ([]vault.VaultRef, error) {
	return list(t, scanVaultRef, selectVaultRefs+`ORDER BY name`)
}

type serviceRow struct{ vaultID, definition string }

type credentialRow struct {
	vaultID string
	vault.Credential
}

// fill adds services and credentials: one query each, however many vaults.
func (t *tx) fill(vaults []vault.Vault, where string, args ...any) error {
	byID := make(map[string]*vault.Vault, len(vaults))
	for i := range vaults {
		v := &vaults[i]
		v.Services, v.Credentials = []vault.Service{}, make(map[string]vault.Credential)
		byID[v.ID] = v
	}
	services, err := list(t, func(r *sql.Rows, s *serviceRow) error { return r.Scan(&s.vaultID, &s.definition) },
		`SELECT vault_id, definition FROM services `+where+` ORDER BY vault_id, position`, args...)
	if err != nil {
		return err
	}
	for _, row := range services {
		var s vault.Service
		if err := json.Unmarshal([]byte(row.definition), &s); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		if v := byID[row.vaultID]; v != nil {
			v.Services = append(v.Services, s)
		}
	}
	credentials, err := list(t, func(r *sql.Rows, c *credentialRow) error {
		return r.Scan(&c.vaultID, &c.Key, &c.Version, &c.Box, millis{&c.CreatedAt}, millis{&c.UpdatedAt})
	}, `SELECT vault_id, key, version, box, created_at, updated_at FROM credentials `+where, args...)
	if err != nil {
		return err
	}
	for _, row := range credentials {
		if v := byID[row.vaultID]; v != nil {
			v.Credentials[row.Key] = row.Credential
		}
	}
	return nil
}

// PutVault stores the whole vault; what it does not hold any more goes.
func (t *tx) PutVault(v vault.Vault) error {
	t.decides, t.removed = true, true
	if err := t.exec(`INSERT INTO vaults (id, name, unmatched_hosts, created_at) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, unmatched_hosts = excluded.unmatched_hosts`,
		v.ID, v.Name, v.UnmatchedHosts, ms(v.CreatedAt)); err != nil {
		return err
	}
	if err := t.putServices(v); err != nil {
		return err
	}
	return t.putCredentials(v)
}

func (t *tx) putServices(v vault.Vault) error {
	old, err := list(t, func(r *sql.Rows, s *[2]string) error { return r.Scan(&s[0], &s[1]) },
		`SELECT name, position || ' ' || definition FROM services WHERE vault_id = ?`, v.ID)
	if err != nil {
		return err
	}
	stored := make(map[string]string, len(old))
	for _, row := range old {
		stored[row[0]] = row[1]
	}
	for i, s := range v.Services {
		definition, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("store: service %q: %w", s.Name, err)
		}
		was, ok := stored[s.Name]
		delete(stored, s.Name)
		if ok && was == fmt.Sprintf("%d %s", i, definition) {
			continue
		}
		if err := t.exec(`INSERT INTO services (vault_id, position, name, definition) VALUES (?, ?, ?, ?)
			ON CONFLICT (vault_id, name) DO UPDATE SET position = excluded.position, definition = excluded.definition`,
			v.ID, i, s.Name, string(definition)); err != nil {
			return err
		}
	}
	for name := range stored {
		if err := t.exec(`DELETE FROM services WHERE vault_id = ? AND name = ?`, v.ID, name); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) putCredentials(v vault.Vault) error {
	type keyVersion struct {
		key     string
		version int64
	}
	old, err := list(t, func(r *sql.Rows, k *keyVersion) error { return r.Scan(&k.key, &k.version) },
		`SELECT key, version FROM credentials WHERE vault_id = ?`, v.ID)
	if err != nil {
		return err
	}
	stored := make(map[string]int64, len(old))
	for _, k := range old {
		stored[k.key] = k.version
	}
	for key, c := range v.Credentials {
		version, ok := stored[key]
		delete(stored, key)
		if ok && version == c.Version {
			continue // a version's box never changes
		}
		if err := t.exec(`INSERT INTO credentials (vault_id, key, version, box, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (vault_id, key) DO UPDATE SET version = excluded.version, box = excluded.box, updated_at = excluded.updated_at`,
			v.ID, c.Key, c.Version, c.Box, ms(c.CreatedAt), ms(c.UpdatedAt)); err != nil {
			return err
		}
	}
	for key := range stored {
		if err := t.exec(`DELETE FROM credentials WHERE vault_id = ? AND key = ?`, v.ID, key); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) DeleteVault(id string) error {
	t.decides, t.removed = true, true
	return t.execOne(`DELETE FROM vaults WHERE id = ?`, id)
}
