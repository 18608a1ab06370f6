package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

func authCommand() *cobra.Command {
	return group("auth", "Register, sign in and out",
		signInCommand("register", "Make the first user, who owns the instance", (*api.Client).Register),
		signInCommand("login", "Sign in", (*api.Client).Login), joinCommand(), logoutCommand(), statusCommand(),
		passwordCommand(), loginsCommand(), revokeLoginCommand())
}

// signInCommand asks for email and password and saves the login.
func signInCommand(use, short string, call func(*api.Client, context.Context, api.LoginRequest) (api.LoginResponse, error)) *cobra.Command {
	var email string
	var fromStdin bool
	var o output
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Example: fmt.Sprintf(`  agent-vault auth %s --email you@example.com
  echo "$PASSWORD" | agent-vault auth %s --email you@example.com --password-stdin`, use, use),
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			std := stdioOf(c)
			client, err := anonymous(c)
			if err != nil {
				return err
			}
			if email == "" {
				if email, err = askEmail(c, client.Address); err != nil {
					return err
				}
			}
			if err := ownedAsNeeded(c.Context(), client, use == "register"); err != nil {
				return err
			}
			password, err := personsPassword(std, fromStdin, use == "register")
			if err != nil {
				return err
			}
			r, err := call(client, c.Context(), api.LoginRequest{Email: email, Password: string(password)})
			if err != nil {
				return err
			}
			return saveLogin(c, client.Address, r, &o)
		},
	}
	c.Flags().StringVar(&email, "email", "", "your email address (default: asked for on a terminal)")
	c.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	o.add(c)
	return c
}

// A whoIs is who is signed in where, without the login itself.
type whoIs struct {
	Address string `json:"address"`
	api.UserInfo
	EndsAt *time.Time      `json:"ends_at,omitempty"` // when the login does, if it is not used any more
	Vaults []api.VaultRole `json:"vaults,omitempty"`  // of an owner: none is named
}

// askEmail asks for the email address; the one of the last login there is the
// default.
func askEmail(c *cobra.Command, address string) (string, error) {
	std := stdioOf(c)
	if !onTerminal(std) {
		return "", misused(c, "--email is missing")
	}
	logins, err := readLogins()
	if err != nil {
		return "", err
	}
	last, prompt := logins[address].Email, "Email: "
	if last != "" {
		prompt = "Email [" + plain(last) + "]: "
	}
	answer, err := askLine(std, prompt)
	if err != nil {
		return "", err
	}
	if answer = cmp.Or(answer, last); answer == "" {
		return "", misused(c, "--email is missing")
	}
	return answer, nil
}

// ownedAsNeeded asks the server before a person types a password in vain.
func ownedAsNeeded(ctx context.Context, client *api.Client, registering bool) error {
	s, err := client.Status(ctx)
	switch {
	case err != nil:
		return err
	case registering && s.Initialized:
		return hint(fmt.Errorf("%s has an owner already", client.Address), "run: agent-vault auth login")
	case !registering && s.NeedsFirstUser:
		return hint(fmt.Errorf("%s has no owner yet", client.Address), "run: agent-vault auth register --email you@example.com")
	}
	return nil
}

// personsPassword takes a password from standard input or asks for it, twice if
// it is new.
func personsPassword(std stdio, fromStdin, isNew bool) (p []byte, err error) {
	switch {
	case fromStdin:
		p, err = pipedPassword(std, "Password: ")
	case !onTerminal(std):
		err = hint(errors.New("there is no terminal to ask for the password on"), "use --password-stdin")
	case isNew:
		p, err = askTwice(std, "Password: ")
	default:
		p, err = askPassword(std, "Password: ")
	}
	return checkedPassword(p, err)
}

// checkedPassword refuses what JSON would change: it puts U+FFFD in the place of
// what is not UTF-8.
func checkedPassword(p []byte, err error) ([]byte, error) {
	if err == nil && !utf8.Valid(p) {
		err = errors.New("the password is not UTF-8")
	}
	return p, err
}

// askTwice asks for a password that is new.
func askTwice(std stdio, prompt string) ([]byte, error) {
	p, err := askPassword(std, prompt)
	if err != nil {
		return nil, err
	}
	again, err := askPassword(std, "Once more: ")
	if err == nil && string(p) != string(again) {
		err = errors.New("the two passwords differ")
	}
	return p, err
}

// signedOut is what auth logout prints.
type signedOut struct {
	Done    bool   `json:"done"`
	Address string `json:"address"`
}

func logoutCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "logout", Short: "Sign out", Example: "  agent-vault auth logout", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := anonymous(c)
			if err != nil {
				return err
			}
			logins, err := readLogins()
			if err != nil {
				return err
			}
			if client.Token = cmp.Or(os.Getenv(loginTokenVariable), logins[client.Address].Token); client.Token == "" {
				return fmt.Errorf("you are not signed in to %s", client.Address)
			}
			told := client.Logout(c.Context())
			if err := changeLogins(func(m map[string]savedLogin) { delete(m, client.Address) }); err != nil {
				return err
			}
			var refused *api.ClientError
			if told != nil && !errors.As(told, &refused) { // a login that the server does not know is out already
				fmt.Fprintf(c.ErrOrStderr(), "agent-vault: the server could not be told: %s\n"+
					"hint: the login is forgotten here, and lasts there until it ends: agent-vault auth revoke, once you are signed in again\n", plain(told.Error()))
			}
			return o.print(c.OutOrStdout(), signedOut{true, client.Address}, func(w io.Writer) { fmt.Fprintf(w, "signed out of %s\n", client.Address) })
		},
	}
	o.add(c)
	return c
}

// whoAmI gathers who is signed in, until when, and what they are in each vault.
func whoAmI(ctx context.Context, client *api.Client) (me whoIs, err error) {
	me.Address = client.Address
	if me.UserInfo, err = client.Me(ctx); err != nil {
		return me, err
	}
	logins, err := client.Logins(ctx)
	for _, l := range logins.Logins {
		if l.Current {
			me.EndsAt = &l.EndsAt
		}
	}
	if err != nil || me.Role != vault.RoleMember {
		return me, err
	}
	vaults, err := client.Vaults(ctx)
	for _, v := range vaults.Vaults {
		role := ""
		members, _ := client.Members(ctx, v.Name) // whom the server does not tell, we tell the name only
		for _, m := range members.Members {
			if m.Email == me.Email {
				role = m.Role
			}
		}
		me.Vaults = append(me.Vaults, api.VaultRole{VaultName: v.Name, VaultRole: role})
	}
	return me, err
}

func printWhoIs(w io.Writer, me whoIs) {
	fmt.Fprintf(w, "%s at %s (%s)\n", plain(me.Email), me.Address, plain(me.Role))
	if me.EndsAt != nil {
		fmt.Fprintf(w, "the login ends at %s, if it is not used until then\n", shownTime(*me.EndsAt))
	}
	switch {
	case me.Role == vault.RoleOwner:
		fmt.Fprintln(w, "vaults: admin of all")
	case len(me.Vaults) == 0:
		fmt.Fprintln(w, "vaults: none")
	default:
		fmt.Fprintf(w, "vaults: %s\n", plain(shownRoles(me.Vaults)))
	}
}

func statusCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "status", Short: "Show who is signed in where", Example: "  agent-vault auth status -o json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return printAnswer(c, &o, func(client *api.Client) (whoIs, error) {
				return whoAmI(c.Context(), client)
			}, printWhoIs)
		},
	}
	o.add(c)
	return c
}
