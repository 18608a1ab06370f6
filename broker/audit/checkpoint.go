package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// KindCheckpoint is of the line that signs an export.
const KindCheckpoint = "checkpoint"

// A Checkpoint says what an export holds, and where the log ended then. It is
// one line of JSON whose last member is a "signature": Ed25519 (RFC 8032), in
// base64, of signedPrefix and the line up to `,"signature"`. So it can be
// checked with a public key alone, by any program.
type Checkpoint struct {
	Kind    string    `json:"kind"` // KindCheckpoint
	Version int       `json:"version"`
	Time    time.Time `json:"time"`

	// Of the export: how many lines it has, and SHA-256, hex, of all of them with
	// their ends.
	Records uint64 `json:"records"`
	SHA256  string `json:"sha256"`

	// Which records were exported; empty members ask for all.
	Vault string `json:"vault"`
	Since string `json:"since"`
	Until string `json:"until"`

	// Of the log: its first and its last record then.
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`
	LastMAC  string `json:"last_mac"`

	PublicKey string `json:"public_key"` // base64; to tell keys apart, not to trust
}

// Head is the log's last record at that time.
func (c Checkpoint) Head() Head { return Head{c.LastSeq, c.LastMAC} }

const (
	checkpointVersion = 1
	signedPrefix      = "agent-vault audit checkpoint v1\n"
	signatureMark     = `,"signature":"`
)

// SpellPublicKey is how a public key is written.
func SpellPublicKey(k ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(k) }

// ParsePublicKey reads what SpellPublicKey wrote.
func ParsePublicKey(s string) (ed25519.PublicKey, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != ed25519.PublicKeySize || SpellPublicKey(b) != s {
		return nil, errors.New("it is not a public key: 32 bytes in base64")
	}
	return b, nil
}

// sign returns the checkpoint's line.
func (c Checkpoint) sign(key ed25519.PrivateKey) ([]byte, error) {
	line, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	line = line[:len(line)-1]
	signature := ed25519.Sign(key, signed(line))
	line = append(line, signatureMark...)
	line = base64.StdEncoding.AppendEncode(line, signature)
	return append(line, macEnd...), nil
}

// signed is what a signature is of.
func signed(body []byte) []byte { return append([]byte(signedPrefix), body...) }

// ParseCheckpoint reads a checkpoint's line and checks its signature.
func ParseCheckpoint(line []byte, key ed25519.PublicKey) (c Checkpoint, err error) {
	line = bytes.TrimRight(line, "\r\n")
	at := bytes.LastIndex(line, []byte(signatureMark))
	encoded, end := bytes.CutSuffix(line[max(at, 0):], []byte(`"}`))
	if at < 0 || !end || len(line) > MaxLine {
		return c, errors.New("checkpoint: it is none")
	}
	signature, err := base64.StdEncoding.Strict().DecodeString(string(encoded[len(signatureMark):]))
	if err != nil || len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, signed(line[:at]), signature) {
		return c, errors.New("checkpoint: the signature is not of this key, or something was changed")
	}
	if err := json.Unmarshal(line, &c); err != nil || c.Kind != KindCheckpoint || c.Version != checkpointVersion {
		return c, fmt.Errorf("checkpoint: it is of version %d, which is not known here", c.Version)
	}
	return c, nil
}

// isCheckpoint reports whether a line of an export is what signs it.
func isCheckpoint(line []byte) bool {
	return bytes.HasPrefix(line, []byte(`{"kind":"`+KindCheckpoint+`"`))
}
