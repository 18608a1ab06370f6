package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"agentvault/vault"
)

// A database that may not grow is SQLite's own full disk.
func TestAFullDiskIsARefusal(t *testing.T) {
	db, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "data", "vault.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	pages := func(most int) {
		t.Helper()
		var now int
		if err := db.writer.QueryRowContext(t.Context(), `PRAGMA page_count`).Scan(&now); err != nil {
			t.Fatal(err)
		}
		// The connection is the pool's only one.
		if _, err := db.writer.ExecContext(t.Context(), fmt.Sprintf(`PRAGMA max_page_count=%d`, now+most)); err != nil {
			t.Fatal(err)
		}
	}
	write := func() error {
		_, err := db.Write(t.Context(), func(tx vault.Tx) error {
			return tx.PutVault(vault.Vault{ID: "id-1", Name: strings.Repeat("long", 32<<10), UnmatchedHosts: vault.UnmatchedDeny})
		})
		return err
	}
	pages(0)
	for range 2 { // the transaction that failed does not stand in the way
		var refused *vault.Error
		if err := write(); !errors.As(err, &refused) || refused.Code != vault.CodeUnavailable || !strings.Contains(refused.Message, "disk is full") {
			t.Errorf("%v", err)
		}
	}
	pages(1000)
	if err := write(); err != nil {
		t.Errorf("when there is room again: %v", err)
	}
}
