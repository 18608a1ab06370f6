package api

import (
	"time"

	"agentvault/policy"
	"agentvault/vault"
)

// RequestInfo is a request as the request log shows it.
type RequestInfo struct {
	ID             string    `json:"id"`
	Time           time.Time `json:"time" doc:"When it began."`
	Entrance       string    `json:"entrance"`
	Session        string    `json:"session" doc:"The id of the session or agent."`
	Agent          string    `json:"agent" doc:"The agent's name or the session's label; empty when it is not known."`
	AgentKind      string    `json:"agent_kind" enum:"agent,session," doc:"Empty when it is not known."`
	Vault          string    `json:"vault"`
	Service        string    `json:"service"`
	Target         string    `json:"target" doc:"As in https://api.example.com:443."`
	Host           string    `json:"host"`
	Method         string    `json:"method"`
	Path           string    `json:"path"`
	Credentials    []string  `json:"credentials"`
	Status         *int      `json:"status" doc:"Null: unknown, its end was not recorded (yet)."`
	Fault          string    `json:"fault"`
	BytesIn        int64     `json:"bytes_in"`
	BytesOut       int64     `json:"bytes_out"`
	DurationMicros int64     `json:"duration_micros"`
	Scrubbed       int       `json:"scrubbed"`
}

// RequestList is the body of GET /v1/logs.
type RequestList struct {
	Requests     []RequestInfo `json:"requests"`
	NextCursor   string        `json:"next_cursor,omitempty" doc:"For cursor=, to go on with what is older."`
	FollowCursor string        `json:"follow_cursor" doc:"For after=, to go on with what is to come."`
}

// RequestFilter is the query of GET /v1/logs, and of those that are about what
// is in it, which do not look at all fields.
type RequestFilter struct {
	Vault, Agent, Host, Service, Status string
	Since, Until                        time.Time
	Limit                               int           // 0: the server's default
	Cursor                              string        // a NextCursor
	Wait                                time.Duration // whole seconds, for FollowRequests; 0: 50 seconds
}

// RequestSeries is the body of GET /v1/logs/series.
type RequestSeries struct {
	CompleteFrom time.Time      `json:"complete_from" doc:"Everything that began then or later is counted. It is later than since when there are too many requests."`
	Points       []RequestPoint `json:"points" doc:"In order, from since to until."`
}

// RequestPoint counts what began between its time and the next point's.
type RequestPoint struct {
	Time      time.Time `json:"time"`
	Requests  int64     `json:"requests"`
	Refused   int64     `json:"refused" doc:"Those of them that the vault refused."`
	Timed     int64     `json:"timed" doc:"Those of them that an upstream answered and that have ended, without tunnels and upgraded connections."`
	P50Micros int64     `json:"p50_micros" doc:"Half of the timed ones took no longer; true to a sixteenth. 0 where none is timed."`
	P95Micros int64     `json:"p95_micros" doc:"Likewise, 95 of a hundred."`
}

// RefusedHostInfo is a host that no service names, and that agents asked for.
type RefusedHostInfo struct {
	Vault   string    `json:"vault"`
	Host    string    `json:"host" doc:"Host, or host:port where the port is not the scheme's own."`
	Target  string    `json:"target"`
	Count   int64     `json:"count"`
	LastAt  time.Time `json:"last_at"`
	Agents  []string  `json:"agents"`
	Methods []string  `json:"methods"`
	Covered bool      `json:"covered" doc:"A service names it by now."`
	Catalog string    `json:"catalog,omitempty" doc:"The catalog's entry that knows the host."`
	Add     string    `json:"add" doc:"A command that adds it."`
}

// RefusedHostList is the body of GET /v1/hosts.
type RefusedHostList struct {
	Hosts []RefusedHostInfo `json:"hosts"`
}

// PolicyVerdict is the body of GET /v1/policy/check.
type PolicyVerdict struct {
	Vault          string              `json:"vault"`
	Method         string              `json:"method"`
	Target         string              `json:"target"`
	Path           string              `json:"path"`
	Allowed        bool                `json:"allowed"`
	Reason         string              `json:"reason"`
	Service        string              `json:"service"`
	AuthType       string              `json:"auth_type"`
	RuleIndex      *int                `json:"rule_index" doc:"Null: no rule decided."`
	Rule           *policy.Rule        `json:"rule"`
	Credentials    []VerdictCredential `json:"credentials"`
	AllowedMethods []string            `json:"allowed_methods"`
	Tunnel         bool                `json:"tunnel" doc:"The proxy entrance lets it through unseen."`
	Fault          string              `json:"fault" doc:"What the agent would get; empty when it goes out, or that depends on a body that was not given."`
	Doubt          string              `json:"doubt,omitempty" doc:"Why a condition that decided cannot be told, as in steps."`
	Explanation    string              `json:"explanation"`
	Steps          []PolicyStep        `json:"steps" doc:"What the decision looked at, in its order."`
	Ask            bool                `json:"ask" doc:"It goes out if a person allows it."`
	Then           []string            `json:"then" doc:"What else happens to it where it may go out: limits, replacements, tokens that are got for it."`
}

// PolicyStep is a service, or a rule of one, that a decision looked at.
type PolicyStep struct {
	Service   string       `json:"service"`
	RuleIndex *int         `json:"rule_index" doc:"Null: the service itself."`
	Rule      *policy.Rule `json:"rule,omitempty"`
	Finding   string       `json:"finding" doc:"What it came to: other_port, other_agent, other_placeholder, other_path, other_method, condition_false, condition_unsure, body_needed, ended, path_ambiguous, disabled or matches."`
	Doubt     string       `json:"doubt,omitempty" doc:"Why its condition cannot be told: body_too_long, body_coded, content_type_missing, content_type_other, body_not_json, body_names_twice, body_too_deep, query_ambiguous, graphql_unclear, value_unfit or too_costly."`
}

// PolicyQuestion is the body of POST /v1/policy/check.
type PolicyQuestion struct {
	Vault   string            `json:"vault"`
	Method  string            `json:"method" doc:"As in GET."`
	URL     string            `json:"url" doc:"As in https://api.example.com/v1/things. Without a scheme it is https."`
	Agent   string            `json:"agent,omitempty" doc:"Name of the agent that would send it."`
	Headers map[string]string `json:"headers,omitempty" doc:"Its header, for conditions."`
	Content *string           `json:"body,omitempty" doc:"Its body, for conditions. Without it, what depends on the body is left open."`
	Bytes   []byte            `json:"body_base64,omitempty" format:"byte" doc:"The body in base64, instead: for one that is no text, or longer than 128 KiB. More than 1 MiB of a body is not looked at."`
}

// VerdictCredential is a key that a service injects.
type VerdictCredential struct {
	Key     string `json:"key"`
	Present bool   `json:"present" doc:"It has a value."`
}

// ReplayRequest is the body of POST /v1/policy/replay.
type ReplayRequest struct {
	Vault    string          `json:"vault"`
	Since    *time.Time      `json:"since,omitempty" doc:"All that is recorded when left out."`
	Services []vault.Service `json:"services"`
}

// ReplayResponse lists the decisions that would differ.
type ReplayResponse struct {
	Vault     string     `json:"vault"`
	Requests  int64      `json:"requests"`
	Distinct  int        `json:"distinct"`
	Skipped   int64      `json:"skipped" doc:"Of requests: those of which the log has not the whole path, blind tunnels, and unsure."`
	Unsure    int64      `json:"unsure" doc:"Of skipped: those of which a condition decides, about what is not in the log."`
	Truncated bool       `json:"truncated"`
	Flips     []FlipInfo `json:"flips"`
}

// FlipInfo is a request that would be decided otherwise.
type FlipInfo struct {
	Method string      `json:"method"`
	Target string      `json:"target"`
	Path   string      `json:"path"`
	Count  int64       `json:"count"`
	LastAt time.Time   `json:"last_at"`
	Agents []string    `json:"agents"`
	Before DecidedInfo `json:"before"`
	After  DecidedInfo `json:"after"`
}

// DecidedInfo is what services say of a request.
type DecidedInfo struct {
	Decision string `json:"decision" enum:"allow,deny"`
	Reason   string `json:"reason"`
	Service  string `json:"service"`
}

// EventInfo is one change of the record of changes.
type EventInfo struct {
	ID        int64     `json:"id"`
	Time      time.Time `json:"time"`
	ActorKind string    `json:"actor_kind" enum:"user,session,agent,server"`
	ActorName string    `json:"actor_name"`
	Action    string    `json:"action" doc:"As in docs/permissions.md."`
	Vault     string    `json:"vault" doc:"Empty when it was about none."`
	Object    string    `json:"object" doc:"Keys and names, never values."`
}

// EventList is the body of GET /v1/events, newest first.
type EventList struct {
	Events []EventInfo `json:"events"`
	NextPage
}
