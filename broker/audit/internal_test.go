package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

type line struct {
	Seq     uint64 `json:"seq"`
	Kind    string `json:"kind"`
	Request string `json:"request"`
}

// A slow file has a disk whose waits the test ends. It tells of each call.
type slowFile struct {
	file
	wrote  chan struct{} // after a write, whose record the log counts before it lets go of its mutex
	synced chan struct{} // when the disk is asked
	gate   chan error    // nil: at once
}

func (f *slowFile) Write(b []byte) (int, error) {
	n, err := f.file.Write(b)
	f.wrote <- struct{}{}
	return n, err
}

func (f *slowFile) Sync() error {
	f.synced <- struct{}{}
	if f.gate == nil {
		return f.file.Sync()
	}
	if err := <-f.gate; err != nil {
		return err
	}
	return f.file.Sync()
}

func openSlow(t *testing.T) (*Log, *slowFile) {
	t.Helper()
	l, err := Open(Options{Path: filepath.Join(t.TempDir(), "audit.log"), Key: make([]byte, 32), Power: true})
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowFile{file: l.file, gate: make(chan error), wrote: make(chan struct{}, 100), synced: make(chan struct{}, 100)}
	l.file = slow
	t.Cleanup(func() {
		slow.gate = nil
		_ = l.Close()
	})
	return l, slow
}

// newest is the number of the newest record, once a few more have been written.
func (f *slowFile) newest(l *Log, more int) uint64 {
	for range more {
		<-f.wrote
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end.seq
}

// Those who append while the disk is busy share the next fsync, and none
// returns before the one that covers it.
func TestPowerGroupsFsyncs(t *testing.T) {
	l, slow := openSlow(t)
	const n = 50
	var done sync.WaitGroup
	returned := make(chan struct{}, n+1)
	add := func() {
		done.Go(func() {
			if err := l.Append(line{Kind: "intent"}); err != nil {
				t.Error(err)
			}
			returned <- struct{}{}
		})
	}
	add()
	<-slow.synced
	for range n {
		add()
	}
	if got := slow.newest(l, n+1); got != n+1 {
		t.Fatalf("%d records, want %d", got, n+1)
	}
	if len(returned) != 0 || l.Safe() != 0 {
		t.Errorf("%d returned before the disk did", len(returned))
	}
	slow.gate <- nil
	<-slow.synced
	<-returned
	if len(returned) != 0 {
		t.Errorf("%d more returned before the second fsync", len(returned))
	}
	slow.gate <- nil
	done.Wait()
	if more := len(slow.synced); more != 0 || l.Safe() != n+1 {
		t.Errorf("%d fsyncs for %d records, want 2", 2+more, n+1)
	}
}

// After a failed fsync nobody's record is taken for written that the disk did
// not confirm, and the log goes on without them.
func TestPowerTakesBackWhatTheDiskDidNotTake(t *testing.T) {
	l, slow := openSlow(t)
	var failed, done sync.WaitGroup
	var errs atomic.Int32
	done.Go(func() {
		if err := l.Append(line{Request: "kept"}); err != nil {
			t.Error(err)
		}
	})
	<-slow.synced
	slow.gate <- nil
	done.Wait()
	for range 10 {
		failed.Go(func() {
			if err := l.Append(line{Request: "refused"}); errors.Is(err, ErrWrite) {
				errs.Add(1)
			}
		})
	}
	if got := slow.newest(l, 11); got != 11 {
		t.Fatalf("%d records, want 11", got)
	}
	slow.gate <- errors.New("input/output error")
	failed.Wait()
	if errs.Load() != 10 {
		t.Errorf("%d of 10 were told", errs.Load())
	}
	slow.gate = nil
	if err := l.Append(line{Request: "after"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	report, err := Verify(t.Context(), VerifyOptions{Path: l.o.Path, Key: l.o.Key, Each: func(b []byte) error {
		_, rest, _ := bytes.Cut(b, []byte(`"request":"`))
		got = append(got, string(rest[:4]))
		return nil
	}})
	if err != nil || report.Bad != nil || fmt.Sprint(got) != "[kept afte]" {
		t.Errorf("%v, %v %v", got, report.Bad, err)
	}
}

// A brittle file fails in every way, in turns, and takes a part of what it is
// given meanwhile.
type brittleFile struct {
	file
	turn int
}

func (f *brittleFile) Write(b []byte) (int, error) {
	f.turn++
	switch f.turn % 5 {
	case 1:
		return 0, errors.New("no space left on device")
	case 2:
		n, _ := f.file.Write(b[:f.turn%len(b)])
		return n, errors.New("no space left on device")
	case 3:
		n, _ := f.file.Write(b[:len(b)-1])
		return n, errors.New("input/output error")
	}
	return f.file.Write(b)
}

func (f *brittleFile) Truncate(size int64) error {
	if f.turn++; f.turn%2 == 0 {
		return errors.New("read-only file system")
	}
	return f.file.Truncate(size)
}

// What Append said is what stands in the log, whatever the file does.
func TestBrittleFile(t *testing.T) {
	l, err := Open(Options{Path: filepath.Join(t.TempDir(), "audit.log"), Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.file = &brittleFile{file: l.file}
	l.later.armed = true // what waits leaves with the others only
	var want, got []string
	for i := range 300 {
		name := fmt.Sprintf("%03d", i)
		if i%3 == 0 {
			if err := l.AppendLater(line{Request: name}); err != nil {
				t.Fatal(err)
			}
			want = append(want, name)
		} else if err := l.Append(line{Request: name}); err == nil {
			want = append(want, name)
		} else if !errors.Is(err, ErrWrite) {
			t.Fatal(err)
		}
	}
	l.later.armed = false
	for range 10 {
		if l.Flush() == nil {
			break
		}
	}
	report, err := Verify(t.Context(), VerifyOptions{Path: l.o.Path, Key: l.o.Key, Each: func(b []byte) error {
		_, rest, _ := bytes.Cut(b, []byte(`"request":"`))
		got = append(got, string(rest[:3]))
		return nil
	}})
	if err != nil || report.Bad != nil {
		t.Fatalf("%v %v", report.Bad, err)
	}
	if len(want) < 50 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
}

// Whatever stands in a file, each whole line is passed once, and nothing of
// what is not whole.
func FuzzLines(f *testing.F) {
	for _, log := range []string{"", "\n", "{}\n{", `{"seq":1,"request":"a"}` + "\n", strings.Repeat("x", 300<<10) + "\n{}\n", strings.Repeat("x", 300<<10)} {
		f.Add([]byte(log))
	}
	f.Fuzz(func(t *testing.T, log []byte) {
		r := newLines(bytes.NewReader(log), 0)
		n := 0
		for {
			_, err := r.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil && !errors.Is(err, errTooLong) {
				t.Fatal(err)
			}
			n++
		}
		if want := bytes.Count(log, []byte("\n")); n != want || r.number != want || r.offset != int64(bytes.LastIndexByte(log, '\n')+1) {
			t.Errorf("%d lines up to %d, want %d", n, r.offset, want)
		}
	})
}

// A spelled record spells itself.
type spelled struct{ json []byte }

func (s *spelled) AppendJSON(b []byte) ([]byte, error) { return append(b, s.json...), nil }

// A record that spells itself makes no garbage, and is held to the same.
func TestSpelledRecord(t *testing.T) {
	l, err := Open(Options{Path: filepath.Join(t.TempDir(), "audit.log"), Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, bad := range []string{"", "{}", `{"seq":1`, `{"time":1,"seq":0}`, "{\"seq\":0,\n\"kind\":\"intent\"}", `{"seq":0,"path":"` + strings.Repeat("x", MaxLine) + `"}`} {
		if err := l.Append(&spelled{[]byte(bad)}); !errors.Is(err, ErrWrite) {
			t.Errorf("%.40s: %v, want ErrWrite", bad, err)
		}
	}
	r := &spelled{[]byte(`{"seq":0,"kind":"intent","request":"` + strings.Repeat("x", 300) + `"}`)}
	if n := testing.AllocsPerRun(100, func() {
		if err := l.Append(r); err != nil {
			t.Error(err)
		}
	}); n > 0 && !raceEnabled { // which empties pools
		t.Errorf("%v allocations for a record", n)
	}
	if report, err := Verify(t.Context(), VerifyOptions{Path: l.o.Path, Key: l.o.Key}); err != nil || report.Bad != nil || report.Records != 101 {
		t.Errorf("%+v %v %v", report, report.Bad, err)
	}
}
