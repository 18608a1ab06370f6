package api_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"agentvault/api"
)

// TestSkill: the manual is short, has the head that agents look for, and every
// route in it is one.
func TestSkill(t *testing.T) {
	text := api.Skill()
	if n := strings.Count(text, "\n"); n > 120 {
		t.Errorf("%d lines: an agent pays for each", n)
	}
	parts := strings.SplitN(text, "---\n", 3)
	var head struct{ Name, Description string }
	if err := yaml.Unmarshal([]byte(parts[1]), &head); err != nil || head.Name != "agent-vault" || len(head.Description) == 0 || len(head.Description) > 1024 {
		t.Errorf("%v %+v", err, head)
	}
	var routes []string
	for _, o := range operations(document(t)) {
		routes = append(routes, o.path)
	}
	found := regexp.MustCompile(`\$AGENT_VAULT_ADDR(/[a-z0-9/._-]*)`).FindAllStringSubmatch(text, -1)
	for _, m := range found {
		path := regexp.MustCompile(`/\d+$`).ReplaceAllString(m[1], "/{id}")
		if !strings.HasPrefix(path, "/proxy/") && !slices.Contains(routes, path) {
			t.Errorf("there is no route %s", path)
		}
	}
	if len(found) < 5 {
		t.Errorf("%d URLs found: %q", len(found), found)
	}
}
