package seal

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// LoadOrCreateKeyFile reads the key file at path, KeySize bytes, or creates it
// (mode 0600, random, synced together with its folder, which is created with
// mode 0700 if it is not there).
//
// A symlink, anything else that is not a regular file, a wrong size and a file
// that others may read or write are refused: then nothing is changed.
func LoadOrCreateKeyFile(path string) (key []byte, created bool, err error) {
	key, err = loadKeyFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, wrapKeyFile(path, err)
	}
	if err := createKeyFile(path); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return nil, false, wrapKeyFile(path, err)
		}
		// Another process was faster: its key counts.
		key, err = loadKeyFile(path)
		return key, false, wrapKeyFile(path, err)
	}
	key, err = loadKeyFile(path)
	return key, err == nil, wrapKeyFile(path, err)
}

func wrapKeyFile(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("key file %s: %w", path, err)
}

func loadKeyFile(path string) ([]byte, error) {
	// O_NONBLOCK: a FIFO must not hang the start. It means nothing to a file.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, syscall.ELOOP) {
			return nil, errors.New("is a symlink")
		}
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a regular file")
	case info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("has mode %04o, which lets others at it; want 0600", info.Mode().Perm())
	case info.Size() != KeySize:
		return nil, fmt.Errorf("has %d bytes, want %d", info.Size(), KeySize)
	}
	key := make([]byte, KeySize)
	if _, err := io.ReadFull(f, key); err != nil {
		return nil, err
	}
	return key, nil
}

// createKeyFile writes a whole file beside path and links it there: a crash
// leaves either no key or a whole one, and link, unlike rename, never replaces
// a key that another process has just created.
func createKeyFile(path string) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(f.Name())) }()
	key := make([]byte, KeySize)
	defer clear(key)
	_, _ = rand.Read(key) // never fails: crypto/rand ends the process instead
	_, err = f.Write(key)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
