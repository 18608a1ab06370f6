package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"
)

// A JSONAppender is a record that spells itself: as the object that encoding/json
// would make of it, without escapes for HTML, on one line.
type JSONAppender interface {
	AppendJSON([]byte) ([]byte, error)
}

// A buffer encodes a record outside of any lock.
type buffer struct {
	bytes.Buffer
	json *json.Encoder
}

func newBuffer() *buffer {
	b := new(buffer)
	b.json = json.NewEncoder(&b.Buffer)
	b.json.SetEscapeHTML(false) // would make six bytes of each & of a path
	return b
}

var buffers = sync.Pool{New: func() any { return newBuffer() }}

// encodeOwn is encode for a record that is not to share its room.
func encodeOwn(record any) ([]byte, error) { return newBuffer().encode(record) }

const seqMember = `{"seq":`

var errNoSeq = errors.New(`its first member is not "seq"`)

// encode returns what stands behind the seq, without the closing brace. It is
// one line.
func (b *buffer) encode(record any) ([]byte, error) {
	b.Reset()
	if r, ok := record.(JSONAppender); ok {
		object, err := r.AppendJSON(b.AvailableBuffer())
		if err != nil {
			return nil, err
		}
		b.Write(object) // in its place already, or room for the next
	} else if err := b.json.Encode(record); err != nil {
		return nil, err
	}
	rest, ok := bytes.CutPrefix(b.Bytes(), []byte(seqMember))
	rest, end := bytes.CutSuffix(bytes.TrimSuffix(rest, []byte("\n")), []byte("}"))
	if !ok || !end || bytes.IndexByte(rest, '\n') >= 0 {
		return nil, errNoSeq
	}
	for len(rest) > 0 && '0' <= rest[0] && rest[0] <= '9' {
		rest = rest[1:]
	}
	if len(rest) > MaxLine-tailLen-len(seqMember)-20 { // digits of a uint64
		return nil, errTooLong
	}
	return rest, nil
}
