package web

import (
	"net/http"

	"agentvault/api"
)

// homePage lists the vaults that a person sees, and what waits for them.
func homePage(v *visit) error { return v.showHome(nil) }

func (v *visit) showHome(refused *api.ClientError) error {
	pending, err := v.client.Proposals(v.ctx(), "", "pending", "", 0)
	if err != nil {
		return err
	}
	vaults, err := v.client.Vaults(v.ctx())
	if err != nil {
		return err
	}
	held, err := v.waitingApprovals("")
	if err != nil {
		return err
	}
	status := http.StatusOK
	if refused != nil {
		status = refused.Status
	}
	return v.show(status, "home.html", "Vaults", struct {
		tried
		Pending []api.ProposalInfo
		Held    []api.ApprovalInfo
		Vaults  []api.VaultInfo
	}{v.tried(refused), pending.Proposals, held, vaults.Vaults})
}
