package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"agentvault/api"
)

// valueField begins the names of the fields that hold values of credentials.
// What stands in them is never written into a page of these.
const valueField = "value."

func cutValue(field string) (key string, ok bool) { return strings.CutPrefix(field, valueField) }

// A credentialView is what the page of a credential shows.
type credentialView struct {
	standing
	tried
	Vault, Key string
	Info       *api.CredentialInfo // nil: it has no value
	Versions   []api.VersionInfo   // those that were replaced
	UsedBy     []string            // services
}

func credentialPage(v *visit) error { return v.showCredential(nil) }

func (v *visit) showCredential(refused *api.ClientError) error {
	vaultName, key := v.r.PathValue("vault"), v.r.PathValue("key")
	all, err := v.client.Credentials(v.ctx(), vaultName)
	if err != nil {
		return err
	}
	p := credentialView{tried: v.tried(refused), Vault: vaultName, Key: key}
	if p.standing, err = v.standing(vaultName); err != nil {
		return err
	}
	states, err := v.client.ServiceStates(v.ctx(), vaultName)
	if err != nil {
		return err
	}
	for _, s := range states.Services {
		if slices.Contains(s.Keys, key) {
			p.UsedBy = append(p.UsedBy, s.Name)
		}
	}
	if at := slices.IndexFunc(all.Credentials, func(c api.CredentialInfo) bool { return c.Key == key }); at >= 0 {
		p.Info = &all.Credentials[at]
		kept, err := v.client.CredentialVersions(v.ctx(), vaultName, key)
		if err != nil {
			return err
		}
		p.Versions = kept.Versions
	} else if p.UsedBy == nil {
		return refusal{http.StatusNotFound, "The vault has no such credential, and no service that needs one."}
	}
	status := http.StatusOK
	if refused != nil {
		status = refused.Status
	}
	return v.show(status, "credential.html", key, p)
}

// setValue stores the one value of a form under a key.
func (v *visit) setValue(vaultName, key string) error {
	_, err := v.client.SetCredentials(v.ctx(), api.SetCredentialsRequest{
		Vault: vaultName, Credentials: map[string]string{key: v.form.Get(valueField)}, AllowShort: v.form.Has("allow_short"),
	})
	return err
}

// changeCredential carries out a form of the credential's page.
func changeCredential(v *visit) error {
	vaultName, key := v.r.PathValue("vault"), v.r.PathValue("key")
	to := vaultPath(vaultName, "credentials", key)
	var err error
	switch v.form.Get("do") {
	case "set":
		err, to = v.setValue(vaultName, key), vaultPath(vaultName)
	case "rollback":
		var version int64
		if version, err = strconv.ParseInt(v.form.Get("version"), 10, 64); err != nil {
			return errUnknownButton
		}
		_, err = v.client.RollBackCredential(v.ctx(), key, api.RollBackRequest{Vault: vaultName, Version: version})
	case "delete":
		err, to = v.client.DeleteCredential(v.ctx(), vaultName, key), vaultPath(vaultName)
	default:
		err = errUnknownButton
	}
	return v.carriedOut(err, to, v.showCredential)
}
