package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"agentvault/vault"
)

// A tx is one transaction, with what it has done so far.
type tx struct {
	ctx      context.Context // of the call that the transaction lives in
	sql      *sql.Tx
	decides  bool  // something changed that decisions depend on
	removed  bool  // something was deleted or replaced that should not linger
	revision int64 // after the commit

	putsBlock *sql.Stmt // prepared once it is needed; the transaction's end closes it
}

func (t *tx) exec(query string, args ...any) error {
	if _, err := t.sql.ExecContext(t.ctx, query, args...); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// execOne is exec for statements that must hit a row.
func (t *tx) execOne(query string, args ...any) error {
	res, err := t.sql.ExecContext(t.ctx, query, args...)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, vault.ErrNotFound)
	}
	return nil
}

// one scans the only row of a query.
func (t *tx) one(query string, args []any, into ...any) error {
	err := t.sql.QueryRowContext(t.ctx, query, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return vault.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// list scans every row of a query.
func list[T any](t *tx, scan func(*sql.Rows, *T) error, query string, args ...any) ([]T, error) {
	rows, err := t.sql.QueryContext(t.ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer rows.Close()
	all := []T{}
	for rows.Next() {
		var v T
		if err := scan(rows, &v); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return all, nil
}

// first is list for queries that find one row or none.
func first[T any](t *tx, scan func(*sql.Rows, *T) error, query string, args ...any) (T, error) {
	all, err := list(t, scan, query, args...)
	if err == nil && len(all) == 0 {
		err = vault.ErrNotFound
	}
	if err != nil {
		var none T
		return none, err
	}
	return all[0], nil
}

// where is a condition that grows.
type where struct {
	parts []string
	args  []any
}

func (w *where) and(part string, args ...any) {
	w.parts = append(w.parts, part)
	w.args = append(w.args, args...)
}

func (w *where) String() string {
	if w.parts == nil {
		return ""
	}
	return " WHERE " + strings.Join(w.parts, " AND ")
}

// millis is a time as a column: it scans, and ms spells it.
type millis struct{ t *time.Time }

func (m millis) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a time is stored as %T", v)
	}
	*m.t = time.UnixMilli(n).UTC()
	return nil
}

func ms(t time.Time) int64 { return t.UnixMilli() }

// millisOrNone is a time as a column in which 0 is none.
type millisOrNone struct{ t *time.Time }

func (m millisOrNone) Scan(v any) error {
	if v == int64(0) {
		*m.t = time.Time{}
		return nil
	}
	return millis(m).Scan(v)
}

func msOrNone(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return ms(t)
}

// seconds is a duration as a column.
type seconds struct{ d *time.Duration }

func (s seconds) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("a duration is stored as %T", v)
	}
	*s.d = time.Duration(n) * time.Second
	return nil
}

// asJSON is a column of JSON: a value to store, or a pointer to scan into,
// which NULL leaves as it is.
type asJSON struct{ v any }

func (j asJSON) Value() (driver.Value, error) {
	b, err := json.Marshal(j.v)
	return string(b), err
}

func (j asJSON) Scan(v any) error {
	if v == nil {
		return nil
	}
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("JSON is stored as %T", v)
	}
	return json.Unmarshal([]byte(s), j.v)
}

// digest is a SHA-256 as a column.
type digest struct{ d *[32]byte }

func (d digest) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(d.d) {
		return errors.New("a digest is stored with another length")
	}
	*d.d = [32]byte(b)
	return nil
}

// digestOrNone is a SHA-256 as a column in which NULL is none.
type digestOrNone struct{ d *[32]byte }

func (d digestOrNone) Scan(v any) error {
	if v == nil {
		*d.d = [32]byte{}
		return nil
	}
	return digest(d).Scan(v)
}
