package api

import (
	"context"
	"time"
)

type connectIn struct {
	servicePath
	Body ConnectRequest
}

// A ConnectRequest asks where a person signs in.
type ConnectRequest struct {
	RedirectURI string `json:"redirect_uri,omitempty" doc:"Where the authorization server sends the person back: http:// to 127.0.0.1 or [::1] with a port and a path, to which the host of the authorization server is added. Left out: a page of this server."`
}

// A Connection is a person's way to an authorization server and back.
type Connection struct {
	URL         string    `json:"url" doc:"Where the person signs in."`
	State       string    `json:"state" doc:"It comes back with the code, and must be this."`
	RedirectURI string    `json:"redirect_uri" doc:"Where they come back, of each authorization server to another path. The client must be registered with it."`
	ExpiresAt   time.Time `json:"expires_at"`
}

// A ConnectionCode is what a person came back with.
type ConnectionCode struct {
	State       string `json:"state"`
	Code        string `json:"code"`
	RedirectURI string `json:"redirect_uri,omitempty" doc:"The page of this server to which it came. Left out: it came to loopback."`
}

// Connected says what was stored.
type Connected struct {
	Vault      string `json:"vault"`
	Service    string `json:"service"`
	Credential string `json:"credential" doc:"The key that has a new value."`
}

func (s *server) beginConnection(ctx context.Context, c call[connectIn]) (Connection, error) {
	n, err := s.Registry.BeginConnection(ctx, c.caller, c.in.Name, c.in.Service, c.in.Body.RedirectURI)
	return Connection{n.URL, n.State, n.Redirect, n.ExpiresAt}, err
}

func (s *server) finishConnection(ctx context.Context, c call[ConnectionCode]) (Connected, error) {
	done, err := s.Registry.FinishConnection(ctx, c.caller, c.in.State, c.in.Code, c.in.RedirectURI)
	return Connected{done.Vault, done.Service, done.Credential}, err
}

// BeginConnection says where a person signs in to connect the account of a service.
func (c *Client) BeginConnection(ctx context.Context, vaultName, service string, r ConnectRequest) (Connection, error) {
	return send[Connection](ctx, c, "POST", at("vaults", vaultName, "services", service, "connect"), r)
}

// FinishConnection stores the credential that a code is good for.
func (c *Client) FinishConnection(ctx context.Context, r ConnectionCode) (Connected, error) {
	return send[Connected](ctx, c, "POST", "/v1/connections", r)
}
