package vault

import (
	"context"
	"errors"
)

// Vaults returns the vaults in which the caller has a role, by name. Boxes stay
// shut.
func (r *Registry) Vaults(ctx context.Context, c Caller) ([]Vault, error) {
	if err := r.allow(c, actListVault, nil); err != nil {
		return nil, err
	}
	visible := []Vault{}
	err := r.store.Read(ctx, func(tx Tx) error {
		all, err := tx.ListVaults()
		for _, v := range all {
			if c.user.roleIn(v.ID) != "" {
				visible = append(visible, v)
			}
		}
		return err
	})
	return visible, err
}

// Vault returns one vault.
func (r *Registry) Vault(ctx context.Context, c Caller, name string) (Vault, error) {
	var v Vault
	err := r.readAs(ctx, c, actReadVault, func(tx Tx) (err error) {
		v, err = r.wholeVault(tx, c, actReadVault, name)
		return err
	})
	if err != nil {
		return Vault{}, err
	}
	return v, nil
}

// CreateVault makes an empty vault. Who makes it becomes its admin.
func (r *Registry) CreateVault(ctx context.Context, c Caller, name string) (Vault, error) {
	if err := r.allow(c, actNewVault, nil); err != nil {
		return Vault{}, err
	}
	if err := checkName("vault", name); err != nil {
		return Vault{}, err
	}
	v := Vault{ID: newID(), Name: name, UnmatchedHosts: UnmatchedDeny, CreatedAt: r.now()}
	err := r.writeAsNow(ctx, c, actNewVault, func(tx Tx, c Caller) error {
		if err := nameIsFree(tx, name); err != nil {
			return err
		}
		if err := tx.PutVault(v); err != nil {
			return err
		}
		return errors.Join(r.becomeAdmin(tx, c, v), r.note(tx, c, actNewVault, v.ref(), v.Name))
	})
	if err != nil {
		return Vault{}, err
	}
	return v, nil
}

func nameIsFree(tx Tx, name string) error {
	switch _, err := tx.VaultRefByName(name); {
	case err == nil:
		return refuse(CodeConflict, "there is a vault %q already", name)
	case !errors.Is(err, ErrNotFound):
		return err
	}
	return nil
}

// becomeAdmin gives whoever makes a vault its admin role; owners have it.
func (r *Registry) becomeAdmin(tx Tx, c Caller, v Vault) error {
	if c.user.Role == RoleOwner {
		return nil
	}
	u, err := tx.UserByID(c.user.ID)
	if err != nil {
		return err
	}
	if u.Vaults == nil {
		u.Vaults = make(map[string]string)
	}
	u.Vaults[v.ID] = VaultAdmin
	return tx.PutUser(u)
}

// RenameVault gives a vault another name. What belongs to it stays.
func (r *Registry) RenameVault(ctx context.Context, c Caller, name, next string) (Vault, error) {
	return r.change(ctx, c, actRename, name, func(tx Tx, v *Vault) (string, error) {
		if err := checkName("vault", next); err != nil {
			return "", err
		}
		if next != v.Name {
			if err := nameIsFree(tx, next); err != nil {
				return "", err
			}
		}
		v.Name = next
		return "rename " + name + " to " + next, nil
	})
}

// SetUnmatchedHosts says what a vault does with hosts that no service names.
func (r *Registry) SetUnmatchedHosts(ctx context.Context, c Caller, name, unmatched string) (Vault, error) {
	return r.change(ctx, c, actSettings, name, func(_ Tx, v *Vault) (string, error) {
		if unmatched != UnmatchedDeny && unmatched != UnmatchedTunnel {
			return "", badRequest("unmatched_hosts: %q is neither deny nor tunnel", shorten(unmatched))
		}
		v.UnmatchedHosts = unmatched
		return "unmatched_hosts " + unmatched, nil
	})
}

// DeleteVault removes a vault with all that is in it. Its sessions end.
func (r *Registry) DeleteVault(ctx context.Context, c Caller, name string) error {
	return r.writeAs(ctx, c, actDeleteVault, func(tx Tx) error {
		v, err := r.inVault(tx, c, actDeleteVault, name)
		if err != nil {
			return err
		}
		return errors.Join(tx.DeleteVault(v.ID), r.note(tx, c, actDeleteVault, &v, v.Name))
	})
}

// change loads a vault, changes it and puts it back, in one transaction. f
// returns what the record of changes names.
func (r *Registry) change(ctx context.Context, c Caller, a *action, name string, f func(Tx, *Vault) (object string, err error)) (Vault, error) {
	var v Vault
	err := r.writeAs(ctx, c, a, func(tx Tx) (err error) {
		if v, err = r.wholeVault(tx, c, a, name); err != nil {
			return err
		}
		before := v.Services
		object, err := f(tx, &v)
		if err != nil {
			return err
		}
		return errors.Join(r.putVault(tx, v, before), r.note(tx, c, a, v.ref(), object))
	})
	if err != nil {
		return Vault{}, err
	}
	return v, nil
}
