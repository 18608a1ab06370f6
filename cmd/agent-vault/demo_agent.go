package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const demoAgentName = "demo-agent"

// An agentReport is everything that the demo's agent has seen: the demo looks
// for the key in it.
type agentReport struct {
	Environ []string
	Sent    http.Header
	Status  int
	Header  http.Header
	Body    string
}

// demoAgentCommand is the demo's agent: a process of its own that asks for one
// URL. It takes proxy and roots from the environment as any Go program does; to
// the vault's own address it shows its session token.
func demoAgentCommand() *cobra.Command {
	return &cobra.Command{
		Use: demoAgentName + " URL", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			std := stdioOf(c)
			req, err := http.NewRequestWithContext(c.Context(), "GET", args[0], nil)
			if err != nil {
				return err
			}
			if strings.HasPrefix(args[0], os.Getenv(addressVariable)+"/") {
				req.Header.Set("Authorization", "Bearer "+os.Getenv("AGENT_VAULT_SESSION_TOKEN"))
			}
			client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}, Timeout: 30 * time.Second}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				return err
			}
			return json.NewEncoder(std.out).Encode(agentReport{os.Environ(), req.Header, resp.StatusCode, resp.Header, string(body)})
		},
	}
}
