package audit

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"strconv"
	"time"
)

// MaxLine bounds a record, in bytes. The longest parts of one are a path (16
// KiB, six bytes each when escaped) and the names of credentials.
const MaxLine = 256 << 10

// Kinds of records that the log writes itself.
const (
	KindSegment = "segment" // first of every segment but number 1
	KindRemoved = "removed" // old segments are about to be removed
	KindLost    = "lost"    // records that had been seen were gone at start
)

// KindChange is of records of changes of the control plane, which AppendChange
// writes.
const KindChange = "change"

// Between a record's own members and the mac stands macMark, behind it macEnd.
const (
	macMark = `,"mac":"`
	macEnd  = "\"}\n"

	macLen  = 2 * sha256.Size // hex
	tailLen = len(macMark) + macLen + len(macEnd)
)

// A mac is what ties a record to the one before. That of no record is zero.
type mac [sha256.Size]byte

func (m mac) String() string { return hex.EncodeToString(m[:]) }

func parseMAC(s string) (m mac, ok bool) {
	if len(s) != macLen {
		return m, false
	}
	_, err := hex.Decode(m[:], []byte(s))
	return m, err == nil && m.String() == s // one spelling: lower case
}

// A chain makes macs. It is not safe for use by many goroutines. Its hash keeps
// the state behind the key, and works in the chain's own room: what is passed
// to an interface would be garbage each time.
type chain struct {
	h    hash.Hash
	room mac
}

func newChain(key []byte) *chain { return &chain{h: hmac.New(sha256.New, key)} }

// next is the mac of a line behind prev. The body is the line up to its mac.
func (c *chain) next(prev mac, body []byte) mac {
	c.h.Reset()
	c.room = prev
	c.h.Write(c.room[:])
	c.h.Write(body)
	c.h.Sum(c.room[:0])
	return c.room
}

// line appends to b the line of a record behind prev. The rest is what stands
// in it behind the seq.
func (c *chain) line(b []byte, prev mac, seq uint64, rest []byte) ([]byte, mac) {
	start := len(b)
	b = append(b, seqMember...)
	b = strconv.AppendUint(b, seq, 10)
	b = append(b, rest...)
	m := c.next(prev, b[start:])
	b = append(b, macMark...)
	b = hex.AppendEncode(b, m[:])
	return append(b, macEnd...), m
}

// split parts a line, with its end, into body and mac.
func split(line []byte) (body []byte, m mac, ok bool) {
	body, digits, ok := splitHex(line)
	if ok {
		m, ok = parseMAC(string(digits))
	}
	return body, m, ok
}

// splitHex is split for who has no use for the mac but to pass it on.
func splitHex(line []byte) (body, mac []byte, ok bool) {
	n := len(line) - tailLen
	if n < 0 || !bytes.HasPrefix(line[n:], []byte(macMark)) || !bytes.HasSuffix(line, []byte(macEnd)) {
		return nil, nil, false
	}
	mac = line[n+len(macMark) : n+len(macMark)+macLen]
	for _, c := range mac {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return line[:n], nil, false
		}
	}
	return line[:n], mac, true
}

// A header is what every record has, and the members of those that the log
// writes itself.
type header struct {
	Seq  uint64    `json:"seq"`  // grows by one
	Time time.Time `json:"time"` // UTC
	Kind string    `json:"kind"`
}

// A segmentRecord begins a segment.
type segmentRecord struct {
	header
	Segment     uint64 `json:"segment"`      // this one's number
	PreviousSeq uint64 `json:"previous_seq"` // of the last record of the segment before
	PreviousMAC string `json:"previous_mac"`
	Event       int64  `json:"event"` // the last that was recorded before; 0: none
}

// A removedRecord says that segments were removed because they were old.
type removedRecord struct {
	header
	Segment uint64 `json:"segment"` // and all before it
	ToSeq   uint64 `json:"to_seq"`  // of its last record
}

// A lostRecord says that records were gone when the log was opened. Its seq
// goes on behind them.
type lostRecord struct {
	header
	FromSeq uint64 `json:"from_seq"`
	ToSeq   uint64 `json:"to_seq"`
	ToMAC   string `json:"to_mac"`
}

// own are all members that this package reads.
type own struct {
	segmentRecord
	ToSeq   uint64 `json:"to_seq"`
	FromSeq uint64 `json:"from_seq"`
	ToMAC   string `json:"to_mac"`
}

// An entry is a whole line, taken apart.
type entry struct {
	own
	body []byte
	mac  mac
}

var errNoRecord = errors.New("it is no record")

// parse takes a line apart. It does not look at the chain.
func parse(line []byte) (e entry, err error) {
	var ok bool
	if e.body, e.mac, ok = split(line); !ok {
		return e, errNoRecord
	}
	if err := json.Unmarshal(line, &e.own); err != nil {
		return e, errNoRecord // what it holds is not to be repeated
	}
	return e, nil
}
