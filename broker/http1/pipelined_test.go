package http1_test

import (
	"bufio"
	"errors"
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

// An answer may begin while the body is read on another goroutine.
func TestAnswersWhileTheBodyIsRead(t *testing.T) {
	const size = 200 << 10
	f := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			return
		}
		begun, read := make(chan struct{}), make(chan error)
		go func() {
			first, err := io.ReadFull(r.Body, make([]byte, 10))
			close(begun)
			n := int64(first)
			for p := make([]byte, 10); err == nil; n += int64(first) {
				first, err = r.Body.Read(p)
			}
			if n == size && errors.Is(err, io.EOF) {
				err = nil
			}
			read <- err
		}()
		<-begun
		for range 100 {
			_, _ = w.Write(make([]byte, 100)) // who does not take it misses nothing
		}
		if err := <-read; err != nil {
			t.Error(err)
		}
	}, true, nil)
	got := exchange(t, f.addr, fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%sGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", size, strings.Repeat("a", size)))
	if strings.Count(got, "HTTP/1.1 200 OK\r\n") != 2 {
		t.Errorf("%.200q", got)
	}
}
