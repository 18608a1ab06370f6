package web

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"agentvault/api"
	"agentvault/api/shown"
)

// Times of a stream.
const (
	liveLook    = time.Second            // a question to the API waits; each asks anew who it is
	livePause   = 200 * time.Millisecond // between two questions, however much there is
	liveSilence = 15 * time.Second       // without a request, until a comment shows that it is open
	liveWrite   = 10 * time.Second       // for a browser to take what is written
	liveMost    = 8 * time.Hour          // of all of it: it keeps a sign-in from ending unused
)

// mostStreams bounds those of one person. The API takes four that wait, of which
// the command line gets one.
const mostStreams = 3

// streams are those that are open. The zero streams is ready for use.
type streams struct {
	mu sync.Mutex
	by map[string][]chan struct{} // by user's id, the oldest first
}

// enter makes room for one more. ended is closed when another one takes its
// place; leave gives it back.
func (s *streams) enter(id string) (ended <-chan struct{}, leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = make(map[string][]chan struct{})
	}
	if open := s.by[id]; len(open) == mostStreams {
		close(open[0])
		s.by[id] = slices.Delete(open, 0, 1)
	}
	mine := make(chan struct{})
	s.by[id] = append(s.by[id], mine)
	return mine, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.by[id] = slices.DeleteFunc(s.by[id], func(c chan struct{}) bool { return c == mine }); len(s.by[id]) == 0 {
			delete(s.by, id)
		}
	}
}

// live tells of requests as they begin and end, as server-sent events: rows of
// the log page's table. It ends with the person's sign-in or role, when they
// open too many, and with the server. A browser that lost it for another reason
// comes back and goes on where it was.
func live(v *visit) error {
	_, f, problem := v.readFilter()
	if problem != "" {
		return refusal{http.StatusBadRequest, problem}
	}
	ended, leave := v.streams.enter(v.me.ID)
	defer leave()
	f.Wait, f.Limit = liveLook, liveRows
	after := cmp.Or(v.r.Header.Get("Last-Event-ID"), v.r.URL.Query().Get("after"))
	l, err := v.more(f, after)
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/event-stream")
	v.w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	s := stream{visit: v, conn: http.NewResponseController(v.w), since: time.Now()}
	s.send("retry: 3000\n\n")
	whole := time.NewTimer(liveMost)
	defer whole.Stop()
	for ; err == nil && s.err == nil; l, err = v.more(f, after) {
		after = l.FollowCursor
		s.sendRequests(l)
		select {
		case <-v.Stopping:
			return nil
		case <-ended:
			return s.end()
		case <-whole.C:
			return s.end()
		case <-v.ctx().Done():
			return nil
		case <-time.After(livePause):
		}
	}
	var refused *api.ClientError
	if errors.As(err, &refused) && refused.Status/100 == 4 && refused.Status != http.StatusTooManyRequests {
		return s.end()
	}
	return nil
}

// liveRows is how many requests are told of at once.
const liveRows = 100

// more waits for what is behind a cursor. Where that is more than anybody could
// read, it is the newest of it.
func (v *visit) more(f api.RequestFilter, after string) (api.RequestList, error) {
	l, err := v.client.FollowRequests(v.ctx(), f, after)
	if err == nil && len(l.Requests) == f.Limit {
		l, err = v.client.Requests(v.ctx(), f)
		slices.Reverse(l.Requests)
	}
	return l, err
}

// A stream is what is written to a browser that stays.
type stream struct {
	*visit
	conn  *http.ResponseController
	since time.Time // nothing has been written
	err   error     // the browser has gone, or takes nothing
}

// sendRequests writes each as a row, and after some time that there is none.
func (s *stream) sendRequests(l api.RequestList) {
	var b bytes.Buffer
	for i, r := range l.Requests {
		var row bytes.Buffer
		if s.err = s.templates["traffic.html"].ExecuteTemplate(&row, "request", r); s.err != nil {
			return
		}
		b.WriteString("event: request\n")
		for line := range strings.Lines(shown.Text(row.String())) {
			b.WriteString("data: " + strings.TrimSuffix(line, "\n") + "\n")
		}
		if i == len(l.Requests)-1 { // who has the last one has them all
			b.WriteString("id: " + shown.Plain(l.FollowCursor) + "\n")
		}
		b.WriteString("\n")
	}
	switch {
	case b.Len() > 0:
		s.send(b.String())
	case time.Since(s.since) > liveSilence:
		s.send(":\n\n")
	}
}

// end tells the browser not to come back.
func (s *stream) end() error {
	s.send("event: end\ndata: \n\n")
	return nil
}

func (s *stream) send(text string) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(liveWrite)) // writers without deadlines are tests'
	if _, s.err = s.w.Write([]byte(text)); s.err == nil {
		s.err = s.conn.Flush()
	}
	_ = s.conn.SetWriteDeadline(time.Time{}) // likewise
	s.since = time.Now()
}
