package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/api/shown"
	"agentvault/policy/inject"
	"agentvault/vault"
)

func credentialCommand() *cobra.Command {
	return group("credential", "Give a vault the values that agents use and never see",
		credentialSetCommand(), credentialListCommand(), credentialDeleteCommand(),
		credentialDummyCommand(), credentialVersionsCommand(), credentialRollbackCommand(), credentialConnectCommand())
}

var errInArguments = &usageError{hint(errors.New("a value is never written on the command line"), "say where it is with --from: env:NAME, file:PATH, or - for standard input")}

// oneKey wants the key of a credential and nothing else. Its errors repeat
// nothing that may be a value.
func oneKey(c *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return exactly("KEY")(c, args)
	case len(args) > 1:
		return errInArguments
	case !inject.ValidKey(args[0]):
		return &usageError{hint(errors.New("KEY has A-Z, 0-9 and _, and begins with a letter"), "as in: %s", strings.TrimSpace(strings.SplitN(c.Example, "\n", 2)[0]))}
	}
	return nil
}

func credentialSetCommand() *cobra.Command {
	var vaultName, from string
	var short bool
	var o output
	c := &cobra.Command{
		Use:   "set KEY",
		Short: "Give a credential a value",
		Long: `Give a credential a value. The value is asked for without echo, or read from the
environment (--from env:NAME), a file (--from file:PATH) or standard input
(--from -); one line break at the end of a file or of standard input is left out.

Answers are searched for values before an agent gets them. One of less than 8
bytes would be found by chance in whatever comes back, so it is refused unless
--allow-short is given: an agent may get to read it then.

A value that there was is kept as an earlier version: agent-vault credential
rollback makes it the newest again.`,
		Example: `  agent-vault credential set GITHUB_TOKEN
  agent-vault credential set GITHUB_TOKEN --from env:GITHUB_TOKEN
  pass show github | agent-vault credential set GITHUB_TOKEN --vault team-a --from -`,
		Args:              oneKey,
		ValidArgsFunction: arguments(credentialKeys),
		RunE: func(c *cobra.Command, args []string) error {
			std := stdioOf(c)
			name, key := vaultOrDefault(vaultName), args[0]
			value, err := readValue(std, from, "Value of "+key+": ")
			if err != nil {
				return err
			}
			values := map[string]string{key: value}
			err = printAnswer(c, &o, func(client *api.Client) (api.SetCredentialsResponse, error) {
				return client.SetCredentials(c.Context(), api.SetCredentialsRequest{Vault: name, Credentials: values, AllowShort: short})
			}, func(w io.Writer, answer api.SetCredentialsResponse) {
				fmt.Fprintf(w, "set %s in the vault %s\n", key, plain(name))
			})
			if err == nil {
				warnShort(std.err, values)
			}
			return err
		},
	}
	addVault(c, &vaultName)
	c.Flags().StringVar(&from, "from", "", "where the value is: env:NAME, file:PATH, or - for standard input")
	allowShort(c, &short)
	o.add(c)
	return c
}

func credentialListCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "list", Short: "List a vault's credentials, without values",
		Example: `  agent-vault credential list
  agent-vault credential list --vault team-a -o json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return printAnswer(c, &o, func(client *api.Client) (api.CredentialList, error) {
				return client.Credentials(c.Context(), vaultOrDefault(vaultName))
			}, func(w io.Writer, l api.CredentialList) {
				now := time.Now()
				list(w, []string{"KEY", "VERSION", "SHORT", "SET", "LAST USED"}, l.Credentials, func(cr api.CredentialInfo) []string {
					used := "never"
					if cr.LastUsedAt != nil {
						used = shown.Age(*cr.LastUsedAt, now)
					}
					return []string{cr.Key, strconv.FormatInt(cr.Version, 10), shownYes(cr.Short), shown.Age(cr.UpdatedAt, now), used}
				})
			})
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

func credentialDeleteCommand() *cobra.Command {
	var vaultName string
	var sure confirmation
	var o output
	c := &cobra.Command{
		Use: "delete KEY", Short: "Remove a credential with all its versions",
		Example: `  agent-vault credential delete GITHUB_TOKEN
  agent-vault credential delete GITHUB_TOKEN --vault team-a --yes`,
		Args:              oneKey,
		ValidArgsFunction: arguments(credentialKeys),
		RunE: func(c *cobra.Command, args []string) error {
			std := stdioOf(c)
			name, key := vaultOrDefault(vaultName), args[0]
			l, err := byPerson(c, func(client *api.Client) (api.ServiceList, error) { return client.Services(c.Context(), name) })
			if err != nil {
				return err
			}
			if users := usersOf(l.Services, key); len(users) > 0 {
				fmt.Fprintf(std.err, "%s is used by: %s; they refuse every request without it\n", key, plain(strings.Join(users, ", ")))
			}
			if err := sure.ask(std, "Delete %s from the vault %s, with all its versions?", key, plain(name)); err != nil {
				return err
			}
			return done(c, &o, key, func(client *api.Client) error {
				return client.DeleteCredential(c.Context(), name, key)
			}, "deleted %s from the vault %s", key, name)
		},
	}
	addVault(c, &vaultName)
	sure.add(c)
	o.add(c)
	return c
}

// usersOf names the services whose auth refers to the key.
func usersOf(services []vault.Service, key string) (names []string) {
	for _, s := range services {
		if slices.Contains(s.Keys(), key) {
			names = append(names, s.Name)
		}
	}
	return names
}

// keysOf are the credentials that an auth refers to. One of a kind that this
// version does not know has none.
func keysOf(a inject.Auth) []string {
	in, err := inject.Parse(a)
	if err != nil {
		return nil
	}
	return in.Keys()
}
