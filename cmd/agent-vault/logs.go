package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
)

// logFlags say which requests a command is about.
type logFlags struct {
	filter api.RequestFilter
	since  string
}

func (f *logFlags) add(c *cobra.Command) {
	addVaultOrAll(c, &f.filter.Vault, "requests of this vault only")
	addSince(c, &f.since)
}

func addSince(c *cobra.Command, since *string) {
	c.Flags().StringVar(since, "since", "", "requests since then: 90m, 24h, 7d, 2026-03-01 or 2026-03-01T12:00:00Z (default: all)")
}

// read returns the filter.
func (f *logFlags) read() (_ api.RequestFilter, err error) {
	f.filter.Vault = vaultOrAll(f.filter.Vault)
	f.filter.Since, err = parseSince(f.since, time.Now())
	return f.filter, err
}

// parseSince reads how long ago, or when. "" is no time.
func parseSince(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			return now.Add(-time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &usageError{fmt.Errorf("--since is how long ago (90m, 24h, 7d) or when (2026-03-01, 2026-03-01T12:00:00Z), not %q", s)}
}

func logsCommand() *cobra.Command {
	var f logFlags
	var o output
	var follow bool
	var limit limitFlag
	c := &cobra.Command{
		Use:   "logs",
		Short: "Show what agents have requested",
		Long: `Show what agents have requested, newest first. Requests appear within a second;
one whose end was not recorded (yet) has the status "-".

With --follow, requests appear as they begin and end, until Ctrl-C: one that
takes long is shown twice. Each is then a line of its own with -o json, and a
document of its own with -o yaml. It outlasts a restart of the server.

Only owners of the instance see the requests of all vaults.

--status takes a code (404), a class (4xx), refused (by the vault), why it was
(forbidden), or unknown.`,
		Example: `  agent-vault logs --since 1h --status refused
  agent-vault logs --follow --agent build-bot
  agent-vault logs --host api.github.com -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := limit.check(c); err != nil {
				return err
			}
			filter, err := f.read()
			if err != nil {
				return err
			}
			if follow {
				return signedIn(c, func(client *api.Client) error { return followLogs(c, client, filter, int(limit), &o) })
			}
			return printAnswer(c, &o, func(client *api.Client) (api.RequestList, error) {
				return listLogs(c.Context(), client, filter, int(limit))
			}, printRequests)
		},
	}
	f.add(c)
	c.Flags().StringVar(&f.filter.Agent, "agent", "", "requests of this agent (name or id) or session (label or id) only")
	c.Flags().StringVar(&f.filter.Host, "host", "", "requests to this host, or host:port, only")
	c.Flags().StringVar(&f.filter.Service, "service", "", "requests for which this service was found only")
	c.Flags().StringVar(&f.filter.Status, "status", "", "requests that ended so only: 404, 4xx, refused, unknown")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing requests as they begin and end")
	limit.add(c, "how many at most; with --follow, how many of the past")
	o.add(c)
	return c
}

// listLogs fetches as many pages as the limit takes.
func listLogs(ctx context.Context, client *api.Client, filter api.RequestFilter, limit int) (api.RequestList, error) {
	all := api.RequestList{Requests: []api.RequestInfo{}}
	err := pages(limit, func(cursor string, n int) (int, string, error) {
		filter.Cursor, filter.Limit = cursor, n
		l, err := client.Requests(ctx, filter)
		all.Requests = append(all.Requests, l.Requests...)
		all.NextCursor, all.FollowCursor = l.NextCursor, cmp.Or(all.FollowCursor, l.FollowCursor)
		return len(l.Requests), l.NextCursor, err
	})
	return all, err
}

func printRequests(w io.Writer, l api.RequestList) {
	list(w, requestHeader, l.Requests, requestRow)
	sayMore(w, l.NextCursor)
}

var requestHeader = []string{"TIME", "STATUS", "AGENT", "VAULT", "DURATION", "REQUEST"}

func requestRow(r api.RequestInfo) []string {
	took := "-"
	if r.Status != nil {
		took = shownDuration(time.Duration(r.DurationMicros) * time.Microsecond)
	}
	return []string{shownTime(r.Time), shownStatus(r), shownAgent(r), r.Vault, took, shownRequest(r)}
}

func shownDuration(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

func shownStatus(r api.RequestInfo) string {
	if r.Status == nil {
		return "-"
	}
	return strconv.Itoa(*r.Status)
}

// shownAgent is who sent it, as far as it is known.
func shownAgent(r api.RequestInfo) string {
	return cmp.Or(r.Agent, r.Session, "-")
}

// shownRequest is the request, and what became of it besides the status.
func shownRequest(r api.RequestInfo) string {
	scheme, _, _ := strings.Cut(r.Target, "://")
	shown := r.Method + " " + strings.TrimSuffix(r.Target, defaultPorts[scheme]) + r.Path
	if r.Fault != "" {
		shown += "  " + r.Fault
	}
	return shown
}

var defaultPorts = map[string]string{"https": ":443", "http": ":80"}
