package store

import (
	"database/sql"

	"agentvault/vault"
)

func (t *tx) NextVersion(vaultID, key string) (n int64, err error) {
	err = t.one(`INSERT INTO credential_counters (vault_id, key, last) VALUES (?, ?, 1)
		ON CONFLICT (vault_id, key) DO UPDATE SET last = last + 1 RETURNING last`, []any{vaultID, key}, &n)
	return n, err
}

func (t *tx) ListVersions(vaultID, key string) ([]vault.CredentialVersion, error) {
	return list(t, func(r *sql.Rows, v *vault.CredentialVersion) error {
		return r.Scan(&v.Key, &v.Version, &v.Box, millis{&v.CreatedAt}, millis{&v.RetiredAt})
	}, `SELECT key, version, box, created_at, retired_at FROM credential_versions WHERE vault_id = ? AND key = ? ORDER BY version DESC`, vaultID, key)
}

// listEarlier returns the kept versions of all vaults, by vault ID; nil for none.
func (t *tx) listEarlier() (map[string][]vault.CredentialVersion, error) {
	type row struct {
		vaultID string
		vault.CredentialVersion
	}
	rows, err := list(t, func(r *sql.Rows, v *row) error {
		return r.Scan(&v.vaultID, &v.Key, &v.Version, &v.Box, millis{&v.CreatedAt}, millis{&v.RetiredAt})
	}, `SELECT vault_id, key, version, box, created_at, retired_at FROM credential_versions ORDER BY vault_id, key, version`)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	earlier := make(map[string][]vault.CredentialVersion)
	for _, v := range rows {
		earlier[v.vaultID] = append(earlier[v.vaultID], v.CredentialVersion)
	}
	return earlier, nil
}

func (t *tx) PutVersion(vaultID string, v vault.CredentialVersion) error {
	return t.exec(`INSERT INTO credential_versions (vault_id, key, version, box, created_at, retired_at) VALUES (?, ?, ?, ?, ?, ?)`,
		vaultID, v.Key, v.Version, v.Box, ms(v.CreatedAt), ms(v.RetiredAt))
}

func (t *tx) DeleteVersions(vaultID, key string, keep int) error {
	t.removed = true
	return t.exec(`DELETE FROM credential_versions WHERE vault_id = ? AND key = ? AND version NOT IN (
		SELECT version FROM credential_versions WHERE vault_id = ? AND key = ? ORDER BY version DESC LIMIT ?)`, vaultID, key, vaultID, key, keep)
}
