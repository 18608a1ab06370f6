package vault

import (
	"errors"
	"fmt"
	"time"
)

// Codes of errors that commands return. They are a closed list; the API pairs
// each with a status.
const (
	CodeBadRequest         = "bad_request"
	CodeUnauthorized       = "unauthorized"
	CodeForbidden          = "forbidden"
	CodeNotFound           = "not_found"
	CodeVaultNotFound      = "vault_not_found"
	CodeVaultRequired      = "vault_required"
	CodeVaultForbidden     = "vault_forbidden"
	CodeConflict           = "conflict"
	CodeRateLimited        = "rate_limited"
	CodeNotInitialized     = "not_initialized"
	CodeCredentialNotFound = "credential_not_found"
	CodeUnavailable        = "unavailable"
	CodeLoginTooOld        = "login_too_old"
	CodeWrongPassword      = "wrong_password" // of who is signed in

	CodeConnectFailed = "connect_failed" // the authorization server gave no credential

	CodeInviteNotFound = "invite_not_found"
	CodeInviteRedeemed = "invite_redeemed"
	CodeInviteRevoked  = "invite_revoked"
	CodeInviteExpired  = "invite_expired"
	CodeTooManyInvites = "too_many_pending_invites"

	CodeProposalNotFound = "proposal_not_found"
	CodeProposalClosed   = "proposal_closed"  // it was decided, or has expired
	CodeProposalChanged  = "proposal_changed" // it is not what the person was shown
	CodeTooManyProposals = "too_many_pending_proposals"

	CodeApprovalNotFound = "approval_not_found"
	CodeApprovalClosed   = "approval_closed"  // it was decided, or has expired
	CodeApprovalChanged  = "approval_changed" // it is not what the person was shown
)

// An Error is why a command was refused.
type Error struct {
	Code    string // one of the constants above
	Message string // for whoever sent the command
	Err     error  // cause, for the log only; may be nil

	// Wait is when asking again may help; 0 says nothing of it.
	Wait time.Duration
}

// RetryAfter returns when asking again may help; 0 says nothing of it.
func (e *Error) RetryAfter() time.Duration { return e.Wait }

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) *Error { return refuse(CodeBadRequest, format, args...) }

// errorAt puts the place of a thing before an error about it.
func errorAt(place string, err error) error {
	var e *Error
	if errors.As(err, &e) {
		return &Error{Code: e.Code, Message: place + ": " + e.Message, Err: e.Err, Wait: e.Wait}
	}
	return err
}
