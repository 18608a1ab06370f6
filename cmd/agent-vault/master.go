package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/term"

	"agentvault/store"
	"agentvault/vault/seal"
)

const (
	masterPasswordVariable     = "AGENT_VAULT_MASTER_PASSWORD"
	masterPasswordFileVariable = "AGENT_VAULT_MASTER_PASSWORD_FILE"
)

const maxPasswordLine = 4096 // bytes

// unlock opens the store's data key, or makes one at first start.
func unlock(ctx context.Context, db *store.DB, dataDir string, ask masterSource, op operator) (seal.Key, error) {
	ring, exists, err := db.Keyring(ctx)
	if err != nil {
		return seal.Key{}, err
	}
	if exists {
		return unlockKeyring(ring, dataDir, ask, op)
	}
	master, err := findMaster(ring, false, dataDir, ask, op)
	if err != nil {
		return seal.Key{}, err
	}
	defer master.Clear()
	ring, key, err := seal.NewKeyring(master)
	if err != nil {
		return seal.Key{}, err
	}
	return key, db.PutKeyring(ctx, ring)
}

func unlockKeyring(ring seal.Keyring, dataDir string, ask masterSource, op operator) (seal.Key, error) {
	master, err := findMaster(ring, true, dataDir, ask, op)
	if err != nil {
		return seal.Key{}, err
	}
	defer master.Clear()
	key, err := ring.Unlock(master)
	if errors.Is(err, seal.ErrWrongMaster) {
		if ring.KDF == seal.KDFPassword {
			return seal.Key{}, errors.New("the master password is wrong")
		}
		return seal.Key{}, hint(fmt.Errorf("%s does not belong to this data folder", keyFile(dataDir)), "restore the file that does from a backup")
	}
	return key, err
}

func keyFile(dataDir string) string { return filepath.Join(dataDir, "master.key") }

// findMaster asks, in this order: the environment, standard input, the
// terminal, the key file.
func findMaster(ring seal.Keyring, exists bool, dataDir string, ask masterSource, op operator) (seal.Master, error) {
	password, err := ask.password(ring, exists)
	if err != nil {
		return nil, err
	}
	if len(password) > 0 {
		if exists && ring.KDF != seal.KDFPassword {
			return nil, hint(fmt.Errorf("this data folder is unlocked by its key file, %s, not by a password", keyFile(dataDir)), "start without %s and --password-stdin", masterPasswordVariable)
		}
		return seal.Password(password), nil
	}
	if exists && ring.KDF == seal.KDFPassword {
		return nil, hint(errors.New("this data folder needs its master password"), "set %s, or use --password-stdin", masterPasswordVariable)
	}
	path := keyFile(dataDir)
	if _, err := os.Lstat(path); exists && errors.Is(err, os.ErrNotExist) {
		return nil, hint(fmt.Errorf("the key file %s is missing; without it nothing in this data folder can be opened", path), "restore it from a backup")
	}
	key, created, err := seal.LoadOrCreateKeyFile(path)
	if err != nil {
		return nil, err
	}
	if created {
		op.tell("no master password given: made a key file, " + path + ". Whoever can read it can open every credential; back it up apart from the data.")
	} else {
		op.tell("no master password: unlocking with the key file " + path + ". Whoever can read it can open every credential.")
	}
	return seal.KeyFile(key), nil
}

// A masterSource is where a master password may come from, in this order. The
// zero masterSource has none: the key file is used.
type masterSource struct {
	given []byte // from the environment
	line  bool   // the first line of std.in
	ask   bool   // a person at the terminal of std.in
	std   stdio
}

// password returns "" when there is none.
func (m masterSource) password(ring seal.Keyring, exists bool) ([]byte, error) {
	switch {
	case len(m.given) > 0:
		return m.given, nil
	case m.line:
		p, err := pipedPassword(m.std, "Master password: ")
		if err == nil && len(p) == 0 {
			err = errors.New("no master password on standard input")
		}
		return p, err
	case !m.ask || exists && ring.KDF == seal.KDFKeyFile:
		return nil, nil
	case exists:
		return askPassword(m.std, "Master password: ")
	}
	p, err := askPassword(m.std, "New master password (empty: keep the key in a file): ")
	if err != nil || len(p) == 0 {
		return nil, err
	}
	again, err := askPassword(m.std, "Once more: ")
	if err == nil && !bytes.Equal(p, again) {
		err = errors.New("the two passwords differ")
	}
	return p, err
}

// operatorsMaster is what a person or a unit file gives the server. The
// variable is removed: children of this process need not have it. (What the
// kernel put on the stack stays; hideMemory keeps others from it.)
func operatorsMaster(std stdio, fromStdin bool) (masterSource, error) {
	given, set := os.LookupEnv(masterPasswordVariable)
	path, inFile := os.LookupEnv(masterPasswordFileVariable)
	for name, empty := range map[string]bool{masterPasswordVariable: set && given == "", masterPasswordFileVariable: inFile && path == ""} {
		if empty {
			return masterSource{}, hint(fmt.Errorf("%s is set and empty", name), "give it a value, or unset it to keep the key in a file")
		}
	}
	switch {
	case set && inFile:
		return masterSource{}, hint(fmt.Errorf("%s and %s are both set", masterPasswordVariable, masterPasswordFileVariable), "unset one of them")
	case inFile:
		var err error
		if given, err = masterFromFile(path); err != nil {
			return masterSource{}, fmt.Errorf("%s: %w", masterPasswordFileVariable, err)
		}
	}
	m := masterSource{given: []byte(given), line: fromStdin, ask: onTerminal(std), std: std}
	return m, os.Unsetenv(masterPasswordVariable)
}

// masterFromFile reads a file of one line, which others than this user and a
// group cannot read.
func masterFromFile(path string) (string, error) {
	if err := checkPasswordFile(path); err != nil {
		return "", err
	}
	password, err := valueFrom("file:" + path)
	if err == nil && strings.Contains(password, "\n") {
		err = fmt.Errorf("%s has more than one line", path)
	}
	return password, err
}

// askPassword reads a password without echo. A signal gives the terminal its
// echo back and ends the command.
func askPassword(std stdio, prompt string) ([]byte, error) {
	fd := int(std.in.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	fmt.Fprint(std.err, prompt)
	defer fmt.Fprintln(std.err)
	p, err := unlessSignalled(func() ([]byte, error) { return term.ReadPassword(fd) })
	var status *exitStatus
	switch {
	case errors.As(err, &status):
		return nil, errors.Join(err, term.Restore(fd, state))
	case errors.Is(err, io.EOF): // Ctrl-D
		err = errors.New("nothing was given")
	}
	return p, err
}

// unlessSignalled reads, and gives up when a signal comes: nothing can stop the
// read itself, which ends with the process.
func unlessSignalled(read func() ([]byte, error)) ([]byte, error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	type answer struct {
		password []byte
		err      error
	}
	done := make(chan answer, 1)
	go func() {
		p, err := read()
		done <- answer{p, err}
	}()
	select {
	case a := <-done:
		return a.password, a.err
	case s := <-signals:
		return nil, statusOf(s)
	}
}

// pipedPassword is what --password-stdin reads. A person who types it there does
// not see it.
func pipedPassword(std stdio, prompt string) ([]byte, error) {
	if onTerminal(std) {
		return askPassword(std, prompt)
	}
	return unlessSignalled(func() ([]byte, error) { return passwordLine(std.in) })
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
