package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/api/shown"
	"agentvault/policy"
	"agentvault/policy/when"
	"agentvault/vault"
)

func policyCommand() *cobra.Command {
	return group("policy", "Ask what would happen to a request, and what a change would change",
		policyCheckCommand(), policyExplainCommand(), policyReplayCommand())
}

// findings are a decision's steps in words.
var findings = map[policy.Finding]string{
	policy.OtherPort:      "is for another scheme or port",
	policy.OtherAgent:     "is for other agents",
	policy.OtherSent:      "is for requests with its placeholder",
	policy.OtherPath:      "is for other paths",
	policy.Ended:          "has ended",
	policy.OtherMethod:    "is for other methods",
	policy.Unmet:          "its condition does not hold",
	policy.Untold:         "its condition cannot be told",
	policy.WantsBody:      "it depends on the body: give it with --body",
	policy.TwoReadings:    "the path could be read in two ways",
	policy.DisabledAnyway: "is disabled",
	policy.Matches:        "matches",
}

func policyCheckCommand() *cobra.Command {
	return askingCommand(&cobra.Command{
		Use:   "check METHOD URL",
		Short: "Say what would happen to a request, and why",
		Long: `Say what would happen if an agent of the vault sent this request, and why: which
service and rule decide, and which credentials go out. Nothing is sent. Limits,
the addresses of the host and the upstream are not looked at. Rules with
conditions are held against --agent, --header and --body; without --body it says
which of them depend on the body.`,
		Example: `  agent-vault policy check --vault default GET https://api.github.com/user
  agent-vault policy check POST api.stripe.com/v1/charges -o json
  agent-vault policy check POST api.example.com/pay -H 'Content-Type: application/json' --body '{"amount": 700}'`,
	}, printVerdict)
}

func policyExplainCommand() *cobra.Command {
	return askingCommand(&cobra.Command{
		Use:   "explain METHOD URL",
		Short: "Show all that a decision looks at, in its order",
		Long: `Show what would happen if an agent of the vault sent this request, as policy check
does, and on the way there each service of the host and each of its rules, with
what it came to.`,
		Example: `  agent-vault policy explain DELETE https://api.github.com/repos/acme/site
  agent-vault policy explain POST api.example.com/graphql --header 'Content-Type: application/json' --body @query.json`,
	}, func(w io.Writer, v api.PolicyVerdict) {
		for i, step := range v.Steps {
			fmt.Fprintf(w, "%2d. %s\n", i+1, shownStep(step))
		}
		printVerdict(w, v)
	})
}

// askingCommand makes of c a command that asks about a request.
func askingCommand(c *cobra.Command, print func(io.Writer, api.PolicyVerdict)) *cobra.Command {
	var o output
	var q api.PolicyQuestion
	var headers []string
	var body string
	c.Args, c.ValidArgsFunction = exactly("METHOD", "URL"), cobra.NoFileCompletions
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		q.Method, q.URL = strings.ToUpper(args[0]), args[1]
		if q.Headers, err = readHeaders(c, headers); err != nil {
			return err
		}
		if c.Flags().Changed("body") {
			if q.Bytes, err = readBody(c, body); err != nil {
				return err
			}
			if len(q.Bytes) == 0 {
				q.Content = new(string) // known to be empty
			}
		}
		return printAnswer(c, &o, func(client *api.Client) (api.PolicyVerdict, error) {
			q.Vault = vaultOrDefault(q.Vault)
			return client.CheckPolicy(c.Context(), q)
		}, print)
	}
	addVault(c, &q.Vault)
	c.Flags().StringVar(&q.Agent, "agent", "", "the agent that would send it")
	completeFlag(c, "agent", flagOf(agentNames))
	c.Flags().StringArrayVarP(&headers, "header", "H", nil, "a field of its header, as in 'Content-Type: application/json', repeatable")
	c.Flags().StringVar(&body, "body", "", "its body, of any bytes, @FILE for that of a file, @- for standard input")
	o.add(c)
	return c
}

func readHeaders(c *cobra.Command, given []string) (map[string]string, error) {
	if given == nil {
		return nil, nil
	}
	headers := make(map[string]string)
	for _, h := range given {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return nil, misused(c, "--header is written as 'Content-Type: application/json'")
		}
		headers[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return headers, nil
}

// readBody reads a body, or as much of it as shows that it is too long to be looked at.
func readBody(c *cobra.Command, given string) ([]byte, error) {
	in := io.Reader(strings.NewReader(given))
	if name, isFile := strings.CutPrefix(given, "@"); name == "-" && isFile {
		in = stdioOf(c).in
	} else if isFile {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, vault.MaxJudged+1))
}

// shownStep is a step of a decision, and what it came to.
func shownStep(s api.PolicyStep) string {
	what := "service " + plain(s.Service)
	if s.Rule != nil && s.RuleIndex != nil {
		what = fmt.Sprintf("rule %d of %s: %s", *s.RuleIndex, plain(s.Service), shownRule(*s.Rule))
	}
	words, known := findings[policy.Finding(s.Finding)]
	if !known { // of a newer server
		words = plain(s.Finding)
	}
	if s.Doubt != "" {
		words += ": " + shownDoubt(s.Doubt)
	}
	return what + ": " + words
}

// shownDoubt is why a condition cannot be told, in words.
func shownDoubt(name string) string {
	for d := when.NoDoubt; d.String() != "unknown"; d++ {
		if d.String() == name {
			return d.Words()
		}
	}
	return plain(name) // of a newer server
}

func printVerdict(w io.Writer, v api.PolicyVerdict) {
	fmt.Fprintln(w, plain(v.Explanation))
	pairs := []string{"request", v.Method + " " + v.Target + v.Path, "vault", v.Vault}
	if v.Service != "" {
		pairs = append(pairs, "service", v.Service)
	}
	if v.Rule != nil && v.RuleIndex != nil {
		pairs = append(pairs, "rule", fmt.Sprintf("%d: %s", *v.RuleIndex, shownRule(*v.Rule)))
	}
	for _, cr := range v.Credentials {
		shown := cr.Key
		if !cr.Present {
			shown += " (no value)"
		}
		pairs = append(pairs, "credential", shown)
	}
	for _, more := range v.Then {
		pairs = append(pairs, "then", more)
	}
	if v.Fault != "" {
		pairs = append(pairs, "agent gets", v.Fault)
	}
	facts(w, pairs...)
}

func shownRule(r policy.Rule) string {
	return shown.Rule(string(r.Action), r.Methods, r.Paths, r.Preset, r.When)
}

// replays is what policy replay prints: one for each vault of the file.
type replays struct {
	Replays []api.ReplayResponse `json:"replays"`
}

func policyReplayCommand() *cobra.Command {
	var o output
	var vaultName, since string
	var file fileFlag
	c := &cobra.Command{
		Use:   "replay -f FILE",
		Short: "List recorded requests that changed services would decide otherwise",
		Long: `Ask the services of a declaration about each request that was recorded, and list
the decisions that would differ from those of the services that the vaults have
now. Nothing is changed, and nothing is sent. The file is a declaration, or holds
the services of one vault, as service set takes them. A vault that the file gives
no services stays as it is, and is left out.

The log has the method and the path of a request, not its query, header or body:
where a condition about those decides, the request is counted, and not compared.`,
		Example: `  agent-vault policy replay --since 24h -f new.yaml
  agent-vault policy replay --vault default -f - -o json < new.yaml`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			std := stdioOf(c)
			if err := file.check(c); err != nil {
				return err
			}
			from, err := parseSince(since, time.Now())
			if err != nil {
				return err
			}
			requests, err := readReplays(string(file), std.in, vaultName, from)
			if err != nil {
				return err
			}
			return printAnswer(c, &o, func(client *api.Client) (replays, error) {
				all := replays{Replays: []api.ReplayResponse{}}
				for _, r := range requests {
					answer, err := client.ReplayPolicy(c.Context(), r)
					if err != nil {
						return all, err
					}
					all.Replays = append(all.Replays, answer)
				}
				return all, nil
			}, printReplays)
		},
	}
	c.Flags().StringVar(&vaultName, "vault", "", "of the file's vaults this one only")
	completeFlag(c, "vault", flagOf(vaultNames))
	file.add(c, "services (YAML or JSON), as service set takes them, or a declaration")
	addSince(c, &since)
	o.add(c)
	return c
}

// readReplays reads a declaration. Values of credentials are not fetched.
func readReplays(file string, stdin io.Reader, vaultName string, since time.Time) ([]api.ReplayRequest, error) {
	d, err := readEither(file, stdin, vaultOrDefault(vaultName))
	if err != nil {
		return nil, err
	}
	var requests []api.ReplayRequest
	for _, v := range d.Vaults {
		if v.Services == nil || vaultName != "" && v.Name != vaultName {
			continue
		}
		r := api.ReplayRequest{Vault: v.Name, Services: v.Services}
		if !since.IsZero() {
			r.Since = &since
		}
		requests = append(requests, r)
	}
	switch {
	case len(requests) == 0 && vaultName != "":
		return nil, fmt.Errorf("%s: it gives no services for a vault %s", file, vaultName)
	case len(requests) == 0:
		return nil, fmt.Errorf("%s: it gives no services for any vault", file)
	}
	return requests, nil
}

func printReplays(w io.Writer, all replays) {
	for _, r := range all.Replays {
		more := ""
		if n := r.Skipped - r.Unsure; n > 0 {
			more += fmt.Sprintf("; %d could not be replayed, since the log has not all of their path, or they were blind tunnels", n)
		}
		if r.Unsure > 0 {
			more += fmt.Sprintf("; of %d a condition decides, about more than their method and path, which is all that the log has", r.Unsure)
		}
		if r.Truncated {
			more += "; there are more than were looked at"
		}
		fmt.Fprintf(w, "vault %s: %d requests, %d decisions differ%s\n", plain(r.Vault), r.Requests, len(r.Flips), more)
		if len(r.Flips) == 0 {
			continue
		}
		list(w, []string{"TIMES", "LAST", "NOW", "THEN", "REQUEST", "AGENTS"}, r.Flips, func(f api.FlipInfo) []string {
			request := shownRequest(api.RequestInfo{Method: f.Method, Target: f.Target, Path: f.Path})
			return []string{strconv.FormatInt(f.Count, 10), shownTime(f.LastAt), shownDecision(f.Before), shownDecision(f.After), request, shownList(f.Agents)}
		})
	}
}

// shownDecision is a decision, and for a refusal why.
func shownDecision(d api.DecidedInfo) string {
	why := d.Service
	if d.Decision != "allow" {
		why = d.Reason
		if d.Service != "" {
			why += ", " + d.Service
		}
	}
	return fmt.Sprintf("%s (%s)", d.Decision, why)
}
