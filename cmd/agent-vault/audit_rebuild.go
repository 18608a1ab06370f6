package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"agentvault/broker"
	"agentvault/broker/audit"
)

func auditRebuildCommand() *cobra.Command {
	var d dataFlags
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Fill the request log anew from the audit log",
		Long: `Fill the request log anew from the audit log: rows that were lost come back, and
the others stay as they are. The server must be stopped, and the audit log whole,
as audit verify finds it. A request log that is
empty is filled by itself when the server starts.`,
		Example: `  agent-vault audit rebuild
  agent-vault audit rebuild --data-dir /var/lib/agent-vault`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return d.open(c, func(data auditData) error {
				report, err := audit.Verify(c.Context(), data.verify())
				if err != nil {
					return err
				}
				if report.Bad != nil { // nothing is taken in of a log that was changed
					return badLog(report.Bad)
				}
				rows, err := fillAnew(c.Context(), data)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(c.OutOrStdout(), "the request log has all that the audit log has; %s came back\n", counted(rows, "row"))
				return err
			})
		},
	}
	d.add(c)
	return c
}

// fillAnew takes in the whole audit log, and returns how many rows came back.
func fillAnew(ctx context.Context, d auditData) (int, error) {
	before, err := d.db.CountRequests(ctx)
	if err != nil {
		return 0, err
	}
	filler, err := broker.NewFiller(broker.FillerOptions{Path: d.path, Into: d.db, Anew: true, Retention: d.cfg.Retention})
	if err != nil {
		return 0, err
	}
	if err := filler.Fill(ctx); err != nil {
		return 0, err
	}
	after, err := d.db.CountRequests(ctx)
	return after - before, err
}
