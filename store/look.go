package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"agentvault/vault"
	"agentvault/vault/seal"
)

// A Sight is what [Look] has seen of a store.
type Sight struct {
	Keyring *seal.Keyring  // nil: no server has been started on it yet
	Tail    *vault.LogTail // nil: the store is older than this table
}

// Look reads what verifies an audit log, of a store of whatever version, and
// changes nothing: neither schema nor files. A server may run on it meanwhile.
// It refuses what [Open] refuses.
func Look(ctx context.Context, path string) (Sight, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return Sight{}, fmt.Errorf("store: %w", err)
	}
	if err := errors.Join(checkMode(filepath.Dir(path), fs.ModeDir), checkFiles(path)); err != nil {
		return Sight{}, fmt.Errorf("store: %w", err)
	}
	for range 10 {
		s, err := lookOnce(ctx, path)
		if !errors.Is(err, errMoved) {
			return s, diskFault(err)
		}
	}
	return Sight{}, errors.New("store: a server is starting or stopping; try again")
}

// errMoved is that somebody wrote to a file that was read as if nobody did.
var errMoved = errors.New("store: it was written to meanwhile")

// What SQLite is told of a file that is only read
// (https://sqlite.org/wal.html#read_only_databases). By itself it would leave a
// write-ahead log and its index beside it.
var (
	still   = url.Values{"immutable": {"1"}}                    // there is no write-ahead log, or an empty one
	indexed = url.Values{"mode": {"ro"}, "readonly_shm": {"1"}} // there is one, and its index
	alone   = url.Values{"mode": {"ro"}}                        // there is one without its index, which is made
)

func lookOnce(ctx context.Context, path string) (Sight, error) {
	before, err := shapeOf(path)
	if err != nil {
		return Sight{}, fmt.Errorf("store: %w", err)
	}
	if before.wal >= 0 {
		s, err := lookAs(ctx, path, indexed)
		if _, none := os.Lstat(path + "-shm"); err == nil || !errors.Is(none, fs.ErrNotExist) {
			return s, err
		}
	}
	if before.wal > 0 {
		return lookAs(ctx, path, alone)
	}
	s, err := lookAs(ctx, path, still)
	if after, moved := shapeOf(path); moved != nil || after != before {
		return Sight{}, errMoved
	}
	return s, err
}

// A shape tells whether somebody has written.
type shape struct {
	size, wal int64 // bytes; wal is -1 without a write-ahead log
	changed   time.Time
}

func shapeOf(path string) (shape, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return shape{}, err
	}
	s := shape{info.Size(), -1, info.ModTime()}
	if wal, err := os.Lstat(path + "-wal"); err == nil {
		s.wal = wal.Size()
	} else if !errors.Is(err, fs.ErrNotExist) {
		return shape{}, err
	}
	return s, nil
}

func lookAs(ctx context.Context, path string, how url.Values) (s Sight, err error) {
	q := url.Values{"_pragma": {"busy_timeout(5000)", "temp_store(MEMORY)", "trusted_schema(OFF)", "query_only(ON)"}}
	for name, value := range how {
		q[name] = value
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return s, fmt.Errorf("store: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	return s, read(ctx, db, func(t *tx) error {
		var rings, tails bool
		if err := t.one(`SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'keyring'), EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'log_tail')`, nil,
			&rings, &tails); err != nil {
			return err
		}
		if rings {
			r, err := t.keyring()
			if err == nil {
				s.Keyring = &r
			} else if !errors.Is(err, vault.ErrNotFound) {
				return err
			}
		}
		if !tails {
			return nil
		}
		tail, err := t.logTail()
		s.Tail = &tail
		return err
	})
}
