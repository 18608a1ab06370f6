package main

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"agentvault/broker/audit"
	"agentvault/store"
	"agentvault/vault/seal"
)

func auditCommand() *cobra.Command {
	c := group("audit", "Verify the audit log, and export it",
		auditVerifyCommand(), auditExportCommand(), auditKeyCommand(), auditRebuildCommand())
	c.Long = `Verify the audit log, and export it.

These commands work on the data folder itself, on the server's own machine or on
a copy of the folder. They need what the server needs to start: the master
password, or the key file. The server may be running, but for rebuild.`
	return c
}

// A dataFlags command works on a data folder.
type dataFlags struct{ passwordStdin bool }

func (d *dataFlags) add(c *cobra.Command) {
	c.Flags().String("config", "", "configuration file (YAML, JSON or TOML)")
	c.Flags().String("data-dir", "", "the server's data folder (default: $XDG_DATA_HOME/agent-vault)")
	c.Flags().BoolVar(&d.passwordStdin, "password-stdin", false, "read the master password from standard input")
	must(c.MarkFlagFilename("config", "yaml", "yml", "json", "toml"))
	must(c.MarkFlagDirname("data-dir"))
}

// An auditData is what a command works on.
type auditData struct {
	cfg  *config
	path string
	key  seal.Key
	head audit.Head // the newest record that the store has seen
	db   *store.DB  // of a command that changes it
}

// quiet is told where the key is: whoever starts the server was told.
var quiet = operator{lines: io.Discard}

// look reads the data folder of a server that may be running, or a copy of one,
// perhaps on a disk that cannot be written. It changes nothing.
func (d *dataFlags) look(c *cobra.Command, f func(auditData) error) error {
	if err := forbidCores(); err != nil {
		return err
	}
	cfg, master, err := d.configure(c)
	if err != nil {
		return err
	}
	path := filepath.Join(cfg.DataDir, "agent-vault.db")
	if _, err := os.Stat(path); err != nil {
		return noData(cfg.DataDir)
	}
	seen, err := store.Look(c.Context(), path)
	if err != nil {
		return err
	}
	if seen.Keyring == nil {
		return notStarted(cfg.DataDir)
	}
	key, err := unlockKeyring(*seen.Keyring, cfg.DataDir, master, quiet)
	if err != nil {
		return err
	}
	data := auditData{cfg: cfg, path: auditPath(cfg.DataDir), key: key}
	if seen.Tail != nil {
		data.head = audit.Head{Seq: seen.Tail.Seq, MAC: seen.Tail.MAC}
	}
	return f(data)
}

// open opens the data folder of a server that does not run.
func (d *dataFlags) open(c *cobra.Command, f func(auditData) error) error {
	cfg, master, err := d.configure(c)
	if err != nil {
		return err
	}
	return withData(c.Context(), cfg, master, quiet, func(db *store.DB, key seal.Key) error {
		head, err := auditHead(c.Context(), db)
		if err != nil {
			return err
		}
		return f(auditData{cfg, auditPath(cfg.DataDir), key, head, db})
	})
}

func (d *dataFlags) configure(c *cobra.Command) (*config, masterSource, error) {
	cfg, err := loadConfig(c.Flags(), os.Environ())
	if err != nil {
		return nil, masterSource{}, err
	}
	master, err := operatorsMaster(stdioOf(c), d.passwordStdin)
	return cfg, master, err
}

// signer signs checkpoints.
func (d auditData) signer() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(d.key.ForCheckpoints()) }

func (d auditData) public() ed25519.PublicKey { return d.signer().Public().(ed25519.PublicKey) }

// verify says how the log is verified: against what the store has seen of it
// too.
func (d auditData) verify() audit.VerifyOptions {
	o := audit.VerifyOptions{Path: d.path, Key: d.key.ForAudit()}
	if d.head.Seq > 0 {
		o.Known = append(o.Known, audit.KnownRecord{Head: d.head, By: "the store", MayBeLost: true})
	}
	return o
}

// badLog is the error of a log that is not whole.
func badLog(b *audit.BadRecord) error {
	return hint(errors.New(b.Error()), "what stands before that record is as it was written; docs/audit.md says what each finding means")
}

func auditVerifyCommand() *cobra.Command {
	var d dataFlags
	var export, checkpoint, publicKey string
	var o output
	c := &cobra.Command{
		Use:   "verify",
		Short: "Verify that the audit log is as it was written",
		Long: `Verify that the audit log is as it was written: walk its chain over all segments,
and name the first bad record, if there is one (exit status 1). That the log was
cut at its end shows by what the store has seen of it, and by a --checkpoint that
was exported earlier.

With --export, verify an exported file instead, against the checkpoint at its
end or in a file of its own. That needs no data folder and no master key: only
the instance's --public-key, which audit key prints.`,
		Example: `  agent-vault audit verify
  agent-vault audit verify --data-dir /var/lib/agent-vault --checkpoint 2026-03.checkpoint -o json
  agent-vault audit verify --export audit.jsonl --public-key "$PUBLIC_KEY"`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if export != "" {
				return verifyExport(c, &o, export, checkpoint, publicKey)
			}
			if publicKey != "" {
				return misused(c, "--public-key goes with --export; the data folder has its own")
			}
			return d.look(c, func(data auditData) error {
				return verifyLog(c, &o, data, checkpoint)
			})
		},
	}
	d.add(c)
	c.Flags().StringVar(&export, "export", "", "verify this exported file; - for standard input")
	c.Flags().StringVar(&checkpoint, "checkpoint", "", "file whose last line is a checkpoint")
	c.Flags().StringVar(&publicKey, "public-key", "", "the instance's public key, as audit key prints it")
	for _, name := range []string{"export", "checkpoint"} {
		must(c.MarkFlagFilename(name))
	}
	o.add(c)
	return c
}

// verifyLog verifies a data folder.
func verifyLog(c *cobra.Command, o *output, d auditData, checkpoint string) error {
	v := d.verify()
	if checkpoint != "" {
		line, err := lastLine(checkpoint)
		if err != nil {
			return err
		}
		signed, err := audit.ParseCheckpoint(line, d.public())
		if err != nil {
			return fmt.Errorf("%s: %w", checkpoint, err)
		}
		v.Known = append(v.Known, audit.KnownRecord{Head: signed.Head(), By: "the checkpoint of " + shownTime(signed.Time)})
	}
	report, err := audit.Verify(c.Context(), v)
	if err != nil {
		return err
	}
	err = o.print(c.OutOrStdout(), report, func(w io.Writer) { printReport(w, report) })
	if err == nil && report.Bad != nil {
		err = badLog(report.Bad)
	}
	return err
}

func printReport(w io.Writer, r audit.Report) {
	if r.Records > 0 {
		fmt.Fprintf(w, "%d records, %d to %d, in %d segments are as they were written\n", r.Records, r.FirstSeq, r.LastSeq, r.Segments)
	} else if r.Bad == nil {
		fmt.Fprintln(w, "the audit log has no records yet")
	}
	if r.RemovedTo > 0 {
		fmt.Fprintf(w, "records up to %d were removed because they were old\n", r.RemovedTo)
	}
	for _, l := range r.Lost {
		fmt.Fprintf(w, "records %d to %d were gone when the server started at %s: the log was cut, or the machine lost power\n", l.FromSeq, l.ToSeq, shownTime(l.Noticed))
	}
	if r.Torn > 0 {
		fmt.Fprintf(w, "half a record (%d bytes) stands at the end: a crash left it, or it is being written\n", r.Torn)
	}
}

// verifyExport verifies an exported file.
func verifyExport(c *cobra.Command, o *output, export, checkpoint, publicKey string) error {
	if publicKey == "" {
		return misused(c, "--public-key is missing: audit key prints it where the data is")
	}
	public, err := audit.ParsePublicKey(publicKey)
	if err != nil {
		return misused(c, "--public-key: %v", err)
	}
	var line []byte
	if checkpoint != "" {
		if line, err = lastLine(checkpoint); err != nil {
			return err
		}
	}
	in := io.Reader(stdioOf(c).in)
	if export != "-" {
		f, err := os.Open(export)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	signed, err := audit.VerifyExport(in, line, public)
	if err != nil {
		return err
	}
	return o.print(c.OutOrStdout(), signed, func(w io.Writer) {
		fmt.Fprintf(w, "%d records are as they were exported at %s; the log ended with record %d then\n", signed.Records, shownTime(signed.Time), signed.LastSeq)
		if signed.Vault != "" || signed.Since != "" || signed.Until != "" {
			fmt.Fprintf(w, "they are those that were asked for: vault %q, since %q, until %q\n", plain(signed.Vault), signed.Since, signed.Until)
		}
	})
}

// lastLine is the last line of a file.
func lastLine(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	start := max(0, info.Size()-audit.MaxLine)
	tail, err := io.ReadAll(io.NewSectionReader(f, start, audit.MaxLine))
	if err != nil {
		return nil, err
	}
	tail = bytes.TrimRight(tail, "\n")
	return tail[bytes.LastIndexByte(tail, '\n')+1:], nil
}

func auditKeyCommand() *cobra.Command {
	var d dataFlags
	c := &cobra.Command{
		Use:   "key",
		Short: "Print the public key that checkpoints are verified with",
		Long: `Print the public key that checkpoints are verified with. It is the same for as
long as the data folder lives, and no secret: hand it to whoever verifies
exports, by another way than the exports.`,
		Example: `  agent-vault audit key
  agent-vault audit key --data-dir /var/lib/agent-vault`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return d.look(c, func(data auditData) error {
				_, err := fmt.Fprintln(c.OutOrStdout(), audit.SpellPublicKey(data.public()))
				return err
			})
		},
	}
	d.add(c)
	return c
}

func auditExportCommand() *cobra.Command {
	var d dataFlags
	var vaultName, since, until, checkpoint string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the audit log as JSON lines, with a signed checkpoint",
		Long: `Write the records of the audit log to standard output, each as it stands there,
one JSON object per line; the last line is a checkpoint, signed with the
instance's key, unless --checkpoint puts it into a file of its own. The chain is
verified meanwhile: of a log that is not whole nothing is signed.

A checkpoint also says where the log ended, so one that is kept elsewhere makes a
later cut at its end visible: audit verify --checkpoint.`,
		Example: `  agent-vault audit export > audit.jsonl
  agent-vault audit export --vault default --since 30d --checkpoint march.checkpoint > march.jsonl`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o := audit.ExportOptions{Vault: vaultName}
			now := time.Now()
			var err error
			if o.Since, err = parseSince(since, now); err != nil {
				return err
			}
			if o.Until, err = parseSince(until, now); err != nil {
				return misused(c, "--until is how long ago (90m, 24h, 7d) or when (2026-03-01, 2026-03-01T12:00:00Z), not %q", until)
			}
			return d.look(c, func(data auditData) error {
				return exportLog(c, data, o, checkpoint)
			})
		},
	}
	d.add(c)
	c.Flags().StringVar(&vaultName, "vault", "", "records about this vault only, by its name then or its id")
	c.Flags().StringVar(&since, "since", "", "records since then: 90m, 24h, 7d, 2026-03-01 or 2026-03-01T12:00:00Z (default: all)")
	c.Flags().StringVar(&until, "until", "", "records before then, likewise")
	c.Flags().StringVar(&checkpoint, "checkpoint", "", "file to write the checkpoint into, instead of the last line")
	must(c.MarkFlagFilename("checkpoint"))
	return c
}

func exportLog(c *cobra.Command, d auditData, o audit.ExportOptions, checkpoint string) (err error) {
	o.Verify, o.Sign = d.verify(), d.signer()
	line, report, err := audit.Export(c.Context(), c.OutOrStdout(), o)
	if err != nil {
		return err
	}
	if report.Bad != nil {
		return badLog(report.Bad)
	}
	signed, err := audit.ParseCheckpoint(line, d.public())
	if err != nil {
		return err
	}
	if signed.Records == 0 && o.Vault != "" { // which may be misspelled
		fmt.Fprintf(c.ErrOrStderr(), "warning: no record of the vault %s was found in the time that was asked for\n", plain(o.Vault))
	}
	if checkpoint == "" {
		_, err = c.OutOrStdout().Write(line)
		return err
	}
	return os.WriteFile(checkpoint, line, 0o600)
}
