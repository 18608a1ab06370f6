package main

import (
	"cmp"
	"io"

	"github.com/spf13/cobra"

	"agentvault/api"
)

func eventsCommand() *cobra.Command {
	var vaultName string
	var limit limitFlag
	var o output
	c := &cobra.Command{
		Use:   "events",
		Short: "Show who has changed what",
		Long: `Show the record of changes, newest first: of one vault, or, without --vault and
AGENT_VAULT_VAULT, of the whole instance, which its owners may see. It holds names
and keys, no values.`,
		Example: `  agent-vault events --vault default
  agent-vault events --limit 1000 -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := limit.check(c); err != nil {
				return err
			}
			return printAnswer(c, &o, func(client *api.Client) (api.EventList, error) {
				return listEvents(c, client, vaultOrAll(vaultName), int(limit))
			}, printEvents)
		},
	}
	addVaultOrAll(c, &vaultName, "changes of this vault only")
	limit.add(c, "how many at most")
	o.add(c)
	return c
}

// listEvents fetches as many pages as the limit takes.
func listEvents(c *cobra.Command, client *api.Client, vaultName string, limit int) (api.EventList, error) {
	all := api.EventList{Events: []api.EventInfo{}}
	err := pages(limit, func(cursor string, n int) (int, string, error) {
		l, err := client.Events(c.Context(), vaultName, cursor, n)
		all.Events, all.NextCursor = append(all.Events, l.Events...), l.NextCursor
		return len(l.Events), l.NextCursor, err
	})
	return all, err
}

func printEvents(w io.Writer, l api.EventList) {
	list(w, []string{"TIME", "VAULT", "WHO", "ACTION", "WHAT"}, l.Events, func(e api.EventInfo) []string {
		return []string{shownTime(e.Time), cmp.Or(e.Vault, "-"), e.ActorKind + " " + e.ActorName, e.Action, e.Object}
	})
	sayMore(w, l.NextCursor)
}
