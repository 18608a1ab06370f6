package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

// completionTime is how long a shell waits for names at most.
const completionTime = 2 * time.Second

// A lister lists what an argument may be, each with cobra.CompletionWithDesc
// where a name alone says little. vaultName is the vault of the command.
type lister func(ctx context.Context, client *api.Client, vaultName string) ([]cobra.Completion, error)

// arguments completes the first argument by the first lister, and so on.
func arguments(listers ...lister) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(listers) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return listed(c, listers[len(args)], begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes what a flag takes.
func completeFlag(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	must(c.RegisterFlagCompletionFunc(flag, f))
}

// flagOf completes a flag by a lister.
func flagOf(list lister) cobra.CompletionFunc {
	return func(c *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return listed(c, list, begun), cobra.ShellCompDirectiveNoFileComp
	}
}

// listed asks the server with the saved login. Whatever fails lists nothing:
// there is nobody to tell.
func listed(c *cobra.Command, list lister, begun string) (names []string) {
	client, ok := savedClient(c)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.Context(), completionTime)
	defer cancel()
	all, err := list(ctx, client, vaultOfCommand(c))
	if err != nil {
		return nil
	}
	for _, name := range all {
		value, says, _ := strings.Cut(name, "\t")
		if !strings.HasPrefix(value, begun) || plain(value) != value { // what no shell shall get
			continue
		}
		names = append(names, strings.TrimSuffix(value+"\t"+plain(says), "\t"))
	}
	return names
}

// savedClient has whichever login there is, and asks nobody for anything.
// Without one it has an agent's token, or none: the server answers or refuses.
func savedClient(c *cobra.Command) (*api.Client, bool) {
	address, err := addressOf(c)
	if err != nil {
		return nil, false
	}
	token := os.Getenv(loginTokenVariable)
	if token == "" {
		logins, _ := readLogins()
		token = logins[address].Token
	}
	if token == "" {
		_, token = agentToken()
	}
	return &api.Client{Address: address, Token: token, Name: clientName()}, true
}

// vaultOfCommand is the vault that a command line names so far: by --vault V or
// --vault V=ROLE, or none, which has a default.
func vaultOfCommand(c *cobra.Command) string {
	name := ""
	if f := c.Flags().Lookup("vault"); f != nil {
		name = f.Value.String()
		if all, err := c.Flags().GetStringArray("vault"); err == nil {
			name = strings.Join(all[:min(len(all), 1)], "")
		}
	}
	name, _, _ = strings.Cut(name, "=")
	return vaultOrDefault(name)
}

// offered makes completions of what was listed.
func offered[T any](things []T, of func(T) cobra.Completion) (all []cobra.Completion) {
	for _, thing := range things {
		all = append(all, of(thing))
	}
	return all
}

func vaultNames(ctx context.Context, client *api.Client, _ string) ([]cobra.Completion, error) {
	l, err := client.Vaults(ctx)
	return offered(l.Vaults, func(v api.VaultInfo) cobra.Completion { return v.Name }), err
}

func serviceNames(ctx context.Context, client *api.Client, vaultName string) ([]cobra.Completion, error) {
	l, err := client.Services(ctx, vaultName)
	return offered(l.Services, func(s vault.Service) cobra.Completion { return cobra.CompletionWithDesc(s.Name, s.Host) }), err
}

func credentialKeys(ctx context.Context, client *api.Client, vaultName string) ([]cobra.Completion, error) {
	l, err := client.Credentials(ctx, vaultName)
	return offered(l.Credentials, func(cr api.CredentialInfo) cobra.Completion { return cr.Key }), err
}

func catalogNames(ctx context.Context, client *api.Client, _ string) ([]cobra.Completion, error) {
	l, err := client.Catalog(ctx, "")
	return offered(l.Entries, func(e api.CatalogSummary) cobra.Completion { return cobra.CompletionWithDesc(e.Name, e.Title) }), err
}

func agentNames(ctx context.Context, client *api.Client, _ string) ([]cobra.Completion, error) {
	l, err := client.Agents(ctx)
	return offered(l.Agents, func(a api.AgentInfo) cobra.Completion { return a.Name }), err
}

func sessionIDs(ctx context.Context, client *api.Client, vaultName string) ([]cobra.Completion, error) {
	l, err := client.Sessions(ctx, vaultName)
	return offered(l.Sessions, func(s api.SessionInfo) cobra.Completion { return cobra.CompletionWithDesc(s.ID, s.Label) }), err
}

func loginIDs(ctx context.Context, client *api.Client, _ string) ([]cobra.Completion, error) {
	l, err := client.Logins(ctx)
	return offered(l.Logins, func(x api.LoginInfo) cobra.Completion { return cobra.CompletionWithDesc(x.ID, x.Client) }), err
}

func userEmails(ctx context.Context, client *api.Client, _ string) ([]cobra.Completion, error) {
	l, err := client.Users(ctx)
	return offered(l.Users, func(u api.UserDetail) cobra.Completion { return cobra.CompletionWithDesc(u.Email, u.Role) }), err
}

func memberEmails(ctx context.Context, client *api.Client, vaultName string) ([]cobra.Completion, error) {
	l, err := client.Members(ctx, vaultName)
	return offered(l.Members, func(m api.MemberInfo) cobra.Completion { return cobra.CompletionWithDesc(m.Email, m.Role) }), err
}

func userInviteIDs(ctx context.Context, client *api.Client, _ string) ([]cobra.Completion, error) {
	l, err := client.UserInvites(ctx)
	return pendingIDs(l), err
}

func agentInviteIDs(ctx context.Context, client *api.Client, _ string) ([]cobra.Completion, error) {
	l, err := client.AgentInvites(ctx)
	return pendingIDs(l), err
}

func pendingIDs(l api.InviteList) (ids []cobra.Completion) {
	for _, i := range l.Invites {
		if i.Status == "pending" {
			ids = append(ids, cobra.CompletionWithDesc(i.ID, i.Name))
		}
	}
	return ids
}

// fixed lists the same for everybody, and asks nobody.
func fixed(names ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)
}

// then completes the first argument by a lister and the second from a fixed
// list.
func then(first lister, second ...string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 1 {
			return fixed(second...)(c, args, begun)
		}
		return arguments(first)(c, args, begun)
	}
}
