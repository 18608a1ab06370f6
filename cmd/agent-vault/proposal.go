package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/api/shown"
	"agentvault/vault"
)

func proposalCommand() *cobra.Command {
	return group("proposal", "Ask for services and credentials, and decide what agents ask for",
		proposalCreateCommand(), proposalListCommand(), proposalShowCommand(), proposalWaitCommand(),
		proposalReviewCommand(), proposalApproveCommand(), proposalRejectCommand())
}

// proposalID reads a proposal's number from the command line.
func proposalID(c *cobra.Command, s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 {
		return 0, misused(c, "%s: ID is a proposal's number, as in 3", shortPath(c))
	}
	return id, nil
}

// proposalNumbers complete IDs, newest first, of proposals with a status.
func proposalNumbers(status string) lister {
	return func(ctx context.Context, client *api.Client, vaultName string) ([]cobra.Completion, error) {
		l, err := client.Proposals(ctx, vaultName, status, "", 100)
		return offered(l.Proposals, func(p api.ProposalInfo) cobra.Completion {
			return cobra.CompletionWithDesc(strconv.FormatInt(p.ID, 10), p.Status+", asked by "+plain(p.AskedBy))
		}), err
	}
}

func proposalListCommand() *cobra.Command {
	var vaultName, status string
	var limit limitFlag
	var o output
	c := &cobra.Command{
		Use: "list", Short: "List proposals, newest first",
		Long: `List a vault's proposals, newest first. Without --vault and AGENT_VAULT_VAULT, a
person gets what is pending in all of their vaults.`,
		Example: `  agent-vault proposal list --status pending
  agent-vault proposal list --vault team-a -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := limit.check(c); err != nil {
				return err
			}
			name := vaultOrAll(vaultName)
			if _, token := agentToken(); token != "" {
				name = vaultOrDefault(vaultName)
			}
			l, err := byAsker(c, func(client *api.Client) (api.ProposalList, error) {
				return listProposals(c, client, name, status, int(limit))
			})
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), l, func(w io.Writer) { printProposals(w, l, name == "", time.Now()) })
		},
	}
	addVaultOrAll(c, &vaultName, "proposals of this vault, decided ones too")
	c.Flags().StringVar(&status, "status", "", "those only that are pending, applied, rejected or expired")
	limit.add(c, "how many at most")
	completeFlag(c, "status", fixed(vault.ProposalPending, vault.ProposalApplied, vault.ProposalRejected, vault.ProposalExpired))
	o.add(c)
	return c
}

// listProposals fetches as many pages as the limit takes.
func listProposals(c *cobra.Command, client *api.Client, vaultName, status string, limit int) (api.ProposalList, error) {
	all := api.ProposalList{Proposals: []api.ProposalInfo{}}
	err := pages(limit, func(cursor string, n int) (int, string, error) {
		l, err := client.Proposals(c.Context(), vaultName, status, cursor, n)
		all.Proposals, all.NextCursor = append(all.Proposals, l.Proposals...), l.NextCursor
		return len(l.Proposals), l.NextCursor, err
	})
	return all, err
}

// printProposals names the vault of each when they are of several.
func printProposals(w io.Writer, l api.ProposalList, ofAll bool, now time.Time) {
	header := []string{"ID", "STATUS", "ASKED BY", "ASKED", "WHAT"}
	if ofAll {
		header = append([]string{"VAULT"}, header...)
	}
	list(w, header, l.Proposals, func(p api.ProposalInfo) []string {
		row := []string{strconv.FormatInt(p.ID, 10), p.Status, p.AskerKind + " " + p.AskedBy, shown.Age(p.CreatedAt, now), proposalObject(p)}
		if ofAll {
			row = append([]string{p.Vault}, row...)
		}
		return row
	})
	sayMore(w, l.NextCursor)
}

func proposalShowCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show a proposal, and what it would change",
		Long: `Show a proposal, and what it would change in the vault as it is now. The digest
that is shown binds a decision to it: agent-vault proposal approve --digest.

To an agent, whose token is in AGENT_VAULT_SESSION_TOKEN, and to people who may
only ask it shows what they asked for and what became of it.`,
		Example: `  agent-vault proposal show 3
  agent-vault proposal show 3 --vault team-a -o json`,
		Args:              exactly("ID"),
		ValidArgsFunction: arguments(proposalNumbers("")),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := proposalID(c, args[0])
			if err != nil {
				return err
			}
			name := vaultOrDefault(vaultName)
			out := c.OutOrStdout()
			screen := screenOf(out)
			showOwn := func() error {
				p, err := byAsker(c, func(client *api.Client) (api.ProposalInfo, error) { return client.Proposal(c.Context(), name, id, 0) })
				if err != nil {
					return err
				}
				return o.print(out, p, func(w io.Writer) { screen.own(w, p) })
			}
			if _, token := agentToken(); token != "" {
				return showOwn()
			}
			rv, err := byPerson(c, func(client *api.Client) (api.ProposalReview, error) {
				return client.ReviewProposal(c.Context(), name, id)
			})
			if isCode(err, vault.CodeForbidden, vault.CodeVaultForbidden) && showOwn() == nil {
				return nil
			}
			if err != nil {
				return err
			}
			return o.print(out, rv, func(w io.Writer) {
				screen.review(w, rv)
				if rv.Digest != "" {
					fmt.Fprintf(w, "digest: %s\n", plain(rv.Digest))
				}
			})
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

func proposalWaitCommand() *cobra.Command {
	var vaultName string
	var timeout time.Duration
	var o output
	c := &cobra.Command{
		Use:   "wait ID",
		Short: "Wait until a proposal is decided",
		Long: `Wait until a proposal is decided. The exit status is 0 when it was applied, and 1
when it was rejected, has expired or is still pending after --timeout.`,
		Example: `  agent-vault proposal wait 3
  agent-vault proposal wait 3 --timeout 1h`,
		Args:              exactly("ID"),
		ValidArgsFunction: arguments(proposalNumbers(vault.ProposalPending)),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := proposalID(c, args[0])
			if err != nil {
				return err
			}
			if timeout <= 0 {
				return misused(c, "--timeout is how long to wait, as in 10m")
			}
			return awaitDecision(c, vaultOrDefault(vaultName), id, timeout, &o)
		},
	}
	addVault(c, &vaultName)
	c.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait")
	o.add(c)
	return c
}

// awaitDecision waits, prints what became of the proposal, and fails unless it
// was applied.
func awaitDecision(c *cobra.Command, vaultName string, id int64, timeout time.Duration, o *output) error {
	p, err := waitFor(c, vaultName, id, timeout)
	if err != nil {
		return err
	}
	if err := o.print(c.OutOrStdout(), p, func(w io.Writer) {
		if p.Status == vault.ProposalApplied {
			fmt.Fprintf(w, "proposal %d was applied\n", p.ID)
			quoteNote(w, widthOf(c.OutOrStdout()), p.ReviewNote)
		}
	}); err != nil {
		return err
	}
	switch p.Status {
	case vault.ProposalApplied:
		return nil
	case vault.ProposalRejected:
		if p.ReviewNote != "" {
			return hint(fmt.Errorf("proposal %d was rejected", p.ID), "the reason given is: %s", p.ReviewNote)
		}
		return fmt.Errorf("proposal %d was rejected", p.ID)
	case vault.ProposalExpired:
		return hint(fmt.Errorf("proposal %d has expired, nobody decided it in time", p.ID), "propose it again")
	}
	return hint(fmt.Errorf("proposal %d is still pending after %s", p.ID, timeout), "run: agent-vault proposal wait %d --vault %s", p.ID, vaultName)
}

// waitStep is how long one request waits, in which the server may be asked to.
const waitStep = 50 * time.Second

// waitFor asks until the proposal is decided or the time is over.
func waitFor(c *cobra.Command, vaultName string, id int64, timeout time.Duration) (p api.ProposalInfo, err error) {
	stop := progress(stdioOf(c), fmt.Sprintf("waiting for a person to decide proposal %d", id), time.Second)
	defer stop()
	for end := time.Now().Add(timeout); ; {
		began := time.Now()
		step := min(waitStep, end.Sub(began)).Truncate(time.Second)
		p, err = byAsker(c, func(client *api.Client) (api.ProposalInfo, error) {
			return unheard(client).Proposal(c.Context(), vaultName, id, max(step, 0))
		})
		if err != nil || p.Status != vault.ProposalPending || !time.Now().Add(time.Second).Before(end) {
			return p, err
		}
		if time.Since(began) < time.Second { // the server lets nobody wait just now
			select {
			case <-c.Context().Done():
				return p, c.Context().Err()
			case <-time.After(time.Second):
			}
		}
	}
}
