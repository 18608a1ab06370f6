package vault

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
)

func checkInstanceRole(role string) error {
	if instanceRank[role] == 0 {
		return badRequest("role: %q is none of owner, member, no-access", shorten(role))
	}
	return nil
}

func checkVaultRole(role string) error {
	if vaultRank[role] == 0 {
		return badRequest("vault_role: %q is none of proxy, member, admin", shorten(role))
	}
	return nil
}

// Users lists the instance's users, by email.
func (r *Registry) Users(ctx context.Context, c Caller) ([]User, error) {
	if err := r.allow(c, actSeeUsers, nil); err != nil {
		return nil, err
	}
	var all []User
	err := r.store.Read(ctx, func(tx Tx) (err error) {
		all, err = tx.ListUsers()
		return err
	})
	return all, err
}

// userByEmail takes any letter case, as signing in does.
func userByEmail(tx Tx, email string) (User, error) {
	u, err := tx.UserByEmail(strings.ToLower(email))
	if errors.Is(err, ErrNotFound) {
		return User{}, refuse(CodeNotFound, "there is no user %q", shorten(email))
	}
	return u, err
}

// SetUserRole changes a user's role on the instance. Sessions that they minted
// in vaults which they cannot reach any more end.
func (r *Registry) SetUserRole(ctx context.Context, c Caller, email, role string) (User, error) {
	if err := r.allow(c, actWidenUser, nil); err != nil {
		return User{}, err
	}
	if err := checkInstanceRole(role); err != nil {
		return User{}, err
	}
	var u User
	err := r.writeAsNow(ctx, c, actWidenUser, func(tx Tx, c Caller) (err error) {
		if u, err = userByEmail(tx, email); err != nil {
			return err
		}
		if u.Role == RoleOwner && role != RoleOwner {
			if err := notLastOwner(tx, u); err != nil {
				return err
			}
		}
		u.Role = role
		return errors.Join(tx.PutUser(u), endUnreachable(tx, u), r.note(tx, c, actWidenUser, nil, u.Email+" "+role))
	})
	if err != nil {
		return User{}, err
	}
	return u, nil
}

// RemoveUser removes a user with their logins and the sessions that they
// minted.
func (r *Registry) RemoveUser(ctx context.Context, c Caller, email string) error {
	return r.writeAsNow(ctx, c, actRemoveUser, func(tx Tx, c Caller) error {
		u, err := userByEmail(tx, email)
		if err != nil {
			return err
		}
		if u.Role == RoleOwner {
			if err := notLastOwner(tx, u); err != nil {
				return err
			}
		}
		u.Role = RoleNoAccess
		return errors.Join(endUnreachable(tx, u), tx.DeleteUser(u.ID), r.note(tx, c, actRemoveUser, nil, u.Email))
	})
}

func notLastOwner(tx Tx, u User) error {
	all, err := tx.ListUsers()
	if err != nil {
		return err
	}
	for _, o := range all {
		if o.Role == RoleOwner && o.ID != u.ID {
			return nil
		}
	}
	return refuse(CodeConflict, "%s is the last owner; make another user an owner first", u.Email)
}

// endUnreachable ends the sessions that a user minted in vaults in which they
// have no role.
func endUnreachable(tx Tx, u User) error {
	vaults, err := tx.ListVaultRefs()
	if err != nil {
		return err
	}
	for _, v := range vaults {
		if u.roleIn(v.ID) != "" {
			continue
		}
		sessions, err := tx.ListSessions(v.ID)
		if err != nil {
			return err
		}
		for _, s := range sessions {
			if s.CreatedBy != u.ID {
				continue
			}
			if err := tx.DeleteSession(s.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// A Member is a user with a role in a vault. Owners, who are admins of every
// vault, are not listed for it.
type Member struct {
	Email string
	Role  string
}

// Members lists who has a role in a vault, by email.
func (r *Registry) Members(ctx context.Context, c Caller, vaultName string) ([]Member, error) {
	members := []Member{}
	err := r.readAs(ctx, c, actSeeMembers, func(tx Tx) error {
		v, err := r.inVault(tx, c, actSeeMembers, vaultName)
		if err != nil {
			return err
		}
		users, err := tx.ListUsers()
		for _, u := range users {
			if role := u.Vaults[v.ID]; role != "" {
				members = append(members, Member{u.Email, role})
			}
		}
		return err
	})
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Email, b.Email) })
	return members, err
}

// SetMember gives a user a role in a vault.
func (r *Registry) SetMember(ctx context.Context, c Caller, vaultName, email, role string) error {
	return r.writeAs(ctx, c, actMembers, func(tx Tx) error {
		v, err := r.inVault(tx, c, actMembers, vaultName)
		if err != nil {
			return err
		}
		if err := checkVaultRole(role); err != nil {
			return err
		}
		u, err := userByEmail(tx, email)
		if err != nil {
			return err
		}
		if u.Vaults == nil {
			u.Vaults = make(map[string]string)
		}
		u.Vaults[v.ID] = role
		return errors.Join(tx.PutUser(u), r.note(tx, c, actMembers, &v, u.Email+" "+role))
	})
}

// RemoveMember takes a user's role in a vault away. The sessions that they
// minted there end.
func (r *Registry) RemoveMember(ctx context.Context, c Caller, vaultName, email string) error {
	return r.writeAs(ctx, c, actRemoveOne, func(tx Tx) error {
		v, err := r.inVault(tx, c, actRemoveOne, vaultName)
		if err != nil {
			return err
		}
		u, err := userByEmail(tx, email)
		if err != nil {
			return err
		}
		if u.Vaults[v.ID] == "" {
			return refuse(CodeNotFound, "%s has no role in the vault %s", u.Email, v.Name)
		}
		delete(u.Vaults, v.ID)
		return errors.Join(tx.PutUser(u), endUnreachable(tx, u), r.note(tx, c, actRemoveOne, &v, u.Email))
	})
}
