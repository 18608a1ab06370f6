package broker

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const testMAC = `,"mac":"c335f084969feada48ff9f6255d2ea957b4171a070508ea2ac1a47174218a813"}` + "\n"

func testRecord() *Record {
	return &Record{
		Seq: 7, Time: time.Date(2026, 5, 6, 7, 8, 9, 123456789, time.UTC), Kind: "outcome", Request: "7XK6EA564Y5O23QT", Entrance: "mitm",
		Session: "s1", Agent: "café", AgentKind: "session", VaultID: "v1", Vault: "default", Service: "api", Target: "https://api.example.com:443",
		Method: "POST", Path: "/v1/things", Credentials: []string{"A_KEY", "B_KEY"}, Status: 200, BytesIn: 12, BytesOut: 1 << 40, Micros: 1500, Scrubbed: 3,
	}
}

// spell is the line of a record as the log writes it.
func spell(t testing.TB, r *Record) []byte {
	t.Helper()
	b, err := r.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(b[:len(b)-1], testMAC...)
}

// Whatever a decoder takes for its own, encoding/json takes for the same record;
// nothing else depends on who reads a line.
func FuzzDecode(f *testing.F) {
	for _, change := range []func(r *Record){
		func(r *Record) {},
		func(r *Record) { r.Credentials = nil },
		func(r *Record) { r.Credentials = []string{} },
		func(r *Record) { r.Credentials = []string{"a]b", "]", "\"]", ""} },
		func(r *Record) { r.Path = "/\u2028\"\xff" },
		func(r *Record) { r.Seq, r.BytesIn, r.Micros = 1<<64-1, -5, -1<<63 },
	} {
		r := testRecord()
		change(r)
		f.Add(spell(f, r))
	}
	line := string(spell(f, testRecord()))
	for _, change := range []string{`"seq":7`, `"seq":07`, `"seq":-7`, `"Z"`, `"café"`, "\"caf\xe9\"", "\"a\x01b\"", `["A_KEY",]`, `["A_KEY" ,"B_KEY"]`, `[,"A_KEY"]`, `["A_KEY"`, `-0`, `1.5`, `""`} {
		for _, was := range []string{`"seq":7`, `"2026-05-06T07:08:09.123456789Z"`, `"café"`, `["A_KEY","B_KEY"]`, `200`} {
			f.Add([]byte(strings.Replace(line, was, change, 1)))
		}
	}
	var d decoder // its memory must not matter
	f.Fuzz(func(t *testing.T, line []byte) {
		var want Record
		wantErr := json.Unmarshal(line, &want)
		for _, got := range []Record{{}, *testRecord()} { // what it held does not matter
			err := d.record(line, &got)
			if (err != nil) != (wantErr != nil) || err == nil && !cmp.Equal(got, want) {
				t.Fatalf("%q:\n%v %v", line, err, cmp.Diff(want, got))
			}
		}
	})
}

// What is in a plain record does not matter, and costs only what is its own: its
// request id, and its path where that is another than before.
func TestDecodesItsOwnLines(t *testing.T) {
	var d decoder
	line := spell(t, testRecord())
	var got Record
	if !d.own(line, &got) {
		t.Fatalf("%s is not taken for its own", line)
	}
	if diff := cmp.Diff(*testRecord(), got); diff != "" {
		t.Error(diff)
	}
	if n := testing.AllocsPerRun(100, func() { d.own(line, &got) }); n > 1 {
		t.Errorf("%v allocations, want 1", n)
	}
	for _, bad := range []string{"", "{}", string(line[:len(line)-1]), string(line) + "x", `{"seq":1,"time":"2026-05-06T07:08:09Z","kind":"change"` + testMAC} {
		if d.own([]byte(bad), &got) {
			t.Errorf("%q is taken for its own", bad)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	var d decoder
	var r Record
	line := spell(b, testRecord())
	b.ReportAllocs()
	for b.Loop() {
		if err := d.record(line, &r); err != nil {
			b.Fatal(err)
		}
	}
}
