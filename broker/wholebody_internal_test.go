package broker

import (
	"bytes"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

// What was read whole is there again, whatever was asked for first; so is what was
// too long.
func TestWholeBody(t *testing.T) {
	for _, tt := range []struct {
		name   string
		sent   string
		length int64
		limits []int
		fault  string // of the last
	}{
		{"none", "", 0, []int{1}, ""},
		{"none, in chunks", "", -1, []int{1}, ""},
		{"to the limit", "12345", 5, []int{5}, ""},
		{"to the limit, in chunks", "12345", -1, []int{5}, ""},
		{"a byte more", "123456", 6, []int{5}, CodeRequestTooLarge},
		{"a byte more, in chunks", "123456", -1, []int{5}, CodeRequestTooLarge},
		{"much more, in chunks", strings.Repeat("a", 100_000), -1, []int{5}, CodeRequestTooLarge},
		{"asked for twice", "12345", -1, []int{5, 100}, ""},
		{"the second wants it shorter", "12345", -1, []int{5, 4}, CodeRequestTooLarge},
		{"the second takes more", "12345", -1, []int{4, 5}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", io.NopCloser(strings.NewReader(tt.sent)))
			r.ContentLength = tt.length
			e := &exchange{r: r, w: httptest.NewRecorder()}
			var got []byte
			var f *Fault
			for _, limit := range tt.limits {
				got, f = e.wholeBody(limit)
			}
			code := ""
			if f != nil {
				code = f.Code
			} else if got == nil || string(got) != tt.sent {
				t.Errorf("it is %q, want %q", got, tt.sent)
			}
			if code != tt.fault {
				t.Errorf("fault %q, want %q", code, tt.fault)
			}
			rest, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(rest, []byte(tt.sent)) {
				t.Errorf("%d bytes are left to be read (%v), want %d", len(rest), err, len(tt.sent))
			}
		})
	}
}
