package web

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"agentvault/api"
)

// catalogPage lists the catalog, or what of it a search finds.
func catalogPage(v *visit) error {
	vaultName, search := v.r.PathValue("vault"), v.r.URL.Query().Get("search")
	info, err := v.client.Vault(v.ctx(), vaultName)
	if err != nil {
		return err
	}
	l, err := v.client.Catalog(v.ctx(), search)
	if err != nil {
		return err
	}
	type line struct {
		api.CatalogSummary
		There bool // the vault has a service of that name
	}
	p := struct {
		standing
		Vault, Search string
		Entries       []line
	}{Vault: info.Name, Search: search}
	if p.standing, err = v.standing(vaultName); err != nil {
		return err
	}
	names := make(map[string]bool)
	for _, s := range info.Services {
		names[s.Name] = true
	}
	for _, e := range l.Entries {
		p.Entries = append(p.Entries, line{e, names[e.Name]})
	}
	return v.show(http.StatusOK, "catalog.html", "Add a service", p)
}

// An addition is the form by which services are added.
type addition struct {
	standing
	tried
	Vault, Action     string
	Opened, Warnings  []string
	Sure              string // what the form says when the person means it in spite of Warnings
	Values            []neededValue
	Title, About      string // of the catalog's entry
	Docs              string
	Hosts             []addedHost
	Tenant, TenantFor string // an example, and what it is; "": the entry asks for none
}

type addedHost struct{ Name, Host, Auth string }

// A neededValue is a field of the form.
type neededValue struct {
	Key, Description, Obtain, Instructions string
	There                                  bool // the vault has a value
}

func (v *visit) newAddition() (a addition, err error) {
	a.Vault, a.Action = v.r.PathValue("vault"), v.r.URL.EscapedPath()
	a.standing, err = v.standing(a.Vault)
	return a, err
}

// reviewEntry is review for the catalog's own hosts, of which there is nothing
// to warn but that a value which is there would go to another one.
func (v *visit) reviewEntry(a *addition, l api.ServiceList) error {
	err := v.review(a, l)
	if !slices.ContainsFunc(a.Values, func(n neededValue) bool { return n.There }) {
		a.Warnings, a.Sure = nil, ""
	}
	return err
}

// review works out what the services would do.
func (v *visit) review(a *addition, l api.ServiceList) error {
	rv, err := v.client.ReviewServices(v.ctx(), a.Vault, l)
	a.Opened, a.Warnings, a.Sure = rv.Opened, rv.Warnings, sureOf(rv.Warnings)
	return err
}

// sureOf binds a person's word to the warnings that they were shown; "" when
// there are none.
func sureOf(warnings []string) string {
	if len(warnings) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(warnings, "\n")))
	return hex.EncodeToString(sum[:])
}

// confirmed refuses what has warnings that the person has not said to mean.
func (v *visit) confirmed(a *addition) error {
	if a.Sure == "" || a.Sure == v.form.Get("sure") {
		return nil
	}
	return &api.ClientError{Status: http.StatusConflict, Message: "look at what is said below, and say that you mean it; values have to be typed again"}
}

// added goes on, or shows the form once more with what was wrong.
func (v *visit) added(a addition, page string, err error) error {
	if err == nil {
		return v.goOn(a.Vault)
	}
	refused, err := ofForm(err)
	if err != nil {
		return err
	}
	a.tried = v.tried(refused)
	return v.show(refused.Status, page, cmp.Or(a.Title, "Add a service"), a)
}

// goOn leads to the vault, or to its first steps while nothing has used it yet.
func (v *visit) goOn(vaultName string) error {
	l, err := v.client.ServiceStates(v.ctx(), vaultName)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(l.Services, func(s api.ServiceState) bool { return s.LastUsedAt != nil }) {
		return v.goTo(vaultPath(vaultName))
	}
	return v.goTo(vaultPath(vaultName, "start"))
}

// entryPage is the form by which an entry of the catalog is added. What hinders,
// such as a name that is taken, stands there before anything is typed.
func entryPage(v *visit) error {
	a, l, err := v.entry("")
	if err == nil && l.Services != nil {
		err = v.reviewEntry(&a, l)
	}
	refused, err := ofForm(err)
	switch {
	case refused != nil && a.Title == "":
		return refused
	case refused != nil:
		a.Problem = sentence(refused.Message)
	case err != nil:
		return err
	}
	return v.show(http.StatusOK, "entry.html", a.Title, a)
}

// entry is the form for the entry that the path names, and its services for a
// tenant, which may be "" while there is none yet.
func (v *visit) entry(tenant string) (a addition, l api.ServiceList, err error) {
	e, err := v.client.CatalogEntry(v.ctx(), v.r.PathValue("entry"))
	if err != nil {
		return a, l, err
	}
	if a, err = v.newAddition(); err != nil {
		return a, l, err
	}
	there, err := v.client.Credentials(v.ctx(), a.Vault)
	if err != nil {
		return a, l, err
	}
	a.Title, a.About, a.Docs, a.Tenant, a.TenantFor = e.Title, e.Description, e.Docs, e.Tenant.Example, e.Tenant.Label
	for _, s := range e.Services {
		name := e.Name
		if s.Suffix != "" {
			name += "-" + s.Suffix
		}
		a.Hosts = append(a.Hosts, addedHost{name, s.Host, s.Auth.Type()})
	}
	for _, c := range e.Credentials {
		has := slices.ContainsFunc(there.Credentials, func(x api.CredentialInfo) bool { return x.Key == c.Key })
		a.Values = append(a.Values, neededValue{c.Key, c.Description, c.Obtain, c.ObtainInstructions, has})
	}
	if a.Tenant != "" && tenant == "" {
		return a, l, nil
	}
	if l.Services, err = e.Instantiate(tenant); err != nil {
		err = &api.ClientError{Status: http.StatusBadRequest, Message: err.Error()}
	}
	return a, l, err
}

// addEntry adds the entry with the values that were typed.
func addEntry(v *visit) error {
	tenant := v.form.Get("tenant")
	a, l, err := v.entry(tenant)
	if a.Title == "" { // there is no such entry, or no such vault
		return err
	}
	if err == nil && l.Services == nil {
		err = &api.ClientError{Status: http.StatusBadRequest, Message: "it needs " + a.TenantFor + ", as in " + a.Tenant}
	}
	if err == nil {
		err = v.reviewEntry(&a, l)
	}
	if err == nil {
		err = v.confirmed(&a)
	}
	if err == nil {
		_, err = v.client.AddFromCatalog(v.ctx(), a.Vault, api.CatalogRequest{
			Entry: v.r.PathValue("entry"), Tenant: tenant, Credentials: v.typedValues(), AllowShort: v.form.Has("allow_short"),
		})
	}
	return v.added(a, "entry.html", err)
}
