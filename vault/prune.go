package vault

import "slices"

// putVault stores a vault, and takes services that it had before and has no more
// out of grants and out of the ledger: one that is added later under the same name
// is another one.
func (r *Registry) putVault(tx Tx, v Vault, before []Service) error {
	if err := r.checkDummies(v); err != nil {
		return err
	}
	if err := tx.PutVault(v); err != nil {
		return err
	}
	var gone []string
	for _, s := range before {
		if v.service(s.Name) < 0 {
			gone = append(gone, s.Name)
		}
	}
	if gone == nil {
		return nil
	}
	for _, name := range gone {
		if err := tx.ForgetSpent(v.ID, name); err != nil {
			return err
		}
	}
	if err := pruneAgents(tx, v.ID, gone); err != nil {
		return err
	}
	return r.pruneInvites(tx, v.ID, gone)
}

func pruneAgents(tx Tx, vaultID string, gone []string) error {
	agents, err := tx.ListAgents()
	if err != nil {
		return err
	}
	for _, a := range agents {
		if !prune(a.Vaults, vaultID, gone) {
			continue
		}
		if err := tx.PutAgent(a); err != nil {
			return err
		}
	}
	return nil
}

func (r *Registry) pruneInvites(tx Tx, vaultID string, gone []string) error {
	invites, err := tx.ListInvites(InviteAgent)
	if err != nil {
		return err
	}
	for _, i := range invites {
		if !i.pending(r.now()) || !prune(i.Vaults, vaultID, gone) {
			continue
		}
		if err := tx.PutInvite(i); err != nil {
			return err
		}
	}
	return nil
}

// prune takes names out of the grant of one vault, and reports whether there
// were any. A grant of no services is none of them, which is not all.
func prune(grants map[string]Grant, vaultID string, gone []string) bool {
	g, ok := grants[vaultID]
	if !ok || g.Services == nil {
		return false
	}
	kept := slices.DeleteFunc(slices.Clone(g.Services), func(name string) bool { return slices.Contains(gone, name) })
	ends := g.Ends.without(gone)
	if len(kept) == len(g.Services) && len(ends.Grants) == len(g.Ends.Grants) {
		return false
	}
	if kept == nil {
		kept = []string{}
	}
	grants[vaultID] = Grant{g.Role, kept, ends}
	if ends.Guest && len(ends.Grants) == 0 {
		delete(grants, vaultID)
	}
	return true
}
