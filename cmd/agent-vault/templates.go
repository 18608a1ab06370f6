package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"agentvault/policy"
	"agentvault/policy/inject"
	"agentvault/policy/limit"
	"agentvault/vault"
)

// useTemplates puts the services at the top of a declaration into the vaults that
// use them: {use: NAME} is the service of that name, and fields beside it take the
// place of its own. What the server gets is whole.
func useTemplates(document any) error {
	top, _ := document.(map[string]any)
	templates, err := templatesOf(top)
	if err != nil {
		return err
	}
	delete(top, "services")
	vaults, _ := top["vaults"].([]any) // another type is refused with the rest
	unused := maps.Clone(templates)
	for i, v := range vaults {
		fields, _ := v.(map[string]any)
		services, _ := fields["services"].([]any)
		for j, s := range services {
			own, _ := s.(map[string]any)
			used, uses := own["use"]
			if !uses {
				continue
			}
			name, _ := used.(string)
			template, ok := templates[name]
			if !ok {
				return fmt.Errorf("vaults[%d].services[%d].use: there is no service %q at the top of the declaration", i, j, name)
			}
			delete(unused, name)
			service := maps.Clone(template)
			maps.Copy(service, own)
			delete(service, "use")
			services[j] = service
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unused)) {
		if err := checkUnused(name, unused[name]); err != nil {
			return fmt.Errorf("services: %w", err)
		}
	}
	return nil
}

// checkUnused checks what a service says that no vault uses, and that the server
// therefore does not get to see. It may leave out what a vault would add.
func checkUnused(name string, fields map[string]any) error {
	spelled, err := json.Marshal(fields)
	if err != nil { // it was JSON before
		return err
	}
	var s vault.Service
	if err := json.Unmarshal(spelled, &s); err != nil {
		return err
	}
	if s.Host == "" {
		s.Host = "host.example.com" // any, for its rules
	}
	if _, err := policy.Compile([]policy.Service{{Name: name, Scheme: s.Scheme, Host: s.Host, Rules: s.Rules}}); err != nil {
		return err
	}
	if s.Auth.Type() != "" {
		if _, err := inject.Parse(s.Auth); err != nil {
			return fmt.Errorf("service %q: %w", name, err)
		}
	}
	if _, err := s.Switches.Canonical(); err != nil {
		return fmt.Errorf("service %q: %w", name, err)
	}
	if _, _, err := limit.All(s.Limits, s.Rules); err != nil {
		return fmt.Errorf("service %q: %w", name, err)
	}
	return nil
}

func templatesOf(top map[string]any) (map[string]map[string]any, error) {
	list, ok := top["services"].([]any)
	if top["services"] != nil && !ok {
		return nil, fmt.Errorf("services: it is a list of services, for vaults to use")
	}
	templates := make(map[string]map[string]any, len(list))
	for i, s := range list {
		fields, _ := s.(map[string]any)
		name, _ := fields["name"].(string)
		switch {
		case name == "":
			return nil, fmt.Errorf("services[%d].name: it is missing; vaults use the service by it", i)
		case templates[name] != nil:
			return nil, fmt.Errorf("services[%d].name: %q stands there twice", i, name)
		case fields["use"] != nil:
			return nil, fmt.Errorf("services[%d].use: only the services of a vault use others", i)
		}
		templates[name] = fields
	}
	return templates, nil
}
