package audit

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A countedFile counts writes, and fails them when it is told to.
type countedFile struct {
	file
	mu     sync.Mutex
	writes int
	err    error
}

func (f *countedFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if f.err != nil {
		n, _ := f.file.Write(b[:len(b)/2])
		return n, f.err
	}
	return f.file.Write(b)
}

func (f *countedFile) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func openCounted(t *testing.T, o Options) (*Log, *countedFile) {
	t.Helper()
	o.Path, o.Key = filepath.Join(t.TempDir(), "audit.log"), make([]byte, 32)
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	f := &countedFile{file: l.file}
	l.file = f
	t.Cleanup(func() { _ = l.Close() }) // some tests close it before
	return l, f
}

// requests are those of a log's records, whose chain is whole.
func requests(t *testing.T, l *Log) (all []string) {
	t.Helper()
	report, err := Verify(t.Context(), VerifyOptions{Path: l.o.Path, Key: l.o.Key, Each: func(b []byte) error {
		_, rest, _ := bytes.Cut(b, []byte(`"request":"`))
		name, _, _ := bytes.Cut(rest, []byte(`"`))
		all = append(all, string(name))
		return nil
	}})
	if err != nil || report.Bad != nil {
		t.Fatalf("%v %v", report.Bad, err)
	}
	return all
}

func wantRequests(t *testing.T, l *Log, want ...string) {
	t.Helper()
	if got := requests(t, l); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the log has %v, want %v", got, want)
	}
}

func count(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	all, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return all[0].GetMetric()[0].GetCounter().GetValue()
}

func mustAppend(t *testing.T, l *Log, request string) {
	t.Helper()
	if err := l.Append(line{Request: request}); err != nil {
		t.Error(err)
	}
}

func mustLater(t *testing.T, l *Log, request string) {
	t.Helper()
	if err := l.AppendLater(line{Request: request}); err != nil {
		t.Error(err)
	}
}

// What may wait leaves before the next record, with the same write.
func TestLaterLeavesWithTheNextRecord(t *testing.T) {
	l, f := openCounted(t, Options{})
	l.later.armed = true // no timer
	mustAppend(t, l, "a")
	mustLater(t, l, "b")
	mustLater(t, l, "c")
	if got := l.Safe(); got != 1 {
		t.Errorf("record %d is safe", got)
	}
	mustAppend(t, l, "d")
	wantRequests(t, l, "a", "b", "c", "d")
	if f.writes != 2 || count(t, l.metrics.records) != 4 {
		t.Errorf("%d writes, %v records", f.writes, count(t, l.metrics.records))
	}
	mustLater(t, l, "e")
	if err := l.Flush(); err != nil || l.Safe() != 5 {
		t.Errorf("%v, record %d is safe", err, l.Safe())
	}
	mustLater(t, l, "f")
	l.later.armed = false
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	wantRequests(t, l, "a", "b", "c", "d", "e", "f")
	if err := l.AppendLater(line{}); !errors.Is(err, ErrWrite) {
		t.Errorf("after Close: %v", err)
	}
}

// When nothing follows, it leaves by itself.
func TestLaterLeavesByItself(t *testing.T) {
	for _, power := range []bool{false, true} {
		l, f := openCounted(t, Options{Power: power})
		for i := range 3 {
			mustLater(t, l, fmt.Sprint(i))
			<-l.Appended()
			if got := l.Safe(); got != uint64(i+1) {
				t.Errorf("record %d is safe, want %d", got, i+1)
			}
		}
		wantRequests(t, l, "0", "1", "2")
		if f.writes != 3 {
			t.Errorf("%d writes", f.writes)
		}
	}
}

// While the file takes nothing, what waits is kept in its order up to a bound,
// and no record of those who were refused stands in the log.
func TestLaterWaitsForRoom(t *testing.T) {
	l, f := openCounted(t, Options{})
	mustAppend(t, l, "first")
	want := []string{"first"}
	f.fail(errors.New("no space left on device"))
	var full error
	for i := 0; full == nil; i++ {
		name := fmt.Sprintf("%d-%s", i, strings.Repeat("x", 5000))
		if full = l.AppendLater(line{Request: name}); full == nil {
			want = append(want, name)
		}
		if i%10 == 0 {
			if err := l.Append(line{Request: "refused"}); !errors.Is(err, ErrWrite) {
				t.Errorf("%v, want ErrWrite", err)
			}
		}
	}
	if n := len(want); !errors.Is(full, errFull) || !errors.Is(full, ErrWrite) || n < 200 || n > 220 {
		t.Errorf("%v after %d records", full, n)
	}
	wantRequests(t, l, "first")
	f.fail(nil)
	mustAppend(t, l, "last")
	wantRequests(t, l, append(want, "last")...)
	if f.writes < len(want)*5000/laterChunk || l.later.size != 0 {
		t.Errorf("%d writes, %d bytes left", f.writes, l.later.size)
	}
}

// What still waits for room when the log is closed is counted as lost.
func TestLaterIsLostWithTheLog(t *testing.T) {
	l, f := openCounted(t, Options{})
	f.fail(errors.New("no space left on device"))
	mustLater(t, l, "a")
	mustLater(t, l, "b")
	if err := l.Close(); err == nil {
		t.Error("no error")
	}
	if got := count(t, l.metrics.failures); got != 2 {
		t.Errorf("%v failures, want 2", got)
	}
	wantRequests(t, l)
}

// What waited and the disk then did not take is written again.
func TestPowerWritesLaterAgain(t *testing.T) {
	l, slow := openSlow(t)
	l.later.armed = true // no timer
	mustLater(t, l, "a")
	refused := make(chan error)
	go func() { refused <- l.Append(line{Request: "refused"}) }()
	<-slow.synced
	mustLater(t, l, "b")
	slow.gate <- errors.New("input/output error")
	if err := <-refused; !errors.Is(err, ErrWrite) {
		t.Errorf("%v, want ErrWrite", err)
	}
	slow.gate = nil
	if n := count(t, l.metrics.records); n != 0 {
		t.Errorf("%v records before the disk took any", n)
	}
	mustAppend(t, l, "after")
	wantRequests(t, l, "a", "b", "after")
	if n := count(t, l.metrics.records); n != 3 || l.Safe() != 3 || len(l.unsure) != 0 {
		t.Errorf("%v records, %d safe, %d bytes unsure", n, l.Safe(), len(l.unsure))
	}
	l.later.armed = false
}

// Both kinds, many at once, while segments are full: each outcome stands behind
// its intent, and none is lost.
func TestLaterUnderAppenders(t *testing.T) {
	for _, power := range []bool{false, true} {
		l, err := Open(Options{Path: filepath.Join(t.TempDir(), "audit.log"), Key: make([]byte, 32), Power: power, SegmentSize: 3000})
		if err != nil {
			t.Fatal(err)
		}
		const writers, each = 8, 100
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for i := range each {
					mustAppend(t, l, fmt.Sprintf("w%d-%d", w, i))
					mustLater(t, l, fmt.Sprintf("w%d-%d", w, i))
				}
			})
		}
		all.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		next := make(map[string]int) // by writer: twice each number, in order
		for _, name := range requests(t, l) {
			w, i, ok := strings.Cut(name, "-")
			if !ok {
				continue // a segment's header
			}
			if want := fmt.Sprint(next[w] / 2); i != want {
				t.Fatalf("%s stands where %s-%s belongs", name, w, want)
			}
			next[w]++
		}
		for w, n := range next {
			if n != 2*each {
				t.Errorf("%s: %d records, want %d", w, n, 2*each)
			}
		}
	}
}

// The two records of an exchange make no garbage.
func TestRecordsMakeNoGarbage(t *testing.T) {
	if raceEnabled {
		t.Skip("needs pools that keep what they are given")
	}
	l, _ := openCounted(t, Options{})
	r := &spelled{[]byte(`{"seq":0,"kind":"intent","request":"` + strings.Repeat("x", 300) + `"}`)}
	if n := testing.AllocsPerRun(1000, func() {
		if err := errors.Join(l.Append(r), l.AppendLater(r)); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
