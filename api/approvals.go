package api

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"agentvault/vault"
)

type (
	approvalsIn struct {
		ofVault
		Status string        `query:"status" enum:"pending" doc:"Only of this status. Without a vault it is so in any case, for all of one's vaults."`
		Tag    string        `query:"tag" doc:"The tag of an earlier answer."`
		Wait   time.Duration `query:"wait" minimum:"0" maximum:"60" doc:"With tag: seconds to wait until the list is another one."`
		Page
	}
	approvalIn struct {
		Number int64 `path:"id" minimum:"1" maximum:"9007199254740991"`
		ofVault
	}
	decideIn struct {
		approvalIn
		Body ApprovalDecision
	}
)

func approvalInfo(h vault.Held, vaultName string) ApprovalInfo {
	info := ApprovalInfo{
		ID: h.Number, Vault: vaultName, Status: h.Status, AskedBy: h.AskerName, AskerKind: h.AskerKind, Service: h.Service,
		Method: h.Method, Target: h.Target, Path: h.Path, Upgrade: h.Upgrade, CreatedAt: h.CreatedAt, ExpiresAt: h.Until,
		DecidedBy: h.DecidedBy, Note: h.Note, RequestID: h.Request,
	}
	for _, t := range []struct {
		into *(*time.Time)
		time time.Time
	}{{&info.DecidedAt, h.DecidedAt}, {&info.SentAt, h.SentAt}, {&info.AnsweredAt, h.AnsweredAt}} {
		if !t.time.IsZero() {
			*t.into = &t.time
		}
	}
	return info
}

func approvalReview(rv vault.HeldReview) ApprovalReview {
	out := ApprovalReview{
		ApprovalInfo: approvalInfo(rv.Held, rv.Vault), Digest: rv.Digest, URL: rv.URL(rv.Content),
		Header: []ApprovalField{}, BodyBytes: len(rv.Content.Body), Forgotten: rv.Forgotten,
	}
	for _, f := range rv.Content.Header {
		out.Header = append(out.Header, ApprovalField{f.Name, f.Value, f.Hidden})
	}
	if utf8.Valid(rv.Content.Body) {
		out.Body = string(rv.Content.Body)
	} else {
		out.BodyBase64 = rv.Content.Body
	}
	return out
}

func (s *server) listApprovals(ctx context.Context, c call[approvalsIn]) (ApprovalList, error) {
	before, err := c.in.number()
	if err != nil {
		return ApprovalList{}, err
	}
	if c.in.Wait > 0 && before > 0 {
		return ApprovalList{}, bad("wait: it goes with the first page only")
	}
	var list []vault.ListedHeld
	if pending := c.in.Status != ""; before > 0 {
		list, err = s.Registry.HeldRequests(ctx, c.caller, c.in.name(), pending, before, c.in.Limit)
	} else {
		list, err = s.Registry.WaitHeldRequests(ctx, c.caller, c.in.name(), pending, c.in.Limit, vault.HeldWait{Tag: c.in.Tag, Wait: c.in.Wait, Stop: s.Stopping})
	}
	out := ApprovalList{Approvals: []ApprovalInfo{}, Tag: vault.HeldTag(list)}
	for _, h := range list {
		out.Approvals = append(out.Approvals, approvalInfo(h.Held, h.Vault))
		out.NextCursor = fmt.Sprint(h.Number)
	}
	if len(list) < c.in.Limit || c.in.name() == "" {
		out.NextCursor = ""
	}
	return out, err
}

func (s *server) getApproval(ctx context.Context, c call[approvalIn]) (ApprovalReview, error) {
	rv, err := s.Registry.HeldRequest(ctx, c.caller, c.in.name(), c.in.Number)
	return approvalReview(rv), err
}

func (s *server) allowRequest(ctx context.Context, c call[decideIn]) (ApprovalInfo, error) {
	return s.decideRequest(ctx, c, true)
}

func (s *server) denyRequest(ctx context.Context, c call[decideIn]) (ApprovalInfo, error) {
	return s.decideRequest(ctx, c, false)
}

func (s *server) decideRequest(ctx context.Context, c call[decideIn], allow bool) (ApprovalInfo, error) {
	rv, err := s.Registry.DecideHeld(ctx, c.caller, c.in.name(), c.in.Number, vault.HeldDecision{Digest: c.in.Body.Digest, Allow: allow, Note: c.in.Body.Note})
	return approvalInfo(rv.Held, rv.Vault), err
}
