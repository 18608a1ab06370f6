package broker

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Record is one line of the audit log: JSON, one object per line.
//
// An exchange that was allowed has two: an intent, written before any box is
// opened, and an outcome. An intent without an outcome is an exchange whose
// end is unknown. A refused exchange has an outcome only.
type Record struct {
	Seq         uint64    `json:"seq"`             // grows by one per record of this file
	Time        time.Time `json:"time"`            // UTC
	Kind        string    `json:"kind"`            // "intent" or "outcome"
	Request     string    `json:"request"`         // request id, joins intent and outcome
	Entrance    string    `json:"entrance"`        // "path" or "mitm"
	Session     string    `json:"session"`         // session's or agent's id, never the token
	Agent       string    `json:"agent"`           // the session's label or the agent's name then
	AgentKind   string    `json:"agent_kind"`      // "session" or "agent"
	VaultID     string    `json:"vault_id"`        // names change and come again, this does not
	Vault       string    `json:"vault"`           // its name then
	Service     string    `json:"service"`         // "" when none matched
	Target      string    `json:"target"`          // scheme://host:port
	Method      string    `json:"method"`          //
	Path        string    `json:"path"`            // escaped, without the query
	Credentials []string  `json:"credentials"`     // keys that the service injects; null for none
	Status      int       `json:"status"`          // outcome: what the agent got; 0 when it got nothing
	Fault       string    `json:"fault"`           // outcome: code, "" when the upstream answered
	BytesIn     int64     `json:"bytes_in"`        // outcome: body from the agent
	BytesOut    int64     `json:"bytes_out"`       // outcome: body to the agent
	Micros      int64     `json:"duration_micros"` // outcome
	Scrubbed    int       `json:"scrubbed"`        // outcome: places masked in the response
	Foreign     int       `json:"foreign"`         // outcome: credentials of the agent's own that were replaced
}

// Audit is the append-only, HMAC-chained log file of one node (R15). Each line
// ends in a "mac" of HMAC-SHA256(key, mac of the line before ‖ this line's
// JSON without its mac), so that a line cannot be changed, dropped or moved
// without breaking the chain.
type Audit struct {
	mac0 []byte // key of the chain

	mu   sync.Mutex
	file *os.File
	size int64  // bytes of whole records
	torn bool   // behind them stands half a record
	seq  uint64 // of the last record
	prev []byte // mac of the last record
	buf  bytes.Buffer

	appended chan struct{} // holds a signal while there is something new
}

// ErrAudit is returned when a record could not be written. The caller must not
// go on.
var ErrAudit = errors.New("audit record could not be written")

// OpenAudit opens or creates the log at path (mode 0600) and takes up its
// chain. A last line that a crash cut short is removed: its record had not
// been acknowledged to anyone. A symlink, and a file that others may read or
// write, are refused.
func OpenAudit(path string, key []byte) (*Audit, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("audit log: %s is a symbolic link; name the real place", path)
	}
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	a := &Audit{mac0: key, file: f, prev: make([]byte, sha256.Size), appended: make(chan struct{}, 1)}
	if err := a.resume(); err != nil {
		return nil, errors.Join(fmt.Errorf("audit log: %w", err), f.Close())
	}
	return a, nil
}

// maxAuditLine bounds a record: its longest parts are the path (16 KiB, six
// bytes each when escaped) and the names of the credentials.
const maxAuditLine = 256 << 10

// An openError is a file that others may read or change.
type openError struct {
	path string
	mode os.FileMode
}

func (e *openError) Error() string {
	return fmt.Sprintf("%s is open to others (mode %04o)", e.path, e.mode.Perm())
}

// Hint returns what to do about it.
func (e *openError) Hint() string { return "run: chmod go= " + e.path }

// resume finds the last whole line and takes sequence and mac from it.
func (a *Audit) resume() error {
	info, err := a.file.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeCharDevice != 0 {
		return nil // nothing to take up
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", a.file.Name())
	}
	if info.Mode().Perm()&0o077 != 0 {
		return &openError{a.file.Name(), info.Mode()}
	}
	start := max(0, info.Size()-2*maxAuditLine)
	tail, err := io.ReadAll(io.NewSectionReader(a.file, start, info.Size()-start))
	if err != nil {
		return err
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	a.size = start + int64(end)
	if end < len(tail) {
		if err := a.file.Truncate(a.size); err != nil {
			return err
		}
	}
	if end == 0 {
		return nil
	}
	line := tail[:end-1]
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	var last struct {
		Seq uint64 `json:"seq"`
		MAC string `json:"mac"`
	}
	if err := json.Unmarshal(line, &last); err != nil {
		return fmt.Errorf("last record is not JSON: %w", err)
	}
	mac, err := hex.DecodeString(last.MAC)
	if err != nil || len(mac) != sha256.Size {
		return errors.New("last record has no mac")
	}
	a.seq, a.prev = last.Seq, mac
	return nil
}

// Append writes one record with a single write(2). It sets the record's Seq.
// The error, if any, is ErrAudit.
func (a *Audit) Append(r *Record) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.torn {
		if err := a.file.Truncate(a.size); err != nil {
			return errors.Join(ErrAudit, err)
		}
		a.torn = false
	}
	r.Seq = a.seq + 1
	a.buf.Reset()
	enc := json.NewEncoder(&a.buf)
	enc.SetEscapeHTML(false) // would make six bytes of each & of a path
	if err := enc.Encode(r); err != nil {
		return errors.Join(ErrAudit, err)
	}
	body := a.buf.Bytes()[:a.buf.Len()-2] // without "}\n"
	mac := a.chain(body)
	line := append(body, `,"mac":"`...)
	line = hex.AppendEncode(line, mac)
	line = append(line, "\"}\n"...)
	n, err := a.file.Write(line)
	if err != nil {
		a.torn = n > 0 // half a record must not stand before the next one
		return errors.Join(ErrAudit, err)
	}
	a.seq, a.prev = r.Seq, mac
	a.size += int64(n)
	select {
	case a.appended <- struct{}{}:
	default: // one is waiting already
	}
	return nil
}

// Appended returns the channel, the same for all, that gets a signal after
// records were appended. Signals fold into one.
func (a *Audit) Appended() <-chan struct{} { return a.appended }

func (a *Audit) chain(body []byte) []byte {
	h := hmac.New(sha256.New, a.mac0)
	h.Write(a.prev)
	h.Write(body)
	return h.Sum(nil)
}

// Close closes the file. Records after it fail.
func (a *Audit) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Close()
}
