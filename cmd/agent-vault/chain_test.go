package main_test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"agentvault/broker"
	"agentvault/store"
	"agentvault/vault/seal"
)

// A chain walks an instance's audit log with code of the tests' own, and goes on
// from where it was when it is asked again.
type chain struct {
	path    string // of the newest segment
	key     []byte
	segment int   // number of the one that is walked
	offset  int64 // in it, of what was walked, which never changes again
	seq     uint64
	prev    []byte
}

// newChain takes the chain's key from the data folder, as only its owner can.
func newChain(t testing.TB, dataDir string) *chain {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: dataDir + "/agent-vault.db"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ring, _, err := db.Keyring(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(dataDir + "/master.key")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ring.Unlock(seal.KeyFile(file))
	if err != nil {
		t.Fatal(err)
	}
	return &chain{path: dataDir + "/audit.log", segment: 1, key: key.ForAudit(), prev: make([]byte, sha256.Size)}
}

// walk reads on to the end of the last whole line, and returns what is new. The
// error names the first line that is not what the line before it says.
func (c *chain) walk() (records []broker.Record, err error) {
	for {
		newest, err := os.Open(c.path) // before it is known that it is another by now
		if err != nil {
			return records, err
		}
		full, err := os.Open(fmt.Sprintf("%s.%010d.log", strings.TrimSuffix(c.path, ".log"), c.segment))
		if errors.Is(err, fs.ErrNotExist) {
			some, err := c.walkFile(newest)
			return append(records, some...), err
		}
		_ = newest.Close() // was not read
		if err != nil {
			return records, err
		}
		some, err := c.walkFile(full)
		if records = append(records, some...); err != nil {
			return records, err
		}
		c.segment, c.offset = c.segment+1, 0
	}
}

func (c *chain) walkFile(f *os.File) (records []broker.Record, err error) {
	defer f.Close()
	if _, err := f.Seek(c.offset, io.SeekStart); err != nil {
		return nil, err
	}
	for lines := bufio.NewReaderSize(f, 1<<20); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return records, nil // behind it stands half a line, or nothing
		}
		if err != nil {
			return records, err
		}
		r, err := c.step(line)
		if err != nil {
			return records, fmt.Errorf("record %d, at byte %d: %w\n%s", c.seq+1, c.offset, err, line)
		}
		c.offset += int64(len(line))
		records = append(records, r)
	}
}

func (c *chain) step(line []byte) (broker.Record, error) {
	var r struct {
		broker.Record
		MAC string `json:"mac"`
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r.Record, err
	}
	at := bytes.LastIndex(line, []byte(`,"mac":"`))
	if at < 0 {
		return r.Record, errors.New("it has no mac")
	}
	h := hmac.New(sha256.New, c.key)
	h.Write(c.prev)
	h.Write(line[:at])
	sum := h.Sum(nil)
	if hex.EncodeToString(sum) != r.MAC {
		return r.Record, errors.New("the mac is wrong")
	}
	if r.Seq != c.seq+1 {
		return r.Record, fmt.Errorf("it has the number %d", r.Seq)
	}
	c.seq, c.prev = r.Seq, sum
	return r.Record, nil
}

// TestChainNamesTheFirstBadRecord holds the tests' own reader.
func TestChainNamesTheFirstBadRecord(t *testing.T) {
	w := newWorld(t)
	for n := range 5 {
		w.do(byPath, w.token, call{host: "api.test", target: fmt.Sprintf("/%d", n)})
	}
	if err := w.halt(); err != nil {
		t.Fatal(err)
	}
	path := w.path("data/audit.log")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.start() // for its own end
	defer os.WriteFile(path, whole, 0o600)
	records, err := newChain(t, w.path("data")).walk()
	requests := slices.DeleteFunc(slices.Clone(records), func(r broker.Record) bool { return r.Kind != "intent" && r.Kind != "outcome" })
	if err != nil || len(requests) != 10 {
		t.Fatalf("%d records of requests, %v", len(requests), err)
	}
	second := slices.IndexFunc(records, func(r broker.Record) bool { return r.Path == "/2" })
	lines := bytes.SplitAfter(whole, []byte("\n"))
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	for what, change := range map[string]struct {
		to  []byte
		bad int
	}{
		"changed": {bytes.Replace(whole, []byte(`"path":"/2"`), []byte(`"path":"/7"`), 1), second + 1},
		"dropped": {join(append(bytes.Join(lines[:4], nil), bytes.Join(lines[5:], nil)...)), 5},
		"moved":   {join(append(bytes.Join(lines[:4], nil), append(append(lines[5], lines[4]...), bytes.Join(lines[6:], nil)...)...)), 5},
	} {
		if err := os.WriteFile(path, change.to, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := newChain(t, w.path("data")).walk(); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("record %d, ", change.bad)) {
			t.Errorf("%s: %v, want record %d", what, err, change.bad)
		}
	}
}
