package vault

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"agentvault/policy/inject"
)

// PlaceholderDummy is the [Service].Placeholder that stands for the dummy of the
// first credential of its auth.
const PlaceholderDummy = "dummy"

const maxAgents = 100 // that one service names

// chosenBy is what tells the placeholder of a service from others in a vault,
// whose key need not be known; "" for none.
func (s Service) chosenBy() string {
	if s.Placeholder != PlaceholderDummy {
		return s.Placeholder
	}
	return "dummy of " + s.firstKey()
}

// firstKey is the first credential of the auth, "" for none.
func (s Service) firstKey() string {
	if in, err := inject.Parse(s.Auth); err == nil && len(in.Keys()) > 0 {
		return in.Keys()[0]
	}
	return ""
}

// Chooser is the placeholder by which requests choose the service, "" for none.
func (s Service) Chooser(dummyOf func(key string) string) string {
	if s.Placeholder == PlaceholderDummy {
		return dummyOf(s.firstKey())
	}
	return s.Placeholder
}

// Choosers are the placeholders by which requests choose among services, and what
// a policy.Query calls them.
func Choosers(services []Service, dummyOf func(key string) string) map[string]string {
	var all map[string]string
	for _, s := range services {
		if text := s.Chooser(dummyOf); text != "" {
			if all == nil {
				all = make(map[string]string)
			}
			all[text] = s.chosenBy()
		}
	}
	return all
}

func (s Service) checkPlaceholder() error {
	switch {
	case s.Placeholder == "":
		return nil
	case s.firstKey() == "":
		return errors.New("placeholder: the service's auth has no credential, so that there is nothing to choose")
	case s.Placeholder == PlaceholderDummy:
		return nil
	}
	if err := inject.CheckPlaceholder(s.Placeholder); err != nil {
		return fmt.Errorf("placeholder: %w", err)
	}
	return nil
}

// claim is what the placeholder of a service stands for.
func (s Service) claim() inject.Claim {
	in, err := inject.Parse(s.Auth)
	if err != nil {
		return inject.Claim{}
	}
	return inject.Claim{Service: s.Name, Placeholder: s.Placeholder, For: strings.Join(in.Keys(), " ")}
}

func canonicalAgents(given []string) ([]string, error) {
	switch {
	case given != nil && len(given) == 0:
		return nil, errors.New("agents: an empty list would be for nobody; leave it out for everybody")
	case len(given) > maxAgents:
		return nil, fmt.Errorf("agents: at most %d", maxAgents)
	}
	for i, name := range given {
		if err := checkName("agent", name); err != nil {
			return nil, fmt.Errorf("agents[%d]: %w", i, err)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(given))), nil
}

// isFor reports whether the service is for an agent; nil for none.
func (s Service) isFor(a *Agent) bool {
	return s.Agents == nil || a != nil && slices.Contains(s.Agents, a.Name)
}

// renameIn lets services that name an agent name it by its next name: it would get
// another service otherwise, or none.
func renameIn(tx Tx, a *Agent, next string) error {
	for id := range a.Vaults {
		v, err := tx.VaultByID(id)
		if err != nil {
			return err
		}
		changed := false
		v.Services = slices.Clone(v.Services)
		for i := range v.Services {
			if at := slices.Index(v.Services[i].Agents, a.Name); at >= 0 {
				names := slices.Clone(v.Services[i].Agents)
				names[at], changed = next, true
				v.Services[i].Agents = slices.Compact(slices.Sorted(slices.Values(names)))
			}
		}
		if changed {
			if err := tx.PutVault(v); err != nil {
				return err
			}
		}
	}
	return nil
}
