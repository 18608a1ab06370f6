package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"agentvault/vault"
)

// Logged returns a channel that gets a signal after each growth of the request
// log by this process. Signals fold into one. The function ends them.
func (db *DB) Logged() (<-chan struct{}, func()) { return db.logged.subscribe() }

// LogTail returns how far the audit log has been taken in, and whether the
// request log has any rows.
func (db *DB) LogTail(ctx context.Context) (tail vault.LogTail, rows bool, err error) {
	err = read(ctx, db.readers, func(t *tx) error {
		if tail, err = t.logTail(); err != nil {
			return err
		}
		return t.one(`SELECT again, EXISTS (SELECT 1 FROM request_blocks) FROM request_log`, nil, &tail.Again, &rows)
	})
	return tail, rows, err
}

// logTail is the zero one when nothing has been taken in yet. It leaves Again
// out, which older stores have not.
func (t *tx) logTail() (tail vault.LogTail, err error) {
	err = t.one(`SELECT segment, bytes, seq, mac FROM log_tail`, nil, &tail.Segment, &tail.Offset, &tail.Seq, &tail.MAC)
	if errors.Is(err, vault.ErrNotFound) {
		err = nil
	}
	return tail, err
}

// CountRequests returns how many rows the request log has.
func (db *DB) CountRequests(ctx context.Context) (n int, err error) {
	err = read(ctx, db.browse, func(t *tx) error {
		return t.one(`SELECT coalesce(sum(requests), 0) FROM request_blocks`, nil, &n)
	})
	return n, err
}

// AppendRequests takes in what a stretch of an audit log says. No decision
// depends on it, so the revision stays, and only Logged signals. A request that
// is open gets its outcome.
func (db *DB) AppendRequests(ctx context.Context, b vault.RequestBatch) error {
	if _, err := db.write(ctx, func(t *tx) error { return t.appendRequests(b) }); err != nil {
		return err
	}
	db.logged.ring()
	return nil
}

func (t *tx) appendRequests(b vault.RequestBatch) error {
	change, err := t.LastChange()
	if err != nil {
		return err
	}
	if b.Again {
		if b.Requests, err = t.missing(b.Requests); err != nil {
			return err
		}
		b.Fresh = nil
	}
	began, err := t.takeOpen(b)
	if err != nil {
		return err
	}
	ended := make([]vault.Request, 0, len(b.Requests))
	for _, r := range b.Requests {
		change++
		r.Row, r.Change = change, change
		if r.Status == nil {
			if err := t.putBlock([]vault.Request{r}); err != nil {
				return err
			}
			continue
		}
		if open, ok := began[r.ID]; ok {
			r.Time, r.Row = open.Time, open.Row // what the outcome says of the beginning is counted back
		}
		ended = append(ended, r)
	}
	if err := t.putEnded(ended); err != nil {
		return err
	}
	for use, at := range b.Uses {
		if err := t.exec(`INSERT INTO credential_uses (vault_id, key, last_used) VALUES (?, ?, ?)
			ON CONFLICT (vault_id, key) DO UPDATE SET last_used = max(last_used, excluded.last_used)`, use.VaultID, use.Key, ms(at)); err != nil {
			return err
		}
	}
	return errors.Join(
		t.exec(`UPDATE request_log SET change = ?, again = ?`, change, b.Tail.Again),
		t.exec(`INSERT INTO log_tail (id, segment, bytes, seq, mac) VALUES (1, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
			segment = excluded.segment, bytes = excluded.bytes, seq = excluded.seq, mac = excluded.mac`,
			b.Tail.Segment, b.Tail.Offset, b.Tail.Seq, b.Tail.MAC),
	)
}

// takeOpen removes the open requests that end in a batch, and returns them by
// id.
func (t *tx) takeOpen(b vault.RequestBatch) (map[string]vault.Request, error) {
	var ids []string
	for i, r := range b.Requests {
		if r.Status != nil && (b.Fresh == nil || !b.Fresh[i]) {
			ids = append(ids, r.ID)
		}
	}
	if ids == nil {
		return nil, nil
	}
	blocks, err := list(t, scanPacked, `DELETE FROM request_blocks WHERE open IN (SELECT value FROM json_each(?)) RETURNING last, classes, entries`, asJSON{ids})
	if err != nil {
		return nil, err
	}
	began := make(map[string]vault.Request, len(blocks))
	for _, b := range blocks {
		requests, _ := b.unpack() // of one that cannot be read, the outcome says enough
		for _, r := range requests {
			began[r.ID] = r
		}
	}
	return began, nil
}

// putEnded stores requests that have ended, behind all others.
func (t *tx) putEnded(requests []vault.Request) error {
	if len(requests) == 0 {
		return nil
	}
	before, err := t.takeSmall(len(requests))
	if err != nil {
		return err
	}
	for part := range slices.Chunk(append(before, requests...), blockMost) {
		if err := t.putBlock(part); err != nil {
			return err
		}
	}
	return nil
}

// takeSmall removes the newest blocks of ended requests, and returns what was in
// them, as long as each has no more than what n requests and the blocks behind it
// come to, and all fit into one. So a quiet log has few small blocks, of which
// each is twice as large as the next, and a request is written again about ten
// times until its block is full.
func (t *tx) takeSmall(n int) ([]vault.Request, error) {
	var requests []vault.Request
	for {
		var last int64
		var size int
		err := t.one(`SELECT last, requests FROM request_blocks WHERE open IS NULL ORDER BY last DESC LIMIT 1`, nil, &last, &size)
		if errors.Is(err, vault.ErrNotFound) || err == nil && (size > n || size+n > blockMost) {
			return requests, nil
		}
		if err != nil {
			return nil, err
		}
		b, err := first(t, scanPacked, selectPacked+`WHERE last = ?`, last)
		if err != nil {
			return nil, err
		}
		earlier, err := b.unpack()
		if err != nil {
			return requests, nil // what cannot be read stays, and stops nothing
		}
		if err := t.exec(`DELETE FROM request_blocks WHERE last = ?`, last); err != nil {
			return nil, err
		}
		requests = append(earlier, requests...)
		n += size
	}
}

// putBlock stores requests as one block: any that have ended, or one that has
// not and is not there yet.
func (t *tx) putBlock(requests []vault.Request) error {
	b := makeBlock(requests)
	var open any
	if requests[0].Status == nil {
		open = requests[0].ID
	}
	if t.putsBlock == nil {
		var err error
		if t.putsBlock, err = t.sql.PrepareContext(t.ctx, insertBlock); err != nil {
			return fmt.Errorf("store: %w", err)
		}
	}
	if _, err := t.putsBlock.ExecContext(t.ctx, b.last, b.first, b.requests, b.oldest, b.newest, int64(b.lowSeq), int64(b.topSeq), open, b.classes, b.entries); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

const insertBlock = `INSERT INTO request_blocks (last, first, requests, oldest, newest, low_seq, top_seq, open, classes, entries)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (open) WHERE open IS NOT NULL DO NOTHING`

// missing returns those of a batch that the log does not have. What has ended is
// known by id in the blocks that have its record's seq, and what is open in
// those of its time. A block that cannot be read is removed: who fills anew
// brings back what was in it.
func (t *tx) missing(requests []vault.Request) ([]vault.Request, error) {
	has, damage, err := t.have(requests)
	if err != nil {
		return nil, err
	}
	for _, last := range damage {
		if err := t.exec(`DELETE FROM request_blocks WHERE last = ?`, last); err != nil {
			return nil, err
		}
	}
	var out []vault.Request
	ended := []string{} // an intent that came up again is not open for that
	for _, r := range requests {
		switch {
		case !has[r.ID]:
			out = append(out, r)
		case r.Status != nil:
			ended = append(ended, r.ID)
		}
	}
	return out, t.exec(`DELETE FROM request_blocks WHERE open IN (SELECT value FROM json_each(?))`, asJSON{ended})
}

// have says which requests the log has as ended, and which of its blocks cannot
// be read. Of what is open, putBlock knows.
func (t *tx) have(requests []vault.Request) (has map[string]bool, damage []int64, err error) {
	var seqs, times span
	wanted := make(map[string]bool, len(requests))
	for _, r := range requests {
		wanted[r.ID] = true
		if r.Status != nil {
			seqs.add(int64(r.Seq))
		} else {
			times.add(ms(r.Time))
		}
	}
	rows, err := t.sql.QueryContext(t.ctx, selectPacked+`
		WHERE ? AND low_seq <= ? AND top_seq >= ? OR ? AND oldest <= ? AND newest >= ?`,
		seqs.any, seqs.most, seqs.least, times.any, times.most, times.least)
	if err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	defer rows.Close()
	has = make(map[string]bool)
	for rows.Next() {
		var b block
		if err := scanPacked(rows, &b); err != nil {
			return nil, nil, fmt.Errorf("store: %w", err)
		}
		there, err := b.unpack()
		if err != nil {
			damage = append(damage, b.last)
			continue
		}
		for _, r := range there {
			if r.Status != nil && wanted[r.ID] {
				has[r.ID] = true
			}
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	return has, damage, nil
}

// A span is from the least to the most of some numbers.
type span struct {
	least, most int64
	any         bool
}

func (s *span) add(n int64) {
	if !s.any {
		*s = span{n, n, true}
	}
	s.least, s.most = min(s.least, n), max(s.most, n)
}

const selectPacked = `SELECT last, classes, entries FROM request_blocks `

func scanPacked(rows *sql.Rows, b *block) error { return rows.Scan(&b.last, &b.classes, &b.entries) }

// ForgetRequests deletes rows that began before a time, and returns how many. It
// ends behind the block with which they are limit or more.
func (db *DB) ForgetRequests(ctx context.Context, before time.Time, limit int) (n int64, err error) {
	_, err = db.write(ctx, func(t *tx) error {
		n, err = t.forgetRequests(ms(before), int64(limit))
		return err
	})
	return n, err
}

func (t *tx) forgetRequests(before, limit int64) (n int64, err error) {
	old, err := list(t, func(rows *sql.Rows, b *block) error { return rows.Scan(&b.last, &b.requests, &b.newest) },
		`SELECT last, requests, newest FROM request_blocks WHERE oldest < ? ORDER BY last LIMIT ?`, before, limit)
	if err != nil {
		return 0, err
	}
	for _, b := range old {
		if n >= limit {
			break
		}
		gone := int64(b.requests)
		if b.newest >= before {
			if gone, err = t.forgetPart(b.last, before); err != nil {
				return 0, err
			}
		} else if err := t.exec(`DELETE FROM request_blocks WHERE last = ?`, b.last); err != nil {
			return 0, err
		}
		n += gone
	}
	return n, nil
}

// forgetPart takes out of a block what began before a time, and leaves the rest.
func (t *tx) forgetPart(last, before int64) (int64, error) {
	b, err := first(t, scanPacked, selectPacked+`WHERE last = ?`, last)
	if err != nil {
		return 0, err
	}
	requests, err := b.unpack()
	if err != nil {
		return 0, damaged(last, err)
	}
	kept := slices.DeleteFunc(slices.Clone(requests), func(r vault.Request) bool { return ms(r.Time) < before })
	err = t.exec(`DELETE FROM request_blocks WHERE last = ?`, last)
	return int64(len(requests) - len(kept)), errors.Join(err, t.putBlock(kept))
}
