package broker_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"agentvault/broker"
)

// asJSON is what encoding/json makes of a record, by its fields alone.
func asJSON(r *broker.Record) ([]byte, error) {
	type plain broker.Record
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode((*plain)(r))
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// A record is spelled as encoding/json spells it, whatever it holds.
func FuzzRecord(f *testing.F) {
	f.Add("intent", "/a\"b\\c<>&\u2028\u2029\x00\x1f\x7f\xff\xc3(\b\f\n\r\t", "café 世界 \U0001F600\ufffd", 0, int64(0), 0, int64(0))
	f.Add("outcome", "", "", 3, int64(1<<62), 123456789, int64(-7))
	f.Add("", "\xed\xa0\x80\xe2\x80", "\xe2\x80\xa8", 1, int64(253402300800), 0, int64(1))    // the year 10000
	f.Add("", "\\u0000", "/", 2, int64(-62167219201), 999999999, int64(-9223372036854775808)) // before the year 0
	f.Fuzz(func(t *testing.T, a, b, c string, credentials int, seconds int64, nanos int, n int64) {
		r := &broker.Record{
			Seq: uint64(n), Time: time.Unix(seconds, int64(nanos)).UTC(), Kind: a, Request: b, Entrance: c, Session: a, Agent: b, AgentKind: c,
			VaultID: a, Vault: b, Service: c, Target: a, Method: c, Path: b, Upgrade: c, Status: int(n), Fault: c, BytesIn: n, BytesOut: -n, Micros: n >> 7,
			Scrubbed: int(n >> 9), Foreign: int(n >> 40),
		}
		switch credentials & 7 {
		case 1:
			r.Credentials = []string{}
		case 2:
			r.Credentials = []string{a}
		case 3:
			r.Credentials = []string{a, b, c}
		case 4:
			r.Time = r.Time.In(time.FixedZone("", int(n%100_000)))
		}
		want, wantErr := asJSON(r)
		got, err := r.AppendJSON([]byte("x"))
		if (err != nil) != (wantErr != nil) {
			t.Fatalf("the error is %v, want %v", err, wantErr)
		}
		if err == nil && string(got) != "x"+string(want) {
			t.Errorf("%s\nwant x%s", got, want)
		}
	})
}
