package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set when a release is built: -ldflags "-X main.version=v1.2.3".
var version string

// A versionInfo says what this binary is.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (v versionInfo) String() string {
	return fmt.Sprintf("agent-vault %s (%s, %s)", v.Version, v.Go, v.Platform)
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

func versionCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "version", Short: "Show what this binary is", Example: "  agent-vault version -o json", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			v := currentVersion()
			return o.print(c.OutOrStdout(), v, func(w io.Writer) { fmt.Fprintln(w, v) })
		},
	}
	o.add(c)
	return c
}
