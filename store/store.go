// Package store answers one question: what was stored? Rows in, rows out, in
// transactions. It sees ciphertext and digests only, and knows no rule by
// which anything changes; those are package vault's.
//
// SQLite is the embedded default. Every change that decisions depend on grows
// one integer, the revision, in its own transaction, so that a node can tell
// by one number whether it is up to date.
//
// The zero DB is not usable; [Open] returns one.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"agentvault/vault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options say where the store is.
type Options struct {
	// Path of the database file. Its folder is made if it is missing. Required.
	Path string

	// Log receives operational messages. Nil discards them.
	Log *slog.Logger
}

// A DB is an open store. It is safe for use by many goroutines.
type DB struct {
	writer  *sql.DB // one connection: SQLite has one writer
	readers *sql.DB
	views   *sql.DB // of what decisions depend on: no other question makes them wait
	browse  *sql.DB // long questions, a few at a time
	keeper  *sql.DB // tidies up, and makes nobody wait
	log     *slog.Logger

	changed bell        // somebody has committed
	logged  bell        // the request log has grown
	untidy  atomic.Bool // what was removed still stands in the write-ahead log
	tidied  bell        // it no longer does

	stop  context.CancelFunc
	loops sync.WaitGroup // watch and tidy
}

// Open opens or creates the database, and migrates it. It refuses symlinks, and
// files and folders that others can read.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := prepareFiles(o.Path); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	path, err := filepath.Abs(o.Path) // a relative one would be the authority of a file: URL
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db := &DB{log: o.Log}
	for _, pool := range []struct {
		db     **sql.DB
		most   int // connections
		txlock string
		wait   time.Duration // for locks
	}{
		{&db.writer, 1, "immediate", 5 * time.Second},
		{&db.readers, 8, "deferred", 5 * time.Second},
		{&db.views, 3, "deferred", 5 * time.Second}, // one of them watches
		{&db.browse, 2, "deferred", 5 * time.Second},
		{&db.keeper, 1, "deferred", 20 * time.Millisecond},
	} {
		if *pool.db, err = sql.Open("sqlite", dsn(path, pool.txlock, pool.wait)); err != nil {
			return nil, fmt.Errorf("store: %w", err)
		}
		(*pool.db).SetMaxOpenConns(pool.most)
	}
	if err := db.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", diskFault(err)), db.closePools())
	}
	loops, stop := context.WithCancel(context.Background())
	db.stop = stop
	db.loops.Go(func() { db.watch(loops) })
	db.loops.Go(func() { db.tidy(loops) })
	return db, nil
}

func (db *DB) closePools() error {
	var errs []error
	for _, pool := range []*sql.DB{db.keeper, db.browse, db.views, db.readers, db.writer} {
		errs = append(errs, pool.Close())
	}
	return errors.Join(errs...)
}

// dsn spells the connection's settings. synchronous=FULL: what was committed
// survives power loss too.
func dsn(path, txlock string, wait time.Duration) string {
	q := url.Values{"_txlock": {txlock}, "_pragma": {
		fmt.Sprintf("busy_timeout(%d)", wait.Milliseconds()), "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
		"secure_delete(ON)", "temp_store(MEMORY)", "trusted_schema(OFF)",
	}}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

// prepareFiles makes folder (0700) and file (0600) and checks what is there.
func prepareFiles(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := checkMode(dir, fs.ModeDir); err != nil {
		return err
	}
	// O_EXCL follows no link. Nor is a file opened that is there: closing it would
	// drop the locks that another handle of this process has on it.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return checkFiles(path)
}

// checkFiles checks the file and those beside it, to which SQLite gives the same
// mode.
func checkFiles(path string) error {
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		if err := checkMode(name, 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// An openError is a file or folder that others may read or change.
type openError struct {
	path string
	mode fs.FileMode
}

func (e *openError) Error() string {
	return fmt.Sprintf("%s is open to others (mode %04o)", e.path, e.mode.Perm())
}

// Hint returns what to do about it.
func (e *openError) Hint() string { return "run: chmod go= " + e.path }

func checkMode(path string, kind fs.FileMode) error {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link; name the real place", path)
	case info.Mode().Type() != kind:
		return fmt.Errorf("%s is not what it should be (%s)", path, info.Mode())
	case info.Mode().Perm()&0o077 != 0:
		return &openError{path, info.Mode()}
	}
	return nil
}

func (db *DB) migrate(ctx context.Context) error {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db.writer, sub, goose.WithGoMigrations(carryRequests()), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	sources := p.ListSources() // by version
	newest := sources[len(sources)-1].Version
	var there int64 // 0 of an empty file: the provider's own question would write to it
	if err := db.writer.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version`).Scan(&there); err == nil && there > newest {
		return fmt.Errorf("its data was written by a newer version of Agent Vault (schema %d; this one knows %d); start that one, or restore a backup", there, newest)
	}
	// Another process that migrates now makes this one fail, and is done then.
	for range 3 {
		if _, err = p.Up(ctx); err == nil {
			return nil
		}
		if diskFault(err) != err {
			break
		}
	}
	return fmt.Errorf("migrations: %w", err)
}

// Schema is the number of the store's newest migration.
func (db *DB) Schema(ctx context.Context) (version int64, err error) {
	err = db.readers.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version`).Scan(&version)
	return version, diskFault(err)
}

// Close closes the store.
func (db *DB) Close() error {
	db.stop()
	db.loops.Wait()
	return db.closePools()
}

// Read runs f on one consistent state.
func (db *DB) Read(ctx context.Context, f func(vault.Tx) error) error {
	return read(ctx, db.readers, func(t *tx) error { return f(t) })
}

// browseTime bounds a long question.
const browseTime = 20 * time.Second

// Browse is Read for questions that may take long. Only a few are answered at a
// time, and none takes for ever, so that they keep nothing else from its turn.
func (db *DB) Browse(ctx context.Context, f func(vault.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, browseTime)
	defer cancel()
	return read(ctx, db.browse, func(t *tx) error { return f(t) })
}

func read(ctx context.Context, pool *sql.DB, f func(*tx) error) error {
	sqlTx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return diskFault(fmt.Errorf("store: %w", err))
	}
	defer sqlTx.Rollback() // nothing was written
	return diskFault(f(&tx{ctx: ctx, sql: sqlTx}))
}

// Write runs f in a transaction, and commits unless f returns an error. It
// returns the revision that is current afterwards. What it returned without an
// error is on disk.
func (db *DB) Write(ctx context.Context, f func(vault.Tx) error) (revision int64, err error) {
	t, err := db.write(ctx, func(t *tx) error { return f(t) })
	if err != nil {
		return 0, err
	}
	if t.removed {
		db.untidy.Store(true)
		db.truncate(context.WithoutCancel(ctx)) // whoever asked may have gone
	}
	db.changed.ring()
	return t.revision, nil
}

func (db *DB) write(ctx context.Context, f func(*tx) error) (_ *tx, err error) {
	defer func() { err = diskFault(err) }()
	sqlTx, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	defer sqlTx.Rollback() // a no-op after Commit
	t := &tx{ctx: ctx, sql: sqlTx}
	if err := f(t); err != nil {
		return nil, err
	}
	if t.decides {
		if err := t.exec(`UPDATE revision SET value = value + 1`); err != nil {
			return nil, err
		}
	}
	if err := sqlTx.QueryRowContext(ctx, `SELECT value FROM revision`).Scan(&t.revision); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := sqlTx.Commit(); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return t, nil
}

// truncate moves what was deleted or replaced out of the write-ahead log, where
// it would still stand. A reader that is in the way is not waited for; tidy
// tries again.
func (db *DB) truncate(ctx context.Context) {
	db.untidy.Store(false)      // before it looks: what is removed meanwhile says so again
	var busy, frames, moved int // SQLite reports a reader in the way in a row, not as an error
	err := db.keeper.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &moved)
	if err != nil || busy != 0 {
		db.untidy.Store(true)
		return
	}
	db.tidied.ring()
}

// tidy truncates until it has worked.
func (db *DB) tidy(ctx context.Context) {
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for tries := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if !db.untidy.Load() {
			tries = 0
			continue
		}
		db.truncate(ctx)
		if tries++; tries%240 == 0 && db.untidy.Load() {
			db.log.Warn("what was removed still stands in the write-ahead log: readers are in the way", "minutes", tries/240)
		}
	}
}

// Revision returns the current revision.
func (db *DB) Revision(ctx context.Context) (int64, error) {
	var n int64
	if err := db.views.QueryRowContext(ctx, `SELECT value FROM revision`).Scan(&n); err != nil {
		return 0, fmt.Errorf("store: %w", err)
	}
	return n, nil
}

// Changes returns a channel that gets a signal after each commit of this
// process, and within 250 ms after another process's. Signals fold into one.
// The function ends them.
func (db *DB) Changes() (<-chan struct{}, func()) { return db.changed.subscribe() }

// watch looks for commits of other processes: PRAGMA data_version changes on a
// connection when another one has committed.
func (db *DB) watch(ctx context.Context) {
	conn, err := db.views.Conn(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return // closed before it began
		}
		db.log.Error("changes of other processes go unnoticed", "err", err)
		return
	}
	defer conn.Close()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	last := int64(-1)
	for {
		var version int64
		if err := conn.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&version); err == nil && version != last {
			db.changed.ring() // the first time too: who listens already may have read what was before
			last = version
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
