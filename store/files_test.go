package store_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// dbPath is a path in a folder that is not there yet.
func dbPath(tb testing.TB) string { return filepath.Join(tb.TempDir(), "data", "vault.db") }

func openAt(tb testing.TB, path string) *store.DB {
	tb.Helper()
	db, err := store.Open(tb.Context(), store.Options{Path: path})
	if err != nil {
		tb.Fatalf("Open(%s): %v", path, err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return db
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	old := syscall.Umask(0) // the most permissive one
	defer syscall.Umask(old)
	path := dbPath(t)
	db := openAt(t, path)
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-1", "one-vault")) })
	for name, want := range map[string]fs.FileMode{
		filepath.Dir(path): fs.ModeDir | 0o700, path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600,
	} {
		info, err := os.Lstat(name)
		if err != nil {
			t.Errorf("%v", err)
		} else if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", name, info.Mode(), want)
		}
	}
}

func TestOpenRefusesWhatOthersCouldReach(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir, path string) // dir is there with 0700, path is not
		names   string                               // what the error names, below dir; "" is dir
		says    string
	}{
		{"folder for the group", func(t *testing.T, dir, _ string) { chmod(t, dir, 0o750) }, "", "mode 0750"},
		{"folder for all", func(t *testing.T, dir, _ string) { chmod(t, dir, 0o701) }, "", "mode 0701"},
		{"file for the group", func(t *testing.T, _, path string) { touch(t, path, 0o640) }, "vault.db", "mode 0640"},
		{"file for all", func(t *testing.T, _, path string) { touch(t, path, 0o604) }, "vault.db", "mode 0604"},
		{"log for all", func(t *testing.T, _, path string) { touch(t, path+"-wal", 0o644) }, "vault.db-wal", "mode 0644"},
		{"index for all", func(t *testing.T, _, path string) { touch(t, path+"-shm", 0o644) }, "vault.db-shm", "mode 0644"},
		{"file is a link", func(t *testing.T, dir, path string) {
			touch(t, filepath.Join(dir, "real"), 0o600)
			symlink(t, filepath.Join(dir, "real"), path)
		}, "vault.db", "symbolic link"},
		{"file is a link to nothing", func(t *testing.T, dir, path string) { symlink(t, filepath.Join(dir, "real"), path) }, "vault.db", "symbolic link"},
		{"log is a link", func(t *testing.T, dir, path string) {
			touch(t, filepath.Join(dir, "real"), 0o600)
			symlink(t, filepath.Join(dir, "real"), path+"-wal")
		}, "vault.db-wal", "symbolic link"},
		{"folder is a link", func(t *testing.T, dir, _ string) {
			if err := os.Rename(dir, dir+"-real"); err != nil {
				t.Fatal(err)
			}
			symlink(t, dir+"-real", dir)
		}, "", "symbolic link"},
		{"file is a folder", func(t *testing.T, _, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "vault.db", "is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := dbPath(t)
			dir := filepath.Dir(path)
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			tt.prepare(t, dir, path)
			db, err := store.Open(t.Context(), store.Options{Path: path})
			if err == nil {
				t.Fatalf("Open took it; Close: %v", db.Close())
			}
			for _, want := range []string{filepath.Join(dir, tt.names), tt.says} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error %q does not say %q", err, want)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "real")); err == nil && tt.name == "file is a link to nothing" {
				t.Error("Open made a file behind the link that it refused")
			}
		})
	}
}

func TestPathsOfAnySpelling(t *testing.T) {
	for _, name := range []string{"plain.db", "with space.db", "what?.db", "50%20.db", "a#b.db", "ünï.db", "a&mode=memory.db", "file:x.db"} {
		path := filepath.Join(t.TempDir(), "data", name)
		put(t, openAt(t, path), func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-1", "one-vault")) })
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%q: nothing was stored there: %v", name, err)
		}
	}
}

func TestARelativePathIsFromTheWorkingFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, openAt(t, "data/vault.db"), func(tx vault.Tx) error { return tx.PutVault(emptyVault("id-1", "one-vault")) })
	if info, err := os.Stat("data/vault.db"); err != nil || info.Size() == 0 {
		t.Errorf("nothing was stored there: %v", err)
	}
}

// TestNothingInClear writes through the commands and then looks at the very
// bytes of every file.
func TestNothingInClear(t *testing.T) {
	const password, value, second, third = "correct horse battery", "sk_live_known-value-0123456789", "sk_live_other-value-9876543210", "sk_live_third-value-5432109876"
	path := dbPath(t)
	db, err := store.Open(t.Context(), store.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	key := seal.NewKey()
	reg, err := vault.New(vault.Options{Store: db, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	signedIn, err := reg.Register(ctx, "ada@example.com", []byte(password), "a test")
	if err != nil {
		t.Fatal(err)
	}
	owner, err := reg.Authenticate(ctx, signedIn.Token)
	if err != nil {
		t.Fatal(err)
	}
	session, err := reg.MintSession(ctx, owner, vault.NewSession{Vault: vault.DefaultVault, Label: "a label", Lease: true})
	if err != nil {
		t.Fatal(err)
	}
	grants := map[string]vault.Grant{vault.DefaultVault: {Role: vault.VaultProxy}}
	agent, _, err := reg.CreateAgent(ctx, owner, vault.NewAgent{Name: "robot", Vaults: grants})
	if err != nil {
		t.Fatal(err)
	}
	invite, _, err := reg.InviteAgent(ctx, owner, vault.NewAgent{Name: "invited", Vaults: grants}, 0)
	if err != nil {
		t.Fatal(err)
	}
	join, _, err := reg.InviteUser(ctx, owner, "bob@example.com", vault.RoleMember, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	proposed, err := reg.Propose(ctx, owner, vault.DefaultVault, vault.NewProposal{
		Credentials: []vault.CredentialSlot{{Action: vault.ActionSet, Key: "PROPOSED"}},
		Values:      map[string]seal.Plaintext{"PROPOSED": seal.NewPlaintext([]byte(third))},
	})
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"password": password, "value": value, "second value": second, "login": signedIn.Token, "session": session.Token,
		"agent": agent, "lease": session.LeaseToken, "invite": invite, "user's invite": join, "link": proposed.LinkToken, "proposed value": third}
	clean := func(when string) {
		t.Helper()
		for what, secret := range secrets {
			// Half of it would do too.
			for _, part := range []string{secret, secret[len(secret)/2:]} {
				if name := fileWith(t, path, []byte(part)); name != "" {
					t.Errorf("%s: the %s stands in clear in %s", when, what, name)
				}
			}
		}
	}
	set := func(v string) vault.Credential {
		t.Helper()
		if _, err := reg.SetCredentials(ctx, owner, vault.DefaultVault, map[string]seal.Plaintext{"KNOWN": seal.NewPlaintext([]byte(v))}, false); err != nil {
			t.Fatal(err)
		}
		got, err := reg.Vault(ctx, owner, vault.DefaultVault)
		if err != nil {
			t.Fatal(err)
		}
		return got.Credentials["KNOWN"]
	}

	first := set(value)
	clean("set")
	for what, present := range map[string][]byte{"email": []byte("ada@example.com"), "box": first.Box} {
		if fileWith(t, path, present) == "" {
			t.Fatalf("the %s is found in no file: then this test shows nothing", what)
		}
	}
	replacement := set(second)
	clean("replaced")
	if fileWith(t, path, first.Box) == "" {
		t.Error("the replaced box is gone: a rotation could not be undone")
	}
	for range 10 {
		set(value)
	}
	if name := fileWith(t, path, first.Box); name != "" {
		t.Errorf("the box that was replaced eleven values ago still stands in %s", name)
	}
	if fileWith(t, path, replacement.Box) == "" {
		t.Error("the box that was replaced ten values ago is gone")
	}
	box := proposed.Credentials[0].Box
	if fileWith(t, path, box) == "" {
		t.Fatal("the box of a proposed value is found in no file: then this test shows nothing")
	}
	if _, err := reg.Reject(ctx, owner, vault.DefaultVault, proposed.Number, ""); err != nil {
		t.Fatal(err)
	}
	clean("rejected")
	if name := fileWith(t, path, box); name != "" {
		t.Errorf("the rejected value's box still stands in %s", name)
	}
	if err := reg.DeleteCredential(ctx, owner, vault.DefaultVault, "KNOWN"); err != nil {
		t.Fatal(err)
	}
	clean("deleted")
	if name := fileWith(t, path, replacement.Box); name != "" {
		t.Errorf("the deleted box still stands in %s", name)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	clean("closed")
}

// TestDeletedBoxesLeaveTheLog does it with so many boxes of so many sizes that
// pages split, overflow and merge. It looks at the write-ahead log only: when
// SQLite rebuilds a page of the database itself, secure_delete can leave a piece
// of a (sealed) box in the page's free space until that is used again.
func TestDeletedBoxesLeaveTheLog(t *testing.T) {
	const seed = 42
	random := rand.NewChaCha8([32]byte{seed})
	path := dbPath(t)
	db := openAt(t, path)
	v, kept := emptyVault("id-1", "one-vault"), emptyVault("id-2", "two-vault")
	v.Credentials, kept.Credentials = make(map[string]vault.Credential), make(map[string]vault.Credential)
	box := func(size int) []byte {
		b := make([]byte, size)
		_, _ = random.Read(b) // never fails
		return b
	}
	var old [][]byte
	for i := range 120 {
		key := fmt.Sprintf("KEY_%d", i)
		v.Credentials[key] = vault.Credential{Key: key, Version: 1, Box: box(40 + i*i%7000), CreatedAt: epoch, UpdatedAt: epoch}
		kept.Credentials[key] = vault.Credential{Key: key, Version: 1, Box: box(200), CreatedAt: epoch, UpdatedAt: epoch}
		old = append(old, v.Credentials[key].Box)
	}
	put(t, db, func(tx vault.Tx) error {
		if err := tx.PutVault(v); err != nil {
			return err
		}
		return tx.PutVault(kept)
	})
	for i := range 120 {
		key := fmt.Sprintf("KEY_%d", i)
		c := v.Credentials[key]
		if c.Version++; i%3 == 0 {
			delete(v.Credentials, key)
			continue
		}
		c.Box = box(30 + i*31%3000)
		v.Credentials[key] = c
	}
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(v) })
	gone := func(when string, boxes [][]byte) {
		t.Helper()
		wal, err := os.ReadFile(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range boxes {
			// Long boxes are split over pages: look for pieces from begin to end.
			for at := 0; at+16 <= len(b); at += 512 {
				if bytes.Contains(wal, b[at:at+16]) {
					t.Errorf("%s (seed %d): byte %d of box %d (%d bytes) still stands in the log", when, seed, at, i, len(b))
				}
			}
		}
	}
	gone("replaced", old)
	for _, c := range v.Credentials {
		old = append(old, c.Box)
	}
	put(t, db, func(tx vault.Tx) error { return tx.DeleteVault("id-1") })
	gone("deleted", old)
	read(t, db, func(tx vault.Tx) error {
		got, err := tx.VaultByID("id-2")
		diff(t, "the other vault", kept, got)
		return err
	})
}

// A reader that still looks at what was deleted must not hide that it is there.
func TestAReaderDoesNotKeepDeletedBoxesForGood(t *testing.T) {
	path := dbPath(t)
	db := openAt(t, path)
	v := sampleVault(t, "id-1", "one-vault")
	box := bytes.Repeat([]byte("recognize me! "), 20)
	v.Credentials["ALPHA"] = vault.Credential{Key: "ALPHA", Version: 1, Box: box, CreatedAt: epoch, UpdatedAt: epoch}
	put(t, db, func(tx vault.Tx) error { return tx.PutVault(v) })
	inside, leave, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- db.Read(t.Context(), func(tx vault.Tx) error {
			_, err := tx.ListVaults()
			close(inside)
			<-leave
			return err
		})
	}()
	<-inside
	tidied, stop := db.Tidied()
	defer stop()
	put(t, db, func(tx vault.Tx) error { return tx.DeleteVault("id-1") })
	close(leave)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	select {
	case <-tidied:
	case <-time.After(time.Minute):
		t.Error("nobody tidied up")
	}
	if name := fileWith(t, path, box[:64]); name != "" {
		t.Errorf("the deleted box still stands in %s", name)
	}
}

// fileWith names a file beside the database that holds the bytes, or is "".
func fileWith(t *testing.T, path string, what []byte) string {
	t.Helper()
	for name, content := range contents(t, path) {
		if bytes.Contains(content, what) {
			return name
		}
	}
	return ""
}

func contents(t *testing.T, path string) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	err := filepath.WalkDir(filepath.Dir(path), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files[name], err = os.ReadFile(name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func chmod(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

func touch(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, nil, mode); err != nil {
		t.Fatal(err)
	}
	chmod(t, name, mode) // whatever the umask is
}

func symlink(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}
