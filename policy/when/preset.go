package when

import (
	"fmt"
	"strings"
)

// Preset returns the expression behind a name, for where a person would rather
// name a condition than write one.
//
// An upgrade is neither: what goes through a WebSocket is not looked at.
func Preset(name string) (string, error) {
	switch name {
	case "read-only":
		return `(method in ["GET", "HEAD", "OPTIONS"] || method == "POST" && graphql.type == "query") && !("upgrade" in headers)`, nil
	case "no-delete":
		return `!method.matches("(?i)^delete$") && graphql.type != "mutation" && !("upgrade" in headers)`, nil
	}
	word, zone, named := strings.Cut(name, " ")
	if word != "business-hours" {
		return "", fmt.Errorf("there is no preset %q; there are read-only, no-delete and business-hours, which may name a time zone as in business-hours Europe/Berlin", name)
	}
	if !named {
		zone = "UTC"
	}
	if err := checkZone(zone); err != nil {
		return "", err
	}
	return fmt.Sprintf(`now.getDayOfWeek(%[1]q) in [1, 2, 3, 4, 5] && now.getHours(%[1]q) >= 9 && now.getHours(%[1]q) < 17`, zone), nil
}
