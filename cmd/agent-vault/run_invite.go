package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

// Where an image that is started gets its invite.
const (
	inviteVariable     = "AGENT_VAULT_INVITE"
	inviteFileVariable = "AGENT_VAULT_INVITE_FILE"
)

const maxInviteFile = 4096 // bytes

// givenInvite is the link of an invite, or its token.
func givenInvite() (string, error) {
	given, path := os.Getenv(inviteVariable), os.Getenv(inviteFileVariable)
	switch {
	case given != "" && path != "":
		return "", hint(fmt.Errorf("%s and %s are both set", inviteVariable, inviteFileVariable), "leave one of them out")
	case given == "" && path == "":
		return "", hint(errors.New("there is no invite to start with"),
			"make one with agent-vault agent invite, and put it into %s, or into a file whose path is in %s", inviteVariable, inviteFileVariable)
	case path == "":
		return given, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", inviteFileVariable, err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxInviteFile))
	if err != nil {
		return "", fmt.Errorf("%s: %w", inviteFileVariable, err)
	}
	return strings.TrimSpace(string(content)), nil
}

// prepareInvited makes a child's environment of an invite, which is used up by
// it. All that can fail before is done before.
func (f *sessionFlags) prepareInvited(c *cobra.Command) (of childOf, err error) {
	if err := f.notMinted(c, "what an invite is good for lasts as the invite says"); err != nil {
		return of, err
	}
	given, err := givenInvite()
	if err != nil {
		return of, err
	}
	client, token, err := agentsInvite.opened(c, given)
	if err != nil {
		return of, err
	}
	proxy := os.Getenv(proxyVariable)
	if proxy != "" {
		if proxy, err = checkAddress(proxy); err != nil {
			return of, err
		}
	}
	if err := c.Flags().Set("address", client.Address); err != nil { // of all that is asked from here on
		return of, err
	}
	if of.caPEM, err = client.CAPEM(c.Context()); err != nil {
		return of, err
	}
	r, err := client.RedeemAgent(c.Context(), token)
	if isCode(err, vault.CodeInviteRedeemed) {
		return of, hint(errors.New("this invite has been used already: it starts one agent, once"), "make a new one with: agent-vault agent invite NAME --vault VAULT")
	}
	if err != nil {
		return of, err
	}
	if f.vault = cmp.Or(f.vault, os.Getenv(vaultVariable)); f.vault == "" && len(r.Vaults) > 0 {
		f.vault = r.Vaults[0].VaultName
	}
	of.session = api.SessionResponse{Token: r.Token, Addr: client.Address, MITMURL: cmp.Or(proxy, r.MITMURL)}
	of.vault, of.agents = vaultOrDefault(f.vault), true
	of.environ = slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, inviteVariable+"=") || strings.HasPrefix(entry, inviteFileVariable+"=")
	})
	return of, nil
}

// notMinted refuses the flags of a session that is minted.
func (f *sessionFlags) notMinted(c *cobra.Command, why string) error {
	for _, flag := range []string{"ttl", "label"} {
		if c.Flags().Changed(flag) {
			return misused(c, "--%s is for a session that is minted, and %s", flag, why)
		}
	}
	return nil
}
