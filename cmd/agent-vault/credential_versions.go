package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

func credentialVersionsCommand() *cobra.Command {
	var vaultName string
	var o output
	c := &cobra.Command{
		Use: "versions KEY", Short: "List a credential's versions, without values",
		Long: "List a credential's versions, newest first, without values. The one in use is\nmarked with *.",
		Example: `  agent-vault credential versions GITHUB_TOKEN
  agent-vault credential versions GITHUB_TOKEN --vault team-a -o json`,
		Args:              oneKey,
		ValidArgsFunction: arguments(credentialKeys),
		RunE: func(c *cobra.Command, args []string) error {
			return printAnswer(c, &o, func(client *api.Client) (allVersions, error) {
				return versionsOf(c, client, vaultOrDefault(vaultName), args[0])
			}, printVersions)
		},
	}
	addVault(c, &vaultName)
	o.add(c)
	return c
}

func credentialRollbackCommand() *cobra.Command {
	var vaultName string
	var to int64
	var o output
	c := &cobra.Command{
		Use:   "rollback KEY",
		Short: "Make an earlier value of a credential its newest",
		Long: `Make an earlier value of a credential its newest. The value that it replaces is
kept as an earlier version, so that this can be undone the same way.`,
		Example: `  agent-vault credential rollback GITHUB_TOKEN
  agent-vault credential rollback GITHUB_TOKEN --to 3`,
		Args:              oneKey,
		ValidArgsFunction: arguments(credentialKeys),
		RunE: func(c *cobra.Command, args []string) error {
			if to < 0 || to == 0 && c.Flags().Changed("to") {
				return misused(c, "--to is a version, from 1")
			}
			name := vaultOrDefault(vaultName)
			return printAnswer(c, &o, func(client *api.Client) (api.CredentialInfo, error) {
				cr, err := client.RollBackCredential(c.Context(), args[0], api.RollBackRequest{Vault: name, Version: to})
				return cr, unlessVersion(c, client, name, args[0], err)
			}, func(w io.Writer, cr api.CredentialInfo) {
				fmt.Fprintf(w, "rolled %s in the vault %s back; its version is now %d\n", plain(cr.Key), plain(name), cr.Version)
			})
		},
	}
	addVault(c, &vaultName)
	c.Flags().Int64Var(&to, "to", 0, "the version to go back to (default: the one before)")
	o.add(c)
	return c
}

// allVersions are a credential's earlier versions, and the one in use.
type allVersions struct {
	Current *api.CredentialInfo `json:"current"`
	api.VersionList
}

func versionsOf(c *cobra.Command, client *api.Client, vaultName, key string) (all allVersions, err error) {
	if all.VersionList, err = client.CredentialVersions(c.Context(), vaultName, key); err != nil {
		return all, err
	}
	l, err := client.Credentials(c.Context(), vaultName)
	for _, cr := range l.Credentials {
		if cr.Key == key {
			all.Current = &cr
		}
	}
	return all, err
}

func printVersions(w io.Writer, all allVersions) {
	var rows [][]string
	if cr := all.Current; cr != nil {
		rows = append(rows, []string{strconv.FormatInt(cr.Version, 10), "*", shownTime(cr.UpdatedAt), "-"})
	}
	for _, v := range all.Versions {
		rows = append(rows, []string{strconv.FormatInt(v.Version, 10), "", shownTime(v.CreatedAt), shownTime(v.RetiredAt)})
	}
	table(w, []string{"VERSION", "", "SET", "REPLACED"}, rows)
}

// unlessVersion hints at the versions that there are, when the server knows no
// such one.
func unlessVersion(c *cobra.Command, client *api.Client, vaultName, key string, err error) error {
	if !isCode(err, vault.CodeNotFound) {
		return err
	}
	l, listing := client.CredentialVersions(c.Context(), vaultName, key)
	if listing != nil {
		return err
	}
	var there []string
	for _, v := range l.Versions {
		there = append(there, strconv.FormatInt(v.Version, 10))
	}
	if len(there) == 0 {
		return hint(err, "%s has no earlier version", key)
	}
	return hint(err, "the earlier versions of %s are: %s", key, strings.Join(there, ", "))
}
