package audit

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"time"
)

var errTakenBack = errors.New("the disk did not take it")

// commit returns when the record of that seq is on the disk. Whoever comes
// first waits for the disk; those who come meanwhile queue up for the mutex,
// and the next fsync is for all of them.
func (l *Log) commit(seq uint64, round int) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	if l.round != round { // it was taken back, or a later one was: seqs are used again
		l.mu.Unlock()
		return errTakenBack
	}
	if l.durable.seq >= seq {
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	return l.flush()
}

// flush waits for the disk. Its caller holds syncing, and not mu.
func (l *Log) flush() error {
	l.mu.Lock()
	f, upTo, renamed, waited := l.file, l.end, l.renamed, len(l.unsure)
	l.mu.Unlock()
	began := time.Now()
	err := f.Sync()
	if err == nil && renamed {
		err = l.syncNames()
	}
	l.metrics.fsync.Observe(time.Since(began).Seconds())
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.takeBack()
		return err
	}
	l.durable, l.renamed = upTo, false // only who holds syncing renames
	l.confirm(waited)
	return nil
}

// syncNames makes the names of segments survive a loss of power, without which
// what is in them would not.
func (l *Log) syncNames() error {
	d, err := os.Open(filepath.Dir(l.o.Path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// takeBack removes the records that the disk has not confirmed: after a failed
// fsync nobody can say what of them is there, and a later one may succeed
// without them. All who wait for them are told so. Its caller holds mu.
func (l *Log) takeBack() {
	if l.end == l.durable {
		return
	}
	l.end = l.durable
	l.torn = l.file.Truncate(l.end.size) != nil
	l.round++
	l.later.restore(l.unsure) // which nobody waits for: it is written again
	l.unsure = nil
}

// confirm counts records that waited and are on the disk: so many bytes of them.
// Its caller holds mu.
func (l *Log) confirm(bytesOf int) {
	l.metrics.records.Add(float64(bytes.Count(l.unsure[:bytesOf], lineEnd)))
	l.unsure = append(l.unsure[:0], l.unsure[bytesOf:]...)
}
