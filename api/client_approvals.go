package api

import (
	"context"
	"strconv"
	"time"
)

// Approvals lists a vault's requests that wait, or waited, for a person, newest
// first. With vaultName "" it lists those that wait in all of one's vaults.
func (c *Client) Approvals(ctx context.Context, vaultName string, pending bool, cursor string, limit int) (ApprovalList, error) {
	return send[ApprovalList](ctx, c, "GET", "/v1/approvals"+query("vault", vaultName, "status", pendingOnly(pending), "cursor", cursor, "limit", positive(limit)), nil)
}

// WatchApprovals is Approvals, at once or when the list is another one than that of
// the tag, after wait at the latest. A minute is the longest.
func (c *Client) WatchApprovals(ctx context.Context, vaultName string, pending bool, tag string, wait time.Duration, limit int) (ApprovalList, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime+wait)
	defer cancel()
	return send[ApprovalList](ctx, c, "GET", "/v1/approvals"+query("vault", vaultName, "status", pendingOnly(pending), "tag", tag, "wait", positive(int(wait/time.Second)), "limit", positive(limit)), nil)
}

func pendingOnly(pending bool) string {
	if pending {
		return "pending"
	}
	return ""
}

func approvalPath(number int64) string { return at("approvals", strconv.FormatInt(number, 10)) }

// Approval returns a request as a person must see it to decide.
func (c *Client) Approval(ctx context.Context, vaultName string, number int64) (ApprovalReview, error) {
	return send[ApprovalReview](ctx, c, "GET", approvalPath(number)+query("vault", vaultName), nil)
}

// AllowRequest lets a request go, once.
func (c *Client) AllowRequest(ctx context.Context, vaultName string, number int64, d ApprovalDecision) (ApprovalInfo, error) {
	return send[ApprovalInfo](ctx, c, "POST", approvalPath(number)+"/allow"+query("vault", vaultName), d)
}

// DenyRequest refuses a request.
func (c *Client) DenyRequest(ctx context.Context, vaultName string, number int64, d ApprovalDecision) (ApprovalInfo, error) {
	return send[ApprovalInfo](ctx, c, "POST", approvalPath(number)+"/deny"+query("vault", vaultName), d)
}
