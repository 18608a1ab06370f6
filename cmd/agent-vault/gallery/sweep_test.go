package gallery_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sweep searches all that a world has left behind for any fragment of any of
// its 64 credentials, in any encoding: what the server wrote to its output at
// debug level, its metrics, the answers of its API to people and agents, what
// its commands print, the environment of a child of vault run, and every file of
// its data folder while it runs and after it ended. What agents got has been
// searched case by case.
func (w *world) sweep(t *testing.T) {
	t.Helper()
	w.t = t
	searched := 0
	search := func(where string, data []byte) {
		t.Helper()
		searched += len(data)
		if len(data) == 0 {
			t.Errorf("%s is empty: nothing was searched", where)
		}
		for _, l := range w.judge.find(data) {
			t.Errorf("%s has %v", where, l)
		}
	}
	w.sweepAPI(t, search)
	for _, args := range [][]string{
		{"credential", "list"}, {"credential", "versions", "API_KEY"}, {"service", "list"}, {"service", "show", "api"}, {"vault", "show", "default"},
		{"vault", "list"}, {"session", "list"}, {"agent", "list"}, {"logs"}, {"events"}, {"hosts"}, {"policy", "check", "GET", "https://api.test/"},
	} {
		search(strings.Join(args, " "), []byte(w.command("", append(args, "-o", "json")...)))
	}
	search("the environment of a child", []byte(w.command("", "vault", "run", "--", "env")))
	search("the output of the server", w.out.Bytes())
	w.sweepFiles(t, search)
	w.stop()
	search("the output of the server at its end", w.out.Bytes())
	w.sweepFiles(t, search)
	t.Logf("%d bytes were searched", searched)
}

// sweepAPI asks every GET route of the API's own document, as each kind of
// caller.
func (w *world) sweepAPI(t *testing.T, search func(string, []byte)) {
	t.Helper()
	var agent struct {
		Token string `json:"av_agent_token"`
	}
	w.call("POST", "/v1/agents", w.owner, `{"name":"sweeper","vaults":[{"vault_name":"default","vault_role":"proxy"}]}`, &agent)
	proposal := `{"services":[{"action":"set","name":"new","host":"new.example.com","auth":{"type":"bearer","token":"API_KEY"}}],"message":"m"}`
	var made struct{ ID int }
	w.call("POST", "/v1/proposals", agent.Token, proposal, &made)
	if err := w.mint(); err != nil {
		t.Fatal(err)
	}
	type parameter struct {
		Name, In string
		Required bool
	}
	var document struct {
		Paths map[string]map[string]struct{ Parameters []parameter }
	}
	w.call("GET", "/v1/openapi.json", "", "", &document)
	values := map[string]string{"name": "default", "vault": "default", "service": "api", "key": "API_KEY", "id": fmt.Sprint(made.ID),
		"token": "none", "method": "GET", "url": "https://api.test/"}
	answered := 0
	for path, methods := range document.Paths {
		get, ok := methods["get"]
		if !ok {
			continue
		}
		query := "?"
		for _, p := range get.Parameters {
			switch {
			case p.In == "path":
				path = strings.ReplaceAll(path, "{"+p.Name+"}", values[p.Name])
			case p.In == "query" && (p.Required || p.Name == "vault"):
				query += p.Name + "=" + values[p.Name] + "&"
			}
		}
		path += strings.TrimRight(query, "?&")
		for caller, token := range map[string]string{"the owner": w.owner, "an agent": agent.Token, "a session": w.token, "nobody": ""} {
			status, body, err := w.ask("GET", path, token, "")
			if err != nil {
				t.Errorf("GET %s as %s: %v", path, caller, err)
				continue
			}
			if status == http.StatusOK {
				answered++
			} else if caller == "the owner" && status != http.StatusNotFound && status != http.StatusForbidden {
				t.Errorf("GET %s as the owner: %d %.200s", path, status, body)
			}
			search("GET "+path+" as "+caller, body)
		}
	}
	if answered < 40 {
		t.Errorf("only %d answers of the API were good ones", answered)
	}
}

// sweepFiles searches the data folder, and the home of whoever runs the server.
func (w *world) sweepFiles(t *testing.T, search func(string, []byte)) {
	t.Helper()
	var names []string
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() == 0 {
			return err
		}
		content, err := os.ReadFile(path)
		names = append(names, d.Name())
		search(path, content)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"agent-vault.db", "config.yaml"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s was not searched, only %v", want, names)
		}
	}
}

// TestSweepFinds plants a leak in each kind of place and expects the sweep's
// search to see it.
func TestSweepFinds(t *testing.T) {
	w := &world{dir: t.TempDir(), judge: theJudge(), t: t}
	w.write("agent-vault.db", []byte("page\x00\x00"+encodings["utf16le"](storedKey)+"\x00"))
	line, err := json.Marshal(map[string]string{"path": "/x/" + richKey})
	if err != nil {
		t.Fatal(err)
	}
	w.write("config.yaml", append(line, '\n'))
	found := make(map[string]bool)
	w.sweepFiles(t, func(where string, data []byte) {
		for _, l := range w.judge.find(data) {
			found[filepath.Base(where)+" "+l.credential] = true
		}
	})
	if !found["agent-vault.db STORED_KEY"] || !found["config.yaml RICH_KEY"] {
		t.Errorf("found %v", found)
	}
}
