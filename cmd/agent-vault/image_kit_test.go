package main_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// An instruction of a Dockerfile, with its lines joined.
type instruction struct{ word, rest string }

// dockerfile takes a Dockerfile apart as far as ours go: comments between
// instructions, lines joined by a backslash at their end.
func dockerfile(t testing.TB, text string) (found []instruction) {
	t.Helper()
	joined := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		if strings.HasPrefix(strings.TrimSpace(line), "#") || line == "" && joined == "" {
			continue
		}
		if before, more := strings.CutSuffix(line, `\`); more {
			joined += before
			continue
		}
		word, rest, ok := strings.Cut(joined+line, " ")
		if !ok || word != strings.ToUpper(word) {
			t.Fatalf("no instruction: %q", joined+line)
		}
		found = append(found, instruction{word, strings.TrimSpace(rest)})
		joined = ""
	}
	if joined != "" {
		t.Fatalf("it ends in the middle of %q", joined)
	}
	return found
}

// variables of an ENV.
func (i instruction) variables(t testing.TB) []string {
	t.Helper()
	list := strings.Fields(i.rest)
	for _, entry := range list {
		if name, value, ok := strings.Cut(entry, "="); !ok || name == "" || value == "" || strings.ContainsAny(value, `"'$\`) {
			t.Fatalf("ENV %q", entry)
		}
	}
	return list
}

// words of an ENTRYPOINT in its form without a shell.
func (i instruction) words(t testing.TB) (words []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(i.rest), &words); err != nil {
		t.Fatalf("%s %s: %v", i.word, i.rest, err)
	}
	return words
}
