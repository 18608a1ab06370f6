package broker

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// A decoder reads records from lines of the audit log. Those that
// [Record.AppendJSON] spelled without a backslash are taken apart as they stand;
// all others, and those of upgrades, are encoding/json's. What repeats from record to record is kept
// once. The zero decoder is ready for use, by one goroutine.
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

// record is what encoding/json makes of a line.
func (d *decoder) record(line []byte) (Record, error) {
	var r Record
	if d.own(line, &r) {
		return r, nil
	}
	return decodeAny(line)
}

func decodeAny(line []byte) (r Record, err error) {
	err = json.Unmarshal(line, &r)
	return r, err
}

// own reads a line that AppendJSON and the log wrote. It reports false for any
// other; then the record is of no use.
func (d *decoder) own(line []byte, r *Record) bool {
	d.rest, d.bad = line, false
	if d.texts == nil || len(d.texts) > keptTexts || len(d.lists) > keptTexts {
		d.texts, d.lists = make(map[string]string), make(map[string][]string)
	}
	d.skip(`{"seq":`)
	r.Seq = uint64(d.number(false))
	d.skip(`,"time":`)
	if t := d.text(); d.bad || r.Time.UnmarshalText(t) != nil {
		return false
	}
	d.skip(`,"kind":`)
	r.Kind = d.kept()
	d.skip(`,"request":`)
	r.Request = string(d.text())
	d.skip(`,"entrance":`)
	r.Entrance = d.kept()
	d.skip(`,"session":`)
	r.Session = d.kept()
	d.skip(`,"agent":`)
	r.Agent = d.kept()
	d.skip(`,"agent_kind":`)
	r.AgentKind = d.kept()
	d.skip(`,"vault_id":`)
	r.VaultID = d.kept()
	d.skip(`,"vault":`)
	r.Vault = d.kept()
	d.skip(`,"service":`)
	r.Service = d.kept()
	d.skip(`,"target":`)
	r.Target = d.kept()
	d.skip(`,"method":`)
	r.Method = d.kept()
	d.skip(`,"path":`)
	r.Path = string(d.text())
	d.skip(`,"credentials":`)
	r.Credentials = d.list()
	d.skip(`,"status":`)
	r.Status = int(d.number(true))
	d.skip(`,"fault":`)
	r.Fault = d.kept()
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

// kept is text that has been there before, often.
func (d *decoder) kept() string {
	b := d.text()
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
		list = append(list, d.kept())
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
