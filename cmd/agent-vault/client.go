package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
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
	a := strings.TrimRight(cmp.Or(flag, os.Getenv(addressVariable), defaultAddress), "/")
	u, err := url.Parse(a)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", &usageError{fmt.Errorf("%q is not the address of a server; it looks like %s", a, defaultAddress)}
	}
	return a, nil
}

// anonymous returns a client without a token.
func anonymous(c *cobra.Command) (*api.Client, error) {
	a, err := addressOf(c)
	return &api.Client{Address: a}, err
}

// signedIn calls f with a client that has the person's login, and says what to
// do when there is none or the server does not know it any more.
func signedIn(c *cobra.Command, f func(*api.Client) error) error {
	client, err := anonymous(c)
	if err != nil {
		return err
	}
	if token := os.Getenv(loginTokenVariable); token != "" {
		client.Token = token
		return explain(f(client), "%s is no login of %s, or one that has ended", loginTokenVariable, client.Address)
	}
	logins, err := readLogins()
	if err != nil {
		return err
	}
	l, ok := logins[client.Address]
	if !ok {
		return fmt.Errorf("you are not signed in to %s; run: agent-vault auth login --email you@example.com", client.Address)
	}
	ended := fmt.Sprintf("your login to %s has ended; run: agent-vault auth login --email %s", client.Address, l.Email)
	if time.Now().After(l.ExpiresAt) {
		return errors.New(ended)
	}
	client.Token = l.Token
	return explain(f(client), "%s", ended)
}

// explain puts words of ours in the place of the server's about a token.
func explain(err error, format string, args ...any) error {
	var refused *api.ClientError
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		return fmt.Errorf(format, args...)
	}
	return err
}

// A savedLogin is what stays of a sign-in, in a file that only its owner reads.
type savedLogin struct {
	Token     string    `json:"token"`
	Email     string    `json:"email"`
	ExpiresAt time.Time `json:"expires_at"`
}

func loginsPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", errors.New("there is no home folder to keep the login in; set HOME, or AGENT_VAULT_LOGIN_TOKEN")
	}
	return filepath.Join(dir, "agent-vault", "logins.json"), nil
}

// readLogins returns the saved logins by address.
func readLogins() (map[string]savedLogin, error) {
	path, err := loginsPath()
	if err != nil {
		return nil, err
	}
	logins := make(map[string]savedLogin)
	err = errors.Join(checkPrivate(filepath.Dir(path), "700"), checkPrivate(path, "600"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return logins, nil
	case err != nil:
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &logins); err != nil {
		return nil, fmt.Errorf("%s is damaged; remove it and sign in again", path)
	}
	return logins, nil
}

// checkPrivate refuses what others can read or change. Logins are worth as much
// as passwords.
func checkPrivate(path, mode string) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case !info.IsDir() && !info.Mode().IsRegular():
		return fmt.Errorf("%s keeps logins and is neither a file nor a folder; remove it and sign in again", path)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s keeps logins and is open to others (mode %04o); run: chmod %s %s", path, info.Mode().Perm(), mode, path)
	}
	return nil
}

// changeLogins writes the file anew, whole or not at all.
func changeLogins(change func(map[string]savedLogin)) error {
	logins, err := readLogins()
	if err != nil {
		return err
	}
	change(logins)
	path, err := loginsPath()
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(logins, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".logins-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone already when it was renamed
	_, err = tmp.Write(b)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// An output is the form in which a command prints what it has to say. A wrong
// one is refused before the command has done anything.
type output string

func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "format" }
func (o *output) Set(s string) error {
	if s != "text" && s != "json" {
		return errors.New("it is text or json")
	}
	*o = output(s)
	return nil
}

// add gives the command -o text|json.
func (o *output) add(c *cobra.Command) {
	*o = "text"
	c.Flags().VarP(o, "output", "o", "text or json")
}

// print writes v as JSON when that was asked for, else as text does.
func (o *output) print(w io.Writer, v any, text func(io.Writer)) error {
	var b bytes.Buffer
	if *o == "json" {
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			return err
		}
	} else {
		text(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}
