package gallery_test

import (
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A behaviour is what an origin does with a request. One of its fields is set.
type behaviour struct {
	answer func(received) *answer              // by the rules; HTTP/2 origins do only this
	raw    func(s *stream, r received) bool    // once the request was read; reports whether the connection goes on
	early  func(s *stream, head received) bool // once its head was read
	bare   func(c *net.TCPConn)                // instead of TLS
}

func (b behaviour) serve(s *stream, r received) bool {
	switch {
	case b.early != nil:
		return b.early(s, r)
	case b.raw != nil:
		return b.raw(s, r)
	}
	return b.answer(r).writeTo(s, r.method())
}

// echo answers with all that it was sent.
var echo = behaviour{answer: func(r received) *answer {
	return &answer{header: []field{plainField("Content-Type", "text/plain")}, body: []string{r.head + "\r\n" + r.body}}
}}

// pours are behaviours that write n of something, or without an end.
var pours = map[string]func(w io.Writer, n int) error{
	"interim": func(w io.Writer, n int) error {
		return repeat(w, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", n, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	},
	"continue": func(w io.Writer, n int) error {
		return repeat(w, "HTTP/1.1 100 Continue\r\n\r\n", n, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	},
	"fields": func(w io.Writer, n int) error {
		io.WriteString(w, "HTTP/1.1 200 OK\r\n")
		return repeat(w, "X-Many: abcdefghij\r\n", n, "Content-Length: 2\r\n\r\nok")
	},
	"huge-field": func(w io.Writer, n int) error {
		io.WriteString(w, "HTTP/1.1 200 OK\r\nX-Huge: ")
		return repeat(w, strings.Repeat("a", 1024), n, "\r\nContent-Length: 2\r\n\r\nok")
	},
	"status-line": func(w io.Writer, n int) error {
		io.WriteString(w, "HTTP/1.1 200 ")
		return repeat(w, strings.Repeat("a", 1024), n, "\r\nContent-Length: 2\r\n\r\nok")
	},
	"chunk-extension": func(w io.Writer, n int) error {
		io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=")
		return repeat(w, strings.Repeat("a", 1024), n, "\r\nok\r\n0\r\n\r\n")
	},
	"trailers": func(w io.Writer, n int) error {
		io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n")
		return repeat(w, "X-Many: abcdefghij\r\n", n, "\r\n")
	},
	"tiny-chunks": func(w io.Writer, n int) error {
		io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		return repeat(w, "1\r\na\r\n", n, "0\r\n\r\n")
	},
	"answers": func(w io.Writer, n int) error {
		return repeat(w, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", n, "")
	},
}

// repeat writes text n times, for ever if n is 0, and then what ends it.
func repeat(w io.Writer, text string, n int, end string) error {
	block := 1 + (32<<10)/len(text)
	for done := 0; n == 0 || done < n; done += block {
		if n > 0 {
			block = min(block, n-done)
		}
		if _, err := io.WriteString(w, strings.Repeat(text, block)); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, end)
	return err
}

// behaviourOf reads a row's "origin:" field.
func (c *testcase) behaviourOf() (behaviour, error) {
	name, rest, _ := strings.Cut(c.origin, " ")
	args := make(map[string]string)
	for _, a := range strings.Fields(rest) {
		k, v, _ := strings.Cut(a, "=")
		args[k] = v
	}
	switch name {
	case "", "echo":
		return echo, nil
	case "say":
		return c.say(args["then"])
	case "reflect":
		a, err := reflection(c, args)
		return behaviour{answer: func(received) *answer { return a }}, err
	case "redirect":
		return behaviour{answer: func(received) *answer {
			code, _ := strconv.Atoi(args["status"])
			return &answer{status: code, header: []field{plainField("Location", args["to"])}}
		}}, nil
	case "pour":
		n, err := strconv.Atoi(args["n"])
		pour, ok := pours[args["of"]]
		if !ok || err != nil {
			return echo, fmt.Errorf("pour: %q is none of %v with a number n", rest, slices.Sorted(maps.Keys(pours)))
		}
		return behaviour{raw: func(s *stream, _ received) bool { return pour(s, n) == nil }}, nil
	case "bomb":
		return bomb(args["in"], args["mib"])
	}
	return echo, fmt.Errorf("no such behaviour: %q", c.origin)
}

// say writes the row's own answer, in the pieces that {{split}} makes of it.
func (c *testcase) say(then string) (behaviour, error) {
	if c.answer == "" {
		return echo, fmt.Errorf("origin: say, but the row has no answer")
	}
	pieces := strings.Split(c.answer, splitMark)
	return behaviour{raw: func(s *stream, _ received) bool {
		for _, p := range pieces {
			if _, err := io.WriteString(s, p); err != nil {
				return false
			}
		}
		switch then {
		case "keep":
			return true
		case "reset":
			_ = s.raw.SetLinger(0)
		case "stall":
			_, _ = io.Copy(io.Discard, s) // until the vault goes
		}
		return false
	}}, nil
}

// bombs keeps those that were made, by coding and size: they take a while.
var bombs sync.Map

// bomb is a body of zeros, coded: a thousandth of its length or less on the
// wire.
func bomb(coding, mib string) (behaviour, error) {
	n, err := strconv.Atoi(mib)
	if err != nil {
		return echo, fmt.Errorf("bomb: mib=%q", mib)
	}
	var names []string
	for c := range strings.SplitSeq(coding, ",") {
		if codings[c] == nil {
			return echo, fmt.Errorf("bomb: in=%q", coding)
		}
		names = append(names, nameOfCoding(c))
	}
	made, _ := bombs.LoadOrStore(coding+" "+mib, sync.OnceValue(func() []string {
		pieces := slices.Repeat([]string{strings.Repeat("\x00", 1<<20)}, n)
		for c := range strings.SplitSeq(coding, ",") {
			pieces = codings[c](pieces)
		}
		return pieces
	}))
	pieces := made.(func() []string)() // now, while nobody waits for it
	return behaviour{answer: func(received) *answer {
		return &answer{header: []field{plainField("Content-Encoding", strings.Join(names, ", "))}, body: pieces}
	}}, nil
}
