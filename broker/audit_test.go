package broker_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentvault/broker"
)

var auditKey = []byte("a key of the audit chain, 32 byte")

// verify walks the chain by the words of its documentation, not by its code.
func verify(t *testing.T, path string) int {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	prev := make([]byte, sha256.Size)
	lines := bytes.SplitAfter(raw, []byte("\n"))
	n := 0
	for _, line := range lines {
		if len(line) == 0 {
			continue
		}
		i := bytes.LastIndex(line, []byte(`,"mac":"`))
		if i < 0 || !bytes.HasSuffix(line, []byte("\"}\n")) {
			t.Fatalf("record %d is torn: %q", n, line)
		}
		h := hmac.New(sha256.New, auditKey)
		h.Write(prev)
		h.Write(line[:i])
		prev = h.Sum(nil)
		if got := string(line[i+len(`,"mac":"`) : len(line)-3]); got != hex.EncodeToString(prev) {
			t.Fatalf("record %d: mac %s, want %x", n, got, prev)
		}
		n++
	}
	return n
}

func record(kind string) *broker.Record {
	return &broker.Record{Time: time.Unix(1, 0).UTC(), Kind: kind, Path: "/a\"b\u2028<\xff"}
}

func TestAuditChainGoesOnAfterAReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for range 3 {
		a, err := broker.OpenAudit(path, auditKey)
		if err != nil {
			t.Fatal(err)
		}
		var writers sync.WaitGroup
		for range 4 {
			writers.Go(func() {
				for range 25 {
					if err := a.Append(record("intent")); err != nil {
						t.Error(err)
					}
				}
			})
		}
		writers.Wait()
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		if err := a.Append(record("intent")); !errors.Is(err, broker.ErrAudit) {
			t.Errorf("after Close: %v", err)
		}
	}
	if n := verify(t, path); n != 300 {
		t.Errorf("%d records, want 300", n)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// A crash can cut the last line anywhere.
func TestAuditTornTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	a, err := broker.OpenAudit(path, auditKey)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := a.Append(record("intent")); err != nil {
			t.Fatal(err)
		}
	}
	a.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := last; cut < len(whole); cut += 7 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := broker.OpenAudit(path, auditKey)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if err := a.Append(record("outcome")); err != nil {
			t.Fatal(err)
		}
		a.Close()
		if n := verify(t, path); n != 3 {
			t.Errorf("cut at %d: %d records, want 2 and a new one", cut, n)
		}
	}
}

func TestAuditRefusesWhatIsNotALog(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	if err := os.WriteFile(path, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.OpenAudit(path, auditKey); err == nil {
		t.Error("a file of something else was taken for a log")
	}
	open := filepath.Join(dir, "open")
	if err := errors.Join(os.WriteFile(open, nil, 0o600), os.Chmod(open, 0o640)); err != nil {
		t.Fatal(err)
	}
	var hinter interface{ Hint() string }
	if _, err := broker.OpenAudit(open, auditKey); !errors.As(err, &hinter) || hinter.Hint() != "run: chmod go= "+open {
		t.Errorf("a file that others can read: %v", err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	if _, err := broker.OpenAudit(link, auditKey); err == nil {
		t.Error("a symlink was followed")
	}
}

// A file that may not grow takes half a record. The half is gone before the
// next one, and nothing that was refused stands in the log.
func TestAuditFileCannotGrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	a, err := broker.OpenAudit(path, auditKey)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Append(record("intent")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	restore := limitFileSize(t, uint64(info.Size())+100)
	for range 3 {
		if err := a.Append(record("outcome")); !errors.Is(err, broker.ErrAudit) {
			t.Errorf("a record that does not fit: %v, want ErrAudit", err)
		}
	}
	restore()
	if err := a.Append(record("outcome")); err != nil {
		t.Fatal(err)
	}
	if n := verify(t, path); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
}

// limitFileSize bounds the files that this process writes, as ulimit -f does.
func limitFileSize(t *testing.T, bytes uint64) (restore func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limit := was
	limit.Cur = bytes
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
			t.Fatal(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	}
}

func TestAuditDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	a, err := broker.OpenAudit("/dev/full", auditKey)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Append(record("intent")); !errors.Is(err, broker.ErrAudit) {
		t.Errorf("on a full disk: %v, want ErrAudit", err)
	}
}
