package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/policy"
	"agentvault/policy/limit"
)

// A limitsFlag takes limits of a service, each as fields of it.
type limitsFlag struct {
	limits []policy.Limit
	none   bool
}

func (f *limitsFlag) String() string { return "" }
func (f *limitsFlag) Type() string   { return "LIMIT" }

// Set implements pflag.Value.
func (f *limitsFlag) Set(text string) error {
	if text == none {
		f.none = true
		return nil
	}
	fields := make(map[string]any)
	for _, pair := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("a limit is written like requests=100,window=1m, not %q", pair)
		}
		if _, twice := fields[name]; twice {
			return fmt.Errorf("%s stands there twice", name)
		}
		fields[name] = value
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && slices.Contains(countedFields, name) {
			fields[name] = n
		}
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.DisallowUnknownFields()
	var l policy.Limit
	if d.Decode(&l) != nil {
		return fmt.Errorf("a limit has one of %s and budget, and window, per, field, settle, name; counts are whole numbers", strings.Join(countedFields, ", "))
	}
	all := append(slices.Clone(f.limits), l)
	if _, _, err := limit.All(all, nil); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), fmt.Sprintf("limits[%d]: ", len(f.limits))))
	}
	f.limits = all
	return nil
}

var countedFields = []string{"requests", "concurrent", "request_bytes", "response_bytes", "uses"}

// list is what replaces the limits of a service.
func (f *limitsFlag) list() []policy.Limit {
	if f.limits == nil {
		return []policy.Limit{}
	}
	return f.limits
}

func serviceLimitsCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "limits NAME", Short: "Show a service's limits, and what is used up of them",
		Long: `Show a service's limits, and those of its rules. Of budgets and numbers of uses
it says what is used up, for each agent where they are per agent; requests, bytes
and what is open each server counts for itself.`,
		Example: `  agent-vault service limits stripe
  agent-vault service limits stripe --vault team-a -o json`,
		Args: exactly("NAME"), ValidArgsFunction: arguments(serviceNames),
		RunE: func(c *cobra.Command, args []string) error {
			name := vaultOrDefault(vaultName)
			return unlessListed(printAnswer(c, &o, func(client *api.Client) (api.LimitList, error) {
				return client.ServiceLimits(c.Context(), name, args[0])
			}, printLimits), "service list --vault "+name)
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

// A limitRow is a limit as one agent, or all together, have used it.
type limitRow struct {
	of   api.LimitInfo
	used api.LimitUsed
}

func printLimits(w io.Writer, l api.LimitList) {
	var rows []limitRow
	for _, info := range l.Limits {
		for _, used := range info.Used {
			rows = append(rows, limitRow{info, used})
		}
		if len(info.Used) == 0 {
			rows = append(rows, limitRow{info, api.LimitUsed{Used: "-", Left: "-"}})
		}
	}
	list(w, []string{"LIMIT", "OF", "AGENT", "USED", "LEFT"}, rows, func(r limitRow) []string {
		of := "the service"
		if r.of.Rule != nil {
			of = fmt.Sprintf("rule %d", *r.of.Rule)
		}
		return []string{r.of.Limit, of, cmp.Or(r.used.Agent, "-"), r.used.Used, r.used.Left}
	})
}
