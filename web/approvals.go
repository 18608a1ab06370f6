package web

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"agentvault/api"
	"agentvault/api/shown"
)

// listedApprovals is how many of a vault's held requests its page shows.
const listedApprovals = 50

// approvalsPage lists the requests of a vault that wait, or waited, for a person.
// Asked again with the tag of what it shows, it answers only what is new.
func approvalsPage(v *visit) error {
	name := v.r.PathValue("vault")
	l, err := v.client.Approvals(v.ctx(), name, false, v.r.URL.Query().Get("cursor"), listedApprovals)
	if err != nil {
		return err
	}
	if l.Tag == v.r.URL.Query().Get("seen") {
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	page := struct {
		Vault, Tag, Older string
		Waiting, Earlier  []api.ApprovalInfo
	}{Vault: name, Tag: l.Tag}
	for _, a := range l.Approvals {
		if a.Status == "pending" {
			page.Waiting = append(page.Waiting, a)
		} else {
			page.Earlier = append(page.Earlier, a)
		}
	}
	if l.NextCursor != "" {
		page.Older = vaultPath(name, "approvals") + "?cursor=" + l.NextCursor
	}
	return v.show(http.StatusOK, "approvals.html", "Approvals", page)
}

// A heldView is the page of one request.
type heldView struct {
	api.ApprovalReview
	Header string // in lines
	Body   string // in lines, or hex
	Left   int    // bytes of it that are not shown
	Asks   bool   // it waits: the form is there

	DecidedNote   string
	Note, Problem string // of a form that was not taken
}

func approvalPage(v *visit) error { return v.showApproval(nil) }

// showApproval shows a request, with why the form that was sent was not taken.
func (v *visit) showApproval(refused *api.ClientError) error {
	rv, err := v.client.Approval(v.ctx(), v.r.PathValue("vault"), v.number())
	if err != nil {
		return err
	}
	h := heldView{ApprovalReview: rv, Asks: rv.Status == "pending", DecidedNote: rv.Note}
	var header strings.Builder
	for _, f := range rv.Header {
		value := f.Value
		if f.Hidden > 0 {
			value = fmt.Sprintf("(%d bytes of the agent's own, not shown)", f.Hidden)
		}
		fmt.Fprintf(&header, "%s: %s\n", shown.Plain(f.Name), shown.Plain(value))
	}
	lines, left := shown.Body(rv.Body, rv.BodyBase64)
	h.Header, h.Body, h.Left = header.String(), strings.Join(lines, "\n"), left
	status := http.StatusOK
	if refused != nil {
		status = refused.Status
		h.Note, h.Problem = v.form.Get("note"), sentence(refused.Message)
	}
	return v.show(status, "approval.html", "Request "+strconv.FormatInt(rv.ID, 10), h)
}

// decideApproval carries out what the person says about the request that they
// were shown.
func decideApproval(v *visit) error {
	name, number := v.r.PathValue("vault"), v.number()
	d := api.ApprovalDecision{Digest: v.form.Get("digest"), Note: v.form.Get("note")}
	var err error
	switch v.form.Get("decision") {
	case "allow":
		_, err = v.client.AllowRequest(v.ctx(), name, number, d)
	case "deny":
		_, err = v.client.DenyRequest(v.ctx(), name, number, d)
	default:
		return refusal{http.StatusBadRequest, "Say whether to allow or to deny it."}
	}
	return v.carriedOut(err, vaultPath(name, "approvals"), v.showApproval)
}

// waitingApprovals are the requests that wait for the person in a vault or, without
// one, in all of theirs: none for who may not decide.
func (v *visit) waitingApprovals(vaultName string) ([]api.ApprovalInfo, error) {
	l, err := v.client.Approvals(v.ctx(), vaultName, true, "", 100)
	var refused *api.ClientError
	if errors.As(err, &refused) && refused.Status == http.StatusForbidden {
		return nil, nil
	}
	return l.Approvals, err
}
