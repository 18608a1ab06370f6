package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"agentvault/ca"
)

// exportFormats are how a root can be had; nss is a folder.
var exportFormats = []string{"pem", "der", "p12", "jks", "bundle", "nss"}

func caExportCommand() *cobra.Command {
	var format, out string
	var system bool
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the proxy entrance's root certificate for programs to trust",
		Long: `Write the proxy entrance's root certificate for programs to trust. While it is
replaced (ca rotate) there are two, and every format but der has both.

  pem     as it is, for most programs
  der     binary, one certificate: while it is replaced, the new one
  p12     a PKCS #12 trust store for JVMs, password changeit
  jks     the same in the JVM's old format, for JVMs before 8u301 and 11.0.12
  bundle  PEM with this system's roots before it, for variables like SSL_CERT_FILE
          that replace the system's
  nss     a folder with cert9.db, for Firefox and Chromium; needs certutil and --out

A JVM that is given a trust store looks at no other roots: with --system it has this
system's too.`,
		Example: `  agent-vault ca export > agent-vault-ca.pem
  agent-vault ca export | sudo tee /usr/local/share/ca-certificates/agent-vault.crt
  agent-vault ca export --format p12 --system --out trust.p12
  agent-vault ca export --format nss --out ~/.pki/nssdb`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if !slices.Contains(exportFormats, format) {
				return misused(c, "--format is %s, not %q", strings.Join(exportFormats, ", "), format)
			}
			if format == "nss" && out == "" {
				return misused(c, "--format nss writes a folder: name it with --out")
			}
			client, err := anonymous(c)
			if err != nil {
				return err
			}
			roots, err := client.CAPEM(c.Context())
			if err != nil {
				return err
			}
			if format == "nss" {
				return addToNSS(c.Context(), out, roots)
			}
			data, err := exported(format, roots, system)
			if err != nil {
				return err
			}
			return writeExport(c, data, out, format)
		},
	}
	c.Flags().StringVar(&format, "format", "pem", strings.Join(exportFormats, ", "))
	c.Flags().StringVar(&out, "out", "", "the file, or for nss the folder, to write (default: standard output)")
	c.Flags().BoolVar(&system, "system", false, "for p12 and jks: with this system's roots")
	completeFlag(c, "format", fixed(exportFormats...))
	return c
}

// exported spells the vault's roots in a format that is one file.
func exported(format string, roots []byte, system bool) ([]byte, error) {
	own := ca.Certificates(roots)
	if len(own) == 0 {
		return nil, errors.New("the server gave no certificate")
	}
	all := own
	if format == "bundle" || system {
		base, err := systemBundle()
		if err != nil {
			return nil, err
		}
		if format == "bundle" {
			return append(append(bytes.TrimRight(base, "\n"), '\n'), roots...), nil
		}
		all = append(all, ca.Certificates(base)...)
	}
	switch format {
	case "der":
		return own[0].Raw, nil
	case "p12":
		return ca.TrustStorePKCS12(all, ca.TrustStorePassword)
	case "jks":
		return ca.TrustStoreJKS(all, ca.TrustStorePassword, time.Now())
	}
	return roots, nil
}

// systemBundle is the system's roots in one file.
func systemBundle() ([]byte, error) {
	for _, path := range systemRoots {
		if b, err := os.ReadFile(path); err == nil {
			return b, nil
		}
	}
	return nil, hint(errors.New("this system's roots are in none of the usual files"), "install ca-certificates")
}

func writeExport(c *cobra.Command, data []byte, out, format string) error {
	if out != "" {
		return os.WriteFile(out, data, 0o644) // public, and read by others
	}
	if text := format == "pem" || format == "bundle"; !text && isTerminal(c.OutOrStdout()) {
		return misused(c, "%s is binary: name a file with --out, or redirect it", format)
	}
	_, err := c.OutOrStdout().Write(data)
	return err
}

// addToNSS makes a folder one with a database of certificates, where it is none,
// and has it trust the roots. What is there stays; a root that is there already is
// there once.
func addToNSS(ctx context.Context, dir string, roots []byte) error {
	if _, err := exec.LookPath("certutil"); err != nil {
		return hint(errors.New("certutil, which writes such databases, is not installed"), "install libnss3-tools (Debian), nss-tools (Fedora, Alpine)")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	database := "sql:" + dir
	if _, err := os.Stat(filepath.Join(dir, "cert9.db")); errors.Is(err, os.ErrNotExist) {
		if err := tool(ctx, nil, "certutil", "-d", database, "-N", "--empty-password"); err != nil {
			return err
		}
	}
	for _, root := range ca.Certificates(roots) {
		spelled := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
		if err := tool(ctx, bytes.NewReader(spelled), "certutil", "-d", database, "-A", "-n", root.Subject.CommonName, "-t", "C,,"); err != nil {
			return err
		}
	}
	return nil
}

// tool runs a program whose words are shown only when it fails.
func tool(ctx context.Context, in io.Reader, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = in
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, plain(strings.TrimSpace(string(said))))
	}
	return nil
}
