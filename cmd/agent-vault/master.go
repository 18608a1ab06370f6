package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"agentvault/store"
	"agentvault/vault/seal"
)

const masterPasswordVariable = "AGENT_VAULT_MASTER_PASSWORD"

const maxPasswordLine = 4096 // bytes

// unlock opens the store's data key, or makes one at first start.
func unlock(ctx context.Context, db *store.DB, dataDir string, fromStdin bool, io stdio) (seal.Key, error) {
	ring, exists, err := db.Keyring(ctx)
	if err != nil {
		return seal.Key{}, err
	}
	master, err := findMaster(ring, exists, dataDir, fromStdin, io)
	if err != nil {
		return seal.Key{}, err
	}
	if !exists {
		ring, key, err := seal.NewKeyring(master)
		if err != nil {
			return seal.Key{}, err
		}
		return key, db.PutKeyring(ctx, ring)
	}
	key, err := ring.Unlock(master)
	if errors.Is(err, seal.ErrWrongMaster) {
		if ring.KDF == seal.KDFPassword {
			return seal.Key{}, errors.New("the master password is wrong")
		}
		return seal.Key{}, fmt.Errorf("%s does not belong to this data folder; restore the file that does", keyFile(dataDir))
	}
	return key, err
}

func keyFile(dataDir string) string { return filepath.Join(dataDir, "master.key") }

// findMaster asks, in this order: the environment, standard input, the
// terminal, the key file.
func findMaster(ring seal.Keyring, exists bool, dataDir string, fromStdin bool, io stdio) (seal.Master, error) {
	password, err := masterPassword(ring, exists, fromStdin, io)
	if err != nil {
		return nil, err
	}
	if len(password) > 0 {
		if exists && ring.KDF != seal.KDFPassword {
			return nil, fmt.Errorf("this data folder is unlocked by its key file, %s, not by a password; start without %s", keyFile(dataDir), masterPasswordVariable)
		}
		return seal.Password(password), nil
	}
	if exists && ring.KDF == seal.KDFPassword {
		return nil, fmt.Errorf("this data folder needs its master password; set %s, or use --password-stdin", masterPasswordVariable)
	}
	path := keyFile(dataDir)
	if _, err := os.Lstat(path); exists && errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the key file %s is missing; without it nothing in this data folder can be opened; restore it from a backup", path)
	}
	key, created, err := seal.LoadOrCreateKeyFile(path)
	if err != nil {
		return nil, err
	}
	if created {
		fmt.Fprintf(io.err, "agent-vault: no master password given: made a key file, %s. Whoever can read it can open every credential; back it up apart from the data.\n", path)
	} else {
		fmt.Fprintf(io.err, "agent-vault: unlocking with the key file %s\n", path)
	}
	return seal.KeyFile(key), nil
}

func masterPassword(ring seal.Keyring, exists, fromStdin bool, io stdio) ([]byte, error) {
	if p := os.Getenv(masterPasswordVariable); p != "" {
		return []byte(p), os.Unsetenv(masterPasswordVariable) // children need not have it
	}
	if fromStdin {
		p, err := passwordLine(io.in)
		if err == nil && len(p) == 0 {
			err = errors.New("no master password on standard input")
		}
		return p, err
	}
	if !term.IsTerminal(int(io.in.Fd())) || exists && ring.KDF == seal.KDFKeyFile {
		return nil, nil
	}
	if exists {
		return askPassword(io, "Master password: ")
	}
	p, err := askPassword(io, "New master password (empty: keep the key in a file): ")
	if err != nil || len(p) == 0 {
		return nil, err
	}
	again, err := askPassword(io, "Once more: ")
	if err == nil && !bytes.Equal(p, again) {
		err = errors.New("the two passwords differ")
	}
	return p, err
}

// askPassword reads a password without echo.
func askPassword(io stdio, prompt string) ([]byte, error) {
	fmt.Fprint(io.err, prompt)
	p, err := term.ReadPassword(int(io.in.Fd()))
	fmt.Fprintln(io.err)
	return p, err
}

// passwordLine reads the first line of standard input.
func passwordLine(r io.Reader) ([]byte, error) {
	line, err := bufio.NewReaderSize(io.LimitReader(r, maxPasswordLine+1), maxPasswordLine+1).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(line) > maxPasswordLine {
		return nil, errors.New("the password on standard input is too long")
	}
	return bytes.TrimRight(line, "\r\n"), nil
}
