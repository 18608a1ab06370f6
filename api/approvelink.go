package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"agentvault/policy/inject"
	"agentvault/vault"
)

type linkIn struct {
	Number int64  `path:"id"`
	Token  string `query:"token,required" doc:"Of the link."`
}

// approveLink is what a person sees who opens the link of a proposal. It shows
// what is asked for, and decides nothing. The agent has the link, too: what the
// vault holds, and who decided, is for those who sign in.
func (s *server) approveLink(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		number = 0 // nobody's
	}
	rv, err := s.Registry.ProposalByLink(r.Context(), number, r.URL.Query().Get("token"))
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		info := proposalInfo(rv.Proposal)
		info.ReviewedBy = ""
		writeJSON(w, http.StatusOK, LinkedProposal{info, rv.Vault})
		return
	}
	writeText(w, describeAsked(rv.Proposal, rv.Vault))
}

// describeAsked tells a person what is asked for. What the agent wrote is
// quoted: control and direction characters are shown as escapes (R20).
func describeAsked(p vault.Proposal, vaultName string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Proposal %d in the vault %s, %s.\n", p.Number, vaultName, p.Status)
	fmt.Fprintf(&b, "Asked by the %s %s at %s.\n", p.AskerKind, strconv.QuoteToASCII(p.AskerName), p.CreatedAt.Format(time.RFC3339))
	for _, s := range p.Services {
		switch {
		case s.Action == vault.ActionDelete:
			fmt.Fprintf(&b, "\nRemove the service %s.\n", s.Name)
		default:
			fmt.Fprintf(&b, "\nSet the service %s: host %s, auth %s.\n", s.Name, s.Host, authWords(s.Auth))
		}
	}
	for _, slot := range p.Credentials {
		fmt.Fprintf(&b, "\n%s the credential %s.\n", map[string]string{vault.ActionSet: "Set", vault.ActionDelete: "Delete"}[slot.Action], slot.Key)
		if slot.HasValue {
			b.WriteString("  The agent gave a value for it.\n")
		}
	}
	if p.UserMessage != "" {
		fmt.Fprintf(&b, "\nThe agent's words: %s\n", strconv.QuoteToASCII(p.UserMessage))
	}
	if p.Status == vault.ProposalPending {
		fmt.Fprintf(&b, "\nTo see what would change, and to decide, run:\n\n  agent-vault proposal review %d --vault %s\n", p.Number, vaultName)
	}
	return b.String()
}

// authWords names a kind of auth and the credentials that it uses.
func authWords(a *inject.Auth) string {
	if a == nil {
		return "none"
	}
	in, err := inject.Parse(*a)
	if err != nil || len(in.Keys()) == 0 {
		return a.Type()
	}
	return a.Type() + " with " + strings.Join(in.Keys(), " and ")
}
