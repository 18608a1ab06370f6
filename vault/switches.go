package vault

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentvault/policy"
)

// Values of the switches of a service.
const (
	ScrubOff        = "off"
	UndecodablePass = "pass"

	scrubOn           = "on"
	undecodableRefuse = "refuse"
)

// Switches are what only a person sets of a service. The zero value is the
// strictest of what needs no knowledge of the upstream.
type Switches struct {
	// Scrub is "" where answers are searched for credentials (R10), which is
	// what "on" becomes, or ScrubOff.
	Scrub string `json:"scrub,omitempty"`

	// Undecodable is "" where answers that cannot be searched are refused, which
	// is what "refuse" becomes, or UndecodablePass.
	Undecodable string `json:"undecodable,omitempty"`

	// Pins are of public keys, "sha256/" and the base64 of the SHA-256 of a
	// SubjectPublicKeyInfo (RFC 7469 §2.4); sorted, each once. A chain to a root
	// must hold at least one of them. None: any chain to a root will do.
	Pins []string `json:"pins,omitempty"`

	// Upgrades are the protocols that a request may switch its connection to
	// (RFC 9110 §7.8), besides websocket, which always may: a name, and a version
	// behind a slash, in lower case, as in "spdy/3.1"; sorted, each once. What
	// comes back in one is not searched for credentials. None: none.
	Upgrades []string `json:"upgrades,omitempty"`

	// ExpiresAt is when the service ends: from then on it decides nothing, as if
	// it were not there. In UTC, to the second; zero for never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`

	// Agents are the names of those whose requests the service covers; sorted, each
	// once. None: everybody's, sessions' too.
	Agents []string `json:"agents,omitempty"`

	// Limits bound what goes through the service, whichever of its rules lets it
	// through. None: none.
	Limits []policy.Limit `json:"limits,omitempty"`
}

// Expired reports whether the service has ended.
func (s *Switches) Expired(now time.Time) bool {
	return !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt)
}

// Unexpired are the services that have not ended.
func Unexpired(services []Service, now time.Time) []Service {
	left := slices.DeleteFunc(slices.Clone(services), func(s Service) bool { return s.Expired(now) })
	for i := range left {
		left[i].Rules = endedRules(left[i].Rules, now)
	}
	return left
}

// endedRules says of rules which of them have ended.
func endedRules(rules []policy.Rule, now time.Time) []policy.Rule {
	has := func(r policy.Rule) bool {
		end := RuleEnd(r)
		return !end.IsZero() && !now.Before(end)
	}
	if !slices.ContainsFunc(rules, has) {
		return rules
	}
	rules = slices.Clone(rules)
	for i := range rules {
		rules[i].Ended = has(rules[i])
	}
	return rules
}

// RuleEnd is when a rule ends; zero: never. What is no time was over long ago.
func RuleEnd(r policy.Rule) time.Time {
	if r.ExpiresAt == "" {
		return time.Time{}
	}
	end, err := time.Parse(time.RFC3339, r.ExpiresAt)
	if err != nil {
		return time.Unix(0, 0).UTC()
	}
	return end
}

// canonicalEnds spells when rules end in one way.
func canonicalEnds(rules []policy.Rule) ([]policy.Rule, error) {
	rules = slices.Clone(rules)
	for i := range rules {
		if rules[i].ExpiresAt == "" {
			continue
		}
		end, err := time.Parse(time.RFC3339, rules[i].ExpiresAt)
		if err != nil || end.Year() < 2000 || end.Year() > 9999 {
			return nil, fmt.Errorf("rules[%d].expires_at: it is a time like 2026-01-02T15:04:05Z", i)
		}
		rules[i].ExpiresAt = end.UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	return rules, nil
}

const (
	maxPins     = 20 // of one service
	pinPrefix   = "sha256/"
	maxUpgrades = 10 // of one service
	maxUpgrade  = 64 // bytes
)

// PersonOnly reports whether a field of a service is one that a person sets, and
// that a proposal therefore does not have.
func PersonOnly(field string) bool {
	return slices.Contains([]string{"scheme", "scrub", "undecodable", "pins", "upgrades", "expires_at", "limits", "agents"}, field)
}

// PinOf is the pin of a public key, given as the DER of its SubjectPublicKeyInfo.
func PinOf(spki []byte) string {
	sum := sha256.Sum256(spki)
	return pinPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

// Canonical returns the switches as they are stored. The error names the field
// and repeats no value.
func (s Switches) Canonical() (Switches, error) {
	switch s.Scrub {
	case "", scrubOn:
		s.Scrub = ""
	case ScrubOff:
	default:
		return s, fmt.Errorf("scrub: it is neither %s nor %s", scrubOn, ScrubOff)
	}
	switch s.Undecodable {
	case "", undecodableRefuse:
		s.Undecodable = ""
	case UndecodablePass:
	default:
		return s, fmt.Errorf("undecodable: it is neither %s nor %s", undecodableRefuse, UndecodablePass)
	}
	if len(s.Pins) > maxPins {
		return s, fmt.Errorf("pins: at most %d", maxPins)
	}
	for i, p := range s.Pins {
		text, ok := strings.CutPrefix(p, pinPrefix)
		sum, err := base64.StdEncoding.Strict().DecodeString(text)
		if !ok || err != nil || len(sum) != sha256.Size || pinPrefix+base64.StdEncoding.EncodeToString(sum) != p {
			return s, fmt.Errorf("pins[%d]: a pin is sha256/ and the base64 of the SHA-256 of a public key's SubjectPublicKeyInfo, 44 characters that end with =", i)
		}
	}
	s.Pins = slices.Compact(slices.Sorted(slices.Values(s.Pins)))
	s.ExpiresAt = s.ExpiresAt.UTC().Truncate(time.Second)
	var err error
	if s.Upgrades, err = canonicalUpgrades(s.Upgrades); err != nil {
		return s, err
	}
	s.Agents, err = canonicalAgents(s.Agents)
	return s, err
}

// carriers are protocols by which more requests would go, on which nothing
// decides.
var carriers = []string{"h2c", "h2", "h3", "http", "tls", "connect-udp", "connect-ip", "connect-tcp", "connect-ethernet"}

func canonicalUpgrades(given []string) ([]string, error) {
	if len(given) > maxUpgrades {
		return nil, fmt.Errorf("upgrades: at most %d", maxUpgrades)
	}
	var all []string
	for i, u := range given {
		u = strings.ToLower(u)
		name, version, versioned := strings.Cut(u, "/")
		switch {
		case len(u) > maxUpgrade, !isProtocol(name), versioned && !isProtocol(version):
			return nil, fmt.Errorf("upgrades[%d]: an upgrade is the name of a protocol, perhaps with a version, as in spdy/3.1", i)
		case name == "websocket":
			return nil, fmt.Errorf("upgrades[%d]: websocket always passes, and is searched", i)
		case slices.Contains(carriers, name):
			return nil, fmt.Errorf("upgrades[%d]: %s would carry requests that nobody decides on", i, name)
		case name == "none": // what commands take to mean an empty list
			return nil, fmt.Errorf("upgrades[%d]: none is no protocol; a service without upgrades has an empty list", i)
		}
		all = append(all, u)
	}
	return slices.Compact(slices.Sorted(slices.Values(all))), nil
}

// isProtocol reports whether the text is a name or a version of a protocol.
func isProtocol(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_+") == ""
}

// SwitchWarnings are what is said to a person who turns a protection of a
// service off. before is nil for a new service.
func SwitchWarnings(before *Service, after Service) []string {
	var was Switches
	if before != nil && sameTarget(before.Host, after.Host) {
		was = before.Switches
	}
	var out []string
	if after.Scrub == ScrubOff && was.Scrub != ScrubOff {
		out = append(out, fmt.Sprintf("service %s is not scrubbed: if %s sends a credential back, the agent reads it", after.Name, after.Host))
	}
	if after.Undecodable == UndecodablePass && was.Undecodable != UndecodablePass {
		out = append(out, fmt.Sprintf("service %s passes answers that cannot be searched: a credential in one of %s reaches the agent", after.Name, after.Host))
	}
	if more := without(after.Upgrades, was.Upgrades); len(more) > 0 {
		out = append(out, fmt.Sprintf("service %s lets %s through: what comes back in it is not searched, so a credential in it reaches the agent", after.Name, strings.Join(more, " ")))
	}
	if before != nil && len(after.Agents) == 0 && len(before.Agents) > 0 {
		out = append(out, fmt.Sprintf("service %s would be for every agent, and was for %s only", after.Name, strings.Join(before.Agents, ", ")))
	}
	if lost := without(was.Pins, after.Pins); before != nil && len(lost) > 0 {
		out = append(out, fmt.Sprintf("service %s loses pins: %s", after.Name, strings.Join(lost, " ")))
	}
	return out
}

// EndWarnings are what is said to a person who saves a service, or rules of one, that
// has ended already: it decides nothing. before is nil for a new service.
func EndWarnings(before *Service, after Service, now time.Time) (out []string) {
	var was Service
	if before != nil {
		was = *before
	}
	if after.Expired(now) && !after.ExpiresAt.Equal(was.ExpiresAt) {
		out = append(out, fmt.Sprintf("service %s has ended already, at %s: it decides nothing", after.Name, after.ExpiresAt.UTC().Format(time.RFC3339)))
	}
	for i, r := range after.Rules {
		end := RuleEnd(r)
		if end.IsZero() || now.Before(end) || slices.ContainsFunc(was.Rules, func(old policy.Rule) bool { return RuleEnd(old).Equal(end) }) {
			continue
		}
		out = append(out, fmt.Sprintf("service %s: rules[%d] has ended already, at %s: it matches nothing", after.Name, i, end.UTC().Format(time.RFC3339)))
	}
	return out
}

// without is what of all is not in some.
func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(some, s) })
}

// target is the host and port of a canonical pattern, of https.
func target(host string) string {
	t, _, _ := strings.Cut(host, "/")
	return strings.TrimSuffix(t, ":443")
}

func sameTarget(a, b string) bool { return target(a) == target(b) }

// proposed is what a proposal's change makes of a service of the vault. What
// only a person sets stays as they have set it while the service stays where it
// is. On another host nothing that lets more through goes along. The pins that a
// host has do stay, whichever service it gets: an agent cannot take them off by
// putting a service of another name there.
func (v *Vault) proposed(c ServiceChange) Service {
	s := c.service()
	if at := v.service(s.Name); at >= 0 && v.Services[at].Host == s.Host {
		s.Switches = v.Services[at].Switches
		return s
	}
	if at := v.service(s.Name); at >= 0 {
		s.Agents = v.Services[at].Agents // or it would be everybody's
	}
	for _, old := range v.Services {
		if leadsTo(old.Host, s.Host) {
			s.Pins = append(s.Pins, old.Pins...)
		}
	}
	s.Pins = slices.Compact(slices.Sorted(slices.Values(s.Pins)))
	return s
}

// leadsTo reports whether two canonical patterns are of the same host and port,
// or the first is a wildcard for the second.
func leadsTo(pattern, host string) bool {
	parent, wildcard := strings.CutPrefix(target(pattern), "*.")
	_, above, _ := strings.Cut(target(host), ".")
	return sameTarget(pattern, host) || wildcard && parent == above
}

// switchWarnings are what a person could overlook about the switches of a
// service that a proposal changes.
func (v *Vault) switchWarnings(d ServiceDiff) (out []string) {
	s := d.After
	if d.Before != nil && d.Before.Host == s.Host {
		if s.Scrub == ScrubOff {
			out = append(out, fmt.Sprintf("service %s stays without scrubbing, as a person has set it: what it carries then, %s can send back to the agent", s.Name, s.Host))
		}
		if s.Undecodable == UndecodablePass {
			out = append(out, fmt.Sprintf("service %s goes on passing answers that cannot be searched, as a person has set it", s.Name))
		}
		if len(s.Upgrades) > 0 {
			out = append(out, fmt.Sprintf("service %s goes on letting %s through unsearched, as a person has set it", s.Name, strings.Join(s.Upgrades, " ")))
		}
		return out
	}
	if d.Before != nil && (d.Before.Scrub != "" || d.Before.Undecodable != "" || len(d.Before.Upgrades) > 0) {
		out = append(out, fmt.Sprintf("service %s moves, and would be scrubbed like any other: what a person turned off for %s does not go along", s.Name, d.Before.Host))
	}
	if d.Before != nil {
		if lost := without(d.Before.Pins, s.Pins); len(lost) > 0 {
			out = append(out, fmt.Sprintf("service %s moves, and the pins of %s do not go along", s.Name, d.Before.Host))
		}
	}
	if len(s.Pins) > 0 {
		out = append(out, fmt.Sprintf("service %s is for a host with pins, and would have them too", s.Name))
	}
	if d.Before != nil && len(d.Before.Limits) > 0 {
		out = append(out, fmt.Sprintf("service %s moves, and its limits do not go along", s.Name))
	}
	for _, old := range v.Services {
		if old.Name != s.Name && len(old.Limits) > 0 && leadsTo(old.Host, s.Host) {
			out = append(out, fmt.Sprintf("service %s has no limits, and is for the host of the service %s, which has some", s.Name, old.Name))
		}
	}
	return out
}
