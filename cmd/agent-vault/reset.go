package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
)

func resetPasswordCommand() *cobra.Command {
	var email string
	var fromStdin bool
	c := &cobra.Command{
		Use:   "reset-password --email EMAIL",
		Short: "Give a user a new password, on the server's own machine",
		Long: `Give a user a new password when nobody can sign in any more. The user's
sign-ins end.

It works on the data folder itself, so the server must be stopped, and it needs
what the server needs to start: the master password, or the key file.`,
		Example: `  agent-vault server reset-password --email you@example.com
  echo "$PASSWORD" | agent-vault server reset-password --email you@example.com --password-stdin`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			std := stdioOf(c)
			if email == "" {
				return misused(c, "--email is missing")
			}
			cfg, err := loadConfig(c.Flags(), os.Environ())
			if err != nil {
				return err
			}
			master, err := operatorsMaster(std, false)
			if err != nil {
				return err
			}
			return withRegistry(c.Context(), cfg, master, std, func(r *vault.Registry) error {
				password, err := personsPassword(std, fromStdin, true)
				if err != nil {
					return err
				}
				if err := r.ResetPassword(c.Context(), email, password); err != nil {
					return err
				}
				_, err = fmt.Fprintf(c.OutOrStdout(), "%s has a new password; all of their sign-ins have ended\n", email)
				return err
			})
		},
	}
	addConfigFlags(c.Flags())
	c.Flags().StringVar(&email, "email", "", "the user's email address")
	c.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the new password from standard input")
	return c
}

// noData is the error of a folder without data.
func noData(dir string) error {
	return hint(fmt.Errorf("there is no data of a server in %s", dir), "name the folder with --data-dir")
}

func notStarted(dir string) error { return fmt.Errorf("no server has been started on %s yet", dir) }

// withRegistry opens the data of a server that does not run.
func withRegistry(ctx context.Context, cfg *config, master masterSource, std stdio, f func(*vault.Registry) error) error {
	return withData(ctx, cfg, master, newOperator(cfg, std.err), func(db *store.DB, key seal.Key) error {
		r, err := vault.New(vault.Options{Store: db, Key: key})
		if err != nil {
			return err
		}
		return f(r)
	})
}

// withData opens the data of a server that does not run.
func withData(ctx context.Context, cfg *config, master masterSource, op operator, f func(*store.DB, seal.Key) error) (err error) {
	if err := forbidCores(); err != nil {
		return err
	}
	path := filepath.Join(cfg.DataDir, "agent-vault.db")
	if _, err := os.Stat(path); err != nil {
		return noData(cfg.DataDir)
	}
	lock, err := lockFolder(cfg.DataDir)
	if err != nil {
		return err
	}
	defer lock.Close() // nothing was written to it
	db, err := store.Open(ctx, store.Options{Path: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, exists, err := db.Keyring(ctx); err != nil || !exists {
		return errors.Join(err, notStarted(cfg.DataDir))
	}
	key, err := unlock(ctx, db, cfg.DataDir, master, op)
	if err != nil {
		return err
	}
	return f(db, key)
}
