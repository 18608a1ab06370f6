package when_test

import (
	"testing"
	"time"

	"agentvault/policy/when"
)

func TestPresets(t *testing.T) {
	const (
		query    = `{"query": "{ viewer { login } }"}`
		mutation = `{"query": "mutation { deleteRepository(id: 1) { id } }"}`
		other    = `{"amount": 1}`
	)
	for _, tt := range []struct {
		preset, method, query, body string
		want                        when.Outcome
	}{
		{"read-only", "GET", "", "", yes},
		{"read-only", "HEAD", "", "", yes},
		{"read-only", "OPTIONS", "", "", yes},
		{"read-only", "POST", "", "", no}, // nothing is asked of GraphQL
		{"read-only", "POST", "", query, yes},
		{"read-only", "POST", "", mutation, no},
		{"read-only", "POST", "", other, no},
		{"read-only", "POST", "", `{"query": "`, unknown},
		{"read-only", "PUT", "", query, no},
		{"read-only", "DELETE", "", "", no},
		{"read-only", "PATCH", "", "", no},
		{"read-only", "get", "", "", no},
		{"no-delete", "GET", "", "", yes},
		{"no-delete", "POST", "", other, yes},
		{"no-delete", "POST", "", query, yes},
		{"no-delete", "POST", "", mutation, no},
		{"no-delete", "GET", "query=mutation{a}", "", no},
		{"no-delete", "DELETE", "", "", no},
		{"no-delete", "delete", "", "", no},
		{"no-delete", "POST", "", `{"id": "abc", "variables": {}}`, unknown},
	} {
		in := &when.Input{
			Method: tt.method, RawQuery: tt.query, Header: map[string][]string{"Content-Type": {"application/json"}},
			Body: []byte(tt.body), BodyState: when.BodyWhole,
		}
		c := compile(t, preset(t, tt.preset))
		if got := c.Eval(in); got != tt.want {
			t.Errorf("%s of %s ?%s %s: %v, want %v", tt.preset, tt.method, tt.query, tt.body, got, tt.want)
		}
		upgrade := &when.Input{
			Method: tt.method, Header: map[string][]string{"Upgrade": {"websocket"}}, BodyState: when.BodyWhole,
		}
		if got := c.Eval(upgrade); got != no {
			t.Errorf("%s of an upgrade: %v, want false", tt.preset, got)
		}
	}
}

func TestBusinessHours(t *testing.T) {
	for _, tt := range []struct {
		preset, at string
		want       when.Outcome
	}{
		{"business-hours", "2026-11-27T08:59:59Z", no}, // a Friday
		{"business-hours", "2026-11-27T09:00:00Z", yes},
		{"business-hours", "2026-11-27T16:59:59Z", yes},
		{"business-hours", "2026-11-27T17:00:00Z", no},
		{"business-hours", "2026-11-28T12:00:00Z", no},
		{"business-hours", "2026-11-29T12:00:00Z", no},
		{"business-hours", "2026-11-30T12:00:00Z", yes},
		{"business-hours Europe/Berlin", "2026-11-27T08:00:00Z", yes},
		{"business-hours Europe/Berlin", "2026-11-27T16:00:00Z", no},
		{"business-hours Europe/Berlin", "2026-07-24T07:00:00Z", yes}, // summer time
		{"business-hours Pacific/Auckland", "2026-11-29T20:00:00Z", yes},
		{"business-hours -05:00", "2026-11-27T13:59:59Z", no},
		{"business-hours -05:00", "2026-11-27T14:00:00Z", yes},
	} {
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := compile(t, preset(t, tt.preset)).Eval(&when.Input{Now: at.UnixNano()}); got != tt.want {
			t.Errorf("%s at %s: %v, want %v", tt.preset, tt.at, got, tt.want)
		}
	}
}

func TestPresetErrors(t *testing.T) {
	const none = "; there are read-only, no-delete and business-hours, which may name a time zone as in business-hours Europe/Berlin"
	const zone = "; they are named like Europe/Berlin or +02:00"
	for name, want := range map[string]string{
		"":                            `there is no preset ""` + none,
		"readonly":                    `there is no preset "readonly"` + none,
		"read-only ":                  `there is no preset "read-only "` + none,
		"business-hours ":             `there is no time zone ""` + zone,
		"business-hours Local":        `there is no time zone "Local"` + zone,
		"business-hours Mars/Olympus": `there is no time zone "Mars/Olympus"` + zone,
		`business-hours ") || true`:   `there is no time zone "\") || true"` + zone,
		"business-hours ../passwd":    `there is no time zone "../passwd"` + zone,
	} {
		if expr, err := when.Preset(name); err == nil || err.Error() != want || expr != "" {
			t.Errorf("%q: %q, %v, want %s", name, expr, err, want)
		}
	}
}

// Presets are answered without the body where the method decides.
func TestPresetsWithoutBody(t *testing.T) {
	for name, want := range map[string]when.Outcome{"GET": yes, "DELETE": no, "POST": unknown} {
		if got := compile(t, preset(t, "read-only")).Eval(&when.Input{Method: name}); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
