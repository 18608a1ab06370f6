package upstream_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
)

// A readBody tells whether it is being read.
type readBody struct {
	*io.PipeReader
	reads atomic.Int32
}

func (b *readBody) Read(p []byte) (int, error) {
	b.reads.Add(1)
	defer b.reads.Add(-1)
	return b.PipeReader.Read(p)
}

// Over HTTP/2 too a body is no longer read once Do has returned an error, or an
// answer that came early was closed; and neither waits for the body's next bytes.
func TestBodiesAreTakenBack(t *testing.T) {
	o := serves(t, true, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadFull(r.Body, make([]byte, 5))
		if r.URL.Path == "/early" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "no")
			return
		}
		<-r.Context().Done()
	})
	for _, path := range []string{"/early", "/cut"} {
		pr, pw := io.Pipe()
		body := &readBody{PipeReader: pr}
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			_, _ = io.WriteString(pw, "hello") // ends with the pipe
			if path == "/cut" {
				cancel()
			}
		}()
		resp, err := o.do(ctx, &http.Request{Method: "POST", URL: o.url(path), Body: body, ContentLength: -1})
		if path == "/early" {
			must(t, err)
			if b, err := io.ReadAll(resp.Body); string(b) != "no" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			must(t, resp.Body.Close())
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		if n := body.reads.Load(); n != 0 {
			t.Errorf("%s: the body is read still", path)
		}
		cancel()
	}
}
