package main

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"agentvault/api"
	"agentvault/api/shown"
	"agentvault/vault"
)

// proposalObject is what a proposal is about, in a line.
func proposalObject(p api.ProposalInfo) string {
	var parts []string
	for _, s := range p.Services {
		part := s.Action + " " + s.Name
		if s.Host != "" {
			part += " (" + shownHost(s.Host) + ")"
		}
		parts = append(parts, part)
	}
	for _, cr := range p.Credentials {
		parts = append(parts, cr.Action+" "+cr.Key)
	}
	return strings.Join(parts, ", ")
}

// own shows who asked their own proposal.
func (s screen) own(w io.Writer, p api.ProposalInfo) {
	fmt.Fprintf(w, "proposal %d is %s: %s\n", p.ID, plain(p.Status), plain(proposalObject(p)))
	if p.Status == vault.ProposalPending {
		fmt.Fprintf(w, "a person can decide it until %s\n", shownTime(p.ExpiresAt))
	}
	quoteNote(w, s.width, p.ReviewNote)
	s.asked(w, p)
}

// asked shows what a proposal asks for, which is all there is to say of one that
// is not pending.
func (s screen) asked(w io.Writer, p api.ProposalInfo) {
	if len(p.Services) > 0 {
		fmt.Fprintf(w, "\n%s\n", s.paint.bold("Services that it asks for:"))
	}
	for _, x := range p.Services {
		fmt.Fprintf(w, "  %s\n", askedService(x))
		for _, r := range x.Rules {
			fmt.Fprintf(w, "    %s\n", plain(shownRule(r)))
		}
	}
	if len(p.Credentials) > 0 {
		fmt.Fprintf(w, "\n%s\n", s.paint.bold("Credentials that it asks for:"))
	}
	for _, cr := range p.Credentials {
		what := ""
		if cr.HasValue {
			what = ", with a value that the agent gave"
		}
		fmt.Fprintf(w, "  %s %s%s\n", plain(cr.Action), plain(cr.Key), what)
		s.agentSays(w, "what it is", cr.Description)
		s.agentSays(w, "where to get it", cr.Obtain)
	}
}

// askedService is a change of a service as it was asked for, in a line.
func askedService(x vault.ServiceChange) string {
	text := plain(x.Action) + " " + plain(x.Name)
	if x.Host != "" {
		text += ": " + shownHost(x.Host)
	}
	if x.Auth != nil {
		text += ", " + plain(shownAuth(*x.Auth))
	}
	if x.Enabled != nil && !*x.Enabled {
		text += ", disabled"
	}
	return text
}

func quoteNote(w io.Writer, width int, note string) {
	if note != "" {
		fmt.Fprintln(w, "the reason given:")
		quote(w, width, "  ", note)
	}
}

// review shows a person what they decide.
func (s screen) review(w io.Writer, rv api.ProposalReview) {
	fmt.Fprintf(w, "%s\n", s.paint.bold(fmt.Sprintf("Proposal %d in the vault %s", rv.ID, plain(rv.Vault))))
	asked := fmt.Sprintf("asked by %s %s, %s", plain(rv.AskerKind), plain(rv.AskedBy), shown.Age(rv.CreatedAt, time.Now()))
	fmt.Fprintln(w, strings.Join(broken(asked, s.width-len("    ")), "\n    "))
	switch {
	case rv.Status == vault.ProposalPending:
		fmt.Fprintf(w, "pending until %s\n", shownTime(rv.ExpiresAt))
	case rv.ReviewedAt != nil:
		fmt.Fprintf(w, "%s %s by %s\n", plain(rv.Status), shownTime(*rv.ReviewedAt), plain(rv.ReviewedBy))
	default:
		fmt.Fprintln(w, plain(rv.Status))
	}
	quoteNote(w, s.width, rv.ReviewNote)
	s.words(w, "The agent's words, for you:", rv.UserMessage)
	s.words(w, "The agent's words, for developers:", rv.Message)
	if rv.Status != vault.ProposalPending {
		s.asked(w, rv.ProposalInfo)
	}
	s.changes(w, rv)
	s.values(w, rv.Values)
	s.list(w, "Newly let through:", s.paint.bold("+"), rv.Opened)
	s.list(w, "Look twice:", s.paint.red("!"), rv.Warnings)
	fmt.Fprintln(w)
}

// list writes sentences below each other, each behind a mark.
func (s screen) list(w io.Writer, title, mark string, sentences []string) {
	if len(sentences) > 0 {
		fmt.Fprintf(w, "\n%s\n", s.paint.bold(title))
	}
	for _, sentence := range sentences {
		for i, piece := range broken(plain(sentence), s.width-len("  ! ")) {
			fmt.Fprintf(w, "  %s %s\n", []string{mark, "|"}[min(i, 1)], piece)
		}
	}
}

func (s screen) words(w io.Writer, label, words string) {
	if words != "" {
		fmt.Fprintf(w, "\n%s\n", s.paint.bold(label))
		quote(w, s.width, "  ", words)
	}
}

// changes shows the services before and after.
func (s screen) changes(w io.Writer, rv api.ProposalReview) {
	if len(rv.Changes) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", s.paint.bold("Services:"))
	for _, d := range rv.Changes {
		fmt.Fprintf(w, "  %s\n", s.change(d))
	}
	fmt.Fprintln(w)
	if err := s.diffServices(w, rv.Changes); err != nil { // of what JSON cannot hold, and so no vault
		fmt.Fprintf(w, "  the difference cannot be shown: %s\n", plain(err.Error()))
	}
}

// change is what becomes of one service, in a line.
func (s screen) change(d vault.ServiceDiff) string {
	describe := func(x *vault.Service) string {
		text := shownService(*x)
		if !x.Enabled {
			text += ", disabled"
		}
		return text
	}
	name := plain(d.Name)
	switch {
	case d.Before == nil && d.After == nil:
		return "leaves " + name
	case d.Before == nil:
		return s.paint.green("adds") + " " + name + ": " + describe(d.After)
	case d.After == nil:
		return s.paint.red("removes") + " " + name + ": " + describe(d.Before)
	case describe(d.Before) == describe(d.After):
		return "changes " + name + ": " + describe(d.After)
	}
	return "changes " + name + ": " + describe(d.After) + "\n    it is now " + describe(d.Before)
}

// values shows what becomes of credentials.
func (s screen) values(w io.Writer, values []vault.ValueDiff) {
	if len(values) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", s.paint.bold("Credentials:"))
	for _, v := range values {
		what := "its value stays as it is"
		switch {
		case v.Action == vault.ActionDelete:
			what = s.paint.red("removed, with all its versions")
		case v.HasValue && v.Exists:
			what = s.paint.red("replaced by a value that the agent gave")
		case v.HasValue:
			what = "the agent gave a value"
		case v.Needed:
			what = s.paint.bold("you give its value")
		}
		fmt.Fprintf(w, "  %s: %s\n", plain(v.Key), what)
		s.agentSays(w, "what it is", v.Description)
		s.agentSays(w, "where to get it", v.Obtain)
		if u, err := url.Parse(v.Obtain); err == nil && v.Obtain != "" {
			fmt.Fprintf(w, "    that page is at %s\n", shownHost(u.Host))
		}
		s.agentSays(w, "how to get it", v.ObtainInstructions)
	}
}

// agentSays quotes the agent about a credential.
func (s screen) agentSays(w io.Writer, of, words string) {
	if words != "" {
		fmt.Fprintf(w, "    the agent says of %s:\n", of)
		quote(w, s.width, "      ", words)
	}
}

// shown is the review as text, in one piece, so that nothing stands between.
func (s screen) shown(rv api.ProposalReview) []byte {
	var b bytes.Buffer
	s.review(&b, rv)
	return b.Bytes()
}
