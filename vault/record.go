package vault

import "time"

// A Request is an exchange, or a blind tunnel, as the request log shows it: what
// the audit log's records of it say, and who it was at that time.
type Request struct {
	ID          string    // the audit log's request id
	Time        time.Time // when it began; UTC, whole milliseconds
	Entrance    string    // "path" or "mitm"
	SessionID   string    // id of the session or agent
	Agent       string    // the agent's name or the session's label, as it was then
	AgentKind   string    // KindAgent or KindSession
	VaultID     string    // "" when none was found
	Vault       string    // its name then
	Service     string    // "" when none matched
	Target      string    // scheme://host:port; the scheme of a blind tunnel is "tunnel"
	Host        string    // of the target
	Method      string    //
	Path        string    // escaped, without the query
	Credentials []string  // keys that the service injects
	Status      *int      // what the agent got, 0 for nothing; nil: unknown, the end was not recorded (yet)
	Fault       string    // code; "" when the upstream answered
	BytesIn     int64     // body from the agent
	BytesOut    int64     // body to the agent
	Micros      int64     // duration
	Scrubbed    int       // places masked in the response
	Seq         uint64    // of the audit log's record that was seen last

	Change int64 // position in the order of beginnings and ends; set by storage
	Row    int64 // the first Change that it had; set by storage
}

// Kinds of whoever sent a Request.
const (
	KindAgent   = "agent"
	KindSession = "session"
)

// A RequestQuery is what a RequestFilter comes to, for storage.
type RequestQuery struct {
	VaultIDs     []string // nil: every vault
	Agent        string   // name or label, or where nobody is called so an id; "": all
	Host         string   // without a port; "": all
	Service      string   // "": all
	Targets      []string // any of them; nil: all
	From, To     int      // status, inclusive; both 0: all
	Unknown      bool     // no status
	Faults       []string // any of them; nil: all
	Since, Until time.Time
	Limit        int // rows; always set

	// Newest first, older than the row at this time and position, when not zero.
	BeforeTime time.Time
	BeforeRow  int64

	// Follow asks for what changed after AfterChange, in the order of changes.
	Follow      bool
	AfterChange int64
}

// A RefusedHost is a host that no service names, and that agents asked for.
type RefusedHost struct {
	VaultID string
	Vault   string // its name
	Target  string // scheme://host:port
	Host    string // host, or host:port where the port is not the scheme's own
	Count   int64
	LastAt  time.Time
	Agents  []string // names and labels, sorted; at most 20
	Methods []string // sorted; at most 20
	Covered bool     // a service names the host by now; storage leaves it false
}

// A RequestShape is what recorded requests that policy cannot tell apart have
// in common.
type RequestShape struct {
	Target, Method, Path string
	Count                int64
	LastAt               time.Time
	Agents               []string // names and labels, sorted; at most 20
}

// A RequestSeries is how many requests there were, over time.
type RequestSeries struct {
	// CompleteFrom is the time from which on everything was counted. It is the
	// query's Since, unless there were too many requests.
	CompleteFrom time.Time
	Points       []RequestPoint // in order; each is as long as the others
}

// A RequestPoint counts the requests that began in a stretch of time.
type RequestPoint struct {
	Time     time.Time // when it begins
	Requests int64
	Refused  int64 // of them: by the vault

	// Timed are those that an upstream answered, and that have ended; of those,
	// P50 and P95 are the durations in microseconds within which half and 95 %
	// ended, true to a sixteenth. Tunnels and upgraded connections are not among
	// them.
	Timed, P50, P95 int64
}

// Requests is the request log. It is filled from the audit log, behind the
// exchanges, and nothing is decided on it.
type Requests interface {
	// ListRequests returns rows, newest first unless the query follows.
	ListRequests(RequestQuery) ([]Request, error)
	// LastChange is the change that a follower has seen after all there is.
	LastChange() (int64, error)
	// RefusedHosts returns the hosts that were refused as "forbidden", most
	// frequent first.
	RefusedHosts(RequestQuery) ([]RefusedHost, error)
	// RequestSeries counts what began from the query's Since on and before its
	// Until, which are both set, at so many points. The codes of refusals say
	// which count as refused. The query's limit is how many requests are looked
	// at, a block more at most; the newest are.
	RequestSeries(q RequestQuery, points int, refusals []string) (RequestSeries, error)
	// RequestShapes calls f with each distinct shape, up to the query's limit.
	RequestShapes(q RequestQuery, f func(RequestShape) error) error
	// CredentialUses returns when each key of a vault was last on a request.
	CredentialUses(vaultID string) (map[string]time.Time, error)
	// ServiceUses returns when a request last went out by each service of a
	// vault, and nothing was wrong with it.
	ServiceUses(vaultID string) (map[string]time.Time, error)
}

// A RequestBatch is what a stretch of the audit log adds to the request log.
type RequestBatch struct {
	Requests []Request                   // each once, in the order in which they came up
	Uses     map[CredentialUse]time.Time // when last
	Tail     LogTail                     // behind the stretch

	// Fresh says of each of Requests whether it began in this stretch, so that it
	// is not looked for among those that are open. Nil: it is not known.
	Fresh []bool

	// Again says that some of it may have been taken in before. That changes
	// nothing then, and it takes longer to find out.
	Again bool
}

// A CredentialUse names a credential that was put on a request.
type CredentialUse struct{ VaultID, Key string }

// A LogTail is how far the audit log has been taken in: the place behind a
// record. The zero LogTail is its beginning.
type LogTail struct {
	Segment uint64 // number of the log's segment
	Offset  int64  // in it, in bytes
	Seq     uint64 // of the record
	MAC     string // of the record, hex

	// Again is the RequestBatch's for the next stretch: the log is filled anew,
	// and has rows of what comes.
	Again bool
}

// refusalCodes are the faults of requests that the vault did not let out. The
// others are an upstream's, or came on the way.
var refusalCodes = []string{
	"bad_request", "condition_not_met", "credential_invalid", "credential_not_found", "credential_refresh_failed", "forbidden", "method_not_allowed",
	"misdirected_request", "network_blocked", "path_not_allowed", "rate_limited", "request_too_large",
	"service_disabled", "unavailable", "vault_forbidden", "vault_not_found", "vault_required",
}
