package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
)

// followLogs prints what there is, oldest first, and goes on until a signal.
func followLogs(c *cobra.Command, client *api.Client, filter api.RequestFilter, limit int, o *output) error {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := listLogs(ctx, client, filter, limit)
	if err == nil && *o == "table" {
		_, err = io.WriteString(c.OutOrStdout(), followLine(requestHeader))
	}
	slices.Reverse(l.Requests)
	filter.Limit = pageSize
	for after := ""; err == nil; l, err = nextLogs(ctx, c, client, filter, after) {
		after = l.FollowCursor
		if err := printLines(c.OutOrStdout(), l.Requests, o); err != nil {
			return err
		}
	}
	if ctx.Err() != nil && c.Context().Err() == nil {
		return nil // Ctrl-C is how it ends
	}
	return err
}

// reconnectEvery is how often a server that is away is asked again.
const reconnectEvery = time.Second

// nextLogs waits for what comes behind the cursor. A server that is away is asked
// again until it is back, which is said once.
func nextLogs(ctx context.Context, c *cobra.Command, client *api.Client, filter api.RequestFilter, after string) (api.RequestList, error) {
	for said := false; ; said = true {
		l, err := unheard(client).FollowRequests(ctx, filter, after)
		if err == nil || ctx.Err() != nil || !isAway(err) {
			return l, err
		}
		if !said {
			fmt.Fprintf(c.ErrOrStderr(), "agent-vault: %s is away; going on when it is back\n", client.Address)
		}
		select {
		case <-ctx.Done():
			return l, ctx.Err()
		case <-time.After(reconnectEvery):
		}
	}
}

// isAway reports whether an error is of a server that does not answer now, and
// not of one that refuses.
func isAway(err error) bool {
	var refused *api.ClientError
	return !errors.As(err, &refused) || refused.Status >= 500
}

// printLines writes each request by itself: as a line whose columns do not
// depend on those of others, or as a document.
func printLines(w io.Writer, requests []api.RequestInfo, o *output) error {
	var b bytes.Buffer
	for _, r := range requests {
		if err := o.printNext(&b, r, func(w io.Writer) { _, _ = io.WriteString(w, followLine(requestRow(r))) }); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// followLine is a row whose columns are as wide as most of what stands there.
func followLine(row []string) string {
	widths := [...]int{len(time.DateTime), len("STATUS"), 16, 12, len("DURATION")}
	var b bytes.Buffer
	for i, cell := range row {
		if i < len(widths) {
			fmt.Fprintf(&b, "%-*s  ", widths[i], plain(cell))
			continue
		}
		fmt.Fprintf(&b, "%s\n", plain(cell))
	}
	return b.String()
}
