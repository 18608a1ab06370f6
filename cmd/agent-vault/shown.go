package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"agentvault/api"
)

// shownTime is a time as people read it; the zero time is "-".
func shownTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

// shortDuration leaves out what is nothing: 5m for 5m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// shownList is a list in a column: the first three, and how many more.
func shownList(l []string) string {
	if len(l) == 0 {
		return "-"
	}
	shown := strings.Join(l[:min(len(l), 3)], ", ")
	if len(l) > 3 {
		shown += fmt.Sprintf(" and %d more", len(l)-3)
	}
	return shown
}

// shownGrants is one line of what agents may use, such as
// default=proxy (github, stripe), team-a=member.
func shownGrants(vaults []api.AgentVault) string {
	if len(vaults) == 0 {
		return "no vault"
	}
	var all []string
	for _, v := range vaults {
		shown := v.VaultName
		if v.VaultRole != "" { // an invite of a user has it too
			shown += "=" + v.VaultRole
		}
		if v.Services != nil {
			shown += " (" + strings.Join(append(slices.Clone(v.Services), shownEnding(v.Ending)...), ", ") + ")"
		}
		all = append(all, shown)
	}
	return strings.Join(all, ", ")
}

// shownEnding are services that an agent may use for a while.
func shownEnding(list []api.EndingGrant) (all []string) {
	for _, e := range list {
		shown := e.Service + " until " + shownTime(e.ExpiresAt)
		if e.Uses > 0 {
			shown += " or for " + counted(int(e.Uses), "use")
		}
		if e.Left != nil {
			shown += fmt.Sprintf(" (%d left)", *e.Left)
		}
		all = append(all, shown)
	}
	return all
}

// shownYes is how tables show what is, or is not.
func shownYes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}
