package catalog_test

import (
	"fmt"

	"agentvault/vault/catalog"
)

// A person asks for an API by name and names their site; what comes out can be
// put into a vault.
func Example() {
	entry, ok := catalog.Find("jira")
	if !ok {
		entry, _ = catalog.Find(catalog.Suggest("jira"))
	}
	_, err := entry.Instantiate("")
	fmt.Println(err)

	services, err := entry.Instantiate("Acme")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range services {
		fmt.Println(s.Name, s.Host, s.Auth.Type())
	}
	for _, c := range entry.Credentials {
		fmt.Println(c.Key, c.Obtain)
	}
	// Output:
	// atlassian needs a tenant: your Atlassian site, as in acme
	// atlassian acme.atlassian.net basic
	// ATLASSIAN_EMAIL https://id.atlassian.com/manage-profile/email
	// ATLASSIAN_API_TOKEN https://id.atlassian.com/manage-profile/security/api-tokens
}
