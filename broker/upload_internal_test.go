package broker

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A goneWriter is net/http's for HTTP/2 once its handler has returned.
type goneWriter struct{ http.ResponseWriter }

func (goneWriter) SetReadDeadline(time.Time) error { panic("the handler has returned") }

// TestReadBehindTheEnd: the transport may read the agent's body when the
// exchange is over, or was cut, and sets no deadline then.
func TestReadBehindTheEnd(t *testing.T) {
	for name, end := range map[string]func(*use){
		"over": func(u *use) { u.stop() },
		"cut":  func(u *use) { u.cut(NewFault(CodeUnavailable)) },
	} {
		e := new(exchange)
		e.use.holder = ender(func() {})
		b := &countingBody{ReadCloser: io.NopCloser(strings.NewReader("text")), e: e, in: new(http.Request), out: new(http.Request), rc: http.NewResponseController(goneWriter{})}
		end(&e.use)
		if got, err := io.ReadAll(b); string(got) != "text" || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
