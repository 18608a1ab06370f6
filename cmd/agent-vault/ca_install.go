package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"agentvault/ca"
)

// A trustStorePlace is where programs of one kind look for roots. Both ways are
// the same when they are gone again.
type trustStorePlace struct {
	has            func(ctx context.Context, name string, root *x509.Certificate) bool
	add, remove    func(ctx context.Context, name string, root *x509.Certificate) error
	finish         func(ctx context.Context) error // after changes; nil: nothing
	where, advised string
	bySubject      bool // it calls a root by its common name
}

// StoreChange is what became of one root.
type StoreChange struct {
	Store  string `json:"store"`
	Where  string `json:"where"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Change string `json:"change"` // added, removed or none
}

func caInstallCommand(install bool) *cobra.Command {
	var o output
	var store string
	use, short, verb := "install", "Have programs of this machine trust the root", "adds the server's roots to"
	if !install {
		use, short, verb = "uninstall", "Undo ca install", "removes the server's roots from"
	}
	c := &cobra.Command{
		Use: use, Short: short, Args: noArgs,
		Long: fmt.Sprintf(`ca %s %s a trust store. Doing it twice does nothing more.

  system  Linux, for most programs; needs root
  nss     ~/.pki/nssdb, for Chromium; needs certutil
  java    the JVM's own cacerts; needs keytool, and mostly root

Before a rotation ends, uninstall removes the old root too; after it, remove the old
one by the name that ca install said.`, use, verb),
		Example: fmt.Sprintf("  agent-vault ca %s --store nss\n  sudo agent-vault ca %s --store system --address http://127.0.0.1:14321", use, use),
		RunE: func(c *cobra.Command, _ []string) error {
			place, err := placeOf(c, store)
			if err != nil {
				return err
			}
			client, err := anonymous(c)
			if err != nil {
				return err
			}
			roots, err := client.CAPEM(c.Context())
			if err != nil {
				return err
			}
			changes, err := place.bring(c.Context(), store, ca.Certificates(roots), install)
			if err != nil {
				return hint(err, "%s", place.advised)
			}
			return o.print(c.OutOrStdout(), changes, func(w io.Writer) {
				for _, ch := range changes {
					said := map[string]string{"added": "is added to", "removed": "is removed from", "none": "needed no change in"}[ch.Change]
					fmt.Fprintf(w, "%s %s %s\n", plain(ch.Name), said, plain(ch.Where))
				}
			})
		},
	}
	c.Flags().StringVar(&store, "store", "", "system, nss or java")
	completeFlag(c, "store", fixed("system", "nss", "java"))
	o.add(c)
	return c
}

// bring makes the store have the roots, or not.
func (p *trustStorePlace) bring(ctx context.Context, store string, roots []*x509.Certificate, wanted bool) (changes []StoreChange, err error) {
	changed := false
	for _, root := range roots {
		sum := sha256.Sum256(root.Raw)
		ch := StoreChange{store, p.where, "agent-vault-" + hex.EncodeToString(sum[:8]), hex.EncodeToString(sum[:]), "none"}
		if p.bySubject {
			ch.Name = root.Subject.CommonName
		}
		if p.has(ctx, ch.Name, root) != wanted {
			change, done := p.remove, "removed"
			if wanted {
				change, done = p.add, "added"
			}
			if err := change(ctx, ch.Name, root); err != nil {
				return changes, err
			}
			ch.Change, changed = done, true
		}
		changes = append(changes, ch)
	}
	if changed && p.finish != nil {
		err = p.finish(ctx)
	}
	return changes, err
}

func placeOf(c *cobra.Command, store string) (*trustStorePlace, error) {
	switch store {
	case "system":
		for _, s := range systemStores {
			if _, err := exec.LookPath(s.update[0]); err == nil {
				return filesPlace(s.dir, s.update), nil
			}
		}
		return nil, hint(errors.New("this system has none of update-ca-certificates, update-ca-trust"), "install ca-certificates; elsewhere import what ca export writes")
	case "nss":
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, err
		}
		return nssPlace(filepath.Join(home, ".pki", "nssdb")), needsTool("certutil", "install libnss3-tools (Debian), nss-tools (Fedora, Alpine)")
	case "java":
		return javaPlace(), needsTool("keytool", "install a JDK or JRE, or write a store: agent-vault ca export --format p12")
	}
	return nil, misused(c, "--store is system, nss or java, not %q", store)
}

func needsTool(name, todo string) error {
	if _, err := exec.LookPath(name); err != nil {
		return hint(fmt.Errorf("%s is not installed", name), "%s", todo)
	}
	return nil
}

// systemStores are of Debian and Alpine, and of Fedora.
var systemStores = []struct {
	dir    string
	update []string
}{
	{"/usr/local/share/ca-certificates", []string{"update-ca-certificates"}},
	{"/etc/pki/ca-trust/source/anchors", []string{"update-ca-trust", "extract"}},
}

func asPEM(root *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})
}

// filesPlace is a folder with a file for each root, and what makes a bundle of it.
func filesPlace(dir string, update []string) *trustStorePlace {
	path := func(name string) string { return filepath.Join(dir, name+".crt") }
	return &trustStorePlace{
		where: dir, advised: "it takes root: run it with sudo and --address",
		has: func(_ context.Context, name string, root *x509.Certificate) bool {
			b, err := os.ReadFile(path(name))
			return !errors.Is(err, fs.ErrNotExist) && (err != nil || bytes.Equal(b, asPEM(root)))
		},
		add: func(_ context.Context, name string, root *x509.Certificate) error {
			return os.WriteFile(path(name), asPEM(root), 0o644) // public, for every program
		},
		remove: func(_ context.Context, name string, _ *x509.Certificate) error { return os.Remove(path(name)) },
		finish: func(ctx context.Context) error { return tool(ctx, nil, update[0], update[1:]...) },
	}
}

func nssPlace(dir string) *trustStorePlace {
	database := "sql:" + dir
	return &trustStorePlace{
		where: dir, bySubject: true, advised: "close programs that have the database open, and look at its permissions",
		has: func(ctx context.Context, name string, _ *x509.Certificate) bool {
			return tool(ctx, nil, "certutil", "-d", database, "-L", "-n", name) == nil
		},
		add: func(ctx context.Context, _ string, root *x509.Certificate) error {
			return addToNSS(ctx, dir, asPEM(root))
		},
		remove: func(ctx context.Context, name string, _ *x509.Certificate) error {
			return tool(ctx, nil, "certutil", "-d", database, "-D", "-n", name)
		},
	}
}

func javaPlace() *trustStorePlace {
	keytool := func(ctx context.Context, in io.Reader, name string, args ...string) error {
		return tool(ctx, in, "keytool", append(args, "-cacerts", "-storepass", ca.TrustStorePassword, "-alias", name)...)
	}
	return &trustStorePlace{
		where: "cacerts", advised: "its store is mostly root's: run it with sudo and --address, or write a store: agent-vault ca export --format p12 --system",
		has: func(ctx context.Context, name string, _ *x509.Certificate) bool {
			return keytool(ctx, nil, name, "-list") == nil
		},
		add: func(ctx context.Context, name string, root *x509.Certificate) error {
			return keytool(ctx, bytes.NewReader(asPEM(root)), name, "-importcert", "-noprompt")
		},
		remove: func(ctx context.Context, name string, _ *x509.Certificate) error {
			return keytool(ctx, nil, name, "-delete")
		},
	}
}
