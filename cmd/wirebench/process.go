package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A process is a server of the run, so that what it costs can be told from what
// the load generator costs.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	reader sync.WaitGroup

	mu   sync.Mutex
	tail []string // of what it said, for when it fails
}

// start runs a command and waits for the line that says that it is ready; it
// returns that line's submatches.
func start(ctx context.Context, cmd *exec.Cmd, ready *regexp.Regexp) (*process, []string, error) {
	p, found, err := launch(cmd, ready)
	if err != nil {
		return nil, nil, err
	}
	timeout, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	select {
	case m, ok := <-found:
		if ok {
			return p, m, nil
		}
		err = errors.New("it ended")
	case <-timeout.Done():
		err = timeout.Err()
	}
	return nil, nil, p.unready(err)
}

// startAt runs a command and waits until something listens at addr.
func startAt(ctx context.Context, cmd *exec.Cmd, addr string) (*process, error) {
	p, found, err := launch(cmd, nil)
	if err != nil {
		return nil, err
	}
	timeout, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		var d net.Dialer
		if c, err := d.DialContext(timeout, "tcp", addr); err == nil {
			return p, c.Close()
		}
		select {
		case <-found:
			return nil, p.unready(errors.New("it ended"))
		case <-timeout.Done():
			return nil, p.unready(timeout.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

const readyTime = 30 * time.Second

// launch starts a command. The channel gets the submatches of the line that says
// that it is ready, if that is not nil, and is closed when the process says no more.
func launch(cmd *exec.Cmd, ready *regexp.Regexp) (*process, <-chan []string, error) {
	p := &process{cmd: cmd}
	out, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer w.Close()
	cmd.Stdout, cmd.Stderr = w, w
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		out.Close()
		return nil, nil, err
	}
	// An interrupt at the terminal is for the run, which ends its servers itself.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		out.Close()
		return nil, nil, err
	}
	found := make(chan []string, 1)
	p.reader.Go(func() { p.read(out, ready, found) })
	return p, found, nil
}

// unready ends a process that did not become ready.
func (p *process) unready(err error) error {
	p.stop()
	return fmt.Errorf("%s did not become ready: %w\n%s", strings.Join(p.cmd.Args, " "), err, p.said())
}

// read takes what the process says until it ends.
func (p *process) read(out io.ReadCloser, ready *regexp.Regexp, found chan<- []string) {
	defer out.Close()
	defer close(found)
	const kept = 20 // lines
	sent := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		p.mu.Lock()
		p.tail = append(p.tail, line)
		p.tail = p.tail[max(0, len(p.tail)-kept):]
		p.mu.Unlock()
		if ready == nil || sent {
			continue
		}
		if m := ready.FindStringSubmatch(line); m != nil {
			sent = true
			found <- m
		}
	}
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "\n")
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process, by force when it takes its time.
func (p *process) stop() {
	p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it has ended already when this fails
	kill := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait() // how it ends is of no interest
	kill.Stop()
	p.reader.Wait()
}

// Servers of our own are this program again. They read a wiring from standard
// input, say in one line of JSON where they listen, and end with standard input.

// A wiring is what a server has to know.
type wiring struct {
	Dir      string // holds the certificates
	OriginH1 string // host:port
	OriginH2 string
}

// origin is where a host is found.
func (w wiring) origin(host string) string {
	if host == hostH2 {
		return w.OriginH2
	}
	return w.OriginH1
}

var readyLine = regexp.MustCompile(`^ready (\{.*\})$`)

// startOwn starts a server of our own and decodes where it listens into addr.
func startOwn(ctx context.Context, name string, w wiring, addr any) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, name)
	cmd.Env = append(os.Environ(), wiringVariable+"="+string(text))
	p, m, err := start(ctx, cmd, readyLine)
	if err != nil {
		return nil, err
	}
	return p, json.Unmarshal([]byte(m[1]), addr)
}

const wiringVariable = "WIREBENCH_WIRING"

func readWiring() (w wiring, err error) {
	return w, json.Unmarshal([]byte(os.Getenv(wiringVariable)), &w)
}

// sayReady tells the run where this server listens, and waits for the end.
func sayReady(addr any) error {
	text, err := json.Marshal(addr)
	if err != nil {
		return err
	}
	fmt.Printf("ready %s\n", text)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
