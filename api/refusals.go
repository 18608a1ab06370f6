package api

import (
	"cmp"
	"slices"

	"agentvault/vault"
)

// Codes that HTTP adds to those of package vault.
const (
	codeTooLarge         = "request_too_large"
	codeMethodNotAllowed = "method_not_allowed"
	codeInternal         = "internal_error"
)

// A RefusalKind is a row of the table of the control plane's errors.
type RefusalKind struct {
	Code   string
	Status int
	When   string // for people, in docs/faults.md
}

// refusalKinds are all of them. Codes of package vault that are missing here would
// be answered with 500; a test looks for them.
var refusalKinds = []RefusalKind{
	{vault.CodeBadRequest, 400, "the request cannot be understood; the message names the field"},
	{vault.CodeVaultRequired, 400, "the request names no vault, and needs one"},
	{vault.CodeUnauthorized, 401, "the token is missing, unknown, expired or revoked; email or password is wrong"},
	{vault.CodeForbidden, 403, "the caller's role does not allow it, or an agent's token may not do it; the page of another site sent it"},
	{vault.CodeLoginTooOld, 403, "it widens somebody's reach, and the password was given more than five minutes ago; `POST /v1/auth/reauthenticate`"},
	{vault.CodeVaultForbidden, 403, "the caller has no role in this vault"},
	{vault.CodeWrongPassword, 403, "the password that was given again is wrong"},
	{vault.CodeApprovalNotFound, 404, "no request of this number waits, or waited, for a person"},
	{vault.CodeCredentialNotFound, 404, "the vault has no credential of this key"},
	{vault.CodeInviteNotFound, 404, "no invite has this token"},
	{vault.CodeNotFound, 404, "there is no such thing, or no such route"},
	{vault.CodeProposalNotFound, 404, "there is no such proposal, or it is another agent's; the link that shows it is older than a day"},
	{vault.CodeVaultNotFound, 404, "unknown vault"},
	{codeMethodNotAllowed, 405, "the route does not take this method"},
	{vault.CodeApprovalChanged, 409, "the digest is not that of the request; look at it again"},
	{vault.CodeApprovalClosed, 409, "the request does not wait for a decision any more"},
	{vault.CodeConflict, 409, "the name is taken, or what is asked for contradicts what is there"},
	{vault.CodeProposalChanged, 409, "the vault or the proposal is not what the person was shown; look at it again"},
	{vault.CodeProposalClosed, 409, "the proposal is not pending any more"},
	{vault.CodeInviteExpired, 410, "the invite has expired"},
	{vault.CodeInviteRedeemed, 410, "the invite has been redeemed"},
	{vault.CodeInviteRevoked, 410, "the invite has been revoked"},
	{codeTooLarge, 413, "the body is too long"},
	{vault.CodeRateLimited, 429, "too many sign-ins from this address, or too many passwords at once; carries `Retry-After`"},
	{vault.CodeTooManyInvites, 429, "50 invites are pending; carries `Retry-After`"},
	{vault.CodeTooManyProposals, 429, "20 proposals are pending in this vault; carries `Retry-After`"},
	{codeInternal, 500, "a defect in the server itself; its log has the request id"},
	{vault.CodeConnectFailed, 502, "the authorization server gave no credential for the code; the message says why"},
	{vault.CodeNotInitialized, 503, "the instance has no owner yet; carries `Retry-After`"},
	{vault.CodeUnavailable, 503, "the server cannot do it safely right now; carries `Retry-After`"},
}

// Refusals returns the table of the control plane's errors, by status and then
// code.
func Refusals() []RefusalKind {
	return slices.SortedStableFunc(slices.Values(refusalKinds), func(a, b RefusalKind) int {
		return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Code, b.Code))
	})
}

// statuses are the refusalKinds' statuses by code.
var statuses = func() map[string]int {
	m := make(map[string]int, len(refusalKinds))
	for _, r := range refusalKinds {
		m[r.Code] = r.Status
	}
	return m
}()
