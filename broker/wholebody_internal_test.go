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
			e := &exchange{Broker: &Broker{}, session: &session{live: &live{}}, r: r, w: httptest.NewRecorder()}
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
			held := []int64{e.bodies.Load(), e.session.live.bodies.Load(), e.room}
			if e.hasWhole && held[0] != int64(len(tt.sent)) || held[0] != held[1] || held[0] != held[2] {
				t.Errorf("%d bytes are counted as held", held)
			}
			rest, err := io.ReadAll(r.Body)
			if err != nil || !bytes.Equal(rest, []byte(tt.sent)) {
				t.Errorf("%d bytes are left to be read (%v), want %d", len(rest), err, len(tt.sent))
			}
		})
	}
}

// Agents do not fill the vault's memory with bodies, one session least of all.
func TestRoomForBodies(t *testing.T) {
	b, a := &Broker{}, &live{}
	ask := func(lv *live) (*exchange, *Fault) {
		r := httptest.NewRequest("POST", "/", strings.NewReader("12345"))
		r.ContentLength = -1
		e := &exchange{Broker: b, session: &session{live: lv}, r: r, w: httptest.NewRecorder()}
		_, f := e.wholeBody(8 << 20)
		return e, f
	}
	b.bodies.Store(heldAll - 8<<20)
	e, f := ask(a)
	if f != nil || e.room != 5 {
		t.Fatalf("%+v, %d bytes are counted", f, e.room)
	}
	if e, f := ask(&live{}); f == nil || f.Code != CodeRateLimited || e.room != 0 {
		t.Errorf("with all of it taken: %+v", f)
	}
	b.bodies.Store(5)
	a.bodies.Store(heldSession)
	if _, f := ask(a); f == nil || f.Code != CodeRateLimited {
		t.Errorf("with the session's share taken: %+v", f)
	}
	e.holds(0)
	if b.bodies.Load() != 0 {
		t.Errorf("%d bytes are counted in the end", b.bodies.Load())
	}
}
