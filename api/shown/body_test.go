package shown_test

import (
	"strings"
	"testing"

	"agentvault/api/shown"
)

func TestBody(t *testing.T) {
	for _, tt := range []struct {
		text   string
		binary []byte
		want   string
		left   int
	}{
		{"one\ntwo\x1b[2J\u202e\n", nil, "one|two\\x1b[2J\\u202e|", 0},
		{"", []byte("\x00\xffab"), "0000  00 ff 61 62                                       |..ab|", 0},
		{strings.Repeat("a", shown.MostBody) + "b", nil, strings.Repeat("a", shown.MostBody), 1},
		{strings.Repeat("a", shown.MostBody-1) + "ü", nil, strings.Repeat("a", shown.MostBody-1), 2},
	} {
		lines, left := shown.Body(tt.text, tt.binary)
		if got := strings.Join(lines, "|"); got != tt.want || left != tt.left {
			t.Errorf("%.20q: %.80q and %d more, want %.80q and %d", tt.text, got, left, tt.want, tt.left)
		}
	}
	if lines, left := shown.Body("", make([]byte, shown.MostBody)); len(lines) != shown.MostBody/8/16 || left != shown.MostBody*7/8 || len(lines[127]) != 74 || !strings.HasPrefix(lines[127], "07f0  ") {
		t.Errorf("%d lines, and %d more", len(lines), left)
	}
}
