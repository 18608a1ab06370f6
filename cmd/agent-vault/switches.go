package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/policy/limit"
	"agentvault/vault"
)

// none is what flags that replace a list take to mean an empty one.
const none = "none"

// switchFlags are what only a person sets of a service.
type switchFlags struct {
	scrub, undecodable string
	pins, upgrades     []string
	limits             limitsFlag
	lasts              lastsFlag
}

var switchNames = []string{"scrub", "undecodable", "pin", "upgrade", "limit", "for"}

func (f *switchFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.scrub, "scrub", "", "off: do not search its answers for credentials (default on)")
	flags.StringVar(&f.undecodable, "undecodable", "", "pass: let answers through that cannot be searched (default refuse)")
	flags.StringArrayVar(&f.pins, "pin", nil, "public key that the upstream's chain must hold, as sha256/BASE64, repeatable")
	flags.StringArrayVar(&f.upgrades, "upgrade", nil, "protocol that requests may switch to besides websocket, unsearched, as spdy/3.1, repeatable")
	flags.Var(&f.limits, "limit", "limit, as requests=100,window=1m or budget=500.00,field=amount,window=24h,per=agent, repeatable")
	f.lasts.add(c, "how long the service lasts, as 1h or 24h, or good (default good)")
	completeFlag(c, "scrub", fixed("on", "off"))
	completeFlag(c, "undecodable", fixed("refuse", "pass"))
}

// patch is the change that the flags ask for.
func (f *switchFlags) patch(c *cobra.Command) (p api.ServicePatch, err error) {
	given := false
	for flag, into := range map[string]func(){
		"scrub":       func() { p.Scrub = &f.scrub },
		"undecodable": func() { p.Undecodable = &f.undecodable },
		"pin":         func() { p.Pins = orNone(f.pins) },
		"upgrade":     func() { p.Upgrades = orNone(f.upgrades) },
		"limit":       func() { p.Limits = f.limits.list() },
		"for":         func() { p.LastsSeconds = f.lasts.seconds() },
	} {
		if c.Flags().Changed(flag) {
			given = true
			into()
		}
	}
	if !given {
		return p, misused(c, "nothing is given to set: --scrub, --undecodable, --pin, --upgrade, --limit or --for")
	}
	return p, nil
}

func orNone(list []string) []string {
	if slices.Equal(list, []string{none}) {
		return []string{}
	}
	return list
}

// setSwitches changes switches of one service.
func setSwitches(c *cobra.Command, vaultName, name string, f *switchFlags, sure *confirmation, o *output) error {
	p, err := f.patch(c)
	if err != nil {
		return err
	}
	before, err := serviceOf(c, vaultName, name)
	if err != nil {
		return err
	}
	after, err := applied(p, before)
	if err != nil {
		return &usageError{err}
	}
	if err := confirmSwitches(c, vault.SwitchWarnings(&before, after), sure); err != nil {
		return err
	}
	return printAnswer(c, o, func(client *api.Client) (vault.Service, error) {
		return client.ChangeService(c.Context(), vaultName, name, p)
	}, func(w io.Writer, s vault.Service) {
		fmt.Fprintf(w, "%s in the vault %s: %s\n", plain(s.Name), plain(vaultName), plainService(s))
	})
}

// applied is the service as the change would make it.
func applied(p api.ServicePatch, s vault.Service) (vault.Service, error) {
	if p.Scrub != nil {
		s.Scrub = *p.Scrub
	}
	if p.Undecodable != nil {
		s.Undecodable = *p.Undecodable
	}
	if p.Pins != nil {
		s.Pins = p.Pins
	}
	if p.Upgrades != nil {
		s.Upgrades = p.Upgrades
	}
	if p.Limits != nil {
		s.Limits = p.Limits
	}
	var err error
	s.Switches, err = s.Switches.Canonical()
	return s, err
}

// confirmSwitches warns of protections that would be turned off, and asks.
func confirmSwitches(c *cobra.Command, warnings []string, sure *confirmation) error {
	sayWarnings(c.ErrOrStderr(), warnings)
	if len(warnings) == 0 {
		return nil
	}
	return sure.ask(stdioOf(c), "Is that meant?")
}

func sayWarnings(w io.Writer, warnings []string) {
	for _, text := range warnings {
		fmt.Fprintf(w, "warning: %s\n", plain(text))
	}
}

// switchWarnings are those of services that replace others.
func switchWarnings(before, after []vault.Service) (all []string) {
	for _, d := range serviceDiffs(before, after) {
		if d.After != nil {
			all = append(all, vault.SwitchWarnings(d.Before, *d.After)...)
		}
	}
	return all
}

// endWarnings are those of services that replace others.
func endWarnings(before, after []vault.Service, now time.Time) (all []string) {
	for _, d := range serviceDiffs(before, after) {
		if d.After != nil {
			all = append(all, vault.EndWarnings(d.Before, *d.After, now)...)
		}
	}
	return all
}

// shownSwitches are the switches that are not as usual, "" for none.
func shownSwitches(s vault.Switches) string {
	var parts []string
	if s.Scrub != "" {
		parts = append(parts, "scrub "+s.Scrub)
	}
	if s.Undecodable != "" {
		parts = append(parts, "undecodable "+s.Undecodable)
	}
	if len(s.Pins) > 0 {
		parts = append(parts, counted(len(s.Pins), "pin"))
	}
	if len(s.Upgrades) > 0 {
		parts = append(parts, "upgrades "+strings.Join(s.Upgrades, " "))
	}
	if len(s.Agents) > 0 {
		parts = append(parts, "agents "+strings.Join(s.Agents, " "))
	}
	if len(s.Limits) > 0 {
		parts = append(parts, "at most "+strings.Join(limit.Words(s.Limits), ", "))
	}
	if end := s.ExpiresAt; !end.IsZero() {
		parts = append(parts, "until "+end.Format(time.RFC3339))
	}
	return strings.Join(parts, ", ")
}

// A lastsFlag is how long a service lasts: a duration, or good.
type lastsFlag struct {
	lasts time.Duration // 0: for good
	given bool
}

func (f *lastsFlag) add(c *cobra.Command, usage string) {
	c.Flags().Var(f, "for", usage)
	completeFlag(c, "for", fixed("1h", "24h", forGood))
}

const forGood = "good"

// Set implements pflag.Value.
func (f *lastsFlag) Set(text string) error {
	f.lasts, f.given = 0, true
	if text == forGood {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > vault.MaxLasts {
		return fmt.Errorf("give a time, as 90m or 24h, of at most %d days, or %s", vault.MaxLasts/(24*time.Hour), forGood)
	}
	f.lasts = d
	return nil
}

// String implements pflag.Value.
func (f *lastsFlag) String() string {
	switch {
	case !f.given:
		return ""
	case f.lasts == 0:
		return forGood
	}
	return f.lasts.String()
}

// Type implements pflag.Value.
func (f *lastsFlag) Type() string { return "duration" }

// seconds is what the API is told; nil when nothing was given.
func (f *lastsFlag) seconds() *int64 {
	if !f.given {
		return nil
	}
	n := int64(f.lasts / time.Second)
	return &n
}

// end is when what lasts so long from now ends.
func (f *lastsFlag) end(now time.Time) time.Time {
	if f.lasts == 0 {
		return time.Time{}
	}
	return now.Add(f.lasts)
}

// withSwitches adds to what is said of a service its switches.
func withSwitches(text string, s vault.Service) string {
	if more := shownSwitches(s.Switches); more != "" {
		text += ", " + plain(more)
	}
	return text
}

// allowShort is the flag by which a person takes values that are too short to be
// found in answers.
func allowShort(c *cobra.Command, into *bool) {
	c.Flags().BoolVar(into, "allow-short", false, fmt.Sprintf("take values of less than %d bytes too, which an agent may get to read", vault.MinValue))
}

// warnShort warns of the short ones of values that were stored.
func warnShort(w io.Writer, values map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if len(values[key]) < vault.MinValue {
			fmt.Fprintf(w, "warning: the value of %s is shorter than %d bytes: answers cannot be searched for it, and an agent may read it\n", plain(key), vault.MinValue)
		}
	}
}
