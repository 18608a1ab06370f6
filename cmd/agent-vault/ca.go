package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func caCommand(stdio) *cobra.Command {
	var format string
	export := &cobra.Command{
		Use:   "export",
		Short: "Write the proxy entrance's root certificate to standard output",
		Example: `  agent-vault ca export > agent-vault-ca.pem
  agent-vault ca export | sudo tee /usr/local/share/ca-certificates/agent-vault.crt`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if format != "pem" {
				return &usageError{fmt.Errorf("--format is pem, not %q", format)}
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
	return group("ca", "The local certificate authority", export)
}

// version is set when a release is built: -ldflags "-X main.version=v1.2.3".
var version string

// A versionInfo says what this binary is.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func currentVersion() versionInfo {
	v := versionInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if v.Version == "" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "development"
	}
	return v
}

func versionCommand(stdio) *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "version", Short: "Show what this binary is", Example: "  agent-vault version -o json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := currentVersion()
			return o.print(c.OutOrStdout(), v, func(w io.Writer) { fmt.Fprintf(w, "agent-vault %s (%s, %s)\n", v.Version, v.Go, v.Platform) })
		},
	}
	o.add(c)
	return c
}
