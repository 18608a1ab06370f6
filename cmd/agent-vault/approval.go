package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/api/shown"
	"agentvault/vault"
)

func approvalCommand() *cobra.Command {
	return group("approval", "Allow or deny requests that wait for a person",
		approvalListCommand(), approvalShowCommand(), approvalAllowCommand(), approvalDenyCommand(), approvalWatchCommand())
}

// approvalID reads a request's number from the command line.
func approvalID(c *cobra.Command, s string) (int64, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id < 1 {
		return 0, misused(c, "%s: ID is a request's number, as in 3", shortPath(c))
	}
	return id, nil
}

// approvalNumbers complete IDs, newest first.
func approvalNumbers(pending bool) lister {
	return func(ctx context.Context, client *api.Client, vaultName string) ([]cobra.Completion, error) {
		l, err := client.Approvals(ctx, vaultName, pending, "", 100)
		return offered(l.Approvals, func(a api.ApprovalInfo) cobra.Completion {
			return cobra.CompletionWithDesc(strconv.FormatInt(a.ID, 10), plain(a.Status+", "+a.Method+" "+a.Target+a.Path))
		}), err
	}
}

func approvalListCommand() *cobra.Command {
	var vaultName string
	var pending bool
	var limit limitFlag
	var o output
	c := &cobra.Command{
		Use: "list", Short: "List requests that wait, or waited, for a person, newest first",
		Long: `List a vault's requests that wait, or waited, for a person, newest first. Without
--vault and AGENT_VAULT_VAULT, those that wait in all of your vaults.`,
		Example: `  agent-vault approval list
  agent-vault approval list --vault team-a --pending -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := limit.check(c); err != nil {
				return err
			}
			name := vaultOrAll(vaultName)
			all := api.ApprovalList{Approvals: []api.ApprovalInfo{}}
			err := pages(int(limit), func(cursor string, n int) (int, string, error) {
				l, err := byPerson(c, func(client *api.Client) (api.ApprovalList, error) {
					return client.Approvals(c.Context(), name, pending, cursor, n)
				})
				all.Approvals, all.NextCursor, all.Tag = append(all.Approvals, l.Approvals...), l.NextCursor, l.Tag
				return len(l.Approvals), l.NextCursor, err
			})
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), all, func(w io.Writer) {
				list(w, approvalHeader, all.Approvals, func(a api.ApprovalInfo) []string { return approvalRow(a, time.Now()) })
				sayMore(w, all.NextCursor)
			})
		},
	}
	addVaultOrAll(c, &vaultName, "requests of this vault, decided ones too")
	c.Flags().BoolVar(&pending, "pending", false, "those only that wait still")
	limit.add(c, "how many at most")
	o.add(c)
	return c
}

var approvalHeader = []string{"VAULT", "ID", "STATUS", "ASKED BY", "ASKED", "REQUEST"}

func approvalRow(a api.ApprovalInfo, now time.Time) []string {
	return []string{a.Vault, strconv.FormatInt(a.ID, 10), a.Status, a.AskerKind + " " + a.AskedBy, shown.Age(a.CreatedAt, now), a.Method + " " + a.Target + a.Path}
}

func approvalShowCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "show ID", Short: "Show a request as it would be sent",
		Long: `Show a request as it would be sent, but for the credential. What the agent wrote is
quoted; characters that deceive are shown as escapes, and a body that is no text as
hex. The digest binds a decision to it: agent-vault approval allow --digest.`,
		Example: `  agent-vault approval show 3
  agent-vault approval show 3 --vault team-a -o json`,
		Args:              exactly("ID"),
		ValidArgsFunction: arguments(approvalNumbers(false)),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := approvalID(c, args[0])
			if err != nil {
				return err
			}
			rv, err := byPerson(c, func(client *api.Client) (api.ApprovalReview, error) {
				return client.Approval(c.Context(), vaultOrDefault(vaultName), id)
			})
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			return o.print(out, rv, func(w io.Writer) {
				screenOf(out).approval(w, rv, time.Now())
				fmt.Fprintf(w, "digest: %s\n", plain(rv.Digest))
			})
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

// approval shows a request that waits, or waited.
func (s screen) approval(w io.Writer, rv api.ApprovalReview, now time.Time) {
	fmt.Fprintf(w, "request %d in the vault %s is %s\n", rv.ID, plain(rv.Vault), plain(rv.Status))
	fmt.Fprintf(w, "asked by %s %s, %s, by the service %s\n", rv.AskerKind, plain(rv.AskedBy), shown.Age(rv.CreatedAt, now), plain(rv.Service))
	if rv.DecidedBy != "" {
		fmt.Fprintf(w, "decided by %s, %s\n", plain(rv.DecidedBy), shown.Age(*rv.DecidedAt, now))
	}
	if rv.Note != "" {
		s.words(w, "note", rv.Note)
	}
	if rv.Forgotten {
		fmt.Fprintf(w, "what it said is gone; it went to %s\n", plain(rv.Method+" "+rv.Target+rv.Path))
		return
	}
	s.words(w, "it is sent as", rv.Method+" "+shown.Plain(rv.URL))
	if rv.Upgrade != "" {
		fmt.Fprintf(w, "the connection then speaks %s, and nobody is asked about that\n", plain(rv.Upgrade))
	}
	var header bytes.Buffer
	for _, f := range rv.Header {
		value := f.Value
		if f.Hidden > 0 {
			value = fmt.Sprintf("(%d bytes of the agent's own, not shown)", f.Hidden)
		}
		fmt.Fprintf(&header, "%s: %s\n", shown.Plain(f.Name), shown.Plain(value))
	}
	if header.Len() > 0 {
		s.words(w, "header", header.String())
	}
	if rv.BodyBytes == 0 {
		fmt.Fprintln(w, "no body")
		return
	}
	lines, left := shown.Body(rv.Body, rv.BodyBase64)
	var body bytes.Buffer
	for _, line := range lines {
		fmt.Fprintln(&body, line)
	}
	s.words(w, fmt.Sprintf("body, %d bytes", rv.BodyBytes), body.String())
	if left > 0 {
		fmt.Fprintf(w, "%d more bytes are not shown; -o json has them\n", left)
	}
}

func approvalAllowCommand() *cobra.Command {
	return decisionCommand(&cobra.Command{
		Use: "allow ID", Short: "Let a request go, once",
		Long: `Let a request go, once. It is shown first, and asked about unless --yes is given.
With --digest, which agent-vault approval show prints, nothing is shown, and nothing
else than what had that digest is allowed. Where the agent does not wait any more, it
says so: the request goes when the agent sends it again in time.`,
		Example: `  agent-vault approval allow 3
  agent-vault approval allow 3 --vault team-a --yes`,
	}, "Let request %d go?", func(ctx context.Context, client *api.Client, vaultName string, id int64, d api.ApprovalDecision) (api.ApprovalInfo, error) {
		a, err := client.AllowRequest(ctx, vaultName, id, d)
		if err == nil {
			a, err = taken(ctx, client, vaultName, a)
		}
		return a, err
	})
}

func approvalDenyCommand() *cobra.Command {
	return decisionCommand(&cobra.Command{
		Use: "deny ID", Short: "Refuse a request",
		Long: `Refuse a request. It is shown first, and asked about unless --yes is given, as by
agent-vault approval allow; with --digest nothing is shown.`,
		Example: `  agent-vault approval deny 3
  agent-vault approval deny 3 --yes --note 'ask me in the morning'`,
	}, "Deny request %d?", func(ctx context.Context, client *api.Client, vaultName string, id int64, d api.ApprovalDecision) (api.ApprovalInfo, error) {
		return client.DenyRequest(ctx, vaultName, id, d)
	})
}

// takenWait is how long an agent that waits has to take a request that was allowed.
const takenWait = 2 * time.Second

// taken is a request that was allowed once it is sent, or, where nobody waits for it,
// as it is.
func taken(ctx context.Context, client *api.Client, vaultName string, a api.ApprovalInfo) (api.ApprovalInfo, error) {
	looks := time.NewTicker(takenWait / 10)
	defer looks.Stop()
	for range 10 {
		if a.Status != vault.HeldApproved {
			break
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-looks.C:
		}
		rv, err := client.Approval(ctx, vaultName, a.ID)
		if err != nil {
			return a, err
		}
		a = rv.ApprovalInfo
	}
	return a, nil
}

// decisionCommand is a command that decides. The request is shown to the person, and
// asked about, unless they have given the digest of what they have seen.
func decisionCommand(c *cobra.Command, question string, decide func(context.Context, *api.Client, string, int64, api.ApprovalDecision) (api.ApprovalInfo, error)) *cobra.Command {
	var sure confirmation
	var vaultName string
	var d api.ApprovalDecision
	var o output
	c.Args, c.ValidArgsFunction = exactly("ID"), arguments(approvalNumbers(true))
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := approvalID(c, args[0])
		if err != nil {
			return err
		}
		name := vaultOrDefault(vaultName)
		if d.Digest == "" {
			rv, err := byPerson(c, func(client *api.Client) (api.ApprovalReview, error) { return client.Approval(c.Context(), name, id) })
			if err != nil {
				return err
			}
			if rv.Status != vault.HeldPending {
				return fmt.Errorf("request %d does not wait for a decision any more: it is %s", id, rv.Status)
			}
			std := stdioOf(c)
			var b bytes.Buffer
			screenOf(std.err).approval(&b, rv, time.Now())
			if _, err := std.err.Write(b.Bytes()); err != nil {
				return err
			}
			if err := sure.ask(std, question, rv.ID); err != nil {
				return err
			}
			d.Digest = rv.Digest
		}
		a, err := byPerson(c, func(client *api.Client) (api.ApprovalInfo, error) { return decide(c.Context(), client, name, id, d) })
		if err != nil {
			return err
		}
		if a.Status == vault.HeldApproved {
			fmt.Fprintf(c.ErrOrStderr(), "nobody waits for request %d any more: it is sent if the agent sends it again until %s\n", a.ID, shownTime(a.ExpiresAt))
		}
		return o.print(c.OutOrStdout(), a, func(w io.Writer) { fmt.Fprintf(w, "request %d is %s\n", a.ID, plain(a.Status)) })
	}
	addVault(c, &vaultName)
	sure.add(c)
	c.Flags().StringVar(&d.Digest, "digest", "", "of what you have seen; anything else is refused")
	c.Flags().StringVar(&d.Note, "note", "", "what is recorded about it, and the agent is told where it is denied")
	o.add(c)
	return c
}

func approvalWatchCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "watch", Short: "Print requests as they begin to wait for a person",
		Long: `Print the requests that wait for a person, and then each as it begins to, until
Ctrl-C. With -o json each is a line.`,
		Example: `  agent-vault approval watch
  agent-vault approval watch --vault team-a -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			err := signedIn(c, func(client *api.Client) error { return watchApprovals(ctx, c, client, vaultOrAll(vaultName), &o) })
			if ctx.Err() != nil && c.Context().Err() == nil {
				return nil // Ctrl-C is how it ends
			}
			return err
		},
	}
	addVaultOrAll(c, &vaultName, "requests of this vault only")
	o.add(c)
	return c
}

// watchWait is how long a question for what is new waits.
const watchWait = 30 * time.Second

func watchApprovals(ctx context.Context, c *cobra.Command, client *api.Client, vaultName string, o *output) error {
	type number struct {
		vault string
		id    int64
	}
	known := make(map[number]bool)
	l, err := client.WatchApprovals(ctx, vaultName, true, "", 0, pageSize)
	for err == nil {
		now := make(map[number]bool, len(l.Approvals))
		for i := range l.Approvals {
			a := l.Approvals[len(l.Approvals)-1-i] // oldest first
			n := number{a.Vault, a.ID}
			now[n] = true
			if known[n] {
				continue
			}
			if err := o.printNext(c.OutOrStdout(), a, func(w io.Writer) {
				fmt.Fprintf(w, "%s %d: %s %s asks: %s\n", plain(a.Vault), a.ID, a.AskerKind, plain(a.AskedBy), plain(a.Method+" "+a.Target+a.Path))
			}); err != nil {
				return err
			}
		}
		known = now
		l, err = client.WatchApprovals(ctx, vaultName, true, l.Tag, watchWait, pageSize)
	}
	return err
}
