package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"agentvault/vault"
)

// A block is a stretch of the request log in one row: up to blockMost requests
// that have ended, in the order in which they did, or one that is open.
//
// What many requests have in common stands once, in classes: nearly all that a
// query asks for. So most blocks are passed over without reading entries, which
// have what is of one request alone. Both begin with blockFormat. Numbers are
// varints, most of them differences to the entry before; texts have their length
// before them.
type block struct {
	first, last    int64 // changes, inclusive
	requests       int
	oldest, newest int64  // when requests began, in ms
	lowSeq, topSeq uint64 // of their records
	classes        []byte
	entries        []byte
}

const (
	blockFormat = 1
	blockMost   = 1024 // requests; what a page of the newest costs to read
)

// A class is what requests of a block have in common.
type class struct {
	entrance, session, agent, agentKind, vaultID, vault, service, target, host, method, fault string
	credentials                                                                               string // each behind its length
	status                                                                                    int    // unended: no end is known
}

const unended = math.MinInt

// texts are the fields that are stored in the block's table of texts.
func (c *class) texts() [12]*string {
	return [12]*string{
		&c.entrance, &c.session, &c.agent, &c.agentKind, &c.vaultID, &c.vault, &c.service, &c.target, &c.host, &c.method, &c.fault, &c.credentials,
	}
}

// An entry is what a request has for itself.
type entry struct {
	class                     int
	id, path                  []byte // valid as long as what they were read from
	time                      int64  // ms
	row, change               int64
	seq                       uint64
	in, out, micros, scrubbed int64
}

func (e *entry) request(c *class) (vault.Request, error) {
	r := vault.Request{
		ID: string(e.id), Time: time.UnixMilli(e.time).UTC(), Entrance: c.entrance, SessionID: c.session, Agent: c.agent, AgentKind: c.agentKind,
		VaultID: c.vaultID, Vault: c.vault, Service: c.service, Target: c.target, Host: c.host, Method: c.method, Path: string(e.path),
		Credentials: []string{}, Fault: c.fault, BytesIn: e.in, BytesOut: e.out, Micros: e.micros, Scrubbed: int(e.scrubbed),
		Seq: e.seq, Row: e.row, Change: e.change,
	}
	if c.status != unended {
		status := c.status
		r.Status = &status
	}
	keys := packed{b: []byte(c.credentials)}
	for len(keys.b) > 0 && !keys.bad {
		r.Credentials = append(r.Credentials, string(keys.text()))
	}
	return r, keys.err()
}

// A classNumber is a class by the places of its texts in the block's table.
type classNumber struct {
	texts  [12]uint32
	status int
}

// A classPacker numbers classes and their texts as they come.
type classPacker struct {
	texts   map[string]uint32
	inOrder []string
	numbers map[classNumber]int
	classes []classNumber

	last       class // of the request before: most are alike
	lastNumber classNumber
	lastKeys   []string // what last.credentials is of
}

func (p *classPacker) text(s string) uint32 {
	n, ok := p.texts[s]
	if !ok {
		n = uint32(len(p.texts))
		p.texts[s], p.inOrder = n, append(p.inOrder, s)
	}
	return n
}

// number is of a request's class.
func (p *classPacker) number(r *vault.Request) int {
	c := class{
		entrance: r.Entrance, session: r.SessionID, agent: r.Agent, agentKind: r.AgentKind, vaultID: r.VaultID, vault: r.Vault, service: r.Service,
		target: r.Target, host: r.Host, method: r.Method, fault: r.Fault, credentials: p.last.credentials, status: unended,
	}
	if !slices.Equal(r.Credentials, p.lastKeys) {
		var keys []byte
		for _, key := range r.Credentials {
			keys = appendText(keys, key)
		}
		c.credentials, p.lastKeys = string(keys), r.Credentials
	}
	if r.Status != nil {
		c.status = *r.Status
	}
	k, first := &p.lastNumber, len(p.classes) == 0
	texts, before := c.texts(), p.last.texts()
	for i, s := range texts {
		if first || *s != *before[i] {
			k.texts[i] = p.text(*s)
		}
	}
	k.status, p.last = c.status, c
	n, ok := p.numbers[*k]
	if !ok {
		n = len(p.classes)
		p.numbers[*k], p.classes = n, append(p.classes, *k)
	}
	return n
}

func (p *classPacker) pack() []byte {
	out := binary.AppendUvarint([]byte{blockFormat}, uint64(len(p.inOrder)))
	for _, s := range p.inOrder {
		out = appendText(out, s)
	}
	out = binary.AppendUvarint(out, uint64(len(p.classes)))
	for i := range p.classes {
		for _, n := range p.classes[i].texts {
			out = binary.AppendUvarint(out, uint64(n))
		}
		if status := p.classes[i].status; status == unended {
			out = append(out, 0)
		} else {
			out = binary.AppendVarint(append(out, 1), int64(status))
		}
	}
	return out
}

// makeBlock packs requests, one at least. Row, Change and Seq are set.
func makeBlock(requests []vault.Request) block {
	b := block{
		first: requests[0].Change, last: requests[0].Change, requests: len(requests),
		oldest: ms(requests[0].Time), newest: ms(requests[0].Time), lowSeq: requests[0].Seq, topSeq: requests[0].Seq,
	}
	classes := classPacker{texts: make(map[string]uint32), numbers: make(map[classNumber]int)}
	paths := make(map[string]uint64)
	var last entry
	out := make([]byte, 0, 64*(len(requests)+1))
	out = binary.AppendUvarint(append(out, blockFormat), uint64(len(requests)))
	for i := range requests {
		r := &requests[i]
		at := ms(r.Time)
		b.first, b.last = min(b.first, r.Change), max(b.last, r.Change)
		b.oldest, b.newest = min(b.oldest, at), max(b.newest, at)
		b.lowSeq, b.topSeq = min(b.lowSeq, r.Seq), max(b.topSeq, r.Seq)
		out = binary.AppendUvarint(out, uint64(classes.number(r)))
		out = appendText(out, r.ID)
		out = binary.AppendVarint(out, at-last.time)
		out = binary.AppendVarint(out, r.Change-last.change)
		out = binary.AppendVarint(out, r.Change-r.Row)
		out = binary.AppendVarint(out, int64(r.Seq-last.seq))
		before := paths[r.Path] // 0: it comes for the first time, and stands here
		out = binary.AppendUvarint(out, before)
		if before == 0 {
			out = appendText(out, r.Path)
			paths[r.Path] = uint64(len(paths)) + 1
		}
		for _, n := range [...]int64{r.BytesIn, r.BytesOut, r.Micros, int64(r.Scrubbed)} {
			out = binary.AppendVarint(out, n)
		}
		last.time, last.change, last.seq = at, r.Change, r.Seq
	}
	b.entries, b.classes = out, classes.pack()
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// unpackClasses appends the classes to some. It takes no more memory than a small
// multiple of what it reads.
func unpackClasses(some []class, b []byte) ([]class, error) {
	p := packed{b: b}
	p.format()
	n := p.count(1)
	texts := make([]string, 0, n)
	all := string(p.b) // one copy, of which the texts are parts
	for range n {
		s := p.text()
		end := len(all) - len(p.b)
		if p.bad {
			break
		}
		texts = append(texts, all[end-len(s):end])
	}
	n = p.count(13)
	some = slices.Grow(some, n)
	for range n {
		var c class
		for _, s := range c.texts() {
			if n := p.uvarint(); n < uint64(len(texts)) {
				*s = texts[n]
			} else {
				p.fail()
			}
		}
		if c.status = unended; p.uvarint() != 0 {
			c.status = int(p.varint())
		}
		if p.bad {
			break
		}
		some = append(some, c)
	}
	return some, p.end()
}

// mayHave reports whether one of some texts stands in a block's classes. It may
// say so of one that does not.
func mayHave(classes []byte, texts ...string) bool {
	return slices.ContainsFunc(texts, func(s string) bool { return bytes.Contains(classes, appendText(nil, s)) })
}

// eachEntry calls f with every entry, which is valid until f returns. Classes is
// how many the block has.
func eachEntry(b []byte, classes int, f func(*entry) error) error {
	p := packed{b: b}
	p.format()
	n := p.count(10)
	paths := make([][]byte, 0, min(n, blockMost))
	var e entry
	for range n {
		c := p.uvarint()
		e.class, e.id = int(c), p.text()
		e.time += p.varint()
		e.change += p.varint()
		e.row = e.change - p.varint()
		e.seq += uint64(p.varint())
		switch before := p.uvarint(); {
		case before == 0:
			e.path = p.text()
			paths = append(paths, e.path)
		case before <= uint64(len(paths)):
			e.path = paths[before-1]
		default:
			p.fail()
		}
		e.in, e.out, e.micros, e.scrubbed = p.varint(), p.varint(), p.varint(), p.varint()
		if p.bad || c >= uint64(classes) {
			return errPacked
		}
		if err := f(&e); err != nil {
			return err
		}
	}
	return p.end()
}

// unpack returns all that a block holds.
func (b *block) unpack() ([]vault.Request, error) {
	classes, err := unpackClasses(nil, b.classes)
	if err != nil {
		return nil, err
	}
	var all []vault.Request
	err = eachEntry(b.entries, len(classes), func(e *entry) error {
		r, err := e.request(&classes[e.class])
		all = append(all, r)
		return err
	})
	return all, err
}

// errPacked is a block that was not written by makeBlock.
var errPacked = errors.New("a part of the request log cannot be read; agent-vault audit rebuild replaces it by what the audit log has")

// packed is what is left to read. After what is none, bad stays set, and
// everything is zero.
type packed struct {
	b   []byte
	bad bool
}

func (p *packed) err() error {
	if p.bad {
		return errPacked
	}
	return nil
}

// end is err, and that nothing is left.
func (p *packed) end() error {
	p.bad = p.bad || len(p.b) > 0
	return p.err()
}

func (p *packed) format() {
	if len(p.b) == 0 || p.b[0] != blockFormat {
		p.fail()
		return
	}
	p.b = p.b[1:]
}

func (p *packed) fail() { p.b, p.bad = nil, true }

func (p *packed) uvarint() uint64 {
	if len(p.b) > 0 && p.b[0] < 0x80 { // most of them
		n := p.b[0]
		p.b = p.b[1:]
		return uint64(n)
	}
	n, size := binary.Uvarint(p.b)
	if size <= 0 {
		p.fail()
		return 0
	}
	p.b = p.b[size:]
	return n
}

func (p *packed) varint() int64 {
	n := p.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

// count is of things that take size bytes each, at least.
func (p *packed) count(size int) int {
	n := p.uvarint()
	if n > uint64(len(p.b)/size) {
		p.fail()
		return 0
	}
	return int(n)
}

func (p *packed) text() []byte {
	n := p.uvarint()
	if n > uint64(len(p.b)) {
		p.fail()
		return nil
	}
	s := p.b[:n:n]
	p.b = p.b[n:]
	return s
}

// damaged names the block that could not be read.
func damaged(last int64, err error) error {
	if errors.Is(err, errPacked) {
		return fmt.Errorf("store: requests up to change %d: %w", last, err)
	}
	return err
}
