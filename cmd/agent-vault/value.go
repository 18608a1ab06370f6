package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"agentvault/policy/inject"
)

// maxValue bounds a credential's value, as package vault does.
const maxValue = 64 << 10 // bytes

// readValue reads a credential's value, never from the command line, which
// other users of the machine can see. The spec is env:NAME, file:PATH, - for all
// of standard input, or "" to ask the person with a prompt. One line break at
// the end of a file or of standard input is left out.
func readValue(std stdio, spec, prompt string) (string, error) {
	terminal := onTerminal(std)
	switch {
	case spec == "" && !terminal:
		return "", hint(errors.New("there is no terminal to ask for the value on"), "say where it is: env:NAME, file:PATH, or - for standard input")
	case spec == "" || spec == "-" && terminal: // what a person types there is seen otherwise
		b, err := askPassword(std, prompt)
		if err == nil && len(b) >= maxTyped() {
			err = hint(errors.New("the value is longer than what a terminal takes as one line"), "take it from a file: file:PATH")
		}
		return checkedValue(string(b), err)
	case spec == "-":
		b, err := unlessSignalled(func() ([]byte, error) { return boundedValue(std.in) })
		return checkedValue(withoutBreak(b), err)
	}
	return valueFrom(spec)
}

// maxTyped is how many bytes of a line a terminal keeps. What goes beyond is
// dropped without a word: N_TTY_BUF_SIZE of Linux, MAX_CANON elsewhere.
func maxTyped() int {
	if runtime.GOOS == "linux" {
		return 4095
	}
	return 1023
}

// valueFrom reads a value from env:NAME or file:PATH. Its errors do not repeat
// another spec, which may be a value.
func valueFrom(spec string) (string, error) {
	kind, name, _ := strings.Cut(spec, ":")
	switch {
	case kind == "env" && name != "":
		v, ok := os.LookupEnv(name)
		if !ok || v == "" {
			return "", hint(fmt.Errorf("the variable %s is not set", name), "export it first, or take the value from a file: file:PATH")
		}
		return checkedValue(v, nil)
	case kind == "file" && name != "":
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := boundedValue(f)
		return checkedValue(withoutBreak(b), err)
	}
	return "", &usageError{hint(errors.New("a value is never written on the command line"), "say where it is: env:NAME, file:PATH, or - for standard input")}
}

// boundedValue reads to the end, or so far that the value is seen to be too
// long: its own bytes, its line break, and one more.
func boundedValue(r io.Reader) ([]byte, error) {
	return io.ReadAll(io.LimitReader(r, maxValue+int64(len("\r\n"))+1))
}

// withoutBreak leaves out what editors and echo put at the end.
func withoutBreak(b []byte) string {
	return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
}

// checkedValue refuses what no value is. The rest is the server's to judge.
func checkedValue(v string, err error) (string, error) {
	switch {
	case err != nil:
		return "", err
	case v == "":
		return "", errors.New("the value is empty")
	case len(v) > maxValue:
		return "", fmt.Errorf("the value is longer than %d KiB", maxValue>>10)
	case !utf8.ValidString(v): // JSON would put U+FFFD in the place of what is not
		return "", errors.New("the value is not UTF-8")
	}
	return v, nil
}

// valueFlags say where the values of several credentials are: --from KEY=env:NAME.
type valueFlags struct{ specs []string }

func (f *valueFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.specs, "from", nil, "where a value is: KEY=env:NAME, KEY=file:PATH or KEY=-, repeatable")
}

// read fetches the values, of none but these keys.
func (f *valueFlags) read(std stdio, keys []string) (map[string]string, error) {
	specs := make(map[string]string)
	stdin := ""
	for _, s := range f.specs {
		key, spec, ok := strings.Cut(s, "=")
		switch {
		case !ok || !inject.ValidKey(key) || spec == "": // what stands there may be a value
			return nil, &usageError{hint(errors.New("--from says of which credential and where its value is"), "as in: --from API_KEY=env:API_KEY")}
		case !slices.Contains(keys, key):
			return nil, &usageError{hint(fmt.Errorf("--from: no value of %s is asked for", key), "%s", askedFor(keys))}
		case specs[key] != "":
			return nil, &usageError{fmt.Errorf("--from: %s stands there twice", key)}
		case spec == "-" && stdin != "":
			return nil, &usageError{fmt.Errorf("--from: only one value is standard input, not both %s and %s", stdin, key)}
		case spec == "-":
			stdin = key
		}
		specs[key] = spec
	}
	values := make(map[string]string)
	for _, key := range slices.Sorted(maps.Keys(specs)) {
		value, err := readValue(std, specs[key], "Value of "+key+": ")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		values[key] = value
	}
	return values, nil
}

func askedFor(keys []string) string {
	if len(keys) == 0 {
		return "leave it out"
	}
	return "it is one of: " + strings.Join(keys, ", ")
}
