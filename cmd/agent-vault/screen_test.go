package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		line  string
		width int
		want  []string
	}{
		{"", 5, []string{""}},
		{"short", 5, []string{"short"}},
		{"longer", 5, []string{"longe", "r"}},
		{"two words", 6, []string{"two ", "words"}},
		{"a verylongword", 8, []string{"a verylo", "ngword"}},
		{"日本語文", 5, []string{"日本", "語文"}},
		{strings.Repeat(" ", 7) + "x", 4, []string{"    ", "   x"}},
	} {
		got := broken(tt.line, tt.width)
		if diff := cmp.Diff(tt.want, got); diff != "" || strings.Join(got, "") != tt.line {
			t.Errorf("%q in %d columns (-want +got):\n%s", tt.line, tt.width, diff)
		}
	}
}

func TestWriteDiff(t *testing.T) {
	var b strings.Builder
	long := strings.Repeat("x", 60)
	screen{width: 50}.diff(&b, "now", "a\nb\n", "then", "a\n"+long+"\n")
	want := "--- now\n+++ then\n@@ -1,2 +1,2 @@\n a\n-b\n+" + long[:41] + "\n+   ... " + long[41:] + "\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
