package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

func proposalReviewCommand() *cobra.Command {
	var vaultName string
	var short bool
	c := &cobra.Command{
		Use:   "review [ID]",
		Short: "Walk through what agents ask for, and decide",
		Long: `Walk through the pending proposals, oldest first, or look at one. They are those
of --vault or AGENT_VAULT_VAULT, and without either of all your vaults; one that
is given by its number is of the vault default then. Each is shown with who asks,
the agent's words, what would change in the vault, and where the values that are
needed come from; then it is approved, rejected or skipped.`,
		Example: `  agent-vault proposal review
  agent-vault proposal review 3 --vault team-a`,
		Args:              atMostOne,
		ValidArgsFunction: arguments(proposalNumbers(vault.ProposalPending)),
		RunE: func(c *cobra.Command, args []string) error {
			d := newDecider(c, vaultName)
			d.short = short
			if !onTerminal(d.std) {
				return hint(errors.New("there is no terminal to ask on"), "decide one by one: agent-vault proposal list --status pending, show, approve, reject")
			}
			if len(args) == 1 {
				id, err := proposalID(c, args[0])
				if err != nil {
					return err
				}
				return d.walk([]numbered{{d.vault, id}})
			}
			if d.vault = vaultOrAll(vaultName); d.vault == "" {
				d.ofAll = true
			}
			pending, err := d.pending()
			if err != nil {
				return err
			}
			return d.walk(pending)
		},
	}
	addVaultOrAll(c, &vaultName, "proposals of this vault only")
	allowShort(c, &short)
	return c
}

// A numbered proposal is one of a vault.
type numbered struct {
	vault string
	id    int64
}

// pending are the proposals to walk through, oldest first.
func (d decider) pending() (all []numbered, err error) {
	l, err := byPerson(d.c, func(client *api.Client) (api.ProposalList, error) {
		return listProposals(d.c, client, d.vault, vault.ProposalPending, maxListed)
	})
	for _, p := range slices.Backward(l.Proposals) {
		all = append(all, numbered{cmp.Or(p.Vault, d.vault), p.ID})
	}
	return all, err
}

// A verdict is what a person decided about a proposal.
type verdict int

const (
	skipped verdict = iota
	approved
	rejected
	stopped // and they want to see no more
)

// walk shows one after the other, and says at the end what was decided.
func (d decider) walk(pending []numbered) error {
	if len(pending) == 0 {
		where := "the vault " + plain(d.vault)
		if d.ofAll {
			where = "your vaults"
		}
		_, err := fmt.Fprintf(d.std.out, "nothing is pending in %s\n", where)
		return err
	}
	var count [stopped + 1]int
	for i, p := range pending {
		if len(pending) > 1 {
			fmt.Fprintf(d.std.err, "%d of %d\n", i+1, len(pending))
		}
		d.vault = p.vault
		v, err := d.decide(p.id)
		if err != nil {
			return err
		}
		count[v]++
		if v == stopped {
			break
		}
	}
	_, err := fmt.Fprintf(d.std.out, "%d approved, %d rejected, %d left\n", count[approved], count[rejected], len(pending)-count[approved]-count[rejected])
	return err
}

// decide shows one proposal and does what the person says.
func (d decider) decide(id int64) (verdict, error) {
	values := make(map[string]string)
	for {
		rv, err := d.show(id)
		if err != nil {
			return skipped, err
		}
		if err := stillPending(rv); err != nil {
			fmt.Fprintf(d.std.err, "%s\n\n", plain(err.Error()))
			return skipped, nil
		}
		v, err := d.choice()
		switch {
		case err != nil:
			return skipped, err
		case v == approved:
			if err := d.missing(rv, values); err != nil {
				return skipped, err
			}
			_, err = d.approve(id, api.ApproveRequest{Digest: rv.Digest, Credentials: values})
		case v == rejected:
			note, asked := askLine(d.std, "What the agent is told about it (empty for nothing): ")
			if asked != nil {
				return skipped, asked
			}
			_, err = d.reject(id, note)
		}
		switch {
		case isCode(err, vault.CodeProposalChanged):
			fmt.Fprintf(d.std.err, "\n%s\n\n", changedMeanwhile)
			continue
		case isCode(err, vault.CodeProposalClosed):
			fmt.Fprintf(d.std.err, "%s\n\n", plain(err.Error()))
			return skipped, nil
		case isRefused(err):
			fmt.Fprintf(d.std.err, "It was refused: %s\n\n", plain(err.Error()))
			clear(values) // it may have been one of them
			continue
		case err != nil:
			return skipped, err
		}
		d.sayDecided(id, v)
		return v, nil
	}
}

// sayDecided says in a line what became of a proposal.
func (d decider) sayDecided(id int64, v verdict) {
	switch v {
	case approved:
		fmt.Fprintf(d.std.err, "proposal %d in the vault %s is applied\n", id, plain(d.vault))
	case rejected:
		fmt.Fprintf(d.std.err, "proposal %d in the vault %s is rejected\n", id, plain(d.vault))
	}
	fmt.Fprintln(d.std.err)
}

// isRefused reports whether another answer of the person may be taken.
func isRefused(err error) bool {
	return isCode(err, vault.CodeBadRequest, vault.CodeConflict, vault.CodeNotFound, vault.CodeCredentialNotFound)
}

// choice asks until the answer is one. Ctrl-D is to quit.
func (d decider) choice() (verdict, error) {
	for {
		answer, err := askLine(d.std, "(a)pprove, (r)eject, (s)kip or (q)uit? ")
		if errors.Is(err, io.EOF) {
			return stopped, nil
		}
		if err != nil {
			return skipped, err
		}
		switch answer {
		case "a", "approve":
			return approved, nil
		case "r", "reject":
			return rejected, nil
		case "s", "skip":
			return skipped, nil
		case "q", "quit":
			return stopped, nil
		}
	}
}
