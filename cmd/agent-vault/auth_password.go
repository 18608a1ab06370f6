package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"agentvault/api"
)

func passwordCommand() *cobra.Command {
	var fromStdin bool
	var o output
	c := &cobra.Command{
		Use:   "password",
		Short: "Change your password",
		Long: `Change your password. Your other sign-ins end.

With --password-stdin the first line of standard input is the old password and
the second the new one.`,
		Example: `  agent-vault auth password
  printf '%s\n' "$OLD" "$NEW" | agent-vault auth password --password-stdin`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			std := stdioOf(c)
			return signedIn(c, func(client *api.Client) error {
				old, next, err := oldAndNew(std, fromStdin)
				_, err = checkedPassword(old, err)
				if _, err = checkedPassword(next, err); err != nil {
					return err
				}
				err = client.ChangePassword(c.Context(), api.ChangePasswordRequest{OldPassword: string(old), NewPassword: string(next)})
				if err != nil {
					return ifWrong(err, "try again; nothing was changed")
				}
				return o.print(c.OutOrStdout(), api.Done{Done: true}, func(w io.Writer) {
					fmt.Fprintln(w, "changed the password; your other sign-ins have ended")
				})
			})
		},
	}
	c.Flags().BoolVar(&fromStdin, "password-stdin", false, "read both passwords from standard input")
	o.add(c)
	return c
}

func oldAndNew(std stdio, fromStdin bool) (old, next []byte, err error) {
	terminal := onTerminal(std)
	switch {
	case !terminal && fromStdin:
		both, err := unlessSignalled(func() ([]byte, error) { return twoLines(std.in) })
		old, next, _ := bytes.Cut(both, []byte("\n"))
		return old, next, err
	case !terminal:
		return nil, nil, hint(errors.New("there is no terminal to ask for the passwords on"), "use --password-stdin")
	}
	if old, err = askPassword(std, "Old password: "); err != nil {
		return nil, nil, err
	}
	next, err = askTwice(std, "New password: ")
	return old, next, err
}

// twoLines reads two passwords, with one line break between them.
func twoLines(r io.Reader) ([]byte, error) {
	b := bufio.NewReader(io.LimitReader(r, 2*(maxPasswordLine+1)))
	var lines [2][]byte
	for i := range lines {
		line, err := b.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if lines[i] = bytes.TrimRight(line, "\r\n"); len(lines[i]) == 0 {
			return nil, hint(errors.New("standard input does not hold two passwords"), "the first line is the old password, the second the new one")
		}
		if len(lines[i]) > maxPasswordLine {
			return nil, errors.New("the password on standard input is too long")
		}
	}
	return bytes.Join(lines[:], []byte("\n")), nil
}
