package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// addressOf finds the server: --address, AGENT_VAULT_ADDR, the default.
func addressOf(c *cobra.Command) (string, error) {
	a, err := c.Flags().GetString("address")
	if err != nil || a != "" {
		return a, err
	}
	if a := os.Getenv(addressVariable); a != "" {
		return a, nil
	}
	return defaultAddress, nil
}

// anonymous returns a client without a token.
func anonymous(c *cobra.Command) (*api.Client, error) {
	a, err := addressOf(c)
	return &api.Client{Address: a}, err
}

// signedIn returns a client with the person's login.
func signedIn(c *cobra.Command) (*api.Client, error) {
	client, err := anonymous(c)
	if err != nil {
		return nil, err
	}
	if client.Token = os.Getenv(loginTokenVariable); client.Token != "" {
		return client, nil
	}
	logins, err := readLogins()
	if err != nil {
		return nil, err
	}
	l, ok := logins[client.Address]
	if !ok || time.Now().After(l.ExpiresAt) {
		return nil, fmt.Errorf("you are not signed in to %s; run: agent-vault auth login", client.Address)
	}
	client.Token = l.Token
	return client, nil
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
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return logins, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("%s holds logins and can be read by others (mode %04o); run: chmod 600 %s", path, info.Mode().Perm(), path)
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

// outputFlag adds -o text|json.
func outputFlag(c *cobra.Command) { c.Flags().StringP("output", "o", "text", "text or json") }

// printed writes v as JSON when that was asked for, else lets text write.
func printed(c *cobra.Command, v any, text func()) error {
	format, err := c.Flags().GetString("output")
	if err != nil {
		return err
	}
	switch format {
	case "text":
		text()
		return nil
	case "json":
		e := json.NewEncoder(c.OutOrStdout())
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	return &usageError{fmt.Errorf("--output is text or json, not %q", format)}
}
