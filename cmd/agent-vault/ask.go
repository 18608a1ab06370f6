package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// A confirmation is asked for before something is destroyed or replaced.
type confirmation struct{ yes bool }

func (f *confirmation) add(c *cobra.Command) {
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask whether it is meant")
}

var errNotConfirmed = errors.New("nothing was changed")

// ask returns nil when the person wants it, or has said so before.
func (f *confirmation) ask(std stdio, format string, args ...any) error {
	if f.yes {
		return nil
	}
	if !onTerminal(std) {
		return &usageError{hint(errors.New("there is no terminal to ask on whether this is meant"), "say --yes if it is")}
	}
	answer, err := askLine(std, plain(fmt.Sprintf(format, args...))+" [y/N] ")
	switch strings.ToLower(answer) {
	case "y", "yes":
		return err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return errNotConfirmed
}

// maxAnswer bounds a line that a person types.
const maxAnswer = 8 << 10 // bytes

// askLine reads a line that a person types, and sees. Ctrl-D is io.EOF.
func askLine(std stdio, prompt string) (string, error) {
	fmt.Fprint(std.err, prompt)
	line, err := unlessSignalled(func() ([]byte, error) { return typedLine(std.in) })
	if err != nil {
		fmt.Fprintln(std.err) // the cursor stands behind the prompt
		return "", err
	}
	return strings.TrimSpace(string(line)), nil
}

// typedLine reads to the end of a line and no further: what comes behind it
// answers another question.
func typedLine(r io.Reader) (line []byte, err error) {
	for b := make([]byte, 1); ; {
		n, err := r.Read(b)
		switch {
		case n == 1 && b[0] == '\n', errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case n == 1:
			line = append(line, b[0])
		case err != nil:
			return nil, err
		}
		if len(line) > maxAnswer {
			return nil, errors.New("the answer is too long")
		}
	}
}

// askHidden reads a value without echo. An empty one is "".
func askHidden(std stdio, prompt string) (string, error) {
	b, err := askPassword(std, prompt)
	if err != nil || len(b) == 0 {
		return "", err
	}
	return checkedValue(string(b), nil)
}

// onTerminal reports whether there is a person who can be asked.
func onTerminal(std stdio) bool { return term.IsTerminal(int(std.in.Fd())) }
