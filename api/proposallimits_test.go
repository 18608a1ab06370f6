package api_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestProposalLimits: what is proposed is held to the contract's limits, and a
// refusal names the place.
func TestProposalLimits(t *testing.T) {
	f, session, _ := filled(t)
	service := func(host string) string {
		return `{"services":[{"action":"set","name":"new","host":"` + host + `","auth":{"type":"passthrough"}}]}`
	}
	slot := func(rest string) string {
		return `{"credentials":[{"action":"set","key":"NEW_KEY"},{"action":"set","key":"OTHER_KEY",` + rest + `}]}`
	}
	list := func(n int, format string) string {
		var l []string
		for i := range n {
			l = append(l, fmt.Sprintf(format, i))
		}
		return strings.Join(l, ",")
	}
	const one, key = `{"action":"set","name":"new-%d","host":"new-%[1]d.test","auth":{"type":"passthrough"}}`, `{"action":"set","key":"KEY_%d"}`
	long := func(n int) string { return strings.Repeat("ä", n) } // characters, not bytes
	url := func(n int) string {
		return "https://example.test/" + strings.Repeat("a", n-len("https://example.test/"))
	}
	before := f.dump()
	for _, tt := range []struct{ place, body string }{
		{"services", `{}`},
		{"services", `{"services":[],"credentials":[],"message":"m"}`},
		{"services", `{"services":[` + list(11, one) + `]}`},
		{"credentials", `{"credentials":[` + list(11, key) + `]}`},
		{"message", slot(`"value":"long enough"`)[:len(slot(`"value":"long enough"`))-1] + `,"message":"` + long(2001) + `"}`},
		{"user_message", slot(`"value":"long enough"`)[:len(slot(`"value":"long enough"`))-1] + `,"user_message":"` + long(5001) + `"}`},
		{"credentials[1]: description", slot(`"description":"` + long(501) + `"`)},
		{"credentials[1]: obtain", slot(`"obtain":"` + url(501) + `"`)},
		{"credentials[1]: obtain", slot(`"obtain":"javascript:alert(1)"`)},
		{"credentials[1]: obtain", slot(`"obtain":"https://user@example.test/"`)},
		{"credentials[1]: obtain", slot(`"obtain":"example.test"`)},
		{"credentials[1]: obtain_instructions", slot(`"obtain_instructions":"` + long(1001) + `"`)},
		{"OTHER_KEY", slot(`"value":""`)},
		{"OTHER_KEY", slot(`"value":"line\nbreak"`)},
		{"credentials[1]: value", slot(`"value":"1234567"`)}, {"OTHER_KEY", slot(`"value":"1234567"`)},
		{"unknown field credentials[1].allow_short", slot(`"value":"1234567","allow_short":true`)},
		{"services[0].rules[1]: it is null, and would allow everything", strings.Replace(service("new.test"), `"name"`, `"rules":[{"action":"deny"},null],"name"`, 1)},
		{"services[0].rules[0]: when: it is empty", strings.Replace(service("new.test"), `"name"`, `"rules":[{"when":""}],"name"`, 1)},
		{"services[0].scrub is for a person to set", strings.Replace(service("new.test"), `"name"`, `"scrub":"off","name"`, 1)},
		{"services[0].undecodable is for a person to set", strings.Replace(service("new.test"), `"name"`, `"undecodable":"refuse","name"`, 1)},
		{"services[0].pins is for a person to set", strings.Replace(service("new.test"), `"name"`, `"pins":[],"name"`, 1)},
		{"services[0].expires_at is for a person to set", strings.Replace(service("new.test"), `"name"`, `"expires_at":"2040-01-01T00:00:00Z","name"`, 1)},
		{"services[0].upgrades is for a person to set", strings.Replace(service("new.test"), `"name"`, `"upgrades":["tcp"],"name"`, 1)},
		{"services[0].scheme is for a person to set", strings.Replace(service("new.test"), `"name"`, `"scheme":"http","name"`, 1)},
		{"credentials[0]: key", `{"credentials":[{"action":"set","key":"lower_key"}]}`},
		{"credentials[0]: key", `{"credentials":[{"action":"set","key":"0KEY"}]}`},
		{"credentials[1]: key", `{"credentials":[{"action":"set","key":"KEY"},{"action":"set","key":"KEY"}]}`},
		{"credentials[0]: action", `{"credentials":[{"action":"get","key":"KEY"}]}`},
		{"credentials[0]: value", `{"credentials":[{"action":"delete","key":"API_KEY","value":"x"}]}`},
		{"API_KEY", `{"credentials":[{"action":"delete","key":"API_KEY"}]}`}, // a service uses it
		{"services[0]: action", strings.Replace(service("new.test"), `"set"`, `"enable"`, 1)},
		{"services[0]: host", `{"services":[{"action":"set","name":"new","auth":{"type":"passthrough"}}]}`},
		{"services[0]: name", `{"services":[{"action":"set","auth":{"type":"passthrough"}}]}`},
		{"services[0]: service", strings.Replace(service("new.test"), `"new"`, `"No"`, 1)},
		{"auth", `{"services":[{"action":"set","name":"new","host":"new.test"}]}`},
		{"services[1]: name", `{"services":[` + strings.ReplaceAll(list(2, one), "new-1", "new-0") + `]}`},
		{"MISSING_KEY", `{"services":[{"action":"set","name":"new","host":"new.test","auth":{"type":"bearer","token":"MISSING_KEY"}}]}`},
		{"description", strings.Replace(service("new.test"), `"name"`, `"description":"`+long(501)+`","name"`, 1)},
		{"services[0]: a service that is deleted", `{"services":[{"action":"delete","name":"api","auth":{"type":"passthrough"}}]}`},
		{"host", service("*")}, {"host", service("*.com")}, {"host", service("*.co.uk")}, {"host", service("*.github.io")},
		{"host", service("192.0.2.1")}, {"host", service("[2001:db8::1]")}, {"host", service("0x7f.1")},
		{"host", service("localhost")}, {"host", service("printer.local")}, {"host", service("api.*.test")}, {"host", service("a b.test")},
	} {
		if m := f.send("POST", "/v1/proposals", session, tt.body).refused(t, 400, "bad_request"); !strings.Contains(m, tt.place) {
			t.Errorf("%.200s: %q does not name %s", tt.body, m, tt.place)
		}
	}
	f.send("POST", "/v1/proposals", session, `{"credentials":[{"action":"delete","key":"NO_SUCH_KEY"}]}`).refused(t, 404, "credential_not_found")
	f.send("POST", "/v1/proposals", session, `{"services":[{"action":"delete","name":"none"}]}`).refused(t, 404, "not_found")
	if after := f.dump(); after != before {
		t.Errorf("something changed:\n%s\nwas\n%s", after, before)
	}

	// At the limits.
	whole := `{"services":[` + list(10, one) + `],"credentials":[` + list(9, key) + `,{"action":"set","key":"OTHER_KEY","description":"` + long(500) +
		`","obtain":"` + url(500) + `","obtain_instructions":"` + long(1000) + `"}],"message":"` + long(2000) + `","user_message":"` + long(5000) + `"}`
	f.send("POST", "/v1/proposals", session, whole).want(t, 201)
	// The host says which service is meant.
	f.send("POST", "/v1/proposals", session, `{"services":[{"action":"set","host":"API.test","auth":{"type":"passthrough"}}]}`).want(t, 201)
	if name := f.review(2).Changes[0].Name; name != "api" {
		t.Errorf("the service of the host: %s", name)
	}
}
