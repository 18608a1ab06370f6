package main

import (
	"net"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"agentvault/api"
)

// proxyVariable names the proxy entrance, which only the server knows, where
// there is no session that says it.
const proxyVariable = "AGENT_VAULT_PROXY"

// usualProxyPort is where the proxy entrance listens unless it is configured.
const usualProxyPort = "14322"

// agentTokenAlone returns an agent's token where nobody is signed in: a person's
// login comes first, as a session of its own is worth less than a token that
// lasts.
func agentTokenAlone(c *cobra.Command) string {
	_, token := agentToken()
	if token == "" || os.Getenv(loginTokenVariable) != "" {
		return ""
	}
	address, err := addressOf(c)
	if err != nil {
		return ""
	}
	if logins, err := readLogins(); err == nil {
		if _, ok := logins[address]; ok {
			return ""
		}
	}
	return token
}

// prepareAgent makes a child's environment of an agent's token. The server says
// whether it is one, and where the proxy entrance is.
func (f *sessionFlags) prepareAgent(c *cobra.Command, token string) (of childOf, err error) {
	if err := f.notMinted(c, "this is the agent's own token"); err != nil {
		return of, err
	}
	f.vault = vaultOrDefault(f.vault)
	client, err := anonymous(c)
	if err != nil {
		return of, err
	}
	client.Token = token
	if _, err := client.Discover(c.Context()); isUnauthorized(err) {
		return of, ended(err, "ask for a new one, or sign in: agent-vault auth login", "the agent's token is not known to %s, or has ended", client.Address)
	}
	proxy, err := proxyOf(client.Address)
	if err != nil {
		return of, err
	}
	of.session = api.SessionResponse{Token: token, Addr: client.Address, MITMURL: proxy}
	of.vault, of.environ, of.agents = f.vault, os.Environ(), true
	of.caPEM, err = client.CAPEM(c.Context())
	return of, err
}

// proxyOf is the address of the proxy entrance: AGENT_VAULT_PROXY, or the usual
// port beside the API.
func proxyOf(address string) (string, error) {
	if given := os.Getenv(proxyVariable); given != "" {
		return checkAddress(given)
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	return "http://" + net.JoinHostPort(u.Hostname(), usualProxyPort), nil
}
