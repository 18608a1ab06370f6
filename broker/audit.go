package broker

import (
	"time"

	"agentvault/broker/audit"
)

// A Record is what the audit log says of an exchange: one line of JSON.
//
// An exchange that was allowed has two: an intent, written before any box is
// opened, and an outcome. An intent without an outcome is an exchange whose
// end is unknown. A refused exchange has an outcome only.
type Record struct {
	Seq         uint64    `json:"seq"`               // grows by one per record; the log sets it
	Time        time.Time `json:"time"`              // UTC
	Kind        string    `json:"kind"`              // "intent" or "outcome"
	Request     string    `json:"request"`           // request id, joins intent and outcome
	Entrance    string    `json:"entrance"`          // "path" or "mitm"
	Session     string    `json:"session"`           // session's or agent's id, never the token
	Agent       string    `json:"agent"`             // the session's label or the agent's name then
	AgentKind   string    `json:"agent_kind"`        // "session" or "agent"
	VaultID     string    `json:"vault_id"`          // names change and come again, this does not
	Vault       string    `json:"vault"`             // its name then
	Service     string    `json:"service"`           // "" when none matched
	Target      string    `json:"target"`            // scheme://host:port
	Method      string    `json:"method"`            //
	Path        string    `json:"path"`              // escaped, without the query
	Upgrade     string    `json:"upgrade,omitempty"` // protocol to switch to, in lower case; it did where the status is 101
	Credentials []string  `json:"credentials"`       // keys that the service injects; null for none
	Status      int       `json:"status"`            // outcome: what the agent got; 0 when it got nothing
	Fault       string    `json:"fault"`             // outcome: code, "" when the upstream answered
	BytesIn     int64     `json:"bytes_in"`          // outcome: body from the agent
	BytesOut    int64     `json:"bytes_out"`         // outcome: body to the agent
	Micros      int64     `json:"duration_micros"`   // outcome
	Scrubbed    int       `json:"scrubbed"`          // outcome: places masked in the response
	Foreign     int       `json:"foreign"`           // outcome: credentials of the agent's own that were replaced
}

// OpenAudit opens the audit log at path as [audit.Open] does, with its defaults.
func OpenAudit(path string, key []byte) (*audit.Log, error) {
	return audit.Open(audit.Options{Path: path, Key: key})
}

// A ChangeRecord is what the audit log says of a change of the control plane: an
// event of the store's record, which is written in the transaction of the
// change. It follows behind that.
type ChangeRecord struct {
	Seq       uint64    `json:"seq"`
	Time      time.Time `json:"time"` // of the change, UTC
	Kind      string    `json:"kind"` // audit.KindChange
	Event     int64     `json:"event"`
	ActorKind string    `json:"actor_kind"` // user, session, agent or server
	ActorID   string    `json:"actor_id"`
	Actor     string    `json:"actor"` // email, label or name, as it was then
	Action    string    `json:"action"`
	VaultID   string    `json:"vault_id"`
	Vault     string    `json:"vault"`
	Object    string    `json:"object"` // what was changed: keys and names, never values
}
