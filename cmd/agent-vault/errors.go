package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

// Exit statuses besides a child's own.
const (
	exitFailed = 1
	exitUsage  = 2
)

// A hinter is an error that says what to do about it. The hint is printed on a
// line of its own, and is a sentence without a full stop, or "run: " and a
// command. Errors of other packages have one where they know it best.
type hinter interface{ Hint() string }

// A hinted error has a hint of ours.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }
func (e *hinted) Hint() string  { return e.hint }

// hint puts a hint to an error.
func hint(err error, format string, args ...any) error {
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// A usageError is a command that was not understood.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// misused is a usage error whose hint is the command's help.
func misused(c *cobra.Command, format string, args ...any) error {
	return &usageError{hint(fmt.Errorf(format, args...), "see: %s --help", c.CommandPath())}
}

// A statusError is an error with an exit status of its own.
type statusError struct {
	error
	code int
}

func (e *statusError) Unwrap() error { return e.error }

// An exitStatus ends the process without a word: a child has said its own.
type exitStatus struct{ code int }

func (e *exitStatus) Error() string { return fmt.Sprintf("exit status %d", e.code) }

// report writes an error for a person, and returns the exit status.
func report(w io.Writer, err error) int {
	var silent *exitStatus
	var usage *usageError
	var own *statusError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &silent):
		return silent.code
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	}
	message, todo := explained(err)
	fmt.Fprintf(w, "agent-vault: %s\n", plain(message))
	if todo != "" {
		fmt.Fprintf(w, "hint: %s\n", plain(todo))
	}
	switch {
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &own):
		return own.code
	}
	return exitFailed
}

// explained is what is wrong and what to do, each one line. The outermost hint
// comes before what the server's code suggests.
func explained(err error) (message, todo string) {
	message = strings.ReplaceAll(err.Error(), "\n", "; ") // of joined errors
	var own hinter
	var refused *api.ClientError
	switch {
	case errors.As(err, &own):
		todo = own.Hint()
	case errors.As(err, &refused):
		todo = hintOfCode(refused.Code)
		if refused.Code == vault.CodeForbidden && strings.Contains(refused.Message, "on the instance") {
			todo = "ask an owner of the instance, or sign in as one: agent-vault auth login"
		}
	}
	return message, todo
}

// codeInternal is the server's code of a defect of its own.
const codeInternal = "internal_error"

// hintOfCode returns what a person can do about a refusal of the server, "" when
// the message is all that there is to say.
func hintOfCode(code string) string {
	switch code {
	case vault.CodeUnauthorized, vault.CodeLoginTooOld:
		return "run: agent-vault auth login"
	case vault.CodeForbidden, vault.CodeVaultForbidden:
		return "ask an admin of the vault, or sign in as somebody who may: agent-vault auth login"
	case vault.CodeVaultNotFound:
		return "run: agent-vault vault list"
	case vault.CodeVaultRequired:
		return "name the vault with --vault, or in " + vaultVariable
	case vault.CodeNotInitialized:
		return "run: agent-vault auth register --email you@example.com"
	case vault.CodeRateLimited, vault.CodeUnavailable:
		return "wait a few seconds, and try again"
	case vault.CodeProposalNotFound:
		return "run: agent-vault proposal list"
	case vault.CodeProposalChanged:
		return "look at it again, and decide anew"
	case vault.CodeCredentialNotFound:
		return "run: agent-vault credential list"
	case codeInternal:
		return "look for that id in the server's log"
	}
	return ""
}
