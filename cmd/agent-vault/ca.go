package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/api"
	"agentvault/vault"
)

func caCommand() *cobra.Command {
	return group("ca", "The local certificate authority", caExportCommand(), caShowCommand(), caInstallCommand(true), caInstallCommand(false), caRotateCommand(), caDoctorCommand())
}

func caShowCommand() *cobra.Command {
	var o output
	c := &cobra.Command{
		Use: "show", Short: "Show the root certificate of the proxy entrance", Args: noArgs,
		Long: `Show the root certificate of the proxy entrance: its fingerprint as other programs
show it, its dates, and in a rotation both roots and when the old one ends.`,
		Example: "  agent-vault ca show\n  agent-vault ca show -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := anonymous(c)
			if err != nil {
				return err
			}
			info, err := client.CA(c.Context())
			if err != nil {
				return err
			}
			return o.print(c.OutOrStdout(), info, func(w io.Writer) { printCA(w, info) })
		},
	}
	o.add(c)
	return c
}

func printCA(w io.Writer, info api.CAInfo) {
	for i, r := range info.Roots {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s (%s)\n", plain(r.Subject), plain(r.Role))
		fmt.Fprintf(w, "  SHA-256        %s\n", plain(fingerprint(r.SHA256)))
		fmt.Fprintf(w, "  valid          %s to %s\n", r.NotBefore.UTC().Format(time.DateOnly), r.NotAfter.UTC().Format(time.DateOnly))
		signs := "leaves, each for one host"
		if r.Intermediates {
			signs = "intermediates, each good for hosts of one vault and for a week"
		}
		fmt.Fprintf(w, "  signs          %s\n", signs)
	}
	if r := info.Rotation; r != nil {
		fmt.Fprintf(w, "\neither root is enough until %s; then only the next one is\n", r.EndsAt.UTC().Format(time.RFC3339))
	}
}

// fingerprint spells bytes as openssl does.
func fingerprint(hex string) string {
	var b strings.Builder
	for i := 0; i+2 <= len(hex); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(strings.ToUpper(hex[i : i+2]))
	}
	return b.String()
}

func caRotateCommand() *cobra.Command {
	var o output
	var finish bool
	c := &cobra.Command{
		Use: "rotate", Short: "Replace the root certificate of the proxy entrance", Args: noArgs,
		Long: `Replace the root certificate of the proxy entrance. For the time of the overlap
either root is enough: clients that trust only the old one, only the new one, or
both, all go on. ca export, ca show and children of vault run get both. Give the
new root to every image and machine in that time; then the overlap ends by itself,
or with --finish, and the old root's key is deleted.

--overlap 0s replaces the root at once, as it should be when its key is known to
somebody: clients fail until they trust the new one.

What is open stays open either way. Owners only, with a login of the last five
minutes.`,
		Example: `  agent-vault ca rotate
  agent-vault ca rotate --overlap 168h
  agent-vault ca rotate --finish`,
		RunE: func(c *cobra.Command, _ []string) error {
			seconds, err := seconds(c, "overlap", 0, vault.MaxOverlap)
			if err != nil {
				return err
			}
			if finish && seconds != nil {
				return misused(c, "--finish ends an overlap, and --overlap begins one")
			}
			return printAnswer(c, &o, func(client *api.Client) (api.CAInfo, error) {
				if finish {
					return client.FinishCA(c.Context())
				}
				overlap := usualOverlap
				if seconds != nil {
					overlap = time.Duration(*seconds) * time.Second
				}
				return client.RotateCA(c.Context(), api.RotateCARequest{OverlapSeconds: int64(overlap / time.Second)})
			}, printCA)
		},
	}
	c.Flags().Duration("overlap", usualOverlap, "for how long either root is enough: 0s to 8784h")
	c.Flags().BoolVar(&finish, "finish", false, "end the overlap now")
	o.add(c)
	return c
}

// usualOverlap is time enough to build images anew.
const usualOverlap = 30 * 24 * time.Hour
