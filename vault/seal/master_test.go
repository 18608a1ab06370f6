package seal_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/vault/seal"
)

func TestKeyring(t *testing.T) {
	password := func() seal.Master { return seal.Password([]byte("correct horse")) }
	keyFile := func() seal.Master { return seal.KeyFile(bytes.Repeat([]byte{9}, seal.KeySize)) }
	for _, tt := range []struct {
		name   string
		master func() seal.Master
		kdf    string
		wrong  []seal.Master
	}{
		{"password", password, "argon2id", []seal.Master{seal.Password([]byte("correct horsf")), keyFile()}},
		{"key file", keyFile, "keyfile", []seal.Master{seal.KeyFile(bytes.Repeat([]byte{8}, seal.KeySize)), password()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ring, key, err := seal.NewKeyring(tt.master())
			if err != nil {
				t.Fatal(err)
			}
			if ring.KDF != tt.kdf {
				t.Errorf("KDF = %q, want %q", ring.KDF, tt.kdf)
			}
			again, err := ring.Unlock(tt.master())
			if err != nil {
				t.Fatalf("Unlock: %v", err)
			}
			if !bytes.Equal(again.ForAudit(), key.ForAudit()) {
				t.Errorf("Unlock gave another key than NewKeyring")
			}
			for i, m := range tt.wrong {
				if _, err := ring.Unlock(m); !errors.Is(err, seal.ErrWrongMaster) {
					t.Errorf("Unlock with wrong master %d: %v, want ErrWrongMaster", i, err)
				}
			}
			ring.WrappedKey[len(ring.WrappedKey)-1] ^= 1
			if _, err := ring.Unlock(tt.master()); err == nil {
				t.Errorf("Unlock took a changed wrapped key")
			}
		})
	}
}

// A row that was tampered with can neither exhaust the machine nor weaken the
// derivation.
func TestDamagedKeyring(t *testing.T) {
	good := seal.Keyring{KDF: "argon2id", Salt: make([]byte, 16), Time: 3, MemoryKiB: 64 << 10, Threads: 4, WrappedKey: make([]byte, 61)}
	for name, change := range map[string]func(*seal.Keyring){
		"no time":     func(r *seal.Keyring) { r.Time = 0 },
		"much time":   func(r *seal.Keyring) { r.Time = 1 << 30 },
		"no memory":   func(r *seal.Keyring) { r.MemoryKiB = 8 },
		"much memory": func(r *seal.Keyring) { r.MemoryKiB = 1 << 31 },
		"no threads":  func(r *seal.Keyring) { r.Threads = 0 },
		"no salt":     func(r *seal.Keyring) { r.Salt = nil },
		"unknown kdf": func(r *seal.Keyring) { r.KDF = "none" },
	} {
		r := good
		change(&r)
		if _, err := r.Unlock(seal.Password([]byte("pw"))); err == nil {
			t.Errorf("%s: Unlock succeeded", name)
		}
	}
	if _, _, err := seal.NewKeyring(seal.Password(nil)); err == nil {
		t.Errorf("NewKeyring took an empty password")
	}
	if _, _, err := seal.NewKeyring(seal.KeyFile(make([]byte, 5))); err == nil {
		t.Errorf("NewKeyring took a key of 5 bytes")
	}
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "master.key")
	key, created, err := seal.LoadOrCreateKeyFile(path)
	if err != nil || !created || len(key) != seal.KeySize {
		t.Fatalf("first: %d bytes, created %t, %v", len(key), created, err)
	}
	again, created, err := seal.LoadOrCreateKeyFile(path)
	if err != nil || created || !bytes.Equal(key, again) {
		t.Errorf("second: same key %t, created %t, %v", bytes.Equal(key, again), created, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want the key alone", entries, err)
	}
}

func TestKeyFileRefusals(t *testing.T) {
	write := func(n int, mode os.FileMode) func(string) error {
		return func(path string) error {
			return errors.Join(os.WriteFile(path, make([]byte, n), 0o600), os.Chmod(path, mode))
		}
	}
	for _, tt := range []struct {
		name    string
		prepare func(path string) error
		want    string
	}{
		{"symlink", func(p string) error { return errors.Join(write(32, 0o600)(p+".real"), os.Symlink(p+".real", p)) }, "is a symlink"},
		{"dangling symlink", func(p string) error { return os.Symlink(p+".real", p) }, "is a symlink"},
		{"short", write(31, 0o600), "has 31 bytes, want 32"},
		{"long", write(33, 0o600), "has 33 bytes, want 32"},
		{"empty", write(0, 0o600), "has 0 bytes, want 32"},
		{"group may read", write(32, 0o640), "has mode 0640, which lets others at it; want 0600"},
		{"all may read", write(32, 0o604), "has mode 0604, which lets others at it; want 0600"},
		{"folder", func(p string) error { return os.Mkdir(p, 0o700) }, "is not a regular file"},
		{"fifo", func(p string) error { return syscall.Mkfifo(p, 0o600) }, "is not a regular file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "master.key")
			if err := tt.prepare(path); err != nil {
				t.Fatal(err)
			}
			key, created, err := seal.LoadOrCreateKeyFile(path)
			want := "key file " + path + ": " + tt.want
			if err == nil || key != nil || created || err.Error() != want {
				t.Errorf("got %d bytes, created %t, error %v; want %s", len(key), created, err, want)
			}
		})
	}
}

func TestKeyFileIsCreatedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	var keys [8][]byte
	var made [8]bool
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], made[i], err = seal.LoadOrCreateKeyFile(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	creators := 0
	for i := range keys {
		if made[i] {
			creators++
		}
		if !bytes.Equal(keys[i], keys[0]) {
			t.Errorf("caller %d got another key", i)
		}
	}
	if creators != 1 {
		t.Errorf("%d callers created the file, want 1", creators)
	}
}

func TestPassword(t *testing.T) {
	hash, err := seal.HashPassword([]byte("hunter22"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "$argon2id$v=19$m=65536,t=3,p=4$"
	if diff := cmp.Diff(want, hash[:min(len(want), len(hash))]); diff != "" {
		t.Errorf("PHC string (-want +got):\n%s", diff)
	}
	for pw, want := range map[string]bool{"hunter22": true, "hunter23": false, "": false} {
		if got, err := seal.VerifyPassword(hash, []byte(pw)); got != want || err != nil {
			t.Errorf("VerifyPassword(%q) = %t, %v; want %t", pw, got, err, want)
		}
	}
}

func TestVerifyAgainstOtherArgon2(t *testing.T) {
	// From the reference implementation: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1
	const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	if ok, err := seal.VerifyPassword(reference, []byte("password")); !ok || err != nil {
		t.Errorf("the reference hash is not verified: %t, %v", ok, err)
	}
}

var malformedPHC = []string{
	"", "$", "plain", "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ", "$argon2i$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=16$m=65536,t=3,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=4294967295,t=3,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=65536,t=0,p=4$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=65536,t=3,p=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
	"$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$", "$argon2id$v=19$m=65536,t=3,p=4$$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
}

func TestMalformedHashesMatchNothing(t *testing.T) {
	for _, s := range malformedPHC {
		if ok, err := seal.VerifyPassword(s, nil); ok || err != nil {
			t.Errorf("VerifyPassword(%q) = %t, %v; want false", s, ok, err)
		}
	}
}

// Two hash, eight wait, the next is told so at once.
func TestPasswordQueueIsBounded(t *testing.T) {
	const callers = 24
	var busy, done int
	var mu sync.Mutex
	var all sync.WaitGroup
	start := make(chan struct{})
	for range callers {
		all.Go(func() {
			<-start
			_, err := seal.HashPassword([]byte(strings.Repeat("x", 10)))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, seal.ErrBusy):
				busy++
			case err == nil:
				done++
			default:
				t.Error(err)
			}
		})
	}
	close(start)
	all.Wait()
	if done+busy != callers || done < 10 {
		t.Errorf("%d hashed, %d busy of %d; want at least 10 hashed", done, busy, callers)
	}
	if _, err := seal.HashPassword([]byte("after")); err != nil {
		t.Errorf("the queue did not empty: %v", err)
	}
}
