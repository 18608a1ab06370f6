package web

import (
	"net/http"
	"strconv"
	"strings"

	"agentvault/api"
)

// A serviceView is what the page of a service shows.
type serviceView struct {
	standing
	tried
	Vault string
	State api.ServiceState
	Host  string
	Rows  []row

	Limits []api.LimitInfo // its own and those of its rules, with what is used up
}

func servicePage(v *visit) error { return v.showService(nil) }

func (v *visit) showService(refused *api.ClientError) error {
	vaultName, name := v.r.PathValue("vault"), v.r.PathValue("service")
	s, err := v.client.Service(v.ctx(), vaultName, name)
	if err != nil {
		return err
	}
	p := serviceView{tried: v.tried(refused), Vault: vaultName, Host: s.Host}
	if p.standing, err = v.standing(vaultName); err != nil {
		return err
	}
	states, err := v.states(vaultName)
	if err != nil {
		return err
	}
	p.State = states[s.Name]
	declared, err := fields(s)
	if err != nil {
		return err
	}
	if p.Rows, err = rows(nil, declared); err != nil {
		return err
	}
	limits, err := v.client.ServiceLimits(v.ctx(), vaultName, name)
	if err != nil {
		return err
	}
	p.Limits = limits.Limits
	for i := range p.Rows {
		if strings.HasPrefix(p.Rows[i].Label, "Description") {
			p.Rows[i].Label = "Description, in the words of who added it or asked for it"
		}
	}
	status := http.StatusOK
	if refused != nil {
		status = refused.Status
	}
	return v.show(status, "service.html", s.Name, p)
}

// changeService carries out a form of the service's page.
func changeService(v *visit) error {
	vaultName, name := v.r.PathValue("vault"), v.r.PathValue("service")
	to := vaultPath(vaultName, "services", name)
	var err error
	switch do := v.form.Get("do"); do {
	case "enable", "disable":
		_, err = v.client.EnableService(v.ctx(), vaultName, name, do == "enable")
	case "lasts-3600", "lasts-86400", "lasts-0":
		seconds, _ := strconv.ParseInt(strings.TrimPrefix(do, "lasts-"), 10, 64) // it is one of these
		_, err = v.client.ChangeService(v.ctx(), vaultName, name, api.ServicePatch{LastsSeconds: &seconds})
	case "remove":
		err, to = v.client.RemoveService(v.ctx(), vaultName, name), vaultPath(vaultName)
	default:
		err = errUnknownButton
	}
	return v.carriedOut(err, to, v.showService)
}
