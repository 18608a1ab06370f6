package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"agentvault/api"
)

// vaultPath is a page of a vault.
func vaultPath(name string, more ...string) string {
	path := home + "/" + url.PathEscape(name)
	for _, segment := range more {
		path += "/" + url.PathEscape(segment)
	}
	return path
}

// A standing is what a person's role in a vault allows, so that they are offered
// nothing else. The API decides for itself.
type standing struct {
	Member, Admin bool
	Members       []api.MemberInfo
}

func (v *visit) standing(vaultName string) (standing, error) {
	l, err := v.client.Members(v.ctx(), vaultName) // which takes a member
	if isCode(err, api.CodeForbidden) {
		return standing{}, nil
	}
	if err != nil {
		return standing{}, err
	}
	admin := v.me.Role == "owner" || slices.ContainsFunc(l.Members, func(m api.MemberInfo) bool { return m.Email == v.me.Email && m.Role == "admin" })
	return standing{true, admin, l.Members}, nil
}

// ofForm tells a refusal of what a form says, which is shown with the form, from
// every other error, such as that of a person who would not be shown the form.
func ofForm(err error) (*api.ClientError, error) {
	var refused *api.ClientError
	if !errors.As(err, &refused) || refused.Status/100 == 5 ||
		isCode(err, api.CodeUnauthorized, api.CodeLoginTooOld, api.CodeForbidden, api.CodeVaultForbidden) {
		return nil, err
	}
	return refused, nil
}

// carriedOut ends a form: it goes on, or shows the page once more with why the
// form was not taken.
func (v *visit) carriedOut(err error, to string, again func(*api.ClientError) error) error {
	if err == nil {
		return v.goTo(to)
	}
	refused, err := ofForm(err)
	if err != nil {
		return err
	}
	return again(refused)
}

// A tried is a form that was not taken. The zero tried is none.
type tried struct {
	At      string     // the form's "do"
	Form    url.Values // what was typed; values of credentials are not shown again
	Problem string
	Short   bool // a value that is too short may be allowed
}

func (v *visit) tried(refused *api.ClientError) tried {
	if refused == nil {
		return tried{}
	}
	t := tried{At: v.form.Get("do"), Form: v.form, Problem: sentence(refused.Message)}
	for _, value := range v.typedValues() {
		t.Short = t.Short || len(value) < leastValue
	}
	return t
}

// typedValues are the values that a form gives, by key.
func (v *visit) typedValues() map[string]string {
	values := make(map[string]string)
	for name := range v.form {
		if key, ok := cutValue(name); ok && v.form.Get(name) != "" {
			values[key] = v.form.Get(name)
		}
	}
	return values
}

// A vaultView is what the page of a vault shows.
type vaultView struct {
	standing
	tried
	Vault       string
	Unmatched   string
	Services    []serviceLine
	Credentials []credentialLine
	Agents      []agentLine
	Sessions    []api.SessionInfo
	Pending     []api.ProposalInfo
	Held        []api.ApprovalInfo
}

type serviceLine struct {
	api.ServiceState
	Host, Scheme, Auth string
}

type credentialLine struct {
	api.CredentialInfo
	UsedBy []string // services
}

type agentLine struct {
	api.AgentInfo
	Here api.AgentVault // what it may do in this vault
}

func vaultPage(v *visit) error { return v.showVault(nil) }

// showVault shows the vault that the path names. refused is why a form of the
// page was not taken.
func (v *visit) showVault(refused *api.ClientError) error {
	name := v.r.PathValue("vault")
	info, err := v.client.Vault(v.ctx(), name)
	if err != nil {
		return err
	}
	p := vaultView{tried: v.tried(refused), Vault: info.Name, Unmatched: info.UnmatchedHosts}
	if p.standing, err = v.standing(name); err != nil {
		return err
	}
	if err := v.listServices(&p, info); err != nil {
		return err
	}
	if err := v.listAgents(&p); err != nil {
		return err
	}
	sessions, err := v.client.Sessions(v.ctx(), name)
	if err != nil {
		return err
	}
	pending, err := v.client.Proposals(v.ctx(), name, "pending", "", 0)
	if err != nil {
		return err
	}
	if p.Held, err = v.waitingApprovals(name); err != nil {
		return err
	}
	p.Sessions, p.Pending = sessions.Sessions, pending.Proposals
	status := http.StatusOK
	if refused != nil {
		status = refused.Status
	}
	return v.show(status, "vault.html", info.Name, p)
}

// listServices fills in the services and the credentials.
func (v *visit) listServices(p *vaultView, info api.VaultInfo) error {
	states, err := v.states(info.Name)
	if err != nil {
		return err
	}
	usedBy := make(map[string][]string)
	for _, s := range info.Services {
		p.Services = append(p.Services, serviceLine{states[s.Name], s.Host, s.Scheme, s.Auth.Type()})
		for _, key := range states[s.Name].Keys {
			usedBy[key] = append(usedBy[key], s.Name)
		}
	}
	credentials, err := v.client.Credentials(v.ctx(), info.Name)
	for _, c := range credentials.Credentials {
		p.Credentials = append(p.Credentials, credentialLine{c, usedBy[c.Key]})
	}
	return err
}

// states are those of a vault's services, by name.
func (v *visit) states(vaultName string) (map[string]api.ServiceState, error) {
	l, err := v.client.ServiceStates(v.ctx(), vaultName)
	states := make(map[string]api.ServiceState, len(l.Services))
	for _, s := range l.Services {
		states[s.Name] = s
	}
	return states, err
}

// listAgents fills in the agents that may use the vault.
func (v *visit) listAgents(p *vaultView) error {
	l, err := v.client.Agents(v.ctx())
	for _, a := range l.Agents {
		for _, here := range a.Vaults {
			if here.VaultName == p.Vault {
				p.Agents = append(p.Agents, agentLine{a, here})
			}
		}
	}
	return err
}

// changeVault carries out a form of the vault's page.
func changeVault(v *visit) error {
	to, err := v.carryOut(v.r.PathValue("vault"))
	return v.carriedOut(err, to, v.showVault)
}

// carryOut does what a form of the vault's page says, and returns where to go on.
func (v *visit) carryOut(name string) (to string, err error) {
	ctx, c := v.ctx(), v.client
	get := v.form.Get
	to = vaultPath(name)
	switch get("do") {
	case "rename":
		next := get("name")
		_, err = c.ChangeVault(ctx, name, api.VaultChange{Name: &next})
		to = vaultPath(next)
	case "unmatched":
		hosts := get("unmatched_hosts")
		_, err = c.ChangeVault(ctx, name, api.VaultChange{UnmatchedHosts: &hosts})
	case "delete":
		to = home
		if err = v.repeated(name); err == nil {
			err = c.DeleteVault(ctx, name)
		}
	case "member":
		_, err = c.SetMember(ctx, name, get("email"), get("role"))
	case "member-remove":
		err = c.RemoveMember(ctx, name, get("email"))
	case "session-revoke":
		err = c.RevokeSession(ctx, get("id"))
	case "agent-revoke":
		err = c.RevokeAgent(ctx, get("agent"))
	case "agent-withdraw":
		_, err = c.RevokeVault(ctx, get("agent"), name)
	case "credential":
		err = v.setValue(name, get("key"))
	default:
		err = errUnknownButton
	}
	return to, err
}

var errUnknownButton error = refusal{http.StatusBadRequest, "This is no button of the page."}

// repeated refuses a form in which the name of what it removes is not typed
// again.
func (v *visit) repeated(name string) error {
	if v.form.Get("sure") == name {
		return nil
	}
	return &api.ClientError{Status: http.StatusBadRequest, Message: "type the name " + name + " to remove it"}
}

// newVault makes a vault, and goes on with its first steps.
func newVault(v *visit) error {
	made, err := v.client.CreateVault(v.ctx(), v.form.Get("name"))
	return v.carriedOut(err, vaultPath(made.Name, "start"), v.showHome)
}
