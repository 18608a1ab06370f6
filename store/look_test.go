package store_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// folder is what stands in the files of a folder, by name.
func folder(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	all := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		all[e.Name()] = string(raw)
	}
	return all
}

// Whoever looks sees what was committed, and leaves every file as it was:
// beside a server, after it, of a copy with a write-ahead log, and where nothing
// can be written.
func TestLookChangesNothing(t *testing.T) {
	ring := seal.Keyring{KDF: seal.KDFKeyFile, Salt: []byte("0123456789abcdef"), WrappedKey: []byte("wrapped")}
	tail := vault.LogTail{Segment: 2, Offset: 70, Seq: 9, MAC: "00ff"}
	look := func(what, path string, same bool) {
		t.Helper()
		was := folder(t, filepath.Dir(path))
		s, err := store.Look(t.Context(), path)
		if err != nil || s.Keyring == nil || s.Tail == nil || *s.Tail != tail || string(s.Keyring.WrappedKey) != "wrapped" {
			t.Errorf("%s: %+v %v", what, s, err)
		}
		if same && !maps.Equal(was, folder(t, filepath.Dir(path))) {
			t.Errorf("%s: the folder is not what it was", what)
		}
	}
	path := dbPath(t)
	db, err := store.Open(t.Context(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(db.PutKeyring(t.Context(), ring), db.AppendRequests(t.Context(), vault.RequestBatch{Tail: tail}))
	if err != nil {
		t.Fatal(err)
	}
	look("beside a server", path, false)
	copied := func(names ...string) string {
		dir := filepath.Join(t.TempDir(), "data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, raw := range folder(t, filepath.Dir(path)) {
			for _, n := range names {
				if n == name {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(raw), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		return filepath.Join(dir, filepath.Base(path))
	}
	look("as a killed server leaves it", copied("vault.db", "vault.db-wal", "vault.db-shm"), true)
	look("without the index of the write-ahead log", copied("vault.db", "vault.db-wal"), false)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	look("after a server", path, true)
	if _, err := os.Lstat(path + "-wal"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a write-ahead log: %v", err)
	}
	for name, mode := range map[string]fs.FileMode{path: 0o400, filepath.Dir(path): 0o500} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(name, 0o700) }) // so that it can be removed
	}
	look("where nothing can be written", path, true)
}

// A store of the first version has no table of where the log ended, and gets
// none by looking.
func TestLookAtAnOlderStore(t *testing.T) {
	path := dbPath(t)
	openFirst(t, path, func(exec func(string, ...any)) {
		exec(`INSERT INTO keyring (id, kdf, salt, time, memory_kib, threads, wrapped_key) VALUES (1, 'keyfile', x'00', 0, 0, 0, x'01')`)
	})
	was := folder(t, filepath.Dir(path))
	s, err := store.Look(context.Background(), path)
	if err != nil || s.Keyring == nil || s.Tail != nil {
		t.Errorf("%+v %v", s, err)
	}
	if !maps.Equal(was, folder(t, filepath.Dir(path))) {
		t.Error("the folder is not what it was")
	}
	if _, err := store.Look(t.Context(), filepath.Join(filepath.Dir(path), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no store: %v", err)
	}
}
