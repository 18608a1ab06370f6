package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentvault/api"
)

// An approval is the page of one proposal.
type approval struct {
	api.ProposalInfo
	Vault            string
	Changes          []change
	Values           []value
	Opened, Warnings []string

	Decides bool    // the person may: the form is there
	SignIn  *signIn // the form for who is not signed in
	Notice  string  // why there is neither

	// What the form is filled with.
	Digest  string
	Action  string
	Note    string
	Problem string
	Short   bool     // values that are too short may be allowed
	Lasts   []choice // for how long the services that are set may be had; none are set: none
}

// A choice is one of several, of which one is chosen.
type choice struct {
	Value, Words string
	Chosen       bool
}

// lasting are the choices of how long services last, in seconds. What has an end
// keeps it unless another is chosen.
func lasting(rv api.ProposalReview, chosen string, now time.Time) (list []choice) {
	sets, ends := false, false
	for _, c := range rv.Changes {
		sets = sets || c.After != nil
		ends = ends || c.After != nil && c.After.ExpiresAt.After(now)
	}
	if !sets {
		return nil
	}
	if ends {
		list = append(list, choice{Value: asShown, Words: "Until the end that is shown above"})
	}
	list = append(list, choice{Value: "0", Words: "For good"}, choice{Value: "3600", Words: "For 1 hour"}, choice{Value: "86400", Words: "For 24 hours"})
	at := max(0, slices.IndexFunc(list, func(c choice) bool { return c.Value == chosen }))
	list[at].Chosen = true
	return list
}

// asShown is the choice that leaves ends as they are.
const asShown = "shown"

// approvePath is where a person finds a proposal, without the link's token.
func approvePath(vaultName string, number int64) string {
	return "/approve/" + strconv.FormatInt(number, 10) + "?" + url.Values{"vault": {vaultName}}.Encode()
}

// number is the proposal's; 0 is nobody's.
func (v *visit) number() int64 {
	n, err := strconv.ParseInt(v.r.PathValue("id"), 10, 64)
	if err != nil || n < 1 {
		return 0
	}
	return n
}

// approvePage shows a proposal: to whoever has its link what is asked for, and
// to who is signed in, what it would change.
func approvePage(v *visit) error {
	token, vaultName := v.r.URL.Query().Get("token"), v.r.URL.Query().Get("vault")
	var linked *api.LinkedProposal
	if token != "" {
		l, err := v.client.LinkedProposal(v.ctx(), v.number(), token)
		switch {
		case err == nil:
			linked, vaultName = &l, l.Vault
		case !isCode(err, api.CodeProposalNotFound):
			return err
		}
	}
	if v.me == nil {
		if linked == nil {
			return &api.ClientError{Status: http.StatusUnauthorized, Code: api.CodeUnauthorized}
		}
		form := v.signInForm()
		return v.showLinked(*linked, approval{SignIn: &form})
	}
	if vaultName == "" {
		var err error
		if vaultName, err = v.vaultOfPending(v.number()); err != nil {
			return err
		}
	}
	err := v.showReview(vaultName, v.number(), nil)
	if linked != nil && isCode(err, api.CodeForbidden, api.CodeVaultForbidden) {
		return v.showLinked(*linked, approval{Notice: "You have no role in this vault with which you could decide."})
	}
	return err
}

// vaultOfPending finds the vault of a proposal whose link is too old to name it.
func (v *visit) vaultOfPending(number int64) (string, error) {
	pending, err := v.client.Proposals(v.ctx(), "", "pending", "", 0)
	if err != nil {
		return "", err
	}
	found := ""
	for _, p := range pending.Proposals {
		switch {
		case p.ID != number:
		case found != "":
			return "", refusal{http.StatusNotFound, "This link is older than a day, and several vaults have a proposal of that number. Look at what waits for you."}
		default:
			found = p.Vault
		}
	}
	if found == "" {
		return "", refusal{http.StatusNotFound, "Nothing of that number waits for you, and the link is not one, or older than a day."}
	}
	return found, nil
}

// showLinked shows what is asked for, and nothing of the vault.
func (v *visit) showLinked(l api.LinkedProposal, a approval) (err error) {
	a.ProposalInfo, a.Vault, a.Values = l.ProposalInfo, l.Vault, askedValues(l.ProposalInfo)
	if a.Changes, err = asked(l.ProposalInfo); err != nil {
		return err
	}
	return v.show(http.StatusOK, "approve.html", "Proposal "+strconv.FormatInt(a.ID, 10), a)
}

// showReview shows a proposal with what it would change and, while it is
// pending, the form. refused is why the form that was sent was not taken.
func (v *visit) showReview(vaultName string, number int64, refused *api.ClientError) error {
	rv, err := v.client.ReviewProposal(v.ctx(), vaultName, number)
	if err != nil {
		return err
	}
	a := approval{
		ProposalInfo: rv.ProposalInfo, Vault: rv.Vault, Digest: rv.Digest, Opened: rv.Opened, Warnings: rv.Warnings,
		Values: values(rv), Decides: rv.Status == "pending", Action: approvePath(rv.Vault, rv.ID), Lasts: lasting(rv, v.form.Get("lasts"), v.Now()),
	}
	if a.Changes, err = reviewed(rv); err != nil {
		return err
	}
	if !a.Decides { // a review of what is decided says nothing of the vault
		a.Values = askedValues(rv.ProposalInfo)
		if a.Changes, err = asked(rv.ProposalInfo); err != nil {
			return err
		}
	}
	status := http.StatusOK
	if refused != nil {
		status = refused.Status
		v.fillIn(&a, refused)
	}
	return v.show(status, "approve.html", "Proposal "+strconv.FormatInt(a.ID, 10), a)
}

// fillIn keeps what was typed, and says what was wrong with it.
func (v *visit) fillIn(a *approval, refused *api.ClientError) {
	a.Note = v.form.Get("note")
	if refused.Code == api.CodeProposalClosed {
		a.Notice = "Your decision was not taken: it had been decided already, as stands above."
		return
	}
	changed := refused.Code == api.CodeProposalChanged
	if a.Problem = sentence(refused.Message); changed {
		a.Problem = "It has changed since it was shown. This is what it is now."
	}
	for i := range a.Values {
		c := &a.Values[i]
		typed := v.form.Get("value." + c.Key)
		if changed && c.Needed && keepable(typed) { // else it may have been what is wrong
			c.Typed = typed
		}
		if strings.HasPrefix(refused.Message, "credential "+c.Key+":") {
			c.Problem = a.Problem
			a.Short = typed != "" && len(typed) < leastValue
		}
	}
}

// leastValue is from how many bytes on answers are searched for a value.
const leastValue = 8

// decide carries out what the person says about what they were shown.
func decide(v *visit) error {
	number, vaultName := v.number(), v.r.URL.Query().Get("vault")
	var err error
	switch v.form.Get("decision") {
	case "allow":
		r := api.ApproveRequest{
			Digest: v.form.Get("digest"), Note: v.form.Get("note"), AllowShort: v.form.Has("allow_short"), Credentials: make(map[string]string),
		}
		if lasts := v.form.Get("lasts"); lasts != "" && lasts != asShown {
			seconds, err := strconv.ParseInt(lasts, 10, 64)
			if err != nil {
				return refusal{http.StatusBadRequest, "Say for how long it may be had."}
			}
			r.LastsSeconds = &seconds
		}
		for name, typed := range v.form {
			if key, ok := strings.CutPrefix(name, "value."); ok && typed[0] != "" {
				r.Credentials[key] = typed[0]
			}
		}
		_, err = v.client.ApproveProposal(v.ctx(), vaultName, number, r)
	case "deny":
		_, err = v.client.RejectProposal(v.ctx(), vaultName, number, v.form.Get("note"))
	default:
		return refusal{http.StatusBadRequest, "Say whether to allow or to deny it."}
	}
	var refused *api.ClientError
	switch {
	case err == nil:
		return v.goTo(approvePath(vaultName, number)) // which says what became of it
	case isCode(err, api.CodeUnauthorized, api.CodeLoginTooOld), !errors.As(err, &refused), refused.Status/100 == 5:
		return err
	}
	return v.showReview(vaultName, number, refused)
}
