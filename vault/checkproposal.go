package vault

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// checkProposal returns what is asked for in canonical form, or an error that
// names the field. It tries the change on the vault as it is.
func (r *Registry) checkProposal(v Vault, n NewProposal) (Proposal, error) {
	p := Proposal{Message: n.Message, UserMessage: n.UserMessage}
	switch {
	case len(n.Services) == 0 && len(n.Credentials) == 0:
		return p, badRequest("services: name at least one service or credential")
	case len(n.Services) > maxProposed:
		return p, badRequest("services: at most %d in one proposal", maxProposed)
	case len(n.Credentials) > maxProposed:
		return p, badRequest("credentials: at most %d in one proposal", maxProposed)
	case !isText(n.Message, maxMessage):
		return p, badRequest("message: at most %d characters of UTF-8 without control characters", maxMessage)
	case !isText(n.UserMessage, maxUserMessage):
		return p, badRequest("user_message: at most %d characters of UTF-8 without control characters", maxUserMessage)
	}
	p.Services, p.Credentials = slices.Clone(n.Services), slices.Clone(n.Credentials)
	for i := range p.Services {
		if err := r.checkServiceChange(v, &p.Services[i]); err != nil {
			return p, errorAt(fmt.Sprintf("services[%d]", i), err)
		}
	}
	seen := make(map[string]bool)
	for i := range p.Credentials {
		slot := &p.Credentials[i]
		value, given := n.Values[slot.Key]
		if err := checkSlot(v, slot, value, given); err != nil {
			return p, errorAt(fmt.Sprintf("credentials[%d]", i), err)
		}
		if seen[slot.Key] {
			return p, badRequest("credentials[%d]: key: %s stands there twice", i, slot.Key)
		}
		seen[slot.Key] = true
	}
	after, err := r.merge(v, p)
	if err != nil {
		return p, err
	}
	if len(p.Credentials) == 0 && sameServices(v.Services, after) {
		return p, refuse(CodeConflict, "nothing would change: the vault has these services already")
	}
	return p, checkKeys(v, after, p)
}

func (r *Registry) checkServiceChange(v Vault, s *ServiceChange) error {
	if s.Action != ActionSet && s.Action != ActionDelete {
		return badRequest("action: %q is neither set nor delete", shorten(s.Action))
	}
	if s.Host != "" {
		host, err := policy.CanonicalPattern(s.Host)
		if err != nil {
			return &Error{Code: CodeBadRequest, Message: "host: " + err.Error()}
		}
		s.Host = host
	}
	if err := nameByHost(v, s); err != nil {
		return err
	}
	if s.Action == ActionDelete {
		if s.Auth != nil || s.Rules != nil || s.Substitutions != nil || s.Placeholder != "" || s.Enabled != nil || s.Description != "" {
			return badRequest("a service that is deleted has a name or host, and nothing else")
		}
		at, err := v.mustHave(s.Name)
		if err == nil && s.Host != "" && s.Host != v.Services[at].Host {
			err = badRequest("host: the service %s has another one, %s", s.Name, v.Services[at].Host)
		}
		return err
	}
	if s.Host == "" {
		return badRequest("host: it is missing")
	}
	if _, err := netip.ParseAddr(policy.PatternHost(s.Host)); err == nil {
		return badRequest("host: an agent cannot propose an address; name a host")
	}
	if strings.HasSuffix(policy.PatternHost(s.Host), ".internal") && !r.development { // ICANN keeps it for private networks
		return badRequest("host: an agent cannot propose a host of a private network; a person can add it")
	}
	service := s.service()
	err := r.checkService(&service)
	s.Substitutions = service.Substitutions
	return err
}

// nameByHost fills in the name where the host says which service is meant.
func nameByHost(v Vault, s *ServiceChange) error {
	if s.Name != "" {
		return nil
	}
	if s.Host == "" {
		return badRequest("name: give a name or a host")
	}
	for _, old := range v.Services {
		if old.Host != s.Host {
			continue
		}
		if s.Name != "" {
			return badRequest("name: several services have the host %s; name one", s.Host)
		}
		s.Name = old.Name
	}
	if s.Name != "" {
		return nil
	}
	if s.Action == ActionDelete {
		return refuse(CodeNotFound, "there is no service with the host %s in the vault %s", s.Host, v.Name)
	}
	s.Name = NameFor(s.Host)
	if v.service(s.Name) >= 0 {
		return badRequest("name: give one; %s is taken", s.Name)
	}
	return nil
}

// NameFor makes a service's name of its host.
func NameFor(host string) string {
	name := strings.Trim(strings.Map(func(c rune) rune {
		if 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			return c
		}
		return '-'
	}, host), "-")
	return name[:min(len(name), 64)]
}

func checkSlot(v Vault, slot *CredentialSlot, value seal.Plaintext, given bool) error {
	slot.HasValue = given
	switch {
	case slot.Action != ActionSet && slot.Action != ActionDelete:
		return badRequest("action: %q is neither set nor delete", shorten(slot.Action))
	case !inject.ValidKey(slot.Key):
		return badRequest("key: it has A-Z, 0-9 and _, and begins with a letter") // it may be a value
	case !isText(slot.Description, maxDescription):
		return badRequest("description: at most %d characters of UTF-8 without control characters", maxDescription)
	case !isText(slot.ObtainInstructions, maxObtainInstructions):
		return badRequest("obtain_instructions: at most %d characters of UTF-8 without control characters", maxObtainInstructions)
	case !isObtain(slot.Obtain):
		return badRequest("obtain: an http or https URL of at most %d characters", maxObtain)
	case slot.Action == ActionDelete && given:
		return badRequest("value: a credential that is deleted has none")
	case slot.Action == ActionDelete:
		return v.mustHold(slot.Key)
	case given:
		if err := checkValue(slot.Key, value.Bytes()); err != nil {
			return err
		}
		if value.Len() < MinValue {
			return badRequest("value: the value of %s is shorter than %d bytes, so an answer that gives it back could not be scrubbed; leave it out, so that a person can give one", slot.Key, MinValue)
		}
	}
	return nil
}

func isObtain(s string) bool {
	if s == "" {
		return true
	}
	u, err := url.Parse(s)
	return err == nil && isLine(s, maxObtain) && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
}

// merge returns the vault's services as the proposal would make them.
func (r *Registry) merge(v Vault, p Proposal) ([]Service, error) {
	out := Vault{Name: v.Name, Services: slices.Clone(v.Services)}
	touched := make(map[string]bool)
	for i, change := range p.Services {
		if touched[change.Name] {
			return nil, badRequest("services[%d]: name: %s stands there twice", i, change.Name)
		}
		touched[change.Name] = true
		at := out.service(change.Name)
		switch {
		case change.Action == ActionDelete && at < 0:
			return nil, refuse(CodeNotFound, "services[%d]: there is no service %q in the vault %s", i, change.Name, v.Name)
		case change.Action == ActionDelete:
			out.Services = slices.Delete(out.Services, at, at+1)
		case at < 0:
			out.Services = append(out.Services, v.proposed(change))
		default:
			out.Services[at] = v.proposed(change)
		}
	}
	checked, err := r.checkServices(out.Services)
	if err != nil {
		return nil, err
	}
	return checked, r.checkDummies(Vault{ID: v.ID, Services: checked})
}

// checkKeys: every key that a proposed service refers to exists or is a slot,
// and no key that is deleted is still referred to.
func checkKeys(v Vault, after []Service, p Proposal) error {
	slots := make(map[string]string) // key → action
	for _, slot := range p.Credentials {
		slots[slot.Key] = slot.Action
	}
	proposed := make(map[string]bool)
	for _, s := range p.Services {
		proposed[s.Name] = true
	}
	for _, s := range after {
		for _, key := range s.Keys() {
			_, exists := v.Credentials[key]
			switch {
			case slots[key] == ActionDelete:
				return badRequest("credentials: %s cannot be deleted, the service %s uses it", key, s.Name)
			case proposed[s.Name] && !exists && slots[key] == "":
				return badRequest("services: %s refers to the credential %s, which the vault does not have; add it to credentials, so that a person can give its value", s.Name, key)
			}
		}
	}
	return nil
}
