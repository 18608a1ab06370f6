package api

import (
	"context"

	"agentvault/vault"
	"agentvault/vault/catalog"
)

// ChangeVault renames a vault, or changes its setting.
func (c *Client) ChangeVault(ctx context.Context, name string, r VaultChange) (VaultInfo, error) {
	return send[VaultInfo](ctx, c, "PATCH", at("vaults", name), r)
}

// AddServices adds services to those that a vault has, with values for them.
func (c *Client) AddServices(ctx context.Context, vaultName string, r AddServicesRequest) (ServiceList, error) {
	return send[ServiceList](ctx, c, "POST", at("vaults", vaultName, "services"), r)
}

// ReviewServices says what adding services would do.
func (c *Client) ReviewServices(ctx context.Context, vaultName string, l ServiceList) (ServicesReview, error) {
	return send[ServicesReview](ctx, c, "POST", at("vaults", vaultName, "services", "review"), l)
}

// ServiceStates says of each service whether agents can use it.
func (c *Client) ServiceStates(ctx context.Context, vaultName string) (ServiceStateList, error) {
	return send[ServiceStateList](ctx, c, "GET", at("vaults", vaultName, "state"), nil)
}

// Service returns a service.
func (c *Client) Service(ctx context.Context, vaultName, name string) (vault.Service, error) {
	return send[vault.Service](ctx, c, "GET", at("vaults", vaultName, "services", name), nil)
}

// EnableService enables or disables a service.
func (c *Client) EnableService(ctx context.Context, vaultName, name string, enabled bool) (vault.Service, error) {
	return c.ChangeService(ctx, vaultName, name, ServicePatch{Enabled: &enabled})
}

// ChangeService enables or disables a service, or changes its switches.
func (c *Client) ChangeService(ctx context.Context, vaultName, name string, r ServicePatch) (vault.Service, error) {
	return send[vault.Service](ctx, c, "PATCH", at("vaults", vaultName, "services", name), r)
}

// RemoveService removes a service.
func (c *Client) RemoveService(ctx context.Context, vaultName, name string) error {
	_, err := c.do(ctx, "DELETE", at("vaults", vaultName, "services", name), nil)
	return err
}

// Dummy returns the dummy of a credential.
func (c *Client) Dummy(ctx context.Context, vaultName, key string) (DummyInfo, error) {
	return send[DummyInfo](ctx, c, "GET", at("credentials", key, "dummy")+query("vault", vaultName), nil)
}

// CredentialVersions lists a credential's earlier versions, without values.
func (c *Client) CredentialVersions(ctx context.Context, vaultName, key string) (VersionList, error) {
	return send[VersionList](ctx, c, "GET", at("credentials", key, "versions")+query("vault", vaultName), nil)
}

// RollBackCredential makes an earlier value of a credential its newest.
func (c *Client) RollBackCredential(ctx context.Context, key string, r RollBackRequest) (CredentialInfo, error) {
	return send[CredentialInfo](ctx, c, "POST", at("credentials", key, "rollback"), r)
}

// Catalog lists the catalog's entries that hold the text.
func (c *Client) Catalog(ctx context.Context, search string) (CatalogList, error) {
	return send[CatalogList](ctx, c, "GET", "/v1/catalog"+query("search", search), nil)
}

// CatalogEntry returns an entry of the catalog.
func (c *Client) CatalogEntry(ctx context.Context, name string) (catalog.Entry, error) {
	return send[catalog.Entry](ctx, c, "GET", at("catalog", name), nil)
}

// AddFromCatalog adds an entry of the catalog to a vault.
func (c *Client) AddFromCatalog(ctx context.Context, vaultName string, r CatalogRequest) (ServiceList, error) {
	return send[ServiceList](ctx, c, "POST", at("vaults", vaultName, "catalog"), r)
}

// Vaults lists the vaults.
func (c *Client) Vaults(ctx context.Context) (VaultList, error) {
	return send[VaultList](ctx, c, "GET", "/v1/vaults", nil)
}

// CreateVault makes an empty vault.
func (c *Client) CreateVault(ctx context.Context, name string) (VaultInfo, error) {
	return send[VaultInfo](ctx, c, "POST", "/v1/vaults", NameRequest{name})
}

// Vault returns a vault.
func (c *Client) Vault(ctx context.Context, name string) (VaultInfo, error) {
	return send[VaultInfo](ctx, c, "GET", at("vaults", name), nil)
}

// DeleteVault removes a vault with all that is in it.
func (c *Client) DeleteVault(ctx context.Context, name string) error {
	_, err := c.do(ctx, "DELETE", at("vaults", name), nil)
	return err
}

// SetServices replaces all services of a vault.
func (c *Client) SetServices(ctx context.Context, vaultName string, l ServiceList) (ServiceList, error) {
	return send[ServiceList](ctx, c, "PUT", at("vaults", vaultName, "services"), l)
}

// Services lists the services of a vault.
func (c *Client) Services(ctx context.Context, vaultName string) (ServiceList, error) {
	return send[ServiceList](ctx, c, "GET", at("vaults", vaultName, "services"), nil)
}

// SetCredentials stores values; other credentials stay.
func (c *Client) SetCredentials(ctx context.Context, r SetCredentialsRequest) (SetCredentialsResponse, error) {
	return send[SetCredentialsResponse](ctx, c, "POST", "/v1/credentials", r)
}

// Credentials lists a vault's credentials, without values.
func (c *Client) Credentials(ctx context.Context, vaultName string) (CredentialList, error) {
	return send[CredentialList](ctx, c, "GET", "/v1/credentials"+query("vault", vaultName), nil)
}

// DeleteCredential removes a credential.
func (c *Client) DeleteCredential(ctx context.Context, vaultName, key string) error {
	_, err := c.do(ctx, "DELETE", at("credentials", key)+query("vault", vaultName), nil)
	return err
}

// Apply makes vaults be as declared.
func (c *Client) Apply(ctx context.Context, r ApplyRequest) (ApplyResponse, error) {
	return send[ApplyResponse](ctx, c, "POST", "/v1/apply", r)
}
