package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

// byPerson makes one call with the person's login. Questions to the person stand
// between such calls, so that a call that is made again, after a password, asks
// none of them again.
func byPerson[T any](c *cobra.Command, call func(*api.Client) (T, error)) (out T, err error) {
	err = signedIn(c, func(client *api.Client) (err error) {
		out, err = call(client)
		return err
	})
	return out, err
}

// agentTokenVariables hold an agent's token, the first that is set.
var agentTokenVariables = []string{"AGENT_VAULT_SESSION_TOKEN", "AGENT_VAULT_TOKEN"}

// agentToken returns the token of the agent that runs this command, and where it
// stood.
func agentToken() (variable, token string) {
	for _, variable := range agentTokenVariables {
		if token := os.Getenv(variable); token != "" {
			return variable, token
		}
	}
	return "", ""
}

// byAsker makes one call with the agent's token where there is one, else with the
// person's login.
func byAsker[T any](c *cobra.Command, call func(*api.Client) (T, error)) (out T, err error) {
	variable, token := agentToken()
	if token == "" {
		return byPerson(c, call)
	}
	client, err := anonymous(c)
	if err != nil {
		return out, err
	}
	client.Token = token
	out, err = call(client)
	return out, ended(err, "ask for a new session, or unset it and run: agent-vault auth login",
		"the token in %s is not known to %s, or has ended", variable, client.Address)
}

// printAnswer makes one call with the person's login and prints the answer.
func printAnswer[T any](c *cobra.Command, o *output, call func(*api.Client) (T, error), text func(io.Writer, T)) error {
	answer, err := byPerson(c, call)
	if err != nil {
		return err
	}
	return o.print(c.OutOrStdout(), answer, func(w io.Writer) { text(w, answer) })
}

// A doneThing is what a command prints that has no more to say than that it was
// done, and to what.
type doneThing struct {
	Done bool   `json:"done"`
	Name string `json:"name"`
}

// done makes one call with the person's login, and says in a line what was done
// to the thing of that name.
func done(c *cobra.Command, o *output, name string, call func(*api.Client) error, format string, args ...any) error {
	if err := signedIn(c, call); err != nil {
		return err
	}
	return o.print(c.OutOrStdout(), doneThing{true, name}, func(w io.Writer) {
		fmt.Fprintln(w, plain(fmt.Sprintf(format, args...)))
	})
}

// unlessListed hints at the command that lists what there is, when the server
// knows no such thing.
func unlessListed(err error, command string) error {
	if isCode(err, vault.CodeNotFound, vault.CodeInviteNotFound) {
		return hint(err, "run: agent-vault %s", command)
	}
	return err
}

// isUnauthorized reports whether the server does not know the token.
func isUnauthorized(err error) bool {
	var refused *api.ClientError
	return errors.As(err, &refused) && refused.Status == http.StatusUnauthorized
}

// isCode reports whether the server refused with one of these codes.
func isCode(err error, codes ...string) bool {
	var refused *api.ClientError
	return errors.As(err, &refused) && slices.Contains(codes, refused.Code)
}
