package api

import (
	"context"
	"time"
)

// query spells the filter, and more names and values.
func (f RequestFilter) query(more ...string) string {
	since := ""
	if !f.Since.IsZero() {
		since = f.Since.Format(time.RFC3339Nano)
	}
	return query(append(more, "vault", f.Vault, "agent", f.Agent, "host", f.Host, "status", f.Status,
		"since", since, "limit", positive(f.Limit), "cursor", f.Cursor)...)
}

// Requests lists recorded requests, newest first.
func (c *Client) Requests(ctx context.Context, f RequestFilter) (RequestList, error) {
	return send[RequestList](ctx, c, "GET", "/v1/logs"+f.query(), nil)
}

// FollowRequests waits, 50 seconds at most, for what begins or ends after a
// FollowCursor, and returns it in that order. The filter's Cursor is not used.
func (c *Client) FollowRequests(ctx context.Context, f RequestFilter, after string) (RequestList, error) {
	f.Cursor = ""
	const wait = "50" // seconds, below callTime
	return send[RequestList](ctx, c, "GET", "/v1/logs"+f.query("after", after, "wait", wait), nil)
}

// RefusedHosts lists hosts that no service names and that agents asked for, most
// frequent first.
func (c *Client) RefusedHosts(ctx context.Context, f RequestFilter) (RefusedHostList, error) {
	return send[RefusedHostList](ctx, c, "GET", "/v1/hosts"+f.query(), nil)
}

// CheckPolicy asks what would happen to a request.
func (c *Client) CheckPolicy(ctx context.Context, vaultName, method, rawURL string) (PolicyVerdict, error) {
	return send[PolicyVerdict](ctx, c, "GET", "/v1/policy/check"+query("vault", vaultName, "method", method, "url", rawURL), nil)
}

// ReplayPolicy asks which recorded requests other services would decide
// otherwise.
func (c *Client) ReplayPolicy(ctx context.Context, r ReplayRequest) (ReplayResponse, error) {
	return send[ReplayResponse](ctx, c, "POST", "/v1/policy/replay", r)
}

// Events lists changes, newest first: of one vault, or of the whole instance.
func (c *Client) Events(ctx context.Context, vaultName, cursor string, limit int) (EventList, error) {
	return send[EventList](ctx, c, "GET", "/v1/events"+query("vault", vaultName, "cursor", cursor, "limit", positive(limit)), nil)
}
