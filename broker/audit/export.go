package audit

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// ExportOptions say what is exported. The zero Vault, Since and Until ask for
// all.
type ExportOptions struct {
	// Verify says which log; its Each is not used.
	Verify VerifyOptions

	// Sign signs the checkpoint. Required.
	Sign ed25519.PrivateKey

	Vault string    // name or id of a vault: records about that one only
	Since time.Time // records from then on
	Until time.Time // records before then

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Export writes the records of a log to w, each as it stands there, one JSON
// object per line, and returns the line of the checkpoint that belongs behind
// them. It walks the chain meanwhile: when the report names a bad record there
// is no checkpoint, and what was written ends before that record.
func Export(ctx context.Context, w io.Writer, o ExportOptions) (checkpoint []byte, report Report, err error) {
	out := bufio.NewWriterSize(w, 64<<10)
	sum := tally{hash: sha256.New()}
	o.Verify.Each = func(line []byte) error {
		if !o.wants(line) {
			return nil
		}
		sum.add(line)
		_, err := out.Write(line)
		return err
	}
	report, err = Verify(ctx, o.Verify)
	if err := errors.Join(err, out.Flush()); err != nil || report.Bad != nil {
		return nil, report, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := Checkpoint{
		Kind: KindCheckpoint, Version: checkpointVersion, Time: o.Now().UTC(), Records: sum.records, SHA256: sum.String(),
		Vault: o.Vault, Since: spellTime(o.Since), Until: spellTime(o.Until),
		FirstSeq: report.FirstSeq, LastSeq: report.LastSeq, LastMAC: report.LastMAC,
		PublicKey: SpellPublicKey(o.Sign.Public().(ed25519.PublicKey)),
	}
	checkpoint, err = c.sign(o.Sign)
	return checkpoint, report, err
}

func spellTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// wants reports whether a record is among those that are asked for. Those that
// the log writes itself are about no vault.
func (o *ExportOptions) wants(line []byte) bool {
	if o.Vault == "" && o.Since.IsZero() && o.Until.IsZero() {
		return true
	}
	var r struct {
		Time    time.Time `json:"time"`
		VaultID string    `json:"vault_id"`
		Vault   string    `json:"vault"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return false
	}
	return (o.Vault == "" || o.Vault == r.Vault || o.Vault == r.VaultID) &&
		!r.Time.Before(o.Since) && (o.Until.IsZero() || r.Time.Before(o.Until))
}

// A tally is what a checkpoint says of lines.
type tally struct {
	hash    hash.Hash
	records uint64
}

func (t *tally) add(line []byte) {
	t.hash.Write(line)
	t.records++
}

func (t *tally) String() string { return hex.EncodeToString(t.hash.Sum(nil)) }

// VerifyExport holds an export against its checkpoint, with the public key
// alone. The checkpoint is the last line of the export, or given apart. The
// error says what is wrong, and at which line where that can be told: without
// the key of the chain only the whole can be checked, and the order of records.
func VerifyExport(export io.Reader, checkpoint []byte, key ed25519.PublicKey) (Checkpoint, error) {
	in := bufio.NewReaderSize(export, MaxLine)
	sum := tally{hash: sha256.New()}
	var order error
	var last uint64
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return verifyTally(&sum, checkpoint, key, order)
		case errors.Is(err, bufio.ErrBufferFull), errors.Is(err, io.EOF):
			return Checkpoint{}, fmt.Errorf("export: line %d has no end", n)
		case err != nil:
			return Checkpoint{}, fmt.Errorf("export: %w", err)
		case isCheckpoint(line):
			if checkpoint != nil {
				return Checkpoint{}, fmt.Errorf("export: line %d is a checkpoint, and another one is given", n)
			}
			checkpoint = append([]byte(nil), line...)
			if _, err := in.Peek(1); !errors.Is(err, io.EOF) {
				return Checkpoint{}, fmt.Errorf("export: something stands behind the checkpoint, line %d", n)
			}
			continue
		}
		sum.add(line)
		e, err := parse(line)
		if err == nil && e.Seq <= last {
			err = fmt.Errorf("record %d stands behind record %d", e.Seq, last)
		}
		if err != nil && order == nil {
			order = fmt.Errorf("export: line %d: %w", n, err)
		}
		last = e.Seq
	}
}

func verifyTally(sum *tally, checkpoint []byte, key ed25519.PublicKey, order error) (Checkpoint, error) {
	if checkpoint == nil {
		return Checkpoint{}, errors.New("export: it ends without a checkpoint")
	}
	c, err := ParseCheckpoint(checkpoint, key)
	switch {
	case err != nil:
		return c, err
	case order != nil:
		return c, order
	case c.Records != sum.records:
		return c, fmt.Errorf("export: it has %d records, and the checkpoint is of %d", sum.records, c.Records)
	case c.SHA256 != sum.String():
		return c, errors.New("export: a record is not what was exported")
	}
	return c, nil
}
