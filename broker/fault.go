package broker

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Codes of the faults that the data plane answers with. They are a closed
// list: docs/faults.md is written from the table below.
const (
	CodeBadRequest        = "bad_request"
	CodeVaultRequired     = "vault_required"
	CodeUnauthorized      = "unauthorized"
	CodeForbidden         = "forbidden"
	CodeServiceDisabled   = "service_disabled"
	CodeMethodNotAllowed  = "method_not_allowed"
	CodePathNotAllowed    = "path_not_allowed"
	CodeConditionNotMet   = "condition_not_met"
	CodeApprovalDenied    = "approval_denied"
	CodeApprovalTimeout   = "approval_timeout"
	CodeApprovalUnknown   = "approval_outcome_unknown"
	CodeApprovalNotKept   = "approval_answer_not_kept"
	CodeApprovalReplayed  = "approval_replayed"
	CodeTooManyApprovals  = "too_many_pending_approvals"
	CodeVaultForbidden    = "vault_forbidden"
	CodeNetworkBlocked    = "network_blocked"
	CodeVaultNotFound     = "vault_not_found"
	CodeRequestTooLarge   = "request_too_large"
	CodeMisdirected       = "misdirected_request"
	CodePlaceholder       = "placeholder_misplaced"
	CodeBodyUnreadable    = "body_unreadable"
	CodeRateLimited       = "rate_limited"
	CodeBudgetExceeded    = "budget_exceeded"
	CodeCredentialMissing = "credential_not_found"
	CodeCredentialInvalid = "credential_invalid"
	CodeRefreshFailed     = "credential_refresh_failed"
	CodeUpstreamError     = "upstream_error"
	CodeUpstreamTimeout   = "upstream_timeout"
	CodeUpstreamTLS       = "upstream_tls"
	CodeUndecodable       = "upstream_undecodable"
	CodeUnavailable       = "unavailable"
	CodeNotInitialized    = "not_initialized"
	CodeAgentGone         = "agent_gone"
	CodeInternal          = "internal_error"
)

// A FaultKind is a row of the table of faults.
type FaultKind struct {
	Code   string
	Status int    // HTTP status; 401 becomes 407 on the proxy entrance
	When   string // for people, in docs/faults.md
	Next   string // what the agent can do; the message unless the fault says more
}

var faultKinds = map[string]FaultKind{
	CodeBadRequest:        {Status: 400, When: "no or bad target host, bad request target, method or header; a token of the vault where it would go upstream", Next: "the request cannot be understood"},
	CodeVaultRequired:     {Status: 400, When: "an agent token without `X-Vault`", Next: "an agent token must name its vault in the X-Vault header"},
	CodeUnauthorized:      {Status: 401, When: "token missing, unknown, expired or revoked", Next: "the session token is missing, unknown, expired or revoked; ask for a new session"},
	CodeForbidden:         {Status: 403, When: "host not allowed; carries `proposal_hint`", Next: "this host is not configured in the vault; propose it with POST /v1/proposals"},
	CodeServiceDisabled:   {Status: 403, When: "the service is disabled", Next: "the service for this host is disabled; a person can enable it"},
	CodeMethodNotAllowed:  {Status: 403, When: "the service's rules do not allow the method; carries `allowed_methods`", Next: "the service's rules do not allow this method here"},
	CodePathNotAllowed:    {Status: 403, When: "the service's rules do not allow the path, or two readers could read it differently", Next: "the service's rules do not allow this path"},
	CodeConditionNotMet:   {Status: 403, When: "the service's rules allow the request under a condition only, such as one about its body, and it does not meet it, or that cannot be told", Next: "the service's rules allow this under a condition that the request does not meet"},
	CodeBudgetExceeded:    {Status: 403, When: "a budget, or a number of uses, of the service, of its rule or of the agent's grant does not allow the request; nothing was sent", Next: "what this service may be used for is used up"},
	CodeApprovalReplayed:  {Status: 200, When: "in the record only: the answer to an approved request was given again, marked by `X-Agent-Vault-Replayed`; nothing was sent", Next: "the answer that was kept was given again"},
	CodeApprovalDenied:    {Status: 403, When: "a person has denied this very request; carries their note, and the number as `approval`", Next: "a person has denied this request"},
	CodeApprovalTimeout:   {Status: 403, When: "nobody has decided on the request in time; carries the number as `approval`", Next: "no person has decided on this request yet; send the very same request again within ten minutes of the first time, and it waits on"},
	CodeApprovalUnknown:   {Status: 409, When: "the request was allowed and sent, and what came of it is not known, or not yet; carries the number as `approval`, and `Retry-After` where it is worth asking again", Next: "a person has allowed this request and it may have reached the upstream, but what came of it is not known; it is not sent again: find out at the upstream, or ask a person again in ten minutes"},
	CodeApprovalNotKept:   {Status: 409, When: "the request was allowed, sent and answered, and the answer is not kept: it was longer than 1 MiB, broke off or switched protocols; carries the number as `approval`", Next: "a person has allowed this request, and it was sent and answered once; the answer was not one that is kept, and the request is not sent again"},
	CodeTooManyApprovals:  {Status: 429, When: "20 requests wait for a person in the vault, or 5 of this session; carries `Retry-After`", Next: "too many requests wait for a person"},
	CodeVaultForbidden:    {Status: 403, When: "the agent has no access to this vault", Next: "this agent has no access to that vault; a person can grant it"},
	CodeNetworkBlocked:    {Status: 403, When: "the host's address is private, local or otherwise not to be reached", Next: "the host's address is not on the public internet; a person can allow its network with network.allow"},
	CodeVaultNotFound:     {Status: 404, When: "unknown vault", Next: "there is no vault of that name"},
	CodeRequestTooLarge:   {Status: 413, When: "a body that must be seen whole or rewritten is too long", Next: "the request is too long to be rewritten"},
	CodePlaceholder:       {Status: 400, When: "a placeholder of the vault stands where the service does not replace it", Next: "a placeholder of the vault stands where it is not replaced"},
	CodeBodyUnreadable:    {Status: 415, When: "the service replaces placeholders in bodies, and this one is compressed, of several parts, in an odd charset or broken JSON, so that they cannot be found", Next: "this service replaces placeholders in bodies; send JSON or a form in UTF-8 without Content-Encoding, and no multipart"},
	CodeMisdirected:       {Status: 421, When: "a request inside a tunnel names another host than the tunnel's", Next: "this tunnel was opened for another host; open one for the host that the request names"},
	CodeRateLimited:       {Status: 429, When: "a rate or concurrency limit, or too many tokens that are not valid from one address; carries `Retry-After`", Next: "too many requests from this session; wait and try again"},
	CodeAgentGone:         {Status: 499, When: "in the record only: the agent went away before the answer had ended", Next: "the agent has gone"},
	CodeInternal:          {Status: 500, When: "a defect in the vault itself", Next: "the vault failed on this request; its log has the request id"},
	CodeCredentialMissing: {Status: 502, When: "a credential that the service needs has no value; names the key", Next: "the credential that this service needs has no value yet; ask a person to set it"},
	CodeCredentialInvalid: {Status: 502, When: "a credential's value cannot be sent where the service puts it; names the key", Next: "the credential's value cannot be sent in this place; ask a person to set it again"},
	CodeRefreshFailed:     {Status: 502, When: "a token could not be obtained with the service's credentials; names the key that a person must see to, and may carry `Retry-After`", Next: "no token could be obtained for this service; try again later, or ask a person to check its credentials"},
	CodeUpstreamError:     {Status: 502, When: "the upstream cannot be reached or broke the connection, or the egress proxy refused it (the message says which)", Next: "the upstream could not be reached"},
	CodeUpstreamTimeout:   {Status: 502, When: "the upstream, or the egress proxy, did not answer in time", Next: "the upstream did not answer in time"},
	CodeUpstreamTLS:       {Status: 502, When: "the upstream's certificate or TLS handshake is bad, or its chain holds none of the service's pins", Next: "the upstream's TLS certificate could not be verified"},
	CodeUndecodable:       {Status: 502, When: "the upstream's answer is coded in a way that the vault cannot look into", Next: "the upstream's answer cannot be decoded, so it could hide a credential; ask without Accept-Encoding, or a person can set undecodable: pass on the service"},
	CodeUnavailable:       {Status: 503, When: "the vault cannot decide safely right now; carries `Retry-After`", Next: "the vault cannot decide safely right now; try again shortly"},
	CodeNotInitialized:    {Status: 503, When: "the instance has no owner yet; carries `Retry-After`", Next: "this instance has no owner yet: agent-vault auth register makes one"},
}

// FaultKinds returns the table of faults, by status and then code.
func FaultKinds() []FaultKind {
	kinds := make([]FaultKind, 0, len(faultKinds))
	for _, code := range slices.Sorted(maps.Keys(faultKinds)) {
		k := faultKinds[code]
		k.Code = code
		kinds = append(kinds, k)
	}
	slices.SortStableFunc(kinds, func(a, b FaultKind) int { return a.Status - b.Status })
	return kinds
}

// A Fault is why the broker, rather than the upstream, answered a request.
type Fault struct {
	Code    string // stable; one of the constants above
	Status  int    // HTTP status for the agent; 401 becomes 407 on the proxy entrance
	Message string // one sentence for the agent; never the text of an error
	Err     error  // cause, for the operator's log only; never sent

	RetryAfter     time.Duration // sent in whole seconds, at least 1, when not zero
	AllowedMethods []string      // with method_not_allowed
	Credential     string        // the key, with credential_not_found, credential_invalid and credential_refresh_failed
	Approval       int64         // the number of a request that was held
	Proposal       *ProposalHint // with forbidden

	final bool // with credential_refresh_failed: a person must do something first
}

// A ProposalHint tells an agent how to ask for a host that is not configured.
type ProposalHint struct {
	Host               string   `json:"host"`
	Endpoint           string   `json:"endpoint"`
	SupportedAuthTypes []string `json:"supported_auth_types"`
}

// NewFault returns the fault of a code with its standard sentence.
func NewFault(code string) *Fault {
	k, ok := faultKinds[code]
	if !ok {
		code, k = CodeInternal, faultKinds[CodeInternal]
	}
	f := &Fault{Code: code, Status: k.Status, Message: k.Next}
	if k.Status == http.StatusTooManyRequests || k.Status == http.StatusServiceUnavailable {
		f.RetryAfter = time.Second
	}
	return f
}

// ErrorHeader marks every answer that comes from the vault itself. An
// upstream's header of that name is dropped.
const ErrorHeader = "X-Agent-Vault-Proxy-Error"

type faultBody struct {
	Error          string        `json:"error"`
	Message        string        `json:"message"`
	RequestID      string        `json:"request_id,omitempty"`
	AllowedMethods []string      `json:"allowed_methods,omitempty"`
	Credential     string        `json:"credential,omitempty"`
	Approval       int64         `json:"approval,omitempty"`
	Proposal       *ProposalHint `json:"proposal_hint,omitempty"`
}

// FaultResponse spells a fault as an HTTP answer.
func FaultResponse(e Entrance, f *Fault) (status int, header http.Header, body []byte) {
	return faultResponse(e, f, "")
}

func faultResponse(e Entrance, f *Fault, requestID string) (int, http.Header, []byte) {
	body, err := json.Marshal(faultBody{
		Error: f.Code, Message: f.Message, RequestID: requestID,
		AllowedMethods: f.AllowedMethods, Credential: f.Credential, Approval: f.Approval, Proposal: f.Proposal,
	})
	if err != nil { // strings only: cannot happen
		body = []byte(`{"error":"` + CodeInternal + `","message":""}`)
	}
	body = append(body, '\n')
	h := http.Header{
		"Content-Type":           {"application/json"},
		"Content-Length":         {strconv.Itoa(len(body))},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
		ErrorHeader:              {"true"},
	}
	if f.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.Itoa(max(1, int((f.RetryAfter+time.Second-1)/time.Second)))}
	}
	status := f.Status
	if status == http.StatusUnauthorized && e == MITM {
		status = http.StatusProxyAuthRequired
		h["Proxy-Authenticate"] = []string{`Basic realm="agent-vault"`}
	}
	return status, h, body
}

// WriteFault answers a request with a fault.
func WriteFault(w http.ResponseWriter, e Entrance, f *Fault) {
	writeFault(w, e, f, "")
}

func writeFault(w http.ResponseWriter, e Entrance, f *Fault, requestID string) {
	status, header, body := faultResponse(e, f, requestID)
	clear(w.Header())
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	_, _ = w.Write(body) // an agent that went away is no concern of ours
}
