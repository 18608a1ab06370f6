package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"agentvault/vault"
)

// A Client calls the API of a server.
type Client struct {
	// Address is the server's base URL, such as http://127.0.0.1:14321.
	Address string

	// Token is sent with every call when it is not "".
	Token string

	// HTTP sends the requests. Nil means a client without proxy and redirects.
	HTTP *http.Client
}

// A ClientError is an answer of the server that refuses.
type ClientError struct {
	Status  int
	Code    string
	Message string
}

func (e *ClientError) Error() string { return e.Message }

// direct uses no proxy: the operator's shell may itself run behind a vault.
var direct = &http.Client{
	Transport:     &http.Transport{Proxy: nil},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

const maxAnswer = 64 << 20 // bytes

// callTime bounds a call whose context has no deadline.
const callTime = time.Minute

func (c *Client) do(ctx context.Context, method, path string, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTime)
		defer cancel()
	}
	address := strings.TrimSuffix(c.Address, "/")
	if !httpguts.ValidHeaderFieldValue(c.Token) {
		return nil, errors.New("the login token holds characters that no token has")
	}
	req, err := http.NewRequestWithContext(ctx, method, address+path, body)
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the address of a server; it looks like http://127.0.0.1:14321", c.Address)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := c.HTTP
	if client == nil {
		client = direct
	}
	resp, err := client.Do(req)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("the server at %s did not answer in time", address)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var dial *net.OpError
		if !errors.As(err, &dial) || dial.Op != "dial" {
			return nil, fmt.Errorf("%s does not answer as a server; is it an Agent Vault, and reached by http or https as it should be?", address)
		}
		return nil, fmt.Errorf("no server at %s: start one with \"agent-vault server\", or name another with --address", address)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the server at %s broke off its answer: %w", address, err)
	}
	if resp.StatusCode/100 == 2 {
		return answer, nil
	}
	var e errorBody
	if json.Unmarshal(answer, &e) != nil || e.Error == "" {
		return nil, &ClientError{resp.StatusCode, "", fmt.Sprintf("%s answered %s; is it an Agent Vault?", address, resp.Status)}
	}
	if e.Error == codeInternal {
		e.Message += " " + e.RequestID
	}
	return nil, &ClientError{resp.StatusCode, e.Error, e.Message}
}

func send[Out any](ctx context.Context, c *Client, method, path string, in any) (Out, error) {
	var out Out
	answer, err := c.do(ctx, method, path, in)
	if err != nil {
		return out, err
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, errors.New("the server's answer is not JSON; is it an Agent Vault?")
	}
	return out, nil
}

// Status asks whether the instance has an owner.
func (c *Client) Status(ctx context.Context) (InstanceStatus, error) {
	return send[InstanceStatus](ctx, c, "GET", "/v1/status", nil)
}

// Register makes the first user.
func (c *Client) Register(ctx context.Context, r LoginRequest) (LoginResponse, error) {
	return send[LoginResponse](ctx, c, "POST", "/v1/auth/register", r)
}

// Login signs a person in.
func (c *Client) Login(ctx context.Context, r LoginRequest) (LoginResponse, error) {
	return send[LoginResponse](ctx, c, "POST", "/v1/auth/login", r)
}

// Logout ends the client's login.
func (c *Client) Logout(ctx context.Context) error {
	_, err := c.do(ctx, "POST", "/v1/auth/logout", nil)
	return err
}

// Me returns who the client's token is.
func (c *Client) Me(ctx context.Context) (UserInfo, error) {
	return send[UserInfo](ctx, c, "GET", "/v1/auth/me", nil)
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
	return send[VaultInfo](ctx, c, "GET", "/v1/vaults/"+url.PathEscape(name), nil)
}

// DeleteVault removes a vault with all that is in it.
func (c *Client) DeleteVault(ctx context.Context, name string) error {
	_, err := c.do(ctx, "DELETE", "/v1/vaults/"+url.PathEscape(name), nil)
	return err
}

// SetServices replaces all services of a vault.
func (c *Client) SetServices(ctx context.Context, vaultName string, l ServiceList) (ServiceList, error) {
	return send[ServiceList](ctx, c, "PUT", "/v1/vaults/"+url.PathEscape(vaultName)+"/services", l)
}

// Services lists the services of a vault.
func (c *Client) Services(ctx context.Context, vaultName string) (ServiceList, error) {
	return send[ServiceList](ctx, c, "GET", "/v1/vaults/"+url.PathEscape(vaultName)+"/services", nil)
}

// SetCredentials stores values; other credentials stay.
func (c *Client) SetCredentials(ctx context.Context, r SetCredentialsRequest) (SetCredentialsResponse, error) {
	return send[SetCredentialsResponse](ctx, c, "POST", "/v1/credentials", r)
}

// Credentials lists a vault's credentials, without values.
func (c *Client) Credentials(ctx context.Context, vaultName string) (CredentialList, error) {
	return send[CredentialList](ctx, c, "GET", "/v1/credentials?vault="+url.QueryEscape(vaultName), nil)
}

// DeleteCredential removes a credential.
func (c *Client) DeleteCredential(ctx context.Context, vaultName, key string) error {
	_, err := c.do(ctx, "DELETE", "/v1/credentials/"+url.PathEscape(key)+"?vault="+url.QueryEscape(vaultName), nil)
	return err
}

// Apply makes vaults be as declared.
func (c *Client) Apply(ctx context.Context, r ApplyRequest) (ApplyResponse, error) {
	return send[ApplyResponse](ctx, c, "POST", "/v1/apply", r)
}

// MintSession makes a session.
func (c *Client) MintSession(ctx context.Context, r SessionRequest) (SessionResponse, error) {
	return send[SessionResponse](ctx, c, "POST", "/v1/sessions", r)
}

// Sessions lists a vault's sessions that have not ended.
func (c *Client) Sessions(ctx context.Context, vaultName string) (SessionList, error) {
	return send[SessionList](ctx, c, "GET", "/v1/sessions?vault="+url.QueryEscape(vaultName), nil)
}

// RevokeSession ends a session.
func (c *Client) RevokeSession(ctx context.Context, id string) error {
	_, err := c.do(ctx, "DELETE", "/v1/sessions/"+url.PathEscape(id), nil)
	return err
}

// RevokeSelf ends the session that the client's token is of.
func (c *Client) RevokeSelf(ctx context.Context) error {
	_, err := c.do(ctx, "DELETE", "/v1/sessions/self", nil)
	return err
}

// CreateAgent makes an agent with a token of its own.
func (c *Client) CreateAgent(ctx context.Context, r AgentRequest) (AgentResponse, error) {
	return send[AgentResponse](ctx, c, "POST", "/v1/agents", r)
}

// Agents lists the agents.
func (c *Client) Agents(ctx context.Context) (AgentList, error) {
	return send[AgentList](ctx, c, "GET", "/v1/agents", nil)
}

// RotateAgent gives an agent a new token. The old one no longer works.
func (c *Client) RotateAgent(ctx context.Context, name string) (AgentResponse, error) {
	return send[AgentResponse](ctx, c, "POST", "/v1/agents/"+url.PathEscape(name)+"/rotate", nil)
}

// DeleteAgent removes an agent.
func (c *Client) DeleteAgent(ctx context.Context, name string) error {
	_, err := c.do(ctx, "DELETE", "/v1/agents/"+url.PathEscape(name), nil)
	return err
}

// CAPEM returns the root certificate of the proxy entrance.
func (c *Client) CAPEM(ctx context.Context) ([]byte, error) {
	return c.do(ctx, "GET", "/v1/mitm/ca.pem", nil)
}

// Discover asks what the client's session may use.
func (c *Client) Discover(ctx context.Context) (vault.Discovery, error) {
	return send[vault.Discovery](ctx, c, "GET", "/discover", nil)
}
