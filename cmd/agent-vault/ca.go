package main

import (
	"github.com/spf13/cobra"
)

func caCommand() *cobra.Command {
	var format string
	export := &cobra.Command{
		Use:   "export",
		Short: "Write the proxy entrance's root certificate to standard output",
		Example: `  agent-vault ca export > agent-vault-ca.pem
  agent-vault ca export | sudo tee /usr/local/share/ca-certificates/agent-vault.crt`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if format != "pem" {
				return misused(c, "--format is pem, not %q", format)
			}
			client, err := anonymous(c)
			if err != nil {
				return err
			}
			pem, err := client.CAPEM(c.Context())
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(pem)
			return err
		},
	}
	export.Flags().StringVar(&format, "format", "pem", "pem")
	return group("ca", "The local certificate authority", export, caDoctorCommand())
}
