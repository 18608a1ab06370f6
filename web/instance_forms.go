package web

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"agentvault/api"
)

// A once is what is shown this one time.
type once struct {
	Label, Value string
	Words        string // what to do with it, or what was done
}

// did goes back to the page of the instance after a form that was taken, and
// shows it with what was wrong with one that was not.
func (v *visit) did(err error) error {
	var refused *api.ClientError
	switch {
	case err == nil:
		return v.goTo(instancePath)
	case isCode(err, api.CodeUnauthorized, api.CodeLoginTooOld), !errors.As(err, &refused), refused.Status/100 == 5:
		return err
	}
	return v.showInstance(refused.Status, "Nothing was changed. "+sentence(refused.Message))
}

func inviteUser(v *visit) error {
	r := api.UserInviteRequest{Email: v.form.Get("email"), Role: v.form.Get("role")}
	for _, field := range slices.Sorted(maps.Keys(v.form)) {
		if name, ok := strings.CutPrefix(field, "vault."); ok && v.form.Get(field) != "" {
			r.Vaults = append(r.Vaults, api.VaultRole{VaultName: name, VaultRole: v.form.Get(field)})
		}
	}
	i, err := v.client.InviteUser(v.ctx(), r)
	if err != nil {
		return v.did(err)
	}
	return v.show(http.StatusOK, "once.html", "Invite of "+i.Email, once{
		Label: "Link of the invite", Value: i.InviteLink,
		Words: "Whoever opens it first becomes this user. It is not shown again; give it to them by a way that only they read.",
	})
}

func revokeUserInvite(v *visit) error {
	return v.did(v.client.RevokeUserInvite(v.ctx(), v.form.Get("id")))
}

func setUserRole(v *visit) error {
	_, err := v.client.SetUserRole(v.ctx(), v.form.Get("email"), v.form.Get("role"))
	return v.did(err)
}

func removeUser(v *visit) error { return v.did(v.client.RemoveUser(v.ctx(), v.form.Get("email"))) }

func rotateAgent(v *visit) error {
	a, err := v.client.RotateAgent(v.ctx(), v.form.Get("name"))
	if err != nil {
		return v.did(err)
	}
	return v.show(http.StatusOK, "once.html", "Token of "+a.AgentName, once{
		Label: "New token", Value: a.Token, Words: "The old one no longer works. This one is not shown again; give it to the agent as AGENT_VAULT_SESSION_TOKEN.",
	})
}

func revokeAgent(v *visit) error { return v.did(v.client.RevokeAgent(v.ctx(), v.form.Get("name"))) }

func revokeAgentInvite(v *visit) error {
	return v.did(v.client.RevokeAgentInvite(v.ctx(), v.form.Get("id")))
}

func endLogin(v *visit) error { return v.did(v.client.RevokeLogin(v.ctx(), v.form.Get("id"))) }

// endOtherLogins ends all sign-ins but this one. Those that end meanwhile by
// themselves are no error.
func endOtherLogins(v *visit) error {
	logins, err := v.client.Logins(v.ctx())
	if err != nil {
		return err
	}
	for _, l := range logins.Logins {
		if l.Current {
			continue
		}
		var refused *api.ClientError
		if err := v.client.RevokeLogin(v.ctx(), l.ID); err != nil && (!errors.As(err, &refused) || refused.Status != http.StatusNotFound) {
			return err
		}
	}
	return v.goTo(instancePath)
}

func changePassword(v *visit) error {
	err := v.client.ChangePassword(v.ctx(), api.ChangePasswordRequest{OldPassword: v.form.Get("old"), NewPassword: v.form.Get("new")})
	if err != nil {
		return v.did(err)
	}
	return v.show(http.StatusOK, "once.html", "Your password is changed", once{Words: "Your other sign-ins have ended."})
}
