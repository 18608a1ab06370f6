package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

const (
	addressVariable    = "AGENT_VAULT_ADDR"
	vaultVariable      = "AGENT_VAULT_VAULT"
	loginTokenVariable = "AGENT_VAULT_LOGIN_TOKEN"
	defaultAddress     = "http://127.0.0.1:14321"
)

// addressOf finds the server: --address, AGENT_VAULT_ADDR, the default. The
// answer has one spelling, since logins are kept by it.
func addressOf(c *cobra.Command) (string, error) {
	flag, err := c.Flags().GetString("address")
	if err != nil {
		return "", err
	}
	return checkAddress(cmp.Or(flag, os.Getenv(addressVariable), defaultAddress))
}

func checkAddress(a string) (string, error) {
	a = strings.TrimRight(a, "/")
	u, err := url.Parse(a)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", &usageError{hint(fmt.Errorf("%q is not the address of a server", a), "it looks like %s", defaultAddress)}
	}
	return a, nil
}

// stdioOf is where the command reads and writes.
func stdioOf(c *cobra.Command) stdio {
	in, ok := c.InOrStdin().(*os.File)
	if !ok {
		in = os.Stdin
	}
	return stdio{in, c.OutOrStdout(), c.ErrOrStderr()}
}

// anonymous returns a client without a token. A call of it that takes longer
// than a second says so.
func anonymous(c *cobra.Command) (*api.Client, error) {
	a, err := addressOf(c)
	return clientAt(c, a), err
}

func clientAt(c *cobra.Command, address string) *api.Client {
	return &api.Client{
		Address: address, Name: clientName(),
		Transport: &patient{&http.Transport{Proxy: nil}, stdioOf(c), "waiting for " + address},
	}
}

// clientName is what we say of ourselves to the server: plain ASCII, so that a
// list of sign-ins tells machines apart.
var clientName = sync.OnceValue(func() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "an unknown machine"
	}
	return asciiOnly("agent-vault/" + currentVersion().Version + " on " + host)
})

// maxClientName bounds clientName.
const maxClientName = 100 // bytes

func asciiOnly(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxClientName)]
}

// A patient transport shows that a server is slow to answer. It uses no proxy:
// the operator's shell may itself run behind a vault.
type patient struct {
	*http.Transport
	std  stdio
	what string
}

// slowServer is when a log is told of a server that is slow; a person at a
// terminal sees it after a second.
const slowServer = 10 * time.Second

func (p *patient) RoundTrip(req *http.Request) (*http.Response, error) {
	defer progress(p.std, p.what, slowServer)()
	return p.Transport.RoundTrip(req)
}

// unheard is the client for calls that take long by their nature: it does not
// say so.
func unheard(client *api.Client) *api.Client {
	return &api.Client{Address: client.Address, Token: client.Token, Name: client.Name}
}

// signedIn calls f with a client that has the person's login, and says what to
// do when there is none or the server does not know it any more.
//
// When the server wants a fresher login, the person is asked for the password
// and f is called once more: f makes the call that may be refused so before
// everything that must not happen twice.
func signedIn(c *cobra.Command, f func(*api.Client) error) error {
	client, err := anonymous(c)
	if err != nil {
		return err
	}
	if token := os.Getenv(loginTokenVariable); token != "" {
		client.Token = token
		err := freshly(c, client, "put a new login's token into "+loginTokenVariable, f)
		return ended(err, "put the token of a login into "+loginTokenVariable+", or unset it and run: agent-vault auth login",
			"%s is no login of %s, or one that has ended", loginTokenVariable, client.Address)
	}
	logins, err := readLogins()
	if err != nil {
		return err
	}
	l, ok := logins[client.Address]
	if !ok {
		return hint(fmt.Errorf("you are not signed in to %s", client.Address), "run: agent-vault auth login --email you@example.com")
	}
	again := "run: agent-vault auth login --email " + l.Email
	if time.Now().After(l.ExpiresAt) {
		return hint(fmt.Errorf("your login to %s has ended", client.Address), "%s", again)
	}
	client.Token = l.Token
	return ended(freshly(c, client, again, f), again, "your login to %s has ended", client.Address)
}

// ended puts words of ours in the place of the server's about a token.
func ended(err error, todo, format string, args ...any) error {
	if isUnauthorized(err) {
		return hint(fmt.Errorf(format, args...), "%s", todo)
	}
	return err
}

// freshly calls f, and when the server wants a fresher login, asks for the
// password and calls it again. todo is the hint where nobody can be asked.
func freshly(c *cobra.Command, client *api.Client, todo string, f func(*api.Client) error) error {
	err := f(client)
	if !isCode(err, vault.CodeLoginTooOld) {
		return err
	}
	std := stdioOf(c)
	if !onTerminal(std) {
		return hint(err, "%s", todo)
	}
	fmt.Fprintln(std.err, "This needs a sign-in of the last few minutes.")
	password, err := personsPassword(std, false, false)
	if err != nil {
		return err
	}
	if err := reauthenticate(c.Context(), client, string(password)); err != nil {
		return err
	}
	return f(client)
}

// reauthenticate makes the client's login a fresh one. A wrong password has
// another hint than other things that are forbidden.
func reauthenticate(ctx context.Context, client *api.Client, password string) error {
	_, err := client.Reauthenticate(ctx, api.PasswordRequest{Password: password})
	return ifWrong(err, "try again, or run: agent-vault auth login")
}

// ifWrong hints at what to do about a wrong password.
func ifWrong(err error, todo string) error {
	if isCode(err, vault.CodeWrongPassword) {
		return hint(err, "%s", todo)
	}
	return err
}
