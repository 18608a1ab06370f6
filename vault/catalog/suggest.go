package catalog

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// maxSuggest bounds what Suggest compares, in bytes: no name is longer.
const maxSuggest = 64

// minWord keeps words like "api" and "ai" from finding whoever has them in a
// title or at the beginning of a name.
const minWord = 4

// Suggest returns the name of the entry that a mistyped name most likely
// means, or "" when none is near. It knows the words of titles too, so that
// "jira" finds atlassian.
func Suggest(name string) string {
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" || len(name) > maxSuggest {
		return ""
	}
	entries := embedded()
	for _, e := range entries {
		if e.Name == name || plain(e.Name) == plain(name) {
			return e.Name
		}
	}
	for _, e := range entries {
		if len(name) >= minWord && slices.Contains(strings.Fields(strings.ToLower(e.Title)), name) {
			return e.Name
		}
	}
	best, distance := "", len(name)/3+1 // a short name is easily near to another
	for _, e := range entries {
		d := levenshtein.ComputeDistance(name, e.Name)
		if len(name) >= minWord && strings.HasPrefix(e.Name, name) {
			d = min(d, 1)
		}
		if d < distance {
			best, distance = e.Name, d
		}
	}
	return best
}

// plain leaves out what people forget or put in: "GitHub API", "new_relic".
func plain(name string) string {
	name = strings.NewReplacer("-", "", "_", "", " ", "", ".", "").Replace(name)
	if cut := strings.TrimSuffix(name, "api"); cut != "" {
		return cut
	}
	return name
}
