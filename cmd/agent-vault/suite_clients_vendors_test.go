package main_test

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"path/filepath"
	"strings"
)

// vendors are APIs whose own clients know their hosts.
func (o *clientOrigin) vendors(w http.ResponseWriter, r *http.Request, host string, body []byte) {
	var asked struct{ Stream bool }
	_ = json.Unmarshal(body, &asked) // a form or a file is none
	w.Header().Set("Content-Type", "application/json")
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) } // a string always is JSON
	switch path := r.URL.Path; {
	case host == "api.openai.com" && path == "/v1/chat/completions" && asked.Stream:
		o.events(w, func(n string) string {
			end := ""
			if n == "two" {
				end = "data: [DONE]\n\n"
			}
			return `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"event ` + n + `"},"finish_reason":null}]}` + "\n\n" + end
		})
	case host == "api.openai.com" && path == "/v1/chat/completions":
		fmt.Fprintf(w, `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`, quoted(o.nonce))
	case host == "api.openai.com" && path == "/v1/responses":
		fmt.Fprintf(w, `{"id":"r","object":"response","created_at":1,"model":"m","status":"completed","output":[{"type":"message","id":"m","role":"assistant","status":"completed","content":[{"type":"output_text","text":%s,"annotations":[]}]}],"usage":{"input_tokens":1,"output_tokens":1,"total_tokens":2}}`, quoted(o.nonce))
	case host == "api.anthropic.com" && path == "/v1/messages" && asked.Stream:
		o.events(w, func(n string) string {
			event := func(name, fields string) string {
				return "event: " + name + "\ndata: {\"type\":\"" + name + "\"" + fields + "}\n\n"
			}
			text := event("content_block_delta", `,"index":0,"delta":{"type":"text_delta","text":"event `+n+`"}`)
			if n == "one" {
				return event("message_start", `,"message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}`) +
					event("content_block_start", `,"index":0,"content_block":{"type":"text","text":""}`) + text
			}
			return text + event("content_block_stop", `,"index":0`) + event("message_stop", "")
		})
	case host == "api.anthropic.com" && path == "/v1/messages":
		fmt.Fprintf(w, `{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":%s}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}`, quoted(o.nonce))
	case path == "/v1/files" && host == "api.anthropic.com":
		fmt.Fprintf(w, `{"id":"f","type":"file","filename":"f","mime_type":"text/plain","size_bytes":1,"created_at":"2026-01-01T00:00:00Z"}`)
	case path == "/v1/files" && host == "files.stripe.com":
		io.WriteString(w, `{"id":"file_1","object":"file","purpose":"dispute_evidence","size":1,"type":"pdf","created":1}`)
	case path == "/v1/files":
		io.WriteString(w, `{"id":"f","object":"file","bytes":1,"created_at":1,"filename":"f","purpose":"assistants","status":"processed"}`)
	case strings.HasPrefix(path, "/v1/files/"), path == "/repos/o/r/tarball":
		o.stream(w)
	case host == "api.stripe.com":
		fmt.Fprintf(w, `{"id":"cus_1","object":"customer","created":1,"description":%s}`, quoted(o.nonce))
	case host == "uploads.github.com":
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"id":1,"name":"f","state":"uploaded"}`)
	default:
		fmt.Fprintf(w, `{"id":1,"login":%s}`, quoted(o.nonce))
	}
}

// s3 keeps objects, by path.
func (o *clientOrigin) s3(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("ETag", `"e"`)
	switch {
	case r.Method == http.MethodPut:
	case strings.HasSuffix(r.URL.Path, "/content"):
		w.Header().Set("Content-Length", fmt.Sprint(len(o.content)))
		w.Header().Set("Last-Modified", "Mon, 01 Jun 2026 00:00:00 GMT")
		if r.Method == http.MethodGet {
			w.Write(o.content)
		}
	default: // a list of buckets
		w.Header().Set("Content-Type", "application/xml")
		io.WriteString(w, `<?xml version="1.0"?><ListAllMyBucketsResult><Owner><ID>o</ID></Owner><Buckets><Bucket><Name>`)
		_ = xml.EscapeText(w, []byte(o.nonce)) // a client that is gone says so
		io.WriteString(w, `</Name><CreationDate>2026-06-01T00:00:00Z</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>`)
	}
}

// git is git's own server program, and beside it the three requests of its LFS.
func (o *clientOrigin) git(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/objects/batch"):
		var batch struct {
			Operation string
			Objects   []struct {
				OID  string `json:"oid"`
				Size int    `json:"size"`
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&batch); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
		var objects []string
		for _, obj := range batch.Objects {
			objects = append(objects, fmt.Sprintf(`{"oid":%q,"size":%d,"actions":{%q:{"href":"https://git.test/lfs/%[1]s"}}}`, obj.OID, obj.Size, batch.Operation))
		}
		fmt.Fprintf(w, `{"transfer":"basic","objects":[%s]}`, strings.Join(objects, ","))
	case strings.HasPrefix(r.URL.Path, "/lfs/"):
		o.object(w, r)
	case strings.HasSuffix(r.URL.Path, "/locks/verify"):
		w.WriteHeader(http.StatusNotFound) // it locks nothing
	default:
		out, err := exec.Command("git", "--exec-path").Output()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		(&cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Env: []string{
			"GIT_PROJECT_ROOT=" + o.repos, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=robot",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		}}).ServeHTTP(w, r)
		pushed, err := exec.Command("git", "-C", filepath.Join(o.repos, "repo.git"), "cat-file", "blob", "pushed:pushed.bin").Output()
		if err == nil { // else nobody has pushed yet
			o.store(pushed)
		}
	}
}

// object keeps what is put at a path, and gives it back.
func (o *clientOrigin) object(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.Method == http.MethodPut {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		o.objects[r.URL.Path] = b
		return
	}
	b, ok := o.objects[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Write(b)
}
