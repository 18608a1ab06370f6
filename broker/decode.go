package broker

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// A decoder reads records from lines of the audit log. Those that
// [Record.AppendJSON] spelled without a backslash are taken apart as they stand;
// all others, and those of upgrades, are encoding/json's. What repeats from record
// to record is kept once. The zero decoder is ready for use, by one goroutine.
type decoder struct {
	rest []byte // of the line
	bad  bool   // the line is another's

	texts map[string]string
	lists map[string][]string // by their JSON; never changed
}

// Bounds of what a decoder keeps.
const (
	keptTexts = 4096
	keptText  = 256 // bytes
)

// A lineHead is what a line begins with, whatever it is about.
type lineHead struct {
	seq  uint64
	time time.Time
	kind string
	id   []byte // of the request; part of the line
}

// head reads the beginning of a line that AppendJSON and the log wrote. It reports
// false for any other.
func (d *decoder) head(line []byte) (h lineHead, ok bool) {
	d.rest, d.bad = line, false
	d.skip(`{"seq":`)
	h.seq = uint64(d.number(false))
	d.skip(`,"time":`)
	if t := d.text(); d.bad || h.time.UnmarshalText(t) != nil {
		return h, false
	}
	d.skip(`,"kind":`)
	switch kind := d.text(); string(kind) {
	case "intent":
		h.kind = "intent"
	case "outcome":
		h.kind = "outcome"
	default:
		d.bad = true
	}
	d.skip(`,"request":`)
	h.id = d.text()
	return h, !d.bad
}

// record makes of r what encoding/json makes of a line. It is faster where r
// holds the record of a line before.
func (d *decoder) record(line []byte, r *Record) error {
	if d.own(line, r) {
		return nil
	}
	*r = Record{}
	return json.Unmarshal(line, r)
}

// own reads a line that AppendJSON and the log wrote. It reports false for any
// other; then the record is of no use.
func (d *decoder) own(line []byte, r *Record) bool {
	h, ok := d.head(line)
	if !ok {
		return false
	}
	if d.texts == nil || len(d.texts) > keptTexts || len(d.lists) > keptTexts {
		d.texts, d.lists = make(map[string]string), make(map[string][]string)
	}
	r.Seq, r.Time, r.Kind, r.Request = h.seq, h.time, h.kind, string(h.id)
	d.skip(`,"entrance":`)
	d.kept(&r.Entrance)
	d.skip(`,"session":`)
	d.kept(&r.Session)
	d.skip(`,"agent":`)
	d.kept(&r.Agent)
	d.skip(`,"agent_kind":`)
	d.kept(&r.AgentKind)
	d.skip(`,"vault_id":`)
	d.kept(&r.VaultID)
	d.skip(`,"vault":`)
	d.kept(&r.Vault)
	d.skip(`,"service":`)
	d.kept(&r.Service)
	d.skip(`,"target":`)
	d.kept(&r.Target)
	d.skip(`,"method":`)
	d.kept(&r.Method)
	d.skip(`,"path":`)
	if path := d.text(); string(path) != r.Path {
		r.Path = string(path)
	}
	r.Upgrade = ""
	d.skip(`,"credentials":`)
	r.Credentials = d.list()
	d.skip(`,"status":`)
	r.Status = int(d.number(true))
	d.skip(`,"fault":`)
	d.kept(&r.Fault)
	d.skip(`,"bytes_in":`)
	r.BytesIn = d.number(true)
	d.skip(`,"bytes_out":`)
	r.BytesOut = d.number(true)
	d.skip(`,"duration_micros":`)
	r.Micros = d.number(true)
	d.skip(`,"scrubbed":`)
	r.Scrubbed = int(d.number(true))
	d.skip(`,"foreign":`)
	r.Foreign = int(d.number(true))
	d.skip(`,"mac":`)
	d.text()
	d.skip("}\n")
	return !d.bad && len(d.rest) == 0
}

// skip passes what must stand next.
func (d *decoder) skip(s string) {
	if len(d.rest) < len(s) || string(d.rest[:len(s)]) != s {
		d.bad, d.rest = true, nil
		return
	}
	d.rest = d.rest[len(s):]
}

// text passes a string that stands for itself.
func (d *decoder) text() []byte {
	if len(d.rest) == 0 || d.rest[0] != '"' {
		d.bad, d.rest = true, nil
		return nil
	}
	n := bytes.IndexByte(d.rest[1:], '"')
	s := d.rest[1:max(n+1, 1)]
	high := false
	for _, c := range s {
		if !plain(c) && c < utf8.RuneSelf {
			n = -1
			break
		}
		high = high || c >= utf8.RuneSelf
	}
	if n < 0 || high && !utf8.Valid(s) {
		d.bad, d.rest = true, nil
		return nil
	}
	d.rest = d.rest[n+2:]
	return s
}

// kept passes text that has been there before, often in the record before.
func (d *decoder) kept(s *string) {
	b := d.text()
	if string(b) == *s {
		return
	}
	*s = d.keep(b)
}

func (d *decoder) keep(b []byte) string {
	if len(b) == 0 || len(b) > keptText {
		return string(b)
	}
	s, ok := d.texts[string(b)]
	if !ok {
		s = string(b)
		d.texts[s] = s
	}
	return s
}

// list passes null or an array of strings.
func (d *decoder) list() []string {
	if bytes.HasPrefix(d.rest, []byte("null")) {
		d.skip("null")
		return nil
	}
	n := bytes.IndexByte(d.rest, ']') // or one in a name: such a list is not kept
	if n < 0 {
		d.bad, d.rest = true, nil
		return nil
	}
	spelled := d.rest[:n+1]
	list, ok := d.lists[string(spelled)]
	if ok {
		d.rest = d.rest[n+1:]
		return list
	}
	behind := len(d.rest) - len(spelled)
	list = []string{}
	d.skip("[")
	for len(d.rest) > 0 && d.rest[0] != ']' {
		if len(list) > 0 {
			d.skip(",")
		}
		list = append(list, d.keep(d.text()))
	}
	d.skip("]")
	list = list[:len(list):len(list)]
	if !d.bad && len(d.rest) == behind && len(spelled) <= 16*keptText {
		d.lists[string(spelled)] = list
	}
	return list
}

// number passes a number of at most 18 digits, as strconv spells it.
func (d *decoder) number(negative bool) (n int64) {
	b := d.rest
	minus := negative && len(b) > 0 && b[0] == '-'
	if minus {
		b = b[1:]
	}
	i := 0
	for ; i < len(b) && '0' <= b[i] && b[i] <= '9'; i++ {
		if i == 18 {
			break
		}
		n = n*10 + int64(b[i]-'0')
	}
	if i == 0 || i == 18 || i > 1 && b[0] == '0' {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = b[i:]
	if minus {
		return -n
	}
	return n
}
