package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
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

	// For is the vault that an agent's token is used for, sent in X-Vault when it is
	// not "".
	For string

	// Name is what the client says of itself, which stands in the list of a
	// person's sign-ins. "" means "agent-vault".
	Name string

	// Transport sends the requests. Nil means one that uses no proxy. Redirects
	// are never followed.
	Transport http.RoundTripper
}

// A ClientError is an answer of the server that refuses.
type ClientError struct {
	Status  int
	Code    string
	Message string
}

func (e *ClientError) Error() string { return e.Message }

// Codes of refusals that clients go on from.
const (
	CodeUnauthorized     = vault.CodeUnauthorized
	CodeForbidden        = vault.CodeForbidden
	CodeVaultForbidden   = vault.CodeVaultForbidden
	CodeLoginTooOld      = vault.CodeLoginTooOld
	CodeWrongPassword    = vault.CodeWrongPassword
	CodeProposalNotFound = vault.CodeProposalNotFound
	CodeProposalChanged  = vault.CodeProposalChanged
	CodeProposalClosed   = vault.CodeProposalClosed
)

// A NoServerError says that nothing listens at the client's address.
type NoServerError struct{ Address string }

func (e *NoServerError) Error() string { return "no server at " + e.Address }

// Hint returns what to do about it.
func (e *NoServerError) Hint() string {
	return `start one with "agent-vault server", or name another with --address`
}

// direct uses no proxy: the operator's shell may itself run behind a vault.
var direct = &http.Transport{Proxy: nil}

const maxAnswer = 64 << 20 // bytes

// callTime bounds a call whose context has no deadline.
const callTime = time.Minute

func (c *Client) do(ctx context.Context, method, path string, in any) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTime)
		defer cancel()
	}
	req, err := c.request(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	client := http.Client{
		Transport:     c.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if client.Transport == nil {
		client.Transport = direct
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, c.unanswered(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the server at %s broke off its answer: %w", c.address(), err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, c.refusal(resp, answer)
	}
	return answer, nil
}

func (c *Client) address() string { return strings.TrimSuffix(c.Address, "/") }

func (c *Client) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	if !httpguts.ValidHeaderFieldValue(c.Token) {
		return nil, errors.New("the login token holds characters that no token has")
	}
	if !httpguts.ValidHeaderFieldValue(c.For) {
		return nil, errors.New("the vault's name holds characters that no name has")
	}
	req, err := http.NewRequestWithContext(ctx, method, c.address()+path, body)
	if err != nil || req.URL.Host == "" || req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return nil, fmt.Errorf("%q is not the address of a server; it looks like http://127.0.0.1:14321", c.Address)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json") // some routes have words for people, too
	req.Header.Set("User-Agent", cmp.Or(c.Name, "agent-vault"))
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.For != "" {
		req.Header.Set("X-Vault", c.For)
	}
	return req, nil
}

// unanswered is why no answer came.
func (c *Client) unanswered(ctx context.Context, err error) error {
	var dial *net.OpError
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("the server at %s did not answer in time", c.address())
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &dial) && dial.Op == "dial":
		return &NoServerError{c.address()}
	}
	return fmt.Errorf("%s does not answer as a server; is it an Agent Vault, and reached by http or https as it should be?", c.address())
}

// refusal is the error of an answer that refuses.
func (c *Client) refusal(resp *http.Response, answer []byte) error {
	var e errorBody
	if json.Unmarshal(answer, &e) != nil || e.Error == "" {
		return &ClientError{resp.StatusCode, "", fmt.Sprintf("%s answered %s; is it an Agent Vault?", c.address(), resp.Status)}
	}
	if e.Error == codeInternal {
		e.Message += " " + e.RequestID
	}
	return &ClientError{resp.StatusCode, e.Error, e.Message}
}

// at spells a path of the API: segments are escaped.
func at(segments ...string) string {
	path := "/v1"
	for _, s := range segments {
		path += "/" + url.PathEscape(s)
	}
	return path
}

// query spells a query string of names and values; empty values are left out.
func query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

func positive(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
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

// Server asks what the server is, and how its audit log is.
func (c *Client) Server(ctx context.Context) (ServerInfo, error) {
	return send[ServerInfo](ctx, c, "GET", "/v1/server", nil)
}

// CA describes the roots of the proxy entrance.
func (c *Client) CA(ctx context.Context) (CAInfo, error) {
	return send[CAInfo](ctx, c, "GET", "/v1/ca", nil)
}

// RotateCA begins to replace the root of the proxy entrance.
func (c *Client) RotateCA(ctx context.Context, in RotateCARequest) (CAInfo, error) {
	return send[CAInfo](ctx, c, "POST", "/v1/ca/rotate", in)
}

// FinishCA ends a rotation.
func (c *Client) FinishCA(ctx context.Context) (CAInfo, error) {
	return send[CAInfo](ctx, c, "POST", "/v1/ca/finish", nil)
}

// CAPEM returns the root certificate of the proxy entrance, in a rotation both.
func (c *Client) CAPEM(ctx context.Context) ([]byte, error) {
	return c.do(ctx, "GET", "/v1/mitm/ca.pem", nil)
}

// AgentSkill returns the agent's own manual of the server's version, in Markdown.
func (c *Client) AgentSkill(ctx context.Context) ([]byte, error) {
	return c.do(ctx, "GET", "/v1/skills/agent-vault", nil)
}

// Discover asks what the client's session may use.
func (c *Client) Discover(ctx context.Context) (vault.Discovery, error) {
	return send[vault.Discovery](ctx, c, "GET", "/discover", nil)
}
