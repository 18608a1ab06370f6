package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// Bounds of a vault's credentials.
const (
	maxCredentials = 10_000
	maxValue       = 64 << 10 // bytes of a value
	keptVersions   = 10       // values that were replaced, of each credential
)

// MinValue is how many bytes a value has at least to be looked for in answers
// (R10). A shorter one would be found by chance in whatever comes back.
const MinValue = 8

// Short reports whether the value is too short to be looked for in answers.
func (c Credential) Short() bool { return seal.Len(c.Box) < MinValue }

// Short reports whether the value is too short to be looked for in answers.
func (c CredentialVersion) Short() bool { return seal.Len(c.Box) < MinValue }

// checkLength refuses a short value where nobody said that it may be one.
func checkLength(key string, value seal.Plaintext, allowShort bool) error {
	if value.Len() >= MinValue || allowShort {
		return nil
	}
	return badRequest("credential %s: the value is shorter than %d bytes, so it cannot be found in answers and kept from agents; give a longer one, or allow it with allow_short (--allow-short)", key, MinValue)
}

// SetCredentials seals values and stores them, and returns their keys, sorted.
// Values that are shorter than MinValue are refused unless they are allowed.
func (r *Registry) SetCredentials(ctx context.Context, c Caller, vaultName string, values map[string]seal.Plaintext, allowShort bool) ([]string, error) {
	keys := slices.Sorted(maps.Keys(values))
	_, err := r.change(ctx, c, actCredentials, vaultName, func(tx Tx, v *Vault) (string, error) {
		if len(values) == 0 {
			return "", badRequest("credentials: none given")
		}
		if err := checkValues(values); err != nil {
			return "", err
		}
		for _, key := range keys {
			if err := r.setCredential(tx, v, key, values[key], allowShort); err != nil {
				return "", err
			}
		}
		return "set " + strings.Join(keys, " "), nil
	})
	if err != nil {
		return nil, err
	}
	return keys, nil
}

func checkValues(values map[string]seal.Plaintext) error {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !inject.ValidKey(key) {
			return badRequest("credentials: a key has A-Z, 0-9 and _, and begins with a letter") // it may be a value
		}
		if err := checkValue(key, values[key].Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// checkValue refuses what could not stand in a header (R9), except for PEM and
// objects of JSON, which other kinds of authentication sign with. The message says
// nothing of the value.
func checkValue(key string, value []byte) error {
	switch {
	case len(value) == 0:
		return badRequest("credential %s: the value is empty", key)
	case len(value) > maxValue:
		return badRequest("credential %s: the value is longer than 64 KiB", key)
	case isDocument(value):
		for _, b := range value {
			if b < ' ' && b != '\t' && b != '\r' && b != '\n' || b == 0x7f {
				return badRequest("credential %s: the value holds a control character", key)
			}
		}
		return nil
	case value[len(value)-1] == '\n' || value[len(value)-1] == '\r':
		return badRequest("credential %s: the value ends with a line break; leave it out", key)
	case bytes.IndexByte([]byte(" \t"), value[0]) >= 0 || bytes.IndexByte([]byte(" \t"), value[len(value)-1]) >= 0:
		// HTTP drops them around a field's value, so what came back would not be
		// what is looked for.
		return badRequest("credential %s: the value begins or ends with a space or tab; leave it out", key)
	}
	for _, b := range value {
		if b < ' ' && b != '\t' || b == 0x7f {
			return badRequest("credential %s: the value holds a control character", key)
		}
	}
	return nil
}

// isDocument reports whether a value is PEM (RFC 7468) and nothing else, or an
// object of JSON.
func isDocument(value []byte) bool {
	if value[0] == '{' {
		return json.Valid(value)
	}
	if !bytes.HasPrefix(value, []byte("-----BEGIN ")) {
		return false
	}
	for len(bytes.TrimSpace(value)) > 0 {
		block, rest := pem.Decode(value)
		if block == nil || !bytes.HasPrefix(bytes.TrimSpace(value), []byte("-----BEGIN ")) {
			return false
		}
		value = rest
	}
	return true
}

// setCredential seals a value as the credential's next version. The value
// before is kept.
func (r *Registry) setCredential(tx Tx, v *Vault, key string, value seal.Plaintext, allowShort bool) error {
	if err := checkLength(key, value, allowShort); err != nil {
		return err
	}
	now := r.now()
	old, existed := v.Credentials[key]
	if !existed && len(v.Credentials) >= maxCredentials {
		return badRequest("a vault has at most %d credentials", maxCredentials)
	}
	version, err := tx.NextVersion(v.ID, key)
	if err != nil {
		return err
	}
	next := Credential{Key: key, Version: version, CreatedAt: now, UpdatedAt: now}
	if existed {
		next.CreatedAt = old.CreatedAt
		retired := CredentialVersion{Key: key, Version: old.Version, Box: old.Box, CreatedAt: old.UpdatedAt, RetiredAt: now}
		if err := errors.Join(tx.PutVersion(v.ID, retired), tx.DeleteVersions(v.ID, key, keptVersions)); err != nil {
			return err
		}
	}
	if next.Box, err = r.key.ForVault(v.ID).Seal(v.sealContext(key, version), value); err != nil {
		return err
	}
	if v.Credentials == nil {
		v.Credentials = make(map[string]Credential)
	}
	v.Credentials[key] = next
	return nil
}

func (v *Vault) sealContext(key string, version int64) seal.Context {
	return seal.Context{Vault: v.ID, Credential: key, Field: FieldValue, Version: version}
}

// CredentialVersions lists the values of a credential that were replaced and
// are kept, newest first. Boxes stay shut.
func (r *Registry) CredentialVersions(ctx context.Context, c Caller, vaultName, key string) ([]CredentialVersion, error) {
	var kept []CredentialVersion
	err := r.readAs(ctx, c, actReadVault, func(tx Tx) error {
		v, err := r.wholeVault(tx, c, actReadVault, vaultName)
		if err != nil {
			return err
		}
		if err := v.mustHold(key); err != nil {
			return err
		}
		kept, err = tx.ListVersions(v.ID, key)
		return err
	})
	return kept, err
}

// RollBackCredential makes an earlier value the credential's newest version; 0
// means the one before. It can itself be undone.
func (r *Registry) RollBackCredential(ctx context.Context, c Caller, vaultName, key string, version int64) (Credential, error) {
	v, err := r.change(ctx, c, actCredentials, vaultName, func(tx Tx, v *Vault) (string, error) {
		if err := v.mustHold(key); err != nil {
			return "", err
		}
		kept, err := tx.ListVersions(v.ID, key)
		if err != nil {
			return "", err
		}
		at := slices.IndexFunc(kept, func(k CredentialVersion) bool { return version == 0 || k.Version == version })
		if at < 0 {
			return "", refuse(CodeNotFound, "credential %s: there is no earlier version to go back to", key)
		}
		value, err := r.key.ForVault(v.ID).Open(v.sealContext(key, kept[at].Version), kept[at].Box)
		if err != nil {
			return "", err
		}
		defer value.Clear()
		return fmt.Sprintf("roll back %s to version %d", key, kept[at].Version), r.setCredential(tx, v, key, value, true) // it was let in once
	})
	return v.Credentials[key], err
}

// DeleteCredential removes a credential with all its versions. Services that
// use its key answer credential_not_found from then on.
func (r *Registry) DeleteCredential(ctx context.Context, c Caller, vaultName, key string) error {
	_, err := r.change(ctx, c, actCredentials, vaultName, func(tx Tx, v *Vault) (string, error) {
		if err := v.mustHold(key); err != nil {
			return "", err
		}
		delete(v.Credentials, key)
		return "delete " + key, tx.DeleteVersions(v.ID, key, 0)
	})
	return err
}

func (v *Vault) mustHold(key string) error {
	if _, ok := v.Credentials[key]; !ok {
		return refuse(CodeCredentialNotFound, "there is no credential %q in the vault %s", shorten(key), v.Name)
	}
	return nil
}
