package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"agentvault/broker/scrub"
	"agentvault/vault"
)

// withheld is the operator's own, and no child's.
var withheld = []string{masterPasswordVariable, masterPasswordFileVariable, loginTokenVariable}

// operatorsSecrets are the values that no child gets under any name: the master
// password, and logins, those in the environment and those that are saved.
func operatorsSecrets(environ []string) (secrets []string) {
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); slices.Contains(withheld, name) && name != masterPasswordFileVariable && value != "" {
			secrets = append(secrets, value)
		}
	}
	// A file that cannot be read has told whoever needs a login already.
	logins, _ := readLogins()
	for _, l := range logins {
		secrets = append(secrets, l.Token)
	}
	return secrets
}

// A withholding says which of the operator's variables a child does not get.
type withholding struct {
	secrets     []string // see operatorsSecrets
	credentials []string // keys that the vault has: their values are what an agent must never read
	keep        []string // passed on although they are like a credential or a token
	own         string   // the child's token
}

// apply parts the operator's variables. It says of those that are not passed on
// why, but for those that everybody expects to be missing.
func (w withholding) apply(environ []string) (vars, reasons map[string]string) {
	vars, reasons = make(map[string]string, len(environ)+64), make(map[string]string)
	var long [][]byte
	for _, s := range w.secrets {
		if len(s) >= scrub.MinLength {
			long = append(long, []byte(s))
		}
	}
	known := scrub.Compile(long)
	silent := slices.Concat(withheld, passwordVariables(environ))
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || slices.Contains(silent, name) {
			continue
		}
		if reason := w.reason(known, name, value); reason != "" {
			reasons[name] = reason
			continue
		}
		vars[name] = value
	}
	return vars, reasons
}

// reason is "" for what a child gets. A master password can be a word: where
// programs need a variable, such as PATH, it must be all of it.
func (w withholding) reason(known *scrub.Set, name, value string) string {
	switch {
	case slices.Contains(w.secrets, value), !needed(name) && known.Holds([]byte(value)):
		return "it holds a login or the master password"
	case slices.Contains(w.keep, name):
		return ""
	case holdsOthersToken(value, w.own):
		return "it holds a token of the vault"
	case !needed(name) && slices.Contains(w.credentials, name):
		return "the vault has a credential of that name, which --dummies gives a dummy"
	}
	return ""
}

// passwordVariables are those that the server's configuration takes passwords
// from by name.
func passwordVariables(environ []string) (names []string) {
	for _, entry := range environ {
		if name, ok := strings.CutPrefix(entry, "AGENT_VAULT_EGRESS_PASSWORD=env:"); ok {
			names = append(names, name)
		}
	}
	return names
}

// Bounds of a token's length, with its prefix.
const minToken, maxToken = 50, 64

// holdsOthersToken reports whether a whole token stands in a text, of whatever
// kind, other than the child's.
func holdsOthersToken(text, own string) bool {
	for {
		at := strings.Index(text, "av_")
		if at < 0 {
			return false
		}
		text = text[at:]
		for n := minToken; n <= min(maxToken, len(text)); n++ {
			if _, ok := vault.CheckToken(text[:n]); ok && text[:n] != own {
				return true
			}
		}
		text = text[1:]
	}
}

// checkOpen refuses descriptors that --keep-fd cannot be for.
func checkOpen(fds []int) error {
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); fd < 0 || err != nil {
			return fmt.Errorf("--keep-fd: %d is not open", fd)
		}
	}
	return nil
}

// checkKept refuses names that --keep-env cannot be for.
func checkKept(names []string) error {
	for _, name := range names {
		if slices.Contains(withheld, name) {
			return fmt.Errorf("--keep-env: %s is never passed on", name)
		}
		if _, ok := os.LookupEnv(name); !ok {
			return fmt.Errorf("--keep-env: %s is not set", name)
		}
	}
	return nil
}
