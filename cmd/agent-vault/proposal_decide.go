package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

// A decider shows a person proposals and carries out what they decide.
type decider struct {
	c     *cobra.Command
	std   stdio
	vault string
	ofAll bool // it walks through all vaults
	short bool // values that are too short to be found in answers are taken
}

func newDecider(c *cobra.Command, vaultName string) decider {
	return decider{c: c, std: stdioOf(c), vault: vaultOrDefault(vaultName)}
}

// show fetches a proposal and shows it.
func (d decider) show(id int64) (api.ProposalReview, error) {
	rv, err := byPerson(d.c, func(client *api.Client) (api.ProposalReview, error) {
		return client.ReviewProposal(d.c.Context(), d.vault, id)
	})
	if err != nil {
		return rv, err
	}
	_, err = d.std.err.Write(screenOf(d.std.err).shown(rv))
	return rv, err
}

// missing adds to values those that the proposal needs, which the person is
// asked for.
func (d decider) missing(rv api.ProposalReview, values map[string]string) error {
	var needed []string
	for _, v := range rv.Values {
		if v.Needed && values[v.Key] == "" {
			needed = append(needed, v.Key)
		}
	}
	if len(needed) > 0 && !onTerminal(d.std) {
		return hint(fmt.Errorf("proposal %d needs values that were not given: %s", rv.ID, strings.Join(needed, ", ")), "add: --from %s=env:NAME", needed[0])
	}
	for _, key := range needed {
		for values[key] == "" {
			value, err := askHidden(d.std, "Value of "+plain(key)+": ")
			if err != nil {
				return err
			}
			if value == "" {
				fmt.Fprintln(d.std.err, "The proposal cannot be approved without it. Ctrl-C gives up.")
			}
			values[key] = value
		}
	}
	return nil
}

// approve sends the person's yes to what they were shown.
func (d decider) approve(id int64, r api.ApproveRequest) (api.ProposalInfo, error) {
	r.AllowShort = d.short
	p, err := byPerson(d.c, func(client *api.Client) (api.ProposalInfo, error) {
		return client.ApproveProposal(d.c.Context(), d.vault, id, r)
	})
	if err == nil {
		warnShort(d.std.err, r.Credentials)
	}
	return p, err
}

func (d decider) reject(id int64, note string) (api.ProposalInfo, error) {
	return byPerson(d.c, func(client *api.Client) (api.ProposalInfo, error) {
		return client.RejectProposal(d.c.Context(), d.vault, id, note)
	})
}

const changedMeanwhile = "It has changed since it was shown. This is what it is now:"

// settable are the keys whose value a person may give.
func settable(rv api.ProposalReview) (keys []string) {
	for _, v := range rv.Values {
		if v.Action == vault.ActionSet {
			keys = append(keys, v.Key)
		}
	}
	return keys
}

func stillPending(rv api.ProposalReview) error {
	if rv.Status != vault.ProposalPending {
		return fmt.Errorf("proposal %d is not pending any more: it is %s", rv.ID, rv.Status)
	}
	return nil
}

// approveFlags are what approve takes.
type approveFlags struct {
	confirmation
	from         valueFlags
	note, digest string
	short        bool
	lasts        lastsFlag
}

func proposalApproveCommand() *cobra.Command {
	var vaultName string
	var f approveFlags
	var o output
	c := &cobra.Command{
		Use:   "approve ID",
		Short: "Apply a proposal",
		Long: `Apply a proposal. What it changes is shown first, and asked about unless --yes is
given; then values that it needs and --from does not give are asked for, without
echo. What you approve is what you were shown: if it changes meanwhile, it is
shown and asked about again.

With --for, the services that it sets end after that time, as if they were removed.
One that has ended already needs it.

With --digest, which agent-vault proposal show prints, nothing else than what had
that digest can be approved.`,
		Example: `  agent-vault proposal approve 3
  agent-vault proposal approve 3 --from STRIPE_KEY=env:STRIPE_KEY --note 'for one week'
  agent-vault proposal approve 3 --for 24h
  agent-vault proposal approve 3 --vault team-a --from STRIPE_KEY=file:key.txt --yes`,
		Args:              exactly("ID"),
		ValidArgsFunction: arguments(proposalNumbers(vault.ProposalPending)),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := proposalID(c, args[0])
			if err != nil {
				return err
			}
			d := newDecider(c, vaultName)
			d.short = f.short
			p, err := f.approve(d, id)
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), p, func(w io.Writer) { fmt.Fprintf(w, "proposal %d is %s\n", p.ID, plain(p.Status)) })
		},
	}
	addVault(c, &vaultName)
	f.from.add(c)
	f.confirmation.add(c)
	allowShort(c, &f.short)
	f.lasts.add(c, "how long the services that it sets last, as 1h or 24h, or good")
	c.Flags().StringVar(&f.note, "note", "", "what the agent is told about it")
	c.Flags().StringVar(&f.digest, "digest", "", "of what you have seen; anything else is refused")
	o.add(c)
	return c
}

// approve shows a proposal, asks, and applies it.
func (f *approveFlags) approve(d decider, id int64) (p api.ProposalInfo, err error) {
	var values map[string]string
	for {
		rv, err := d.show(id)
		if err != nil {
			return p, err
		}
		if err := stillPending(rv); err != nil {
			return p, err
		}
		if f.digest != "" && f.digest != rv.Digest {
			return p, hint(errors.New("the proposal is not the one of that digest, or the vault has changed"), "look at it again: agent-vault proposal show %d --vault %s", id, d.vault)
		}
		if values == nil {
			if values, err = f.from.read(d.std, settable(rv)); err != nil {
				return p, err
			}
		}
		if err := f.ask(d.std, "Approve it?"); err != nil {
			return p, err
		}
		if err := d.missing(rv, values); err != nil {
			return p, err
		}
		p, err = d.approve(id, api.ApproveRequest{Digest: rv.Digest, Credentials: maps.Clone(values), Note: f.note, LastsSeconds: f.lasts.seconds()})
		if !isCode(err, vault.CodeProposalChanged) || f.yes || f.digest != "" {
			return p, err
		}
		fmt.Fprintf(d.std.err, "\n%s\n\n", changedMeanwhile)
	}
}

func proposalRejectCommand() *cobra.Command {
	var vaultName, note string
	var o output
	c := &cobra.Command{
		Use: "reject ID", Short: "Refuse a proposal",
		Example: `  agent-vault proposal reject 3
  agent-vault proposal reject 3 --note 'use the sandbox instead'`,
		Args:              exactly("ID"),
		ValidArgsFunction: arguments(proposalNumbers(vault.ProposalPending)),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := proposalID(c, args[0])
			if err != nil {
				return err
			}
			p, err := newDecider(c, vaultName).reject(id, note)
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), p, func(w io.Writer) { fmt.Fprintf(w, "proposal %d is %s\n", p.ID, plain(p.Status)) })
		},
	}
	addVault(c, &vaultName)
	c.Flags().StringVar(&note, "note", "", "what the agent is told about it")
	o.add(c)
	return c
}
