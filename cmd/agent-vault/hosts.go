package main

import (
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"agentvault/api"
)

func hostsCommand() *cobra.Command {
	var f logFlags
	var o output
	c := &cobra.Command{
		Use:   "hosts",
		Short: "List hosts that agents asked for and were refused",
		Long: `List hosts that agents asked for and that no service names, most frequent first,
each with a command that adds it. Look at the command before you run it: agents
choose the hosts, and the kind of auth is a guess where the catalog does not know
the host. The credential's key is made from all of the host, so that nothing that
you have set for another goes there.

Only owners of the instance see the hosts of all vaults.`,
		Example: `  agent-vault hosts --since 24h
  agent-vault hosts --vault default -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			filter, err := f.read()
			if err != nil {
				return err
			}
			return printAnswer(c, &o, func(client *api.Client) (api.RefusedHostList, error) {
				return client.RefusedHosts(c.Context(), filter)
			}, printHosts)
		},
	}
	f.add(c)
	o.add(c)
	return c
}

func printHosts(w io.Writer, l api.RefusedHostList) {
	list(w, []string{"TIMES", "LAST", "VAULT", "HOST", "AGENTS", "METHODS", "ADD IT WITH"}, l.Hosts, func(h api.RefusedHostInfo) []string {
		add := h.Add
		if h.Covered {
			add = "(a service names it by now)"
		}
		return []string{strconv.FormatInt(h.Count, 10), shownTime(h.LastAt), h.Vault, h.Host, shownList(h.Agents), shownList(h.Methods), add}
	})
}
