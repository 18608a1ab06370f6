package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// piped is a standard input that holds text.
func piped(t *testing.T, text string) stdio {
	t.Helper()
	in, err := os.Open(write(t, "stdin", text, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return stdio{in, new(bytes.Buffer), new(bytes.Buffer)}
}

func TestReadValue(t *testing.T) {
	t.Setenv("TEST_VALUE", "from the environment")
	t.Setenv("TEST_EMPTY", "")
	t.Setenv("TEST_BAD", "\xff")
	missing := filepath.Join(t.TempDir(), "none")
	longest := strings.Repeat("v", maxValue)
	file := func(content string) string { return "file:" + write(t, "value", content, 0o600) }
	for _, tt := range []struct{ name, spec, stdin, want, err string }{
		{"environment", "env:TEST_VALUE", "", "from the environment", ""},
		{"not set", "env:TEST_NOT_SET", "", "", "the variable TEST_NOT_SET is not set"},
		{"set and empty", "env:TEST_EMPTY", "", "", "the variable TEST_EMPTY is not set"},
		{"environment, not UTF-8", "env:TEST_BAD", "", "", "the value is not UTF-8"},
		{"file", file("value"), "", "value", ""},
		{"file that ends with a line break", file("value\n"), "", "value", ""},
		{"one line break only", file("value\n\n"), "", "value\n", ""},
		{"Windows", file("value\r\n"), "", "value", ""},
		{"several lines", file("-----BEGIN\nx\n-----END\n"), "", "-----BEGIN\nx\n-----END", ""},
		{"no file", "file:" + missing, "", "", "open " + missing + ": no such file or directory"},
		{"empty file", file("\n"), "", "", "the value is empty"},
		{"the longest", file(longest + "\r\n"), "", longest, ""},
		{"too long", file(longest + "v"), "", "", "the value is longer than 64 KiB"},
		{"too long by a line break", file(longest + "\n\r\n"), "", "", "the value is longer than 64 KiB"},
		{"much too long", file(longest + longest), "", "", "the value is longer than 64 KiB"},
		{"a name with a colon", "file:" + write(t, "a:b", "value", 0o600), "", "value", ""},
		{"standard input", "-", "value\n", "value", ""},
		{"standard input, all of it", "-", "two\nlines\n", "two\nlines", ""},
		{"standard input, empty", "-", "", "", "the value is empty"},
		{"standard input, too long", "-", longest + "v", "", "the value is longer than 64 KiB"},
		{"standard input, not UTF-8", "-", "\xff\n", "", "the value is not UTF-8"},
		{"nobody to ask", "", "value\n", "", "there is no terminal to ask for the value on"},
		{"the value itself", "sk-live-3f9a77c1e2d4b6a8", "", "", "a value is never written on the command line"},
		{"another place", "vault:sk-live-3f9a77c1e2d4b6a8", "", "", "a value is never written on the command line"},
		{"no name", "env:", "", "", "a value is never written on the command line"},
		{"no path", "file:", "", "", "a value is never written on the command line"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			std := piped(t, tt.stdin)
			got, err := readValue(std, tt.spec, "Value: ")
			if got != tt.want || err == nil && tt.err != "" || err != nil && err.Error() != tt.err {
				t.Errorf("got %.80q, %v; want %.80q, %q", got, err, tt.want, tt.err)
			}
			if asked := std.err.(*bytes.Buffer).String(); asked != "" {
				t.Errorf("it asked: %q", asked)
			}
			var usage *usageError
			if misused := tt.err == "a value is never written on the command line"; errors.As(err, &usage) != misused {
				t.Errorf("usage error: %v", !misused)
			}
			if err != nil && !strings.HasPrefix(tt.err, "the value") && !strings.HasPrefix(tt.err, "open ") {
				if _, todo := explained(err); todo == "" || strings.Contains(todo, "sk-live") {
					t.Errorf("hint %q", todo)
				}
			}
		})
	}
}
