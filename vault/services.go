package vault

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/policy/limit"
	"agentvault/vault/seal"
)

// Bounds of a vault's services.
const (
	maxServices    = 10_000
	maxDescription = 500 // characters
	maxRules       = 200 // of one service
)

// SetServices replaces all services of a vault and returns them as they are
// stored.
func (r *Registry) SetServices(ctx context.Context, c Caller, vaultName string, services []Service) ([]Service, error) {
	if err := actServices.admits(c); err != nil {
		return nil, err
	}
	checked, err := r.checkServices(services) // which takes its time, and needs no transaction
	if err != nil {
		return nil, err
	}
	v, err := r.change(ctx, c, actServices, vaultName, func(_ Tx, v *Vault) (string, error) {
		v.Services = checked
		return "set all services", nil
	})
	return v.Services, err
}

// AddServices adds services to those that a vault has, and sets credentials
// for them, as SetCredentials does, in one transaction. A service's name that is
// taken is refused.
func (r *Registry) AddServices(ctx context.Context, c Caller, vaultName string, added []Service, values map[string]seal.Plaintext, allowShort bool) ([]Service, error) {
	v, err := r.change(ctx, c, actServices, vaultName, func(tx Tx, v *Vault) (string, error) {
		if len(added) == 0 {
			return "", badRequest("services: none given")
		}
		if err := checkValues(values); err != nil {
			return "", err
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if err := r.setCredential(tx, v, key, values[key], allowShort); err != nil {
				return "", err
			}
		}
		var names []string
		for _, s := range added {
			if v.service(s.Name) >= 0 {
				return "", taken(s.Name)
			}
			names = append(names, s.Name)
		}
		all, err := r.checkServices(append(slices.Clone(v.Services), added...))
		v.Services = all
		return "add " + strings.Join(names, " "), err
	})
	if err != nil {
		return nil, err
	}
	return v.Services[len(v.Services)-len(added):], nil
}

// EnableService enables or disables a service.
func (r *Registry) EnableService(ctx context.Context, c Caller, vaultName, name string, enabled bool) (Service, error) {
	a := actServices
	if !enabled {
		a = actDisable
	}
	var s Service
	_, err := r.change(ctx, c, a, vaultName, func(_ Tx, v *Vault) (string, error) {
		at, err := v.mustHave(name)
		if err != nil {
			return "", err
		}
		if enabled && v.Services[at].Expired(r.now()) {
			return "", refuse(CodeConflict, "the service %q has ended; say how long it lasts now, or that it does for good", name)
		}
		v.Services = slices.Clone(v.Services)
		v.Services[at].Enabled = enabled
		s = v.Services[at]
		if enabled {
			return "enable " + name, nil
		}
		return "disable " + name, nil
	})
	return s, err
}

// A SwitchChange says what becomes of a service's switches; nil leaves one.
type SwitchChange struct {
	Scrub, Undecodable *string
	Pins               []string       // empty: none any more
	Upgrades           []string       // likewise
	Limits             []policy.Limit // likewise
	Lasts              *time.Duration // from now; 0: for good
}

// SetSwitches changes switches of a service.
func (r *Registry) SetSwitches(ctx context.Context, c Caller, vaultName, name string, ch SwitchChange) (Service, error) {
	var s Service
	_, err := r.change(ctx, c, actServices, vaultName, func(_ Tx, v *Vault) (string, error) {
		at, err := v.mustHave(name)
		if err != nil {
			return "", err
		}
		s = v.Services[at]
		var set []string
		if ch.Scrub != nil {
			s.Scrub, set = *ch.Scrub, append(set, "scrub")
		}
		if ch.Undecodable != nil {
			s.Undecodable, set = *ch.Undecodable, append(set, "undecodable")
		}
		if ch.Pins != nil {
			s.Pins, set = ch.Pins, append(set, "pins")
		}
		if ch.Upgrades != nil {
			s.Upgrades, set = ch.Upgrades, append(set, "upgrades")
		}
		if ch.Limits != nil {
			s.Limits, set = ch.Limits, append(set, "limits")
		}
		if ch.Lasts != nil {
			s.ExpiresAt, set = r.endOf(*ch.Lasts), append(set, "expires_at")
			if err := checkLasts(*ch.Lasts); err != nil {
				return "", err
			}
		}
		if set == nil {
			return "", badRequest("scrub, undecodable, pins, upgrades, limits or lasts: give at least one")
		}
		if err := r.checkService(&s); err != nil {
			return "", err
		}
		v.Services = slices.Clone(v.Services)
		v.Services[at] = s
		return fmt.Sprintf("set %s of %s", strings.Join(set, " "), name), nil
	})
	return s, err
}

// RemoveService removes a service.
func (r *Registry) RemoveService(ctx context.Context, c Caller, vaultName, name string) error {
	_, err := r.change(ctx, c, actServices, vaultName, func(_ Tx, v *Vault) (string, error) {
		at, err := v.mustHave(name)
		if err != nil {
			return "", err
		}
		v.Services = slices.Delete(slices.Clone(v.Services), at, at+1)
		return "remove " + name, nil
	})
	return err
}

// service returns the index of a service, or -1.
func (v *Vault) service(name string) int {
	return slices.IndexFunc(v.Services, func(s Service) bool { return s.Name == name })
}

func (v *Vault) mustHave(name string) (int, error) {
	at := v.service(name)
	if at < 0 {
		return -1, refuse(CodeNotFound, "there is no service %q in the vault %s", shorten(name), v.Name)
	}
	return at, nil
}

// checkServices returns the services in canonical form, or an error that names
// the service and the field.
func (r *Registry) checkServices(services []Service) ([]Service, error) {
	if len(services) > maxServices {
		return nil, badRequest("a vault has at most %d services", maxServices)
	}
	out := append([]Service{}, services...)
	rules := make([]policy.Service, len(out))
	names := make(map[string]bool, len(out))
	for i := range out {
		s := &out[i]
		if err := r.checkService(s); err != nil {
			return nil, err
		}
		if names[s.Name] {
			return nil, badRequest("service %q stands there twice", s.Name)
		}
		names[s.Name] = true
		rules[i] = s.Policy()
	}
	if _, err := policy.Compile(rules); err != nil {
		return nil, &Error{Code: CodeBadRequest, Message: err.Error()}
	}
	if err := inject.Distinct(claims(out)); err != nil {
		return nil, &Error{Code: CodeBadRequest, Message: err.Error()}
	}
	return out, nil
}

// claims are the placeholders that services write out. The dummies of credentials
// differ from those, and from each other.
func claims(services []Service) (all []inject.Claim) {
	for _, s := range services {
		if c := s.claim(); c.Placeholder != "" && c.Placeholder != PlaceholderDummy {
			all = append(all, c)
		}
		for _, x := range s.Substitutions {
			if x.Placeholder != "" {
				all = append(all, inject.Claim{Service: s.Name, Placeholder: x.Placeholder, For: x.Credential})
			}
		}
	}
	return all
}

func (r *Registry) checkService(s *Service) error {
	if err := checkName("service", s.Name); err != nil {
		return err
	}
	bad := func(err error) error {
		return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("service %q: %v", s.Name, err)}
	}
	host, err := policy.CanonicalPattern(s.Host)
	if err != nil {
		return bad(err)
	}
	s.Host = host
	if name := policy.PatternHost(host); policy.IsLocalName(name) && !r.development {
		return badRequest("service %q: host %q is a local name; only a server in development mode takes those", s.Name, name)
	}
	in, err := inject.Parse(s.Auth)
	if err != nil {
		return bad(err)
	}
	if s.Substitutions, err = inject.CanonicalSubstitutions(s.Substitutions, in.Slots()); err != nil {
		return bad(err)
	}
	if _, shows := in.(inject.Certifier); shows && s.Scheme == "http" {
		return badRequest("service %q: auth mtls: over http there is no connection to show a certificate on", s.Name)
	}
	if err := s.checkPlaceholder(); err != nil {
		return bad(err)
	}
	if s.Switches, err = s.Switches.Canonical(); err != nil {
		return bad(err)
	}
	if _, _, err := limit.All(s.Limits, s.Rules); err != nil {
		return bad(err)
	}
	if s.Rules, err = canonicalEnds(s.Rules); err != nil {
		return bad(err)
	}
	switch {
	case len(s.Pins) > 0 && s.Scheme == "http":
		return badRequest("service %q: pins: over http there is no certificate to hold against them", s.Name)
	case !isText(s.Description, maxDescription):
		return badRequest("service %q: description: at most %d characters of UTF-8 without control characters", s.Name, maxDescription)
	case len(s.Rules) > maxRules:
		return badRequest("service %q: rules: at most %d", s.Name, maxRules)
	}
	return nil
}

func isText(s string, maxChars int) bool {
	return utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxChars &&
		strings.IndexFunc(s, func(c rune) bool { return unicode.IsControl(c) && c != '\n' && c != '\t' }) < 0
}

// isLine is isText on one line, without characters that change how the others
// are shown: a label stands in lists.
func isLine(s string, maxChars int) bool {
	return isText(s, maxChars) && strings.IndexFunc(s, func(c rune) bool { return c == '\n' || c == '\t' || unicode.In(c, unicode.Cf, unicode.Zl, unicode.Zp) }) < 0
}
