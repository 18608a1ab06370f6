package audit

import (
	"bytes"
	"cmp"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options say how a Log works.
type Options struct {
	// Path of the newest segment; the others stand beside it. Required.
	Path string

	// Key of the chain. Required.
	Key []byte

	// Power makes Append wait until its record is on the disk (fsync), so that
	// records survive a loss of power too. Appenders share one fsync. Otherwise
	// records survive the end of the process, however it comes.
	Power bool

	// SegmentSize is at how many bytes a segment is full. Zero means 64 MiB.
	SegmentSize int64

	// SegmentAge is how old a segment's first record may become before another
	// segment begins. Zero means that only the size counts.
	SegmentAge time.Duration

	// Retention is how long records stay at least: a segment that was full before
	// that is removed. Zero keeps them for good.
	Retention time.Duration

	// Head is the newest record that was seen when the log was open the last
	// time. What is gone since then is put down as lost. The zero Head knows of
	// none.
	Head Head

	// Registerer takes the log's metrics. Nil leaves them unregistered.
	Registerer prometheus.Registerer

	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// Log receives operational messages. Nil discards them.
	Log *slog.Logger
}

// A Head names a record. The zero Head names none.
type Head struct {
	Seq uint64
	MAC string // hex
}

// DefaultSegmentSize is at how many bytes a segment is full, when nothing else
// is said.
const DefaultSegmentSize = 64 << 20

// ErrWrite is returned when a record could not be written. The caller must not
// go on.
var ErrWrite = errors.New("audit record could not be written")

// A file is what a Log does to its newest segment.
type file interface {
	Write([]byte) (int, error)
	Truncate(int64) error
	Sync() error
	Close() error
}

// A Log is the audit log of one node. It is safe for use by many goroutines;
// only one Log may be open on a path.
type Log struct {
	o       Options
	metrics *metrics

	syncing sync.Mutex // held by who waits for the disk, or changes segments; taken before mu

	mu      sync.Mutex
	file    file
	chain   *chain
	line    []byte // room to make lines in
	number  uint64 // of the segment
	begun   time.Time
	fresh   bool  // the segment has no record but its header
	full    int64 // bytes at which the next segment is due; 0: never
	torn    bool  // behind end stands what is no whole record
	end     mark
	durable mark   // what is on the disk; with Power only
	renamed bool   // the folder is to be synced before what follows counts as that
	round   int    // grows when records were taken back that were not durable
	unsure  []byte // records that waited, and are not known to be durable; with Power only

	lost  *Loss // put down when it was opened; nil: nothing was
	later later
	sick  bool // the timer's last write failed; only the timer's call uses it

	appended chan struct{} // holds a signal while there is something new
}

// A mark is a place behind a record.
type mark struct {
	seq   uint64 // of the record
	mac   mac
	size  int64 // of the segment, in bytes
	event int64 // of the last change that was recorded; 0: none
}

// Append writes one record: a [JSONAppender], or a value that encoding/json makes
// an object of. Its first member is "seq", which Append fills in. It has left the
// process by write(2) when Append returns, together with those that waited for
// that; with Options.Power it is on the disk. The error, if any, is an ErrWrite;
// then the log is as if Append had not been called.
func (l *Log) Append(record any) error { return l.append(record, 0) }

// AppendChange is Append for a record whose "event" is this id.
func (l *Log) AppendChange(record any, event int64) error { return l.append(record, event) }

// AppendLater is Append for a record that may wait: it leaves with the next one
// that does not, or after 30 milliseconds, behind all that were appended before.
// A process that is killed meanwhile loses it. While the log cannot be written it
// waits on; the error, an ErrWrite, is that more wait than there is room for, or
// that the log is closed.
func (l *Log) AppendLater(record any) error {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	rest, err := b.encode(record)
	if err == nil {
		err = l.later.add(rest)
	}
	if err != nil {
		l.metrics.failures.Inc()
		return errors.Join(ErrWrite, err)
	}
	return nil
}

// Flush returns when all that AppendLater let wait before it has left the
// process, and with Options.Power is on the disk.
func (l *Log) Flush() error { return l.leave(nil, 0) }

func (l *Log) append(record any, event int64) error {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	rest, err := b.encode(record)
	if err == nil {
		err = l.leave(rest, event)
	}
	if err != nil {
		l.metrics.failures.Inc()
		return errors.Join(ErrWrite, err)
	}
	l.metrics.records.Inc()
	return nil
}

// leave writes what waits, and behind it a record unless the rest is nil. Each
// appender writes its own: who meets another here has waited for less than a
// write's time, and BenchmarkAppend was no faster where one wrote for all.
func (l *Log) leave(rest []byte, event int64) error {
	l.mu.Lock()
	before := l.end.seq
	err := l.write(rest, event)
	at, round, due := l.end.seq, l.round, l.due()
	l.mu.Unlock()
	if err == nil && l.o.Power {
		err = l.commit(at, round)
	}
	if due {
		l.rotate(false)
	}
	if at != before {
		select {
		case l.appended <- struct{}{}:
		default: // one is waiting already
		}
	}
	return err
}

// write writes what waits, in one go unless it is long, and behind it a record
// unless the rest is nil. Its caller holds mu.
func (l *Log) write(rest []byte, event int64) error {
	waiting := l.later.take()
	some, left := chunk(waiting)
	for {
		at := l.end
		l.line = l.line[:0]
		for line := range bytes.Lines(some) {
			at = l.add(at, line[:len(line)-1], 0)
		}
		last := len(left) == 0
		if last && rest != nil {
			at = l.add(at, rest, event)
		}
		if err := l.put(at); err != nil {
			l.later.put(waiting, len(waiting)-len(left)-len(some))
			return err
		}
		l.gone(some)
		if last {
			l.later.put(waiting, len(waiting))
			return nil
		}
		some, left = chunk(left)
	}
}

// gone counts records that waited and have left the process.
func (l *Log) gone(rests []byte) {
	if l.o.Power {
		l.unsure = append(l.unsure, rests...)
	} else if len(rests) > 0 {
		l.metrics.records.Add(float64(bytes.Count(rests, lineEnd)))
	}
}

// add makes the line of the next record behind others that are to be written.
func (l *Log) add(at mark, rest []byte, event int64) mark {
	n := len(l.line)
	at.seq++
	l.line, at.mac = l.chain.line(l.line, at.mac, at.seq, rest)
	at.size += int64(len(l.line) - n)
	at.event = cmp.Or(event, at.event)
	return at
}

// put writes the lines that were made, behind which the log ends at a mark, or
// none of them. Its caller holds mu.
func (l *Log) put(at mark) error {
	if len(l.line) == 0 {
		return nil
	}
	if l.torn {
		if err := l.file.Truncate(l.end.size); err != nil {
			return err
		}
		l.torn = false
	}
	n, err := l.file.Write(l.line)
	if err != nil {
		// Half a record must not stand before the next one, nor a whole one that
		// its writer takes for not written.
		l.torn = n > 0 && l.file.Truncate(l.end.size) != nil
		return err
	}
	l.end = at
	l.fresh = false
	return nil
}

// writeLater is Flush for the timer.
func (l *Log) writeLater() error {
	err := l.Flush()
	if sick := err != nil; sick != l.sick {
		l.sick = sick
		if sick {
			l.o.Log.Error("the audit log cannot be written; outcomes wait for that", "err", err)
		}
	}
	return err
}

func (l *Log) due() bool { return l.full > 0 && l.end.size >= l.full }

// Appended returns the channel, the same for all, that gets a signal after
// records were appended. Signals fold into one.
func (l *Log) Appended() <-chan struct{} { return l.appended }

// Safe returns the seq of the last record that will not be taken back: with
// Options.Power, of the last one that is on the disk.
func (l *Log) Safe() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.o.Power {
		return l.durable.seq
	}
	return l.end.seq
}

// LastEvent is the id of the last change that was recorded. 0: none.
func (l *Log) LastEvent() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end.event
}

// Close writes what waits, and closes the log. Records after it fail.
func (l *Log) Close() error {
	l.later.close()
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.write(nil, 0)
	if err != nil {
		lost := l.later.drop()
		l.metrics.failures.Add(float64(lost))
		l.o.Log.Error("records that waited could not be written to the audit log", "records", lost, "err", err)
	}
	if l.o.Power && l.end != l.durable {
		err = errors.Join(err, l.file.Sync())
	}
	l.full = 0
	return errors.Join(err, l.file.Close())
}
