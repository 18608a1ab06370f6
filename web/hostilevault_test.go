package web_test

import (
	"encoding/json"
	"strings"
	"time"

	"agentvault/api"
	"agentvault/vault"
	"agentvault/vault/catalog"
)

// vaultAnswer is what a liar's API says of a vault and the catalog, with "x" in
// the place of every word.
func vaultAnswer(path string) any {
	now := time.Now()
	var service vault.Service
	if err := json.Unmarshal([]byte(`{"name": "x", "host": "x", "scheme": "x", "description": "x", "auth": {"type": "x", "token": "x"}, "limits": [{"field": "x", "budget": "x"}], "rules": [{"methods": ["x"], "paths": ["x"], "expires_at": "x", "limits": [{"field": "x"}]}]}`), &service); err != nil {
		panic(err) // of what stands above
	}
	entry := catalog.Entry{
		Name: "x", Title: "x", Description: "x", Category: "x", Docs: "x", Tenant: catalog.Tenant{Placeholder: "x", Label: "x", Example: "x"},
		Services:    []catalog.Service{{Suffix: "x", Host: "x", Description: "x", Auth: service.Auth}},
		Credentials: []catalog.Credential{{Key: "x", Description: "x", Obtain: "x", ObtainInstructions: "x"}},
	}
	switch last := path[strings.LastIndexByte(path, '/')+1:]; {
	case last == "state":
		return api.ServiceStateList{Services: []api.ServiceState{{Name: "x", State: "credential_missing", Keys: []string{"x"}, Missing: []string{"x"}, Connects: "x", LastUsedAt: &now, TokenFailedAt: &now}}}
	case last == "limits":
		rule := 0
		return api.LimitList{Limits: []api.LimitInfo{{Limit: "x", Name: "x", Rule: &rule, Used: []api.LimitUsed{{Agent: "x", Used: "x", Left: "x"}}}}}
	case last == "members":
		return api.MemberList{Members: []api.MemberInfo{{Email: "x", Role: "admin"}}}
	case last == "review":
		return api.ServicesReview{Opened: []string{"x"}, Warnings: []string{"x"}}
	case last == "credentials":
		return api.CredentialList{Credentials: []api.CredentialInfo{{Key: "x", Version: 2, Short: true, CreatedAt: now, UpdatedAt: now, LastUsedAt: &now}}}
	case last == "versions":
		return api.VersionList{Versions: []api.VersionInfo{{Version: 1, Short: true, CreatedAt: now, RetiredAt: now}}}
	case last == "sessions":
		return api.SessionList{Sessions: []api.SessionInfo{{ID: "x", Label: "x", CreatedBy: "x", Leased: true, CreatedAt: now, ExpiresAt: now}}}
	case last == "agents":
		return api.AgentList{Agents: []api.AgentInfo{{Name: "x", Status: "active", Vaults: []api.AgentVault{{VaultName: "x", VaultRole: "x", Services: []string{"x"}}}, ExpiresAt: &now}}}
	case last == "catalog":
		return api.CatalogList{Entries: []api.CatalogSummary{{Name: "x", Title: "x", Category: "x", Hosts: []string{"x"}, Tenant: "x"}}}
	case strings.HasPrefix(path, "/v1/catalog/"):
		return entry
	case strings.Contains(path, "/services/"):
		return service
	}
	return api.VaultInfo{Name: "x", UnmatchedHosts: "x", Services: []vault.Service{service}, Credentials: []string{"x"}}
}
