package api

import "time"

// ApprovalInfo is a request that waits, or waited, for a person.
type ApprovalInfo struct {
	ID        int64     `json:"id" doc:"Counts per vault, from 1."`
	Vault     string    `json:"vault" doc:"Its name."`
	Status    string    `json:"status" enum:"pending,approved,denied,expired,sent,answered,unknown" doc:"sent: the answer has not ended. unknown: it was sent, and nobody knows what came of it."`
	AskedBy   string    `json:"asked_by"`
	AskerKind string    `json:"asker_kind" enum:"session,agent"`
	Service   string    `json:"service"`
	Method    string    `json:"method"`
	Target    string    `json:"target" doc:"scheme://host, with a port where it is not the scheme's own."`
	Path      string    `json:"path" doc:"Escaped, without the query."`
	Upgrade   string    `json:"upgrade,omitempty" doc:"The protocol to switch to: what follows on the connection nobody is asked about."`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at" doc:"When the state is over: the same request is a new question then."`

	DecidedAt  *time.Time `json:"decided_at" doc:"Null: not yet."`
	DecidedBy  string     `json:"decided_by,omitempty"`
	Note       string     `json:"note,omitempty"`
	SentAt     *time.Time `json:"sent_at" doc:"Null: not yet."`
	RequestID  string     `json:"request_id,omitempty" doc:"Of the request that was sent, in the log."`
	AnsweredAt *time.Time `json:"answered_at" doc:"Null: not yet."`
}

// ApprovalList is the body of GET /v1/approvals, newest first.
type ApprovalList struct {
	Approvals []ApprovalInfo `json:"approvals"`
	Tag       string         `json:"tag" doc:"Send it with wait to be answered when the list is another one."`
	NextPage
}

// ApprovalField is a line of a request's header.
type ApprovalField struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Hidden int    `json:"hidden,omitempty" doc:"Bytes of a value that is not shown: the agent signs in with it by itself."`
}

// ApprovalReview is a request as a person must see it to decide.
type ApprovalReview struct {
	ApprovalInfo
	Digest     string          `json:"digest" doc:"Of all that the decision is about; send it with the decision."`
	URL        string          `json:"url" doc:"With the query, as it was sent."`
	Header     []ApprovalField `json:"header" doc:"The fields that the decision is about."`
	Body       string          `json:"body,omitempty" doc:"As text."`
	BodyBase64 []byte          `json:"body_base64,omitempty" format:"byte" doc:"Instead of body, where it is no text."`
	BodyBytes  int             `json:"body_bytes"`
	Forgotten  bool            `json:"forgotten,omitempty" doc:"Query, header and body are gone: they are kept as long as they matter."`
}

// ApprovalDecision is the body of POST /v1/approvals/{id}/allow and of deny.
type ApprovalDecision struct {
	Digest string `json:"digest" doc:"The digest of the request that the person saw."`
	Note   string `json:"note,omitempty" doc:"At most 2,000 characters. The agent is told it where it is denied."`
}
