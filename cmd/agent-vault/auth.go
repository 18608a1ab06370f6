package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"agentvault/api"
)

func authCommand(io stdio) *cobra.Command {
	register := credentialsCommand(io, "register", "Make the first user, who owns the instance",
		func(ctx context.Context, c *api.Client, r api.LoginRequest) (api.LoginResponse, error) {
			return c.Register(ctx, r)
		})
	login := credentialsCommand(io, "login", "Sign in",
		func(ctx context.Context, c *api.Client, r api.LoginRequest) (api.LoginResponse, error) {
			return c.Login(ctx, r)
		})
	return group("auth", "Register, sign in and out", register, login, logoutCommand(), statusCommand())
}

// credentialsCommand asks for email and password and saves the login.
func credentialsCommand(io stdio, use, short string, call func(context.Context, *api.Client, api.LoginRequest) (api.LoginResponse, error)) *cobra.Command {
	var email string
	var fromStdin bool
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Example: fmt.Sprintf(`  agent-vault auth %s --email you@example.com
  echo "$PASSWORD" | agent-vault auth %s --email you@example.com --password-stdin`, use, use),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if email == "" {
				return &usageError{fmt.Errorf("--email is missing; see: agent-vault auth %s --help", use)}
			}
			client, err := anonymous(c)
			if err != nil {
				return err
			}
			if err := ownedAsNeeded(c.Context(), client, use == "register"); err != nil {
				return err
			}
			password, err := personsPassword(io, fromStdin, use == "register")
			if err != nil {
				return err
			}
			if !utf8.Valid(password) { // JSON would put U+FFFD in the place of what is not
				return errors.New("the password is not UTF-8")
			}
			r, err := call(c.Context(), client, api.LoginRequest{Email: email, Password: string(password)})
			if err != nil {
				return err
			}
			err = changeLogins(func(m map[string]savedLogin) {
				m[client.Address] = savedLogin{Token: r.Token, Email: r.User.Email, ExpiresAt: r.ExpiresAt}
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "signed in to %s as %s (%s)\n", client.Address, r.User.Email, r.User.Role)
			return err
		},
	}
	c.Flags().StringVar(&email, "email", "", "your email address")
	c.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return c
}

// ownedAsNeeded asks the server before a person types a password in vain.
func ownedAsNeeded(ctx context.Context, client *api.Client, registering bool) error {
	s, err := client.Status(ctx)
	switch {
	case err != nil:
		return err
	case registering && s.Initialized:
		return fmt.Errorf("%s has an owner already; run: agent-vault auth login", client.Address)
	case !registering && s.NeedsFirstUser:
		return fmt.Errorf("%s has no owner yet; run: agent-vault auth register --email you@example.com", client.Address)
	}
	return nil
}

func personsPassword(io stdio, fromStdin, isNew bool) ([]byte, error) {
	if fromStdin {
		return pipedPassword(io, "Password: ")
	}
	if !term.IsTerminal(int(io.in.Fd())) {
		return nil, errors.New("there is no terminal to ask for the password on; use --password-stdin")
	}
	p, err := askPassword(io, "Password: ")
	if err != nil || !isNew {
		return p, err
	}
	again, err := askPassword(io, "Once more: ")
	if err == nil && string(p) != string(again) {
		err = errors.New("the two passwords differ")
	}
	return p, err
}

func logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Sign out", Example: "  agent-vault auth logout", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			address, err := addressOf(c)
			if err != nil {
				return err
			}
			logins, err := readLogins()
			if err != nil {
				return err
			}
			client := &api.Client{Address: address, Token: cmp.Or(os.Getenv(loginTokenVariable), logins[address].Token)}
			if client.Token == "" {
				return fmt.Errorf("you are not signed in to %s", address)
			}
			err = client.Logout(c.Context())
			var refused *api.ClientError
			if err != nil && !errors.As(err, &refused) { // a login that the server does not know is out already
				return err
			}
			if err := changeLogins(func(m map[string]savedLogin) { delete(m, address) }); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "signed out of %s\n", address)
			return err
		},
	}
}

func statusCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "status", Short: "Show who is signed in where", Example: "  agent-vault auth status -o json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return signedIn(c, func(client *api.Client) error {
				me, err := client.Me(c.Context())
				if err != nil {
					return err
				}
				return o.print(c.OutOrStdout(), me, func(w io.Writer) { fmt.Fprintf(w, "%s at %s (%s)\n", me.Email, client.Address, me.Role) })
			})
		},
	}
	o.add(c)
	return c
}
