package when

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a zone that one machine takes must not be unknown on another
)

// Preset returns the expression behind a name, for where a person would rather
// name a condition than write one.
func Preset(name string) (string, error) {
	switch name {
	case "read-only":
		return `method in ["GET", "HEAD", "OPTIONS"] || method == "POST" && graphql.type == "query"`, nil
	case "no-delete":
		return `method != "DELETE" && graphql.type != "mutation"`, nil
	}
	word, zone, _ := strings.Cut(name, " ")
	if word != "business-hours" {
		return "", fmt.Errorf("there is no preset %q; there are read-only, no-delete and business-hours", name)
	}
	if zone == "" {
		zone = "UTC"
	}
	if err := checkZone(zone); err != nil {
		return "", err
	}
	return fmt.Sprintf(`now.getDayOfWeek(%[1]q) in [1, 2, 3, 4, 5] && now.getHours(%[1]q) >= 9 && now.getHours(%[1]q) < 17`, zone), nil
}

func checkZone(zone string) error {
	if zone == "Local" || zone == "" {
		return errors.New("a time zone is named like Europe/Berlin")
	}
	if _, err := time.LoadLocation(zone); err != nil {
		return fmt.Errorf("there is no time zone %q; they are named like Europe/Berlin", zone)
	}
	return nil
}
