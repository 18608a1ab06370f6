package api

import (
	"cmp"
	"context"
	"strconv"
	"time"
)

// query spells the filter, and more names and values.
func (f RequestFilter) query(more ...string) string {
	return query(append(more, "vault", f.Vault, "agent", f.Agent, "host", f.Host, "service", f.Service, "status", f.Status,
		"since", instant(f.Since), "until", instant(f.Until), "limit", positive(f.Limit), "cursor", f.Cursor)...)
}

// instant spells a time, unless it is zero.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

// Requests lists recorded requests, newest first.
func (c *Client) Requests(ctx context.Context, f RequestFilter) (RequestList, error) {
	return send[RequestList](ctx, c, "GET", "/v1/logs"+f.query(), nil)
}

// FollowRequests waits, for the filter's Wait at most, for what begins or ends
// after a FollowCursor, and returns it in that order. The filter's Cursor is not
// used.
func (c *Client) FollowRequests(ctx context.Context, f RequestFilter, after string) (RequestList, error) {
	f.Cursor = ""
	wait := cmp.Or(f.Wait, 50*time.Second) // below callTime
	return send[RequestList](ctx, c, "GET", "/v1/logs"+f.query("after", after, "wait", strconv.Itoa(int(wait/time.Second))), nil)
}

// RequestSeries counts recorded requests over time, between the filter's Since
// and Until.
func (c *Client) RequestSeries(ctx context.Context, f RequestFilter, points int) (RequestSeries, error) {
	return send[RequestSeries](ctx, c, "GET", "/v1/logs/series"+f.query("points", positive(points)), nil)
}

// RefusedHosts lists hosts that no service names and that agents asked for, most
// frequent first.
func (c *Client) RefusedHosts(ctx context.Context, f RequestFilter) (RefusedHostList, error) {
	return send[RefusedHostList](ctx, c, "GET", "/v1/hosts"+f.query(), nil)
}

// CheckPolicy asks what would happen to a request.
func (c *Client) CheckPolicy(ctx context.Context, q PolicyQuestion) (PolicyVerdict, error) {
	if q.Headers == nil && q.Content == nil && q.Bytes == nil {
		return send[PolicyVerdict](ctx, c, "GET", "/v1/policy/check"+query("vault", q.Vault, "method", q.Method, "url", q.URL, "agent", q.Agent), nil)
	}
	return send[PolicyVerdict](ctx, c, "POST", "/v1/policy/check", q)
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
