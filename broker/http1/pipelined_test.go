package http1_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"agentvault/broker/http1"
)

// What an agent sends while a slow request is served is behind what it has sent
// before: each request is answered once, in order, wherever its bytes part.
func TestPipelined(t *testing.T) {
	const first = "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
	second := func(pad int) string {
		return "GET /2 HTTP/1.1\r\nHost: h\r\nX-Pad: " + strings.Repeat("a", pad) + "\r\n\r\n"
	}
	const third = "GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	full := first + second(16<<10-60)
	for _, tt := range []struct {
		name, before, during, after string
	}{
		{"nothing before", first, second(0)[:1], second(0)[1:] + third},
		{"the next in pieces", first + second(0)[:9], second(0)[9:10], second(0)[10:] + third},
		{"one whole before", first + second(0), third[:1], third[1:]},
		{"two before", first + second(0) + third[:1], third[1:2], third[2:]},
		{"a full buffer", full[:16<<10], full[16<<10 : 16<<10+1], full[16<<10+1:] + third},
	} {
		t.Run(tt.name, func(t *testing.T) {
			looked := make(chan struct{})
			agent, nc := net.Pipe() // where a write returns when it was read
			defer agent.Close()
			must(t, agent.SetDeadline(time.Now().Add(20*time.Second)))
			s := http1.New(http1.Options{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					b, err := io.ReadAll(r.Body)
					if r.RequestURI == "/1" {
						<-looked
					}
					fmt.Fprint(w, r.RequestURI, string(b), err)
				}),
				HeaderTimeout: time.Minute, IdleTimeout: time.Minute, Leave: func(c net.Conn) { c.Close() },
			})
			s.Serve(nc)
			go func() {
				for i, part := range []string{tt.before, tt.during, tt.after} {
					if _, err := io.WriteString(agent, part); err != nil {
						return // what was answered says why
					}
					if i == 1 {
						close(looked)
					}
				}
			}()
			var got []string
			for br := bufio.NewReader(agent); ; {
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					break
				}
				b, err := io.ReadAll(resp.Body)
				must(t, err)
				got = append(got, string(b))
			}
			want := []string{"/1abc<nil>", "/2<nil>", "/3<nil>"}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%q, want %q", got, want)
			}
			must(t, s.Shutdown(t.Context()))
		})
	}
}
