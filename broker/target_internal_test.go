package broker

import (
	"strings"
	"testing"
)

func FuzzRawTarget(f *testing.F) {
	for _, s := range []string{"/", "/a?b", "*", "http://h/p?q", "https://h?q", "https://h", "//x//", "/?", "h:443"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		path, query, has, ok := RawTarget(s)
		if !ok {
			return
		}
		back := path
		if has {
			back += "?" + query
		}
		if strings.HasPrefix(s, "/") && back != s {
			t.Errorf("%q became %q", s, back)
		}
		if !strings.HasPrefix(path, "/") && path != "*" {
			t.Errorf("%q has path %q", s, path)
		}
		if strings.Contains(path, "?") {
			t.Errorf("%q has path %q", s, path)
		}
	})
}
