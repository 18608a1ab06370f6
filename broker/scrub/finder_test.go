package scrub_test

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"

	"agentvault/broker/scrub"
)

// A value is found in every spelling and wherever the text is cut, and no sooner
// than it is whole.
func TestFinder(t *testing.T) {
	const value = "__placeholder_of_a_key__"
	set := scrub.Compile([][]byte{[]byte(value)})
	for _, spelled := range []string{
		value, hex.EncodeToString([]byte(value)), base64.StdEncoding.EncodeToString([]byte("a:" + value + ":")),
		strings.ReplaceAll(value, "_", "%5F"), strings.ReplaceAll(value, "_", `\u005f`), strings.ReplaceAll(value, "_", "&#95;"),
	} {
		text := "before " + spelled + " after"
		if !set.Holds([]byte(text)) {
			t.Errorf("not found in %q", text)
		}
		for _, size := range []int{1, 2, 3, 7, 50} {
			f, found := set.Finder(), false
			for at := 0; at < len(text); at += size {
				if f.Find([]byte(text[at:min(at+size, len(text))]), false) {
					found = true
					if at+size < strings.Index(text, spelled)+len(value) {
						t.Errorf("in pieces of %d, found in %q already", size, text[:at+size])
					}
				}
			}
			if !found && !f.Find(nil, true) {
				t.Errorf("not found in pieces of %d of %q", size, text)
			}
		}
	}
	f := set.Finder()
	if f.Find([]byte(value[:10]), true) || f.Find([]byte(value[10:]), true) {
		t.Error("found across two texts")
	}
	if set.Holds([]byte("before __placeholder_of_a_key_ after")) || (&scrub.Set{}).Holds([]byte(value)) {
		t.Error("found what is not there")
	}
}
