package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/vault"
)

// vaultOrDefault finds the vault: --vault, AGENT_VAULT_VAULT, the default.
func vaultOrDefault(flag string) string {
	return cmp.Or(flag, os.Getenv(vaultVariable), vault.DefaultVault)
}

// vaultOrAll finds the vault: --vault, AGENT_VAULT_VAULT, or "" for all.
func vaultOrAll(flag string) string { return cmp.Or(flag, os.Getenv(vaultVariable)) }

// addVaultOrAll gives the command --vault, without which it is about all.
func addVaultOrAll(c *cobra.Command, name *string, usage string) {
	c.Flags().StringVar(name, "vault", "", usage+" (default: AGENT_VAULT_VAULT, or all)")
	completeFlag(c, "vault", flagOf(vaultNames))
}

// addVault gives the command --vault.
func addVault(c *cobra.Command, name *string) {
	c.Flags().StringVar(name, "vault", "", "the vault (default: AGENT_VAULT_VAULT, or default)")
	completeFlag(c, "vault", flagOf(vaultNames))
}

// Roles, the greatest first.
var (
	instanceRoles = []string{vault.RoleOwner, vault.RoleMember, vault.RoleNoAccess}
	vaultRoles    = []string{vault.VaultAdmin, vault.VaultMember, vault.VaultProxy}
)

// oneOf refuses what is not on the list.
func oneOf(c *cobra.Command, what, given string, list []string) error {
	if slices.Contains(list, given) {
		return nil
	}
	last := len(list) - 1
	return misused(c, "%s is %s or %s, not %q", what, strings.Join(list[:last], ", "), list[last], given)
}

// seconds reads a flag that is a time, which the API counts in seconds. It is
// nil when the flag was not given: the server has a default.
func seconds(c *cobra.Command, flag string, least, most time.Duration) (*int64, error) {
	if !c.Flags().Changed(flag) {
		return nil, nil
	}
	d, err := c.Flags().GetDuration(flag)
	if err != nil {
		return nil, err
	}
	if d < least || d > most || d%time.Second != 0 {
		return nil, misused(c, "--%s is from %s to %s, in whole seconds, not %s", flag, shortDuration(least), shortDuration(most), d)
	}
	n := int64(d / time.Second)
	return &n, nil
}

// maxListed bounds --limit. Lists come in pages of at most pageSize entries.
const (
	maxListed = 100_000
	pageSize  = 1000 // the server's greatest
)

// A limitFlag is how many entries of a list to print.
type limitFlag int

func (f *limitFlag) add(c *cobra.Command, usage string) {
	c.Flags().IntVar((*int)(f), "limit", 100, usage)
}

func (f limitFlag) check(c *cobra.Command) error {
	if f < 1 || f > maxListed {
		return misused(c, "--limit is from 1 to %d, not %d", maxListed, f)
	}
	return nil
}

// pages fetches a list page by page until it is long enough, or at its end.
// page takes a cursor, "" at first, and how much to fetch; it returns how much
// it got, and the next cursor.
func pages(limit int, page func(cursor string, n int) (got int, next string, err error)) error {
	for cursor, all := "", 0; ; {
		got, next, err := page(cursor, min(limit-all, pageSize))
		all += got
		if err != nil || next == "" || all >= limit {
			return err
		}
		cursor = next
	}
}

// sayMore says under a list that it was cut.
func sayMore(w io.Writer, nextCursor string) {
	if nextCursor != "" {
		fmt.Fprintln(w, "there are more: raise --limit")
	}
}

// A fileFlag names a file, or standard input.
type fileFlag string

func (f *fileFlag) add(c *cobra.Command, usage string) {
	c.Flags().StringVarP((*string)(f), "file", "f", "", usage+"; - for standard input")
	must(c.MarkFlagFilename("file", "yaml", "yml", "json"))
}

func (f fileFlag) check(c *cobra.Command) error {
	if f == "" {
		return misused(c, "-f is missing: it names the file, or - for standard input")
	}
	return nil
}
