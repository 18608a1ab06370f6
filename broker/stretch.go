package broker

import (
	"errors"
	"strings"
	"time"

	"agentvault/vault"
)

// A stretch of the audit log becomes a batch of the request log, where an outcome
// takes the place of its intent. It says of the request what the intent said, so
// that of an intent only the beginning is read, unless its outcome does not come
// in the same stretch.
type stretch struct {
	b      vault.RequestBatch
	safe   uint64    // seq of the last record that will not be taken back
	oldest time.Time // when what is still kept began
	dec    *decoder
	rec    Record // of the line before

	at    map[string]int // by request id: index into b.Requests and lines
	lines []span         // of those whose intent is to be read; the zero span for others
	kept  []byte         // what the spans are of
}

type span struct{ from, to int }

// errNotSafe is that a record may still be taken back.
var errNotSafe = errors.New("the record may be taken back")

// newStretch begins behind a tail. Most is how many requests it may be of.
func newStretch(tail vault.LogTail, oldest time.Time, safe uint64, dec *decoder, most int) *stretch {
	return &stretch{
		b: vault.RequestBatch{
			Requests: make([]vault.Request, 0, most), Fresh: make([]bool, 0, most),
			Uses: make(map[vault.CredentialUse]time.Time), Tail: tail, Again: tail.Again,
		},
		safe: safe, oldest: oldest, dec: dec, at: make(map[string]int, most), lines: make([]span, 0, most),
	}
}

// add takes a line in, of whatever kind. The error is errNotSafe, or of a line
// that is no record.
func (s *stretch) add(line []byte) error {
	h, ok := s.dec.head(line)
	if !ok || h.kind != "intent" || len(h.id) == 0 || h.time.Before(s.oldest) {
		return s.addWhole(line)
	}
	if h.seq > s.safe {
		return errNotSafe
	}
	s.b.Tail.Seq = h.seq
	if _, ok := s.at[string(h.id)]; !ok {
		from := len(s.kept)
		s.kept = append(s.kept, line...)
		s.put(vault.Request{ID: string(h.id), Time: began(h.time)}, span{from, len(s.kept)})
	}
	return nil
}

func (s *stretch) addWhole(line []byte) error {
	rec := &s.rec
	if err := s.dec.record(line, rec); err != nil {
		return err
	}
	if rec.Seq > s.safe {
		return errNotSafe
	}
	s.b.Tail.Seq = rec.Seq
	r := rec.request()
	if rec.Kind == "intent" {
		s.use(&r)
	}
	if rec.Kind != "intent" && rec.Kind != "outcome" || rec.Request == "" || r.Time.Before(s.oldest) {
		return nil
	}
	i, ok := s.at[r.ID]
	switch {
	case !ok:
		s.put(r, span{})
	case r.Status != nil && s.b.Requests[i].Status == nil:
		r.Time = s.b.Requests[i].Time
		s.b.Requests[i] = r
		if s.lines[i].to > 0 {
			s.lines[i] = span{}
			s.use(&r)
		}
	}
	return nil
}

func (s *stretch) put(r vault.Request, line span) {
	s.at[r.ID] = len(s.b.Requests)
	s.b.Requests, s.b.Fresh, s.lines = append(s.b.Requests, r), append(s.b.Fresh, r.Status == nil), append(s.lines, line)
}

// use notes the credentials of a request.
func (s *stretch) use(r *vault.Request) {
	for _, key := range r.Credentials {
		use := vault.CredentialUse{VaultID: r.VaultID, Key: key}
		if r.Time.After(s.b.Uses[use]) {
			s.b.Uses[use] = r.Time
		}
	}
}

// end reads the intents whose outcomes did not come. What cannot be read is left
// out.
func (s *stretch) end() []error {
	var bad []error
	n := 0
	for i, line := range s.lines {
		if line.to > 0 {
			if err := s.dec.record(s.kept[line.from:line.to], &s.rec); err != nil {
				bad = append(bad, err)
				continue
			}
			s.b.Requests[i] = s.rec.request()
			s.use(&s.b.Requests[i])
		}
		s.b.Requests[n], s.b.Fresh[n] = s.b.Requests[i], s.b.Fresh[i]
		n++
	}
	s.b.Requests, s.b.Fresh = s.b.Requests[:n], s.b.Fresh[:n]
	return bad
}

// request is the record as a row of the request log.
func (r *Record) request() vault.Request {
	at := r.Time
	var status *int
	if r.Kind == "outcome" {
		at = at.Add(-time.Duration(r.Micros) * time.Microsecond)
		s := r.Status
		status = &s
	}
	_, host, _ := strings.Cut(r.Target, "://")
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return vault.Request{
		ID: r.Request, Time: began(at), Entrance: r.Entrance, SessionID: r.Session, Agent: r.Agent, AgentKind: r.AgentKind,
		VaultID: r.VaultID, Vault: r.Vault, Service: r.Service, Target: r.Target, Host: host, Method: r.Method, Path: r.Path,
		Credentials: r.Credentials, Status: status, Fault: r.Fault, BytesIn: r.BytesIn, BytesOut: r.BytesOut,
		Micros: r.Micros, Scrubbed: r.Scrubbed, Seq: r.Seq,
	}
}

// began is a time as the request log keeps it.
func began(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
