package main_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestKilledServerLosesNothing kills the server with SIGKILL in the middle of
// writes, 50 times. Whatever it had acknowledged is there afterwards, and it
// starts again.
func TestKilledServerLosesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("needs the time to start the server 50 times; run without -short")
	}
	i := newInstance(t, "")
	i.register()
	login := i.login() // lasts over restarts

	acknowledged := map[string]bool{}
	sessions := 0
	for round := range 50 {
		var mu sync.Mutex
		var writers sync.WaitGroup
		client := &http.Client{Timeout: 10 * time.Second}
		begun := make(chan struct{}, 64)
		for n := range 3 {
			writers.Go(func() {
				for k := 0; ; k++ {
					key := fmt.Sprintf("KEY_%d_%d_%d", round, n, k)
					ok := attempt(client, i.API+"/v1/credentials", login, fmt.Sprintf(`{"vault":"default","credentials":{%q:"value of %s"}}`, key, key))
					if !ok {
						return
					}
					minted := attempt(client, i.API+"/v1/sessions", login, `{"vault":"default"}`)
					mu.Lock()
					acknowledged[key] = true
					if minted {
						sessions++
					}
					mu.Unlock()
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 1 + rand.IntN(12) { // of the round's writes are acknowledged, and others under way
			<-begun
		}
		if err := i.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-i.done
		writers.Wait()
		client.CloseIdleConnections()
		i.start()
	}

	a := i.send("GET", "/v1/credentials?vault=default", login, "")
	var body struct {
		Credentials []struct{ Key string }
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("%d %s", a.status, a.body)
	}
	there := map[string]bool{}
	for _, c := range body.Credentials {
		there[c.Key] = true
	}
	for _, key := range slices.Sorted(maps.Keys(acknowledged)) {
		if !there[key] {
			t.Errorf("%s was acknowledged and is lost", key)
		}
	}
	a = i.send("GET", "/v1/sessions?vault=default", login, "")
	if got := strings.Count(a.body, `"expires_at"`); got < sessions {
		t.Errorf("%d sessions of %d that were acknowledged", got, sessions)
	}
	t.Logf("%d credentials and %d sessions acknowledged over 50 kills", len(acknowledged), sessions)
}

func attempt(client *http.Client, url, token, body string) bool {
	req, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// TestKilledServerLosesNoIntent: whatever reached an upstream before a SIGKILL
// has its intent in the audit log (R15).
func TestKilledServerLosesNoIntent(t *testing.T) {
	w := newWorld(t)
	ended := make(chan []string)
	for n := range 4 {
		go func() {
			var answered []string
			client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
			for k := 0; ; k++ {
				path := fmt.Sprintf("/crash/%d/%d", n, k)
				req, err := http.NewRequest("GET", w.API+"/proxy/api.test"+path, nil)
				if err != nil {
					break
				}
				req.Header.Set("Authorization", "Bearer "+w.token)
				resp, err := client.Do(req)
				if err != nil {
					break
				}
				_, err = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if err != nil {
					break
				}
				answered = append(answered, path)
				if k == 100 && n == 0 {
					if err := w.cmd.Process.Kill(); err != nil {
						t.Error(err)
					}
				}
			}
			ended <- answered
		}()
	}
	var answered []string
	for range 4 {
		answered = append(answered, <-ended...)
	}
	<-w.done
	raw, err := os.ReadFile(w.path("data/audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	intents := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		var r struct{ Kind, Path string }
		if json.Unmarshal([]byte(line), &r) == nil && r.Kind == "intent" {
			intents[r.Path] = true
		}
	}
	for _, path := range answered {
		if !intents[path] {
			t.Errorf("%s was answered and has no intent", path)
		}
	}
	t.Logf("%d requests answered before the kill", len(answered))
	w.start() // and the log is taken up again
}
