package vault

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"agentvault/policy"
	"agentvault/policy/inject"
)

// narrowAgents are the agents that are granted some of the vault's services
// only.
func narrowAgents(tx Tx, vaultID string) ([]Agent, error) {
	all, err := tx.ListAgents()
	return slices.DeleteFunc(all, func(a Agent) bool { return a.Vaults[vaultID].Services == nil }), err
}

// followers are what a proposal would change for agents with some services
// only. Those that asked are granted what they asked for.
func followers(v Vault, p Proposal, narrow []Agent, changes []ServiceDiff) (out []string) {
	for _, a := range narrow {
		g := a.Vaults[v.ID]
		if more := g.lacks(p); len(more) > 0 && slices.Contains(p.Askers, a.ID) {
			out = append(out, fmt.Sprintf("the agent %s may use some services only, and would be granted %s too", a.Name, strings.Join(more, ", ")))
		}
		for _, d := range changes {
			if d.Before != nil && d.After != nil && d.Before.Host != d.After.Host && g.includes(d.Name) {
				out = append(out, fmt.Sprintf("the agent %s may use the service %s, and would reach %s by it", a.Name, d.Name, d.After.Host))
			}
		}
	}
	return out
}

// lacks returns the services that a proposal sets and the grant leaves out.
func (g Grant) lacks(p Proposal) (names []string) {
	for _, s := range p.Services {
		if s.Action == ActionSet && !g.includes(s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

// warnings are what a person could overlook.
func warnings(v Vault, changes []ServiceDiff) []string {
	out := []string{}
	for _, d := range changes {
		if d.After == nil {
			if d.Before != nil && len(d.Before.Pins) > 0 {
				out = append(out, fmt.Sprintf("service %s goes, and the pins of %s with it: what is put there later has none", d.Name, d.Before.Host))
			}
			if d.Before != nil && v.UnmatchedHosts == UnmatchedTunnel {
				out = append(out, fmt.Sprintf("service %s goes, and the vault tunnels hosts without a service: agents would reach %s without its rules", d.Name, d.Before.Host))
			}
			continue
		}
		s := *d.After
		if strings.HasPrefix(s.Host, "*.") {
			out = append(out, fmt.Sprintf("service %s is for every host directly below %s", s.Name, strings.TrimPrefix(s.Host, "*.")))
		}
		if d.Before != nil && d.Before.Host != s.Host {
			out = append(out, fmt.Sprintf("service %s moves from %s to %s", s.Name, d.Before.Host, s.Host))
		}
		if d.Before != nil && len(d.Before.Rules) > 0 && allowsAll(s.Rules) {
			out = append(out, fmt.Sprintf("service %s loses its rules: every method and path would be allowed", s.Name))
		}
		if d.Before != nil && !d.Before.Enabled && s.Enabled {
			out = append(out, fmt.Sprintf("service %s is disabled, and would be enabled", s.Name))
		}
		if d.Before != nil && sameTarget(d.Before.Host, s.Host) && carried(*d.Before) == carried(s) && !sameAuth(d.Before.Auth, s.Auth) {
			out = append(out, fmt.Sprintf("service %s would have another auth with the same credentials: they may be good for more, or be sent in another way; look at what differs", s.Name))
		}
		out = append(out, v.switchWarnings(d)...)
		out = append(out, v.destinationWarnings(d)...)
	}
	return out
}

// sameAuth compares what two auths declare.
func sameAuth(a, b inject.Auth) bool {
	one, err := a.MarshalJSON()
	other, err2 := b.MarshalJSON()
	return err == nil && err2 == nil && bytes.Equal(one, other)
}

// destinationWarnings say where a service sends credentials: to its host, or first
// to those that give tokens for them; and where it has people sign in.
func (v Vault) destinationWarnings(d ServiceDiff) (out []string) {
	s := *d.After
	asked := s.tokenHosts()
	for _, host := range asked {
		if d.Before == nil || !slices.Contains(d.Before.tokenHosts(), host) {
			out = append(out, fmt.Sprintf("service %s asks %s for tokens, and sends it what %s holds", s.Name, host, strings.Join(s.Keys(), " and ")))
		}
	}
	if host := s.signInHost(); host != "" && (d.Before == nil || d.Before.signInHost() != host) {
		out = append(out, fmt.Sprintf("whoever connects an account of service %s signs in at %s", s.Name, host))
	}
	for _, key := range s.Keys() {
		for _, host := range append([]string{s.Host}, asked...) {
			if _, exists := v.Credentials[key]; exists && !goesTo(v, key, host) {
				out = append(out, fmt.Sprintf("credential %s exists, and would go to a host it never went to: %s", key, host))
			}
		}
	}
	return out
}

// tokenHosts are where the service's auth asks for tokens, as host or host:port.
func (s Service) tokenHosts() (hosts []string) {
	in, err := inject.Parse(s.Auth)
	m, mints := in.(inject.Minter)
	if err != nil || !mints {
		return nil
	}
	for _, endpoint := range m.Endpoints() {
		if t, _, _, err := policy.ParseURL(endpoint); err == nil && !slices.Contains(hosts, t.Authority()) {
			hosts = append(hosts, t.Authority())
		}
	}
	return hosts
}

// signInHost is where people connect an account of the service, as host or
// host:port; "" where there is none.
func (s Service) signInHost() string {
	if in, _ := connects(s); in != nil {
		return in.Authorizer()
	}
	return ""
}

// allowsAll reports whether rules let everything through, or their first that
// matches anything at all does.
func allowsAll(rules []policy.Rule) bool {
	if len(rules) == 0 {
		return true
	}
	last := rules[len(rules)-1]
	return (last.Action == "" || last.Action == policy.ActionAllow) && len(last.Methods) == 0 && len(last.Paths) == 0 && last.Preset == "" && last.When == ""
}

// openings are hosts that a service keeps closed, or by rules, and that another
// service would decide about once it has gone or moved.
func openings(v Vault, after []Service, changes []ServiceDiff) (out []string) {
	set, err := compileServices(after)
	if err != nil {
		return nil
	}
	for _, d := range changes {
		if d.Before == nil || d.After != nil && d.After.Host == d.Before.Host {
			continue
		}
		host := strings.TrimPrefix(d.Before.Host, "*.")
		if host != d.Before.Host {
			host = "any." + host // a name that the wildcard stands for
		}
		host, _, _ = strings.Cut(host, "/")
		t, err := policy.ParseTarget(cmp.Or(d.Before.Scheme, "https"), host)
		if err != nil {
			continue
		}
		now := set.Decide(policy.Query{Scheme: t.Scheme, Host: t.Host, Port: t.Port, Method: "GET", Path: "/"})
		if now.Service < 0 {
			continue
		}
		how := "goes"
		if d.After != nil {
			how = "moves"
		}
		was := ""
		switch {
		case !d.Before.Enabled:
			was = ", which it kept closed"
		case len(d.Before.Rules) > 0:
			was = ", which it kept to its rules"
		}
		if lost := without(d.Before.Pins, after[now.Service].Pins); len(lost) > 0 {
			was += ", without its pins"
		}
		out = append(out, fmt.Sprintf("service %s %s: %s, by %s, would decide about %s%s", d.Name, how, after[now.Service].Name, after[now.Service].Host, d.Before.Host, was))
	}
	return out
}

// goesTo reports whether a service of the vault sends the credential to that
// host already.
func goesTo(v Vault, key, host string) bool {
	return slices.ContainsFunc(v.Services, func(s Service) bool {
		return (s.Host == host || slices.Contains(s.tokenHosts(), host)) && slices.Contains(s.Keys(), key)
	})
}
