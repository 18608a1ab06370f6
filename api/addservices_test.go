package api_test

import (
	"strings"
	"testing"

	"agentvault/api"
)

// A service is added with its values, or neither is; and before, its review says
// what that does.
func TestAddingWithValues(t *testing.T) {
	f, _, _ := filled(t)
	const services = `"services":[{"name":"new","host":"new.test","auth":{"type":"basic","username":"API_KEY","password":"NEW_KEY"}}]`
	var rv api.ServicesReview
	f.send("POST", servicesPath+"/review", f.owner, "{"+services+"}").into(t, 200, &rv)
	if len(rv.Opened) != 1 || len(rv.Warnings) != 1 || len(rv.Missing) != 1 || !strings.Contains(rv.Warnings[0], "API_KEY exists, and would go to a host it never went to") {
		t.Errorf("%+v", rv)
	}
	before := f.dump()
	f.send("POST", servicesPath, f.owner, "{"+services+`,"credentials":{"NEW_KEY":"short"}}`).refused(t, 400, "bad_request")
	if after := f.dump(); after != before {
		t.Error("something changed")
	}
	f.send("POST", servicesPath, f.owner, "{"+services+`,"credentials":{"NEW_KEY":"`+secretValue+`"}}`).want(t, 201)
	var v api.VaultInfo
	f.send("GET", inDefault, f.owner, "").into(t, 200, &v)
	if len(v.Services) != 2 || strings.Join(v.Credentials, " ") != "API_KEY NEW_KEY" {
		t.Errorf("%+v", v)
	}
}
