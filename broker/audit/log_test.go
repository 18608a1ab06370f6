package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentvault/broker/audit"
)

func TestChainGoesOnAfterAReopen(t *testing.T) {
	for _, power := range []bool{false, true} {
		k := newKit(t, audit.Options{Power: power, SegmentSize: 4096})
		for range 3 {
			k.open()
			var writers sync.WaitGroup
			for range 4 {
				writers.Go(func() {
					for range 25 {
						if err := k.log.Append(rec("r")); err != nil {
							t.Error(err)
						}
					}
				})
			}
			writers.Wait()
		}
		if err := k.log.Close(); err != nil {
			t.Fatal(err)
		}
		if err := k.log.Append(rec("r")); !errors.Is(err, audit.ErrWrite) {
			t.Errorf("after Close: %v", err)
		}
		segments := uint64(len(k.files()))
		if segments < 5 {
			t.Errorf("%d segments", segments)
		}
		k.whole(300 + segments - 1)
		for _, name := range k.files() {
			if info, err := os.Stat(filepath.Join(k.dir, name)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", name, info.Mode(), err)
			}
		}
	}
}

// A crash can cut the last line anywhere. Whatever it leaves, the next start
// takes the log up, and Verify takes the half for no record.
func TestCrashInTheLastRecord(t *testing.T) {
	k := newKit(t, audit.Options{})
	k.append("a", "b", "c")
	k.log.Close()
	whole := k.read("audit.log")
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := last; cut < len(whole); cut++ {
		k.write("audit.log", whole[:cut])
		if r := k.verify(); r.Bad != nil || r.Records != 2 || r.Torn != int64(cut-last) {
			t.Fatalf("cut at %d: %+v %v", cut, r, r.Bad)
		}
		k.open()
		k.append("d")
		k.whole(3)
	}
}

func TestOpenRefuses(t *testing.T) {
	full := func(k *kit) string { return filepath.Join(k.dir, "audit.0000000001.log") }
	for name, spoil := range map[string]func(k *kit) error{
		"what is no log": func(k *kit) error { return os.WriteFile(k.path, []byte("hello\n"), 0o600) },
		"a folder":       func(k *kit) error { return errors.Join(os.Remove(k.path), os.Mkdir(k.path, 0o700)) },
		"a pipe":         func(k *kit) error { return errors.Join(os.Remove(k.path), syscall.Mkfifo(k.path, 0o600)) },
		"a symlink": func(k *kit) error {
			return errors.Join(os.Rename(k.path, k.path+".x"), os.Symlink(k.path+".x", k.path))
		},
		"a symlink to nowhere":       func(k *kit) error { return errors.Join(os.Remove(k.path), os.Symlink(k.path+".x", k.path)) },
		"one that others may read":   func(k *kit) error { return os.Chmod(k.path, 0o640) },
		"a segment that others read": func(k *kit) error { return os.Chmod(full(k), 0o604) },
		"a segment that is a symlink": func(k *kit) error {
			return errors.Join(os.Rename(full(k), k.path+".x"), os.Symlink(k.path+".x", full(k)))
		},
		"segments with a gap between": func(k *kit) error { return os.Remove(filepath.Join(k.dir, "audit.0000000002.log")) },
		"a segment that is there twice": func(k *kit) error {
			return os.WriteFile(filepath.Join(k.dir, "audit.0000000003.log"), k.read("audit.log"), 0o600)
		},
	} {
		k := newKit(t, audit.Options{SegmentSize: 500})
		k.append("a", "b", "c", "d", "e")
		if len(k.files()) != 3 {
			t.Fatal(k.files())
		}
		if err := errors.Join(k.log.Close(), spoil(k)); err != nil {
			t.Fatal(err)
		}
		l, err := audit.Open(k.o)
		if err == nil {
			t.Errorf("%s was taken", name)
			l.Close()
		}
		var hinter interface{ Hint() string }
		if name == "one that others may read" && (!errors.As(err, &hinter) || hinter.Hint() != "run: chmod go= "+k.path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, o := range []audit.Options{{}, {Path: "x"}, {Key: key}, {Path: "x", Key: []byte("short")}} {
		if _, err := audit.Open(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestAppendRefusesWhatIsNoRecord(t *testing.T) {
	k := newKit(t, audit.Options{})
	for _, r := range []any{nil, 1, struct{}{}, map[string]int{"a": 1}, make(chan int), rec(string(make([]byte, audit.MaxLine)))} {
		if err := k.log.Append(r); !errors.Is(err, audit.ErrWrite) {
			t.Errorf("%T: %v", r, err)
		}
	}
	k.append("a")
	k.whole(1)
}

// A file that may not grow takes half a record. The half is gone before the
// next one, nothing that was refused stands in the log, and when there is room
// again it goes on by itself.
func TestFileCannotGrow(t *testing.T) {
	for _, power := range []bool{false, true} {
		k := newKit(t, audit.Options{Power: power})
		k.append("a")
		size := int64(len(k.read("audit.log")))
		for more := uint64(0); more < 200; more += 10 {
			restore := limitFileSize(t, uint64(size)+more)
			for range 2 {
				if err := k.log.Append(rec("b")); !errors.Is(err, audit.ErrWrite) {
					t.Errorf("a record that does not fit: %v, want ErrWrite", err)
				}
			}
			restore()
		}
		k.append("c")
		k.whole(2)
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

func TestDiskFull(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	l, err := audit.Open(audit.Options{Path: "/dev/full", Key: key, SegmentSize: 1, SegmentAge: 1, Retention: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Append(rec("a")); !errors.Is(err, audit.ErrWrite) {
		t.Errorf("on a full disk: %v, want ErrWrite", err)
	}
	l.Tidy()
}

// Rotation under appenders loses no record and doubles none, and who reads
// meanwhile sees each once.
func TestRotationUnderAppenders(t *testing.T) {
	for _, power := range []bool{false, true} {
		k := newKit(t, audit.Options{Power: power, SegmentSize: 3000})
		const writers, each = 8, 150
		read := make(chan map[string]int)
		go func() {
			seen := make(map[string]int)
			in := audit.NewReader(k.path, audit.Position{})
			defer in.Close()
			for deadline := time.Now().Add(time.Minute); len(seen) < writers*each && time.Now().Before(deadline); {
				line, err := in.Next()
				if err == nil && !bytes.Contains(line, []byte(`"kind":"segment"`)) {
					_, name, _ := bytes.Cut(line, []byte(`"request":"`))
					seen[string(name[:8])]++
				}
			}
			read <- seen
		}()
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for i := range each {
					if err := k.log.Append(rec(fmt.Sprintf("w%d-%05d", w, i))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		seen := <-read
		for name, n := range seen {
			if n != 1 {
				t.Errorf("%s was read %d times", name, n)
			}
		}
		if len(seen) != writers*each {
			t.Errorf("%d records read, want %d", len(seen), writers*each)
		}
		k.whole(writers*each + uint64(len(k.files())) - 1)
	}
}

// A crash in the middle of a rotation leaves one of these folders.
func TestCrashInARotation(t *testing.T) {
	k := newKit(t, audit.Options{})
	k.append("a", "b", "c")
	before := k.all()
	k.o.SegmentSize = 100
	k.open() // which is full now
	k.log.Close()
	k.o.SegmentSize = 0
	if len(k.files()) != 2 {
		t.Fatal(k.files())
	}
	full, next := k.read("audit.0000000001.log"), k.read("audit.log")
	header := next[:bytes.IndexByte(next, '\n')+1]
	reopened := func(what string, records uint64) {
		t.Helper()
		if r := k.verify(); r.Bad != nil {
			t.Errorf("%s: %v", what, r.Bad)
		}
		k.open()
		k.append("again")
		k.log.Close()
		if r := k.verify(); r.Bad != nil || r.Records != records {
			t.Errorf("%s: %d records, want %d; %v", what, r.Records, records, r.Bad)
		}
		if _, err := os.Stat(k.path + ".new"); err == nil {
			t.Errorf("%s: the next segment was left over", what)
		}
	}
	for cut := 0; cut <= len(header); cut += 9 {
		k.mend(before)
		k.write("audit.log.new", header[:cut])
		reopened("while the next one was written", 4)

		k.mend(map[string][]byte{"audit.0000000001.log": full})
		_ = os.Remove(k.path)
		k.write("audit.log.new", header[:cut])
		reopened("between the names", uint64(bytes.Count(full, []byte("\n")))+2)

		// After a loss of power, the name may be there before its bytes.
		k.mend(map[string][]byte{"audit.0000000001.log": full, "audit.log": header[:cut]})
		if r := k.verify(); r.Bad != nil {
			t.Errorf("half a header: %v", r.Bad)
		}
		k.open()
		k.append("again")
		k.whole(uint64(bytes.Count(full, []byte("\n"))) + 2)
		k.log.Close()
	}
}

// When another segment cannot begin, the last one goes on.
func TestRotationThatFails(t *testing.T) {
	k := newKit(t, audit.Options{SegmentSize: 1000})
	blocked := filepath.Join(k.path+".new", "x")
	if err := os.MkdirAll(blocked, 0o700); err != nil { // a folder that is not empty
		t.Fatal(err)
	}
	k.appendMany(20)
	if len(k.files()) != 2 { // with the folder
		t.Errorf("%v", k.files())
	}
	if err := os.RemoveAll(k.path + ".new"); err != nil {
		t.Fatal(err)
	}
	k.appendMany(20)
	if n := len(k.files()); n < 3 {
		t.Errorf("%d segments after it can", n)
	}
	k.whole(40 + uint64(len(k.files())) - 1)
}

// A log of an earlier version is one file, and is the first segment.
func TestOldLogIsTheFirstSegment(t *testing.T) {
	k := newKit(t, audit.Options{})
	k.appendMany(50)
	k.o.SegmentSize = 2000
	k.open() // at once: it is full
	if len(k.files()) != 2 {
		t.Errorf("%v", k.files())
	}
	k.append("x")
	r := k.whole(52)
	if r.FirstSeq != 1 || r.LastSeq != 52 || r.Segments != 2 {
		t.Errorf("%+v", r)
	}
}

func TestAgeAndRetention(t *testing.T) {
	day := 24 * time.Hour
	k := newKit(t, audit.Options{SegmentAge: day, Retention: 3 * day})
	for d := range 10 {
		k.clock.now = epoch.Add(time.Duration(d) * day)
		k.log.Tidy()
		k.log.Tidy() // changes nothing
		r := rec(fmt.Sprint("day", d))
		r.Time = k.clock.now
		if err := k.log.Append(r); err != nil {
			t.Fatal(err)
		}
		if r := k.verify(); r.Bad != nil {
			t.Fatalf("day %d: %v", d, r.Bad)
		}
	}
	if n := len(k.files()); n != 5 { // full on days 6 to 9, and the newest
		t.Errorf("%d segments, want 5: %v", n, k.files())
	}
	r := k.verify()
	if r.RemovedTo == 0 || r.FirstSeq != r.RemovedTo+1 {
		t.Errorf("%+v", r)
	}
	// Records may be of times before, as those of changes that are copied late:
	// what counts is when they were written.
	late := rec("late")
	late.Time = epoch.Add(-1000 * day)
	if err := k.log.Append(late); err != nil {
		t.Fatal(err)
	}
	n := len(k.files())
	k.clock.now = k.clock.now.Add(day)
	k.log.Tidy()
	if got := len(k.files()); got != n {
		t.Errorf("%d segments, want %d", got, n)
	}
	// The same after a restart, and without a header's help for the oldest.
	k.open()
	k.append("x")
	if r := k.verify(); r.Bad != nil {
		t.Error(r.Bad)
	}
	// An idle log does not grow.
	k.clock.now = k.clock.now.Add(100 * day)
	for range 20 {
		k.clock.now = k.clock.now.Add(2 * day)
		k.log.Tidy()
	}
	if n := len(k.files()); n > 3 {
		t.Errorf("%d segments of an idle log", n)
	}
	if r := k.verify(); r.Bad != nil {
		t.Error(r.Bad)
	}
}

// Records that somebody knew of, and that are gone at start, are put down as
// lost, and their seqs are not used again.
func TestLostRecords(t *testing.T) {
	k := newKit(t, audit.Options{})
	k.append("a", "b", "c", "d")
	was := k.verify()
	k.log.Close()
	raw := k.read("audit.log")
	lines := bytes.SplitAfter(raw, []byte("\n"))
	k.write("audit.log", bytes.Join(lines[:2], nil))
	k.o.Head = audit.Head{Seq: was.LastSeq, MAC: was.LastMAC}
	store := audit.KnownRecord{Head: k.o.Head, By: "the store", MayBeLost: true}
	if r := k.verify(store); r.Bad == nil || r.Bad.Problem != audit.Cut || r.Bad.Seq != 3 || r.Bad.Line != 3 {
		t.Errorf("before the start: %v", r.Bad)
	}
	k.open()
	k.append("e")
	r := k.verify(store)
	if r.Bad != nil || len(r.Lost) != 1 || r.Lost[0].FromSeq != 3 || r.Lost[0].ToSeq != 4 || r.LastSeq != 6 {
		t.Errorf("after it: %+v %v", r, r.Bad)
	}
	signed := store
	signed.By, signed.MayBeLost = "a checkpoint", false
	if r := k.verify(signed); r.Bad == nil || r.Bad.Problem != audit.Cut {
		t.Errorf("a checkpoint of what is lost: %+v", r)
	}
	// All of it gone.
	k.log.Close()
	if err := os.Remove(k.path); err != nil {
		t.Fatal(err)
	}
	if r := k.verify(store); r.Bad == nil || r.Bad.Problem != audit.Cut {
		t.Errorf("no log: %+v", r)
	}
	k.open()
	if r := k.verify(store); r.Bad != nil || len(r.Lost) != 1 || r.Lost[0].FromSeq != 1 || r.LastSeq != 5 {
		t.Errorf("a new log: %+v %v", r, r.Bad)
	}
}

func TestLastEvent(t *testing.T) {
	k := newKit(t, audit.Options{SegmentSize: 700})
	for id := int64(1); id <= 9; id++ {
		if err := k.log.AppendChange(change{Time: epoch, Kind: audit.KindChange, Event: id}, id); err != nil {
			t.Fatal(err)
		}
		k.open()
		if got := k.log.LastEvent(); got != id {
			t.Fatalf("after a start: %d, want %d", got, id)
		}
		k.append("x", "y")
		k.open()
		if got := k.log.LastEvent(); got != id {
			t.Fatalf("after others: %d, want %d", got, id)
		}
	}
	k.log.Close()
	if err := os.Remove(k.path); err != nil { // as between two names
		t.Fatal(err)
	}
	k.open()
	if got := k.log.LastEvent(); got < 8 {
		t.Errorf("from the full segments: %d", got)
	}
}
