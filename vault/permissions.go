package vault

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// freshFor is how long after a password was given its login may do what widens
// somebody's reach.
const freshFor = 5 * time.Minute

// An action is something that a caller may be allowed to do. The table below
// is the only place that says who may; docs/permissions.md is written from it.
type action struct {
	name   string
	what   string // for people, in docs/permissions.md
	needs  need
	agents bool // holders of an agent's token or a session may too, about what is theirs
	fresh  bool // needs a login not older than freshFor: it widens somebody's reach
}

// A need is the least that a person must be.
type need struct {
	instance string // a role on the instance; "" is none
	vault    string // a role in the vault that the action is about; "" is none
}

// Who may do what. Owners are admins of every vault.
var (
	actSelf      = &action{name: "self", what: "see who one is; list and revoke one's own logins; change one's password", needs: need{instance: RoleNoAccess}}
	actListVault = &action{name: "vault.list", what: "list the vaults in which one has a role", needs: need{instance: RoleMember}}
	actNewVault  = &action{name: "vault.create", what: "make a vault, and become its admin", needs: need{instance: RoleMember}}

	actSeeUsers    = &action{name: "user.list", what: "list users and their invites", needs: need{instance: RoleOwner}}
	actWidenUser   = &action{name: "user.invite", what: "invite users; change a user's role on the instance", needs: need{instance: RoleOwner}, fresh: true}
	actRemoveUser  = &action{name: "user.remove", what: "remove a user; revoke a user's invite", needs: need{instance: RoleOwner}}
	actSeeInstance = &action{name: "instance.record", what: "see the record of changes to the whole instance", needs: need{instance: RoleOwner}}
	actSeeServer   = &action{name: "instance.read", what: "see the server's versions, where it listens, and the state of its audit log", needs: need{instance: RoleOwner}}

	actRotate = &action{name: "ca.rotate", what: "replace the root certificate of the proxy entrance, and end such a rotation", needs: need{instance: RoleOwner}, fresh: true}

	actReadVault   = &action{name: "vault.read", what: "see a vault's services and settings, and the keys of its credentials", needs: need{vault: VaultProxy}}
	actMint        = &action{name: "session.mint", what: "mint a session; list and revoke sessions that one minted oneself", needs: need{vault: VaultProxy}}
	actSeeSessions = &action{name: "session.list", what: "list and revoke everybody's sessions", needs: need{vault: VaultMember}}
	actSeeRecord   = &action{name: "record.read", what: "see recorded requests, refused hosts and the record of changes; replay requests against changed services", needs: need{vault: VaultMember}}
	actServices    = &action{name: "service.change", what: "set, add, enable and remove services, and turn their switches", needs: need{vault: VaultMember}, fresh: true}
	actDisable     = &action{name: "service.disable", what: "disable a service", needs: need{vault: VaultMember}}
	actCredentials = &action{name: "credential.change", what: "set, roll back and delete credentials", needs: need{vault: VaultMember}}
	actDecide      = &action{name: "proposal.decide", what: "approve a proposal", needs: need{vault: VaultMember}, fresh: true}
	actReject      = &action{name: "proposal.reject", what: "reject a proposal; see everybody's proposals", needs: need{vault: VaultMember}}
	actApprovals   = &action{name: "approval.decide", what: "see requests that wait for a person, and allow or deny each", needs: need{vault: VaultMember}}
	actSettings    = &action{name: "vault.settings", what: "change a vault's settings", needs: need{vault: VaultAdmin}, fresh: true}
	actRename      = &action{name: "vault.rename", what: "rename a vault", needs: need{vault: VaultAdmin}}
	actDeleteVault = &action{name: "vault.delete", what: "delete a vault with all that is in it", needs: need{vault: VaultAdmin}}
	actSeeMembers  = &action{name: "member.list", what: "list a vault's members", needs: need{vault: VaultMember}}
	actMembers     = &action{name: "member.change", what: "give a user a role in a vault", needs: need{vault: VaultAdmin}, fresh: true}
	actRemoveOne   = &action{name: "member.remove", what: "take a user's role in a vault away", needs: need{vault: VaultAdmin}}
	actSeeAgents   = &action{name: "agent.list", what: "list the agents of the vaults in which one is a member, and their invites", needs: need{vault: VaultMember}}
	actWidenAgent  = &action{name: "agent.grant", what: "make an agent, invite one, grant one a vault or more of its services; rotate an agent's token", needs: need{vault: VaultAdmin}, fresh: true}
	actNarrowAgent = &action{name: "agent.revoke", what: "revoke an agent's token, by the role in one of its vaults; rename and delete it, and revoke its invite, by the role in all of them; take a vault away from it", needs: need{vault: VaultAdmin}}

	actDiscover = &action{name: "discover", what: "see which services and credential keys one may use", agents: true}
	actPropose  = &action{name: "proposal.create", what: "propose changes to a vault; see one's own proposals", needs: need{vault: VaultProxy}, agents: true}
	actOwnEnd   = &action{name: "session.end", what: "end the session whose token one holds", agents: true}
)

// actions are all of them, in the order of docs/permissions.md.
var actions = []*action{
	actDiscover, actPropose, actOwnEnd,
	actSelf, actListVault, actNewVault,
	actReadVault, actMint, actSeeSessions, actSeeRecord, actServices, actDisable, actCredentials, actDecide, actReject, actApprovals,
	actSettings, actRename, actDeleteVault, actSeeMembers, actMembers, actRemoveOne,
	actSeeAgents, actWidenAgent, actNarrowAgent,
	actSeeUsers, actWidenUser, actRemoveUser, actSeeInstance, actSeeServer, actRotate,
}

var instanceRank = map[string]int{RoleNoAccess: 1, RoleMember: 2, RoleOwner: 3}

var vaultRank = map[string]int{VaultProxy: 1, VaultMember: 2, VaultAdmin: 3}

// admits is the first half of the question: whether this kind of caller, and a
// person of this role on the instance, may ever do such a thing.
func (a *action) admits(c Caller) error {
	switch {
	case c.user == nil && !c.IsAgent():
		return refuse(CodeUnauthorized, "sign in first: agent-vault auth login")
	case c.IsAgent() && a.agents:
		return nil
	case c.IsAgent():
		return refuse(CodeForbidden, "an agent's token may not do this; a person can")
	case a.needs == need{}:
		return refuse(CodeForbidden, "this is for agents; send a session token")
	}
	least := cmp.Or(a.needs.instance, RoleMember) // no vault is open to no-access
	if instanceRank[c.user.Role] < instanceRank[least] {
		return refuse(CodeForbidden, "your role %s on the instance does not allow this; it takes %s", c.user.Role, least)
	}
	return nil
}

// roleIn returns a person's role in a vault: "" is none.
func (u *User) roleIn(vaultID string) string {
	switch u.Role {
	case RoleOwner:
		return VaultAdmin
	case RoleMember:
		return u.Vaults[vaultID]
	}
	return ""
}

// allow is the whole question: may the caller do this, in this vault? v is nil
// for actions that are about none. Of an agent only its kind is asked here; its
// vault is found by agentsVault.
func (r *Registry) allow(c Caller, a *action, v *VaultRef) error {
	if err := a.admits(c); err != nil {
		return err
	}
	if c.user == nil {
		return nil
	}
	if a.needs.vault != "" && v != nil {
		role := c.user.roleIn(v.ID)
		switch {
		case role == "":
			return refuse(CodeVaultForbidden, "you have no role in the vault %s; one of its admins can give you one", v.Name)
		case vaultRank[role] < vaultRank[a.needs.vault]:
			return refuse(CodeForbidden, "your role %s in the vault %s does not allow this; it takes %s", role, v.Name, a.needs.vault)
		}
	}
	if a.fresh {
		return r.isFresh(c)
	}
	return nil
}

// isFresh refuses a person whose password was given too long ago.
func (r *Registry) isFresh(c Caller) error {
	if c.login == nil || r.now().Sub(c.login.AuthenticatedAt) > freshFor {
		return refuse(CodeLoginTooOld, "this needs a login that is not older than five minutes; give your password again")
	}
	return nil
}

// asNow gives the caller the roles that they have in this transaction, and asks
// again: they may have lost them since their token was looked at.
func (r *Registry) asNow(tx Tx, c *Caller, a *action) error {
	u, err := tx.UserByID(c.user.ID)
	if errors.Is(err, ErrNotFound) {
		return errUnknownToken
	}
	if err != nil {
		return err
	}
	c.user = &u
	return r.allow(*c, a, nil)
}

// readAs is a transaction for those whom the action admits: all others are
// refused before the store is asked.
func (r *Registry) readAs(ctx context.Context, c Caller, a *action, f func(Tx) error) error {
	if err := a.admits(c); err != nil {
		return err
	}
	return r.store.Read(ctx, f)
}

// writeAs is readAs for what changes something. It keeps the one writer from
// those who may change nothing.
func (r *Registry) writeAs(ctx context.Context, c Caller, a *action, f func(Tx) error) error {
	if err := a.admits(c); err != nil {
		return err
	}
	return r.write(ctx, f)
}

// writeAsNow is writeAs for what is not about one vault: f gets the caller with
// the roles that they have in the transaction.
func (r *Registry) writeAsNow(ctx context.Context, c Caller, a *action, f func(Tx, Caller) error) error {
	if err := r.allow(c, a, nil); err != nil {
		return err
	}
	return r.write(ctx, func(tx Tx) error {
		if err := r.asNow(tx, &c, a); err != nil {
			return err
		}
		return f(tx, c)
	})
}

// inVault is the one way to a vault: it finds the vault by name and asks
// whether the caller may.
func (r *Registry) inVault(tx Tx, c Caller, a *action, name string) (VaultRef, error) {
	if err := a.admits(c); err != nil { // before a stranger learns which vaults there are
		return VaultRef{}, err
	}
	if c.user != nil {
		if err := r.asNow(tx, &c, actSelf); err != nil {
			return VaultRef{}, err
		}
	}
	v, err := byName(tx, name)
	if err != nil {
		return VaultRef{}, err
	}
	return v, r.allow(c, a, &v)
}

// wholeVault is inVault with what is in the vault, loaded once the caller may.
func (r *Registry) wholeVault(tx Tx, c Caller, a *action, name string) (Vault, error) {
	if _, err := r.inVault(tx, c, a, name); err != nil {
		return Vault{}, err
	}
	return tx.VaultByName(name)
}
