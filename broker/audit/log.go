package audit

import (
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
	line    []byte // room to make a line in
	number  uint64 // of the segment
	begun   time.Time
	fresh   bool  // the segment has no record but its header
	full    int64 // bytes at which the next segment is due; 0: never
	torn    bool  // behind end stands what is no whole record
	end     mark
	durable mark // what is on the disk; with Power only
	renamed bool // the folder is to be synced before what follows counts as that
	round   int  // grows when records were taken back that were not durable

	appended chan struct{} // holds a signal while there is something new
}

// A mark is a place behind a record.
type mark struct {
	seq   uint64 // of the record
	mac   mac
	size  int64 // of the segment, in bytes
	event int64 // of the last change that was recorded; 0: none
}

// Append writes one record with a single write(2): a [JSONAppender], or a value
// that encoding/json makes an object of. Its first member is "seq", which Append
// fills in. With
// Options.Power it returns once the record is on the disk. The error, if any,
// is an ErrWrite; then the log is as if Append had not been called.
func (l *Log) Append(record any) error { return l.append(record, 0) }

// AppendChange is Append for a record whose "event" is this id.
func (l *Log) AppendChange(record any, event int64) error { return l.append(record, event) }

func (l *Log) append(record any, event int64) error {
	b := buffers.Get().(*buffer)
	defer buffers.Put(b)
	rest, err := b.encode(record)
	if err != nil {
		return errors.Join(ErrWrite, err)
	}
	l.mu.Lock()
	err = l.write(l.end.seq+1, rest, event)
	at, round, due := l.end.seq, l.round, l.due()
	l.mu.Unlock()
	if err == nil && l.o.Power {
		err = l.commit(at, round)
	}
	if due {
		l.rotate(false)
	}
	if err != nil {
		l.metrics.failures.Inc()
		return errors.Join(ErrWrite, err)
	}
	l.metrics.records.Inc()
	select {
	case l.appended <- struct{}{}:
	default: // one is waiting already
	}
	return nil
}

// write appends a line. Its caller holds mu.
func (l *Log) write(seq uint64, rest []byte, event int64) error {
	if l.torn {
		if err := l.file.Truncate(l.end.size); err != nil {
			return err
		}
		l.torn = false
	}
	var m mac
	l.line, m = l.chain.line(l.line[:0], l.end.mac, seq, rest)
	n, err := l.file.Write(l.line)
	if err != nil {
		// Half a record must not stand before the next one.
		l.torn = n > 0 && l.file.Truncate(l.end.size) != nil
		return err
	}
	l.end = mark{seq, m, l.end.size + int64(n), cmp.Or(event, l.end.event)}
	l.fresh = false
	return nil
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

// Close closes the log. Records after it fail.
func (l *Log) Close() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if l.o.Power && l.end != l.durable {
		err = l.file.Sync()
	}
	l.full = 0
	return errors.Join(err, l.file.Close())
}
