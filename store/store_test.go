package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// childEnv makes the test binary the child of TestKilled: its value is the path
// of the database and the child's number.
const childEnv = "AGENTVAULT_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if arg := os.Getenv(childEnv); arg != "" {
		path, number, _ := strings.Cut(arg, "|")
		log.Fatal(writeForever(path, number))
	}
	os.Exit(m.Run())
}

// writeForever acknowledges each vault on stdout once Write has returned.
func writeForever(path, number string) error {
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{Path: path})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		id := fmt.Sprintf("v-%s-%d", number, i)
		if _, err := db.Write(ctx, func(tx vault.Tx) error { return tx.PutVault(numbered(id)) }); err != nil {
			return err
		}
		if _, err := fmt.Println(id); err != nil {
			return err
		}
	}
}

func numbered(id string) vault.Vault {
	v := emptyVault(id, "name-"+id)
	v.Credentials = map[string]vault.Credential{
		"KEY":   {Key: "KEY", Version: 1, Box: []byte("box of " + id), CreatedAt: epoch, UpdatedAt: epoch},
		"OTHER": {Key: "OTHER", Version: 1, Box: make([]byte, 6000), CreatedAt: epoch, UpdatedAt: epoch},
	}
	return v
}

func TestKilled(t *testing.T) {
	path := dbPath(t)
	var acknowledged []string
	for number := range 4 {
		ids := killAfter(t, path, number, 5+7*number)
		acknowledged = append(acknowledged, ids...)

		db := openAt(t, path)
		s := snapshotOf(t, db)
		stored := make(map[string]vault.Vault, len(s.Vaults))
		for _, v := range s.Vaults {
			stored[v.ID] = v
			diff(t, "a stored vault is whole", numbered(v.ID), v)
		}
		for _, id := range acknowledged {
			if _, ok := stored[id]; !ok {
				t.Errorf("kill %d: %s was acknowledged and is not there", number, id)
			}
		}
		if int64(len(s.Vaults)) != s.Revision-1 {
			t.Errorf("kill %d: %d vaults at revision %d, want one per revision after 1", number, len(s.Vaults), s.Revision)
		}
		// At most the last write of each child was stored and not acknowledged.
		if extra := len(s.Vaults) - len(acknowledged); extra > number+1 {
			t.Errorf("kill %d: %d vaults that nobody acknowledged, want at most %d", number, extra, number+1)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter runs a child, kills it after some acknowledgements, and returns all
// that it gave.
func killAfter(t *testing.T, path string, number, after int) []string {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", childEnv, path, number))
	var complaints strings.Builder
	child.Stderr = &complaints
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	var ids []string
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // what was cut off is no acknowledgement
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
		ids = append(ids, strings.TrimSpace(line))
		if len(ids) == after {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := child.Wait(); err == nil || len(ids) < after {
		t.Fatalf("the child ended by itself after %d writes (%v): %s", len(ids), err, complaints.String())
	}
	return ids
}

func TestAFileIsMigratedOnceAndOpensAgain(t *testing.T) {
	path := dbPath(t)
	want := sampleVault(t, "id-1", "main-vault")
	first := openAt(t, path)
	if got := revisionOf(t, first); got != 1 {
		t.Errorf("the revision of an empty store is %d, want 1", got)
	}
	put(t, first, func(tx vault.Tx) error { return tx.PutVault(want) })
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		again := openAt(t, path)
		diff(t, "after opening again", vault.Snapshot{Revision: 2, Vaults: []vault.Vault{want}}, snapshotOf(t, again))
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFileThatIsNoDatabaseIsRefused(t *testing.T) {
	path := dbPath(t)
	if err := os.Mkdir(strings.TrimSuffix(path, "/vault.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("no database at all\n", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	if db, err := store.Open(t.Context(), store.Options{Path: path}); err == nil {
		t.Fatalf("Open took it; Close: %v", db.Close())
	}
}

func TestTwoProcessesMayOpenAnEmptyFileAtOnce(t *testing.T) {
	path := dbPath(t)
	const openers = 3
	errs := make(chan error, openers)
	for range openers {
		go func() {
			db, err := store.Open(t.Context(), store.Options{Path: path})
			if err == nil {
				err = db.Close()
			}
			errs <- err
		}()
	}
	for range openers {
		if err := <-errs; err != nil {
			t.Errorf("Open beside another: %v", err)
		}
	}
}

func TestChangesOfThisProcessAreSignalled(t *testing.T) {
	db := openAt(t, dbPath(t))
	ch, stop := db.Changes()
	other, stopOther := db.Changes()
	defer stopOther()
	for i := range 3 {
		put(t, db, func(tx vault.Tx) error { return tx.PutVault(emptyVault(fmt.Sprint(i), fmt.Sprintf("vault-%d", i))) })
		for name, c := range map[string]<-chan struct{}{"first": ch, "second": other} {
			select { // no waiting: the signal comes before Write returns
			case <-c:
			default:
				t.Errorf("write %d: the %s listener has no signal", i, name)
			}
		}
	}
	stop()
	stop() // twice is harmless
	select {
	case <-ch:
	default:
	}
	put(t, db, func(tx vault.Tx) error { return tx.DeleteVault("0") })
	select {
	case <-ch:
		t.Error("a listener that has stopped got a signal")
	default:
	}
}

func TestChangesOfAnotherHandleAreSignalled(t *testing.T) {
	path := dbPath(t)
	here, there := openAt(t, path), openAt(t, path)
	ch, stop := here.Changes()
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range 3 {
		want, err := there.Write(ctx, func(tx vault.Tx) error {
			return tx.PutVault(emptyVault(fmt.Sprint(i), fmt.Sprintf("vault-%d", i)))
		})
		if err != nil {
			t.Fatal(err)
		}
		for seen := int64(0); seen < want; seen = revisionOf(t, here) {
			select {
			case <-ch:
			case <-ctx.Done():
				t.Fatalf("no signal of revision %d", want)
			}
		}
	}
}

// TestAChangeRightAfterOpenIsSignalled: a listener that reads the state and then
// waits must learn of what another process commits in between, however late
// the store begins to look.
func TestAChangeRightAfterOpenIsSignalled(t *testing.T) {
	path := dbPath(t)
	there := openAt(t, path)
	for i := range 5 {
		here, err := store.Open(t.Context(), store.Options{Path: path})
		if err != nil {
			t.Fatal(err)
		}
		ch, stop := here.Changes()
		put(t, there, func(tx vault.Tx) error { return tx.PutVault(emptyVault(fmt.Sprint(i), fmt.Sprintf("vault-%d", i))) })
		select {
		case <-ch:
		case <-time.After(20 * time.Second):
			t.Errorf("open %d: no signal", i)
		}
		stop()
		if err := here.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAuthority(t *testing.T) {
	db := openAt(t, dbPath(t))
	read(t, db, func(tx vault.Tx) error {
		if _, err := tx.Authority(); !errors.Is(err, vault.ErrNotFound) {
			t.Errorf("of an empty store: %v", err)
		}
		return nil
	})
	first := vault.Root{Certificate: []byte("cert"), KeyBox: []byte("box"), Version: 1}
	second := vault.Root{Certificate: []byte("cert 2"), KeyBox: []byte("box 2"), Version: 2}
	for _, want := range []vault.Authority{
		{Root: first},
		{Root: first, Next: &vault.NextRoot{Root: second, Cross: []byte("cross"), StartedAt: epoch, EndsAt: far}},
		{Root: second},
	} {
		put(t, db, func(tx vault.Tx) error { return tx.PutAuthority(want) })
		read(t, db, func(tx vault.Tx) error {
			got, err := tx.Authority()
			diff(t, "the authority", want, got)
			return err
		})
	}
}

func TestTheKeyringIsStoredOnce(t *testing.T) {
	db := openAt(t, dbPath(t))
	ctx := t.Context()
	if _, ok, err := db.Keyring(ctx); ok || err != nil {
		t.Errorf("Keyring of an empty store: ok %t, %v", ok, err)
	}
	want, _, err := seal.NewKeyring(seal.KeyFile([]byte(strings.Repeat("k", seal.KeySize))))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.PutKeyring(ctx, want); err != nil {
		t.Fatal(err)
	}
	got, ok, err := db.Keyring(ctx)
	if !ok || err != nil {
		t.Errorf("Keyring: ok %t, %v", ok, err)
	}
	diff(t, "Keyring", want, got)
	if db.PutKeyring(ctx, want) == nil {
		t.Error("a second keyring was stored")
	}
	if got := revisionOf(t, db); got != 1 {
		t.Errorf("the revision is %d, want 1: nothing decides on it", got)
	}
}

func TestACancelledWriteLeavesNothing(t *testing.T) {
	db := openAt(t, dbPath(t))
	ctx, cancel := context.WithCancel(t.Context())
	_, err := db.Write(ctx, func(tx vault.Tx) error {
		err := tx.PutVault(emptyVault("id-1", "one-vault"))
		cancel()
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Write: %v, want context.Canceled", err)
	}
	diff(t, "afterwards", vault.Snapshot{Revision: 1}, snapshotOf(t, db))
}

func BenchmarkSnapshot(b *testing.B) {
	db := openAt(b, dbPath(b))
	sample := sampleVault(b, "x", "xxx")
	put(b, db, func(tx vault.Tx) error {
		for i := range 10 {
			v := sampleVault(b, fmt.Sprintf("id-%d", i), fmt.Sprintf("vault-%d", i))
			v.Services = nil
			for j := range 100 {
				s := sample.Services[j%3]
				s.Name = fmt.Sprintf("service-%d", j)
				v.Services = append(v.Services, s)
			}
			if err := tx.PutVault(v); err != nil {
				return err
			}
			for j := range 100 {
				if err := tx.PutSession(sampleSession(fmt.Sprintf("s-%d-%d", i, j), v.ID, epoch, far)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	b.ReportAllocs()
	for b.Loop() {
		s, err := db.Snapshot(b.Context())
		if err != nil || len(s.Vaults) != 10 || len(s.Sessions) != 1000 {
			b.Fatalf("%d vaults, %d sessions, %v", len(s.Vaults), len(s.Sessions), err)
		}
	}
}
