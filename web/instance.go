package web

import (
	"net/http"
	"net/url"
	"slices"

	"agentvault/api"
)

const (
	instancePath = "/instance"
	invitePath   = "/instance/users/invite"
)

// Roles, as the API names them, that a page asks for to leave out what their
// holders may not do anyway. Whether they may, the API decides.
const (
	roleOwner    = "owner"
	roleNoAccess = "no-access"
	vaultAdmin   = "admin"
)

// An instance is what its page shows: to each person what their role allows.
type instance struct {
	Problem string     // why a form was not taken
	Typed   url.Values // into the form of an invite, when it is that one

	Owner       bool
	Me          string
	Server      api.ServerInfo   // of owners
	Users       []api.UserDetail // of owners
	UserInvites []api.InviteInfo // of owners
	Vaults      []api.VaultInfo  // of owners

	Member       bool
	Agents       []agentRow  // of members
	AgentInvites []inviteRow // of members

	Logins []api.LoginInfo
	Others bool // there are logins besides this one
	Root   root
}

// An agentRow is an agent, with what the person may do to it.
type agentRow struct {
	api.AgentInfo
	Rotates, Revokes bool
}

// An inviteRow is an invite that waits, with what the person may do to it.
type inviteRow struct {
	api.InviteInfo
	Revokes bool
}

func instancePage(v *visit) error { return v.showInstance(http.StatusOK, "") }

// showInstance shows the page, with what was wrong with a form that was sent.
func (v *visit) showInstance(status int, problem string) error {
	p := instance{Problem: problem, Me: v.me.Email, Owner: v.me.Role == roleOwner, Member: v.me.Role != roleNoAccess}
	if v.r.URL.Path == invitePath {
		p.Typed = v.form
	}
	var err error
	if p.Owner {
		if err = v.forOwners(&p); err != nil {
			return err
		}
	}
	if p.Member {
		if err = v.forMembers(&p); err != nil {
			return err
		}
	}
	logins, err := v.client.Logins(v.ctx())
	if err != nil {
		return err
	}
	p.Logins, p.Others = logins.Logins, len(logins.Logins) > 1
	if p.Root, err = v.root(); err != nil {
		return err
	}
	return v.show(status, "instance.html", "Instance", p)
}

func (v *visit) forOwners(p *instance) (err error) {
	if p.Server, err = v.client.Server(v.ctx()); err != nil {
		return err
	}
	users, err := v.client.Users(v.ctx())
	if err != nil {
		return err
	}
	p.Users = users.Users
	vaults, err := v.client.Vaults(v.ctx())
	if err != nil {
		return err
	}
	p.Vaults = vaults.Vaults
	invites, err := v.client.UserInvites(v.ctx())
	p.UserInvites = slices.DeleteFunc(invites.Invites, isOver)
	return err
}

func isOver(i api.InviteInfo) bool { return i.Status != "pending" }

func (v *visit) forMembers(p *instance) error {
	agents, err := v.client.Agents(v.ctx())
	if err != nil {
		return err
	}
	invites, err := v.client.AgentInvites(v.ctx())
	if err != nil {
		return err
	}
	admin := make(map[string]bool) // whether the person is one in a vault, as far as it was asked
	for _, a := range agents.Agents {
		all, some, err := v.adminOf(a.Vaults, admin)
		if err != nil {
			return err
		}
		p.Agents = append(p.Agents, agentRow{a, all, some && a.Status == "active"})
	}
	for _, i := range slices.DeleteFunc(invites.Invites, isOver) {
		all, _, err := v.adminOf(i.Vaults, admin)
		if err != nil {
			return err
		}
		p.AgentInvites = append(p.AgentInvites, inviteRow{i, all})
	}
	return nil
}

// adminOf reports whether the person is an admin of all the vaults, or of any.
// Of vaults that they do not see nothing is known here.
func (v *visit) adminOf(vaults []api.AgentVault, known map[string]bool) (all, some bool, err error) {
	if v.me.Role == roleOwner {
		return true, true, nil
	}
	all = len(vaults) > 0
	for _, x := range vaults {
		is, asked := known[x.VaultName]
		if !asked {
			members, err := v.client.Members(v.ctx(), x.VaultName)
			if err != nil && !isCode(err, api.CodeForbidden, api.CodeVaultForbidden) {
				return false, false, err
			}
			is = slices.Contains(members.Members, api.MemberInfo{Email: v.me.Email, Role: vaultAdmin})
			known[x.VaultName] = is
		}
		all, some = all && is, some || is
	}
	return all, some, nil
}
