package web

import (
	"net/http"

	"agentvault/api"
)

// homePage lists the vaults that a person sees, and what waits for them.
func homePage(v *visit) error {
	pending, err := v.client.Proposals(v.ctx(), "", "pending", "", 0)
	if err != nil {
		return err
	}
	vaults, err := v.client.Vaults(v.ctx())
	if err != nil {
		return err
	}
	return v.show(http.StatusOK, "home.html", "Vaults", struct {
		Pending []api.ProposalInfo
		Vaults  []api.VaultInfo
	}{pending.Proposals, vaults.Vaults})
}
