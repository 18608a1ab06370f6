package audit_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"agentvault/broker/audit"
)

var key = []byte("a key of the audit chain, 32 byte")

// A record is one of a writer that this package does not know.
type record struct {
	Seq     uint64    `json:"seq"`
	Time    time.Time `json:"time"`
	Kind    string    `json:"kind"`
	Request string    `json:"request"`
	VaultID string    `json:"vault_id"`
	Vault   string    `json:"vault"`
	Path    string    `json:"path"`
}

type change struct {
	Seq   uint64    `json:"seq"`
	Time  time.Time `json:"time"`
	Kind  string    `json:"kind"`
	Event int64     `json:"event"`
}

var epoch = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func rec(request string) record {
	return record{Time: epoch, Kind: "intent", Request: request, VaultID: "v-1", Vault: "main", Path: "/a\"b\u2028<\xff,\"kind\":\"change\""}
}

// A clock is moved by the test.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// A kit is a log in a folder of its own.
type kit struct {
	t     *testing.T
	dir   string
	path  string
	clock *clock
	o     audit.Options
	log   *audit.Log
}

func newKit(t *testing.T, o audit.Options) *kit {
	t.Helper()
	k := &kit{t: t, dir: t.TempDir(), clock: &clock{epoch}, o: o}
	k.path = filepath.Join(k.dir, "audit.log")
	k.o.Path, k.o.Key, k.o.Now = k.path, key, k.clock.Now
	t.Cleanup(func() {
		if k.log != nil {
			_ = k.log.Close()
		}
	})
	k.open()
	return k
}

// open opens the log, again if need be.
func (k *kit) open() {
	k.t.Helper()
	if k.log != nil {
		_ = k.log.Close()
	}
	var err error
	if k.log, err = audit.Open(k.o); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) append(requests ...string) {
	k.t.Helper()
	for _, r := range requests {
		if err := k.log.Append(rec(r)); err != nil {
			k.t.Fatal(err)
		}
	}
}

func (k *kit) appendMany(n int) {
	k.t.Helper()
	for i := range n {
		k.append(fmt.Sprintf("r%04d", i))
	}
}

func (k *kit) verify(known ...audit.KnownRecord) audit.Report {
	k.t.Helper()
	report, err := audit.Verify(k.t.Context(), audit.VerifyOptions{Path: k.path, Key: key, Known: known})
	if err != nil {
		k.t.Fatal(err)
	}
	return report
}

// whole fails unless the log is.
func (k *kit) whole(records uint64) audit.Report {
	k.t.Helper()
	r := k.verify()
	if r.Bad != nil || r.Records != records {
		k.t.Fatalf("%d records, want %d; bad: %v", r.Records, records, r.Bad)
	}
	return r
}

// files are the names of the segments, in their order.
func (k *kit) files() []string {
	k.t.Helper()
	entries, err := os.ReadDir(k.dir)
	if err != nil {
		k.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != "audit.log" && strings.HasPrefix(e.Name(), "audit") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return append(names, "audit.log")
}

func (k *kit) read(name string) []byte {
	k.t.Helper()
	b, err := os.ReadFile(filepath.Join(k.dir, name))
	if err != nil {
		k.t.Fatal(err)
	}
	return b
}

func (k *kit) write(name string, b []byte) {
	k.t.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, name), b, 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// mend puts the folder back as it was.
func (k *kit) mend(was map[string][]byte) {
	k.t.Helper()
	for _, name := range k.files() {
		if _, ok := was[name]; !ok {
			_ = os.Remove(filepath.Join(k.dir, name))
		}
	}
	for name, b := range was {
		k.write(name, b)
	}
}

func (k *kit) all() map[string][]byte {
	k.t.Helper()
	all := make(map[string][]byte)
	for _, name := range k.files() {
		all[name] = k.read(name)
	}
	return all
}
