package main_test

import (
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// slowModes are what slowhttptest knows: slow headers, slow bodies, ranges, slow
// reading.
var slowModes = map[string][]string{"headers": {"-H"}, "bodies": {"-B"}, "ranges": {"-R"}, "reading": {"-X", "-k", "3", "-n", "2", "-z", "16"}}

var (
	colours            = regexp.MustCompile("\x1b\\[[0-9;]*m")
	serviceAvailable   = regexp.MustCompile(`service available: +YES`)
	serviceUnavailable = regexp.MustCompile(`service available: +NO`)
)

// TestSlowhttptest: slow clients on every entrance, 900 at a time, keep nobody
// from being served. Those in tunnels have a session; the others are refused,
// which the tool cannot be told to avoid, as slowly as they like.
func TestSlowhttptest(t *testing.T) {
	program := suiteProgram(t, "slowhttptest")
	w := newSuiteWorld(t, injected)
	serveHello(t, w)
	w.startRelay(t)
	targets := []string{w.API + "/v1/openapi.json", w.Proxy + "/", fmt.Sprintf("https://localhost:%d/", w.ports[0])}
	for mode, args := range slowModes {
		t.Run(mode, func(t *testing.T) {
			var attacks sync.WaitGroup
			for _, target := range targets {
				attacks.Go(func() {
					args := append([]string{"-c", "300", "-r", "150", "-i", "3", "-l", "12", "-p", "3", "-u", target}, args...)
					// It exits with 1 when its time is up.
					out, err := exec.Command(program, args...).CombinedOutput()
					if text := colours.ReplaceAllString(string(out), ""); !serviceAvailable.MatchString(text) || serviceUnavailable.MatchString(text) {
						t.Errorf("%s: %v\n%s", target, err, text[max(0, len(text)-2000):])
					}
				})
			}
			over := make(chan struct{})
			go func() { attacks.Wait(); close(over) }()
			served, slowest := w.honest(t, over)
			t.Logf("%d requests served meanwhile, the slowest in %v", served, slowest)
		})
	}
}

// honest asks by both entrances, one request after the other, until over is
// closed.
func (w *suiteWorld) honest(t *testing.T, over <-chan struct{}) (served int, slowest time.Duration) {
	t.Helper()
	byProxy, byPath := w.client(w.token, true), &http.Client{Transport: new(http.Transport)}
	byProxy.Timeout, byPath.Timeout = 10*time.Second, 10*time.Second
	defer byPath.CloseIdleConnections()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		for _, url := range []string{"https://" + suiteHost + "/", w.API + "/proxy/" + suiteHost + "/"} {
			req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
			if err != nil {
				t.Fatal(err)
			}
			client := byProxy
			if strings.HasPrefix(url, w.API) {
				client = byPath
				req.Header.Set("Authorization", "Bearer "+w.token)
			}
			began := time.Now()
			resp, err := client.Do(req)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %v, %v", url, resp, err)
			}
			if err == nil {
				resp.Body.Close()
				served++
			}
			slowest = max(slowest, time.Since(began))
		}
		select {
		case <-over:
			return served, slowest
		case <-pause.C:
		}
	}
}
