package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A savedLogin is what stays of a sign-in, in a file that only its owner reads.
type savedLogin struct {
	Token     string    `json:"token"`
	Email     string    `json:"email"`
	ExpiresAt time.Time `json:"expires_at"`
}

func loginsPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", hint(errors.New("there is no home folder to keep the login in"), "set HOME, or "+loginTokenVariable)
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
		return nil, hint(fmt.Errorf("%s is damaged", path), "remove it and sign in again: agent-vault auth login")
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
		return hint(fmt.Errorf("%s keeps logins and is neither a file nor a folder", path), "remove it and sign in again: agent-vault auth login")
	case info.Mode().Perm()&0o077 != 0:
		return hint(fmt.Errorf("%s keeps logins and is open to others (mode %04o)", path, info.Mode().Perm()), "run: chmod %s %s", mode, path)
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
