package broker_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"agentvault/broker"
	"agentvault/policy/inject"
	"agentvault/vault"
)

const placeheld = "__api_key_goes_here__"

// substituting is a broker whose service replaces placeheld in all surfaces that
// are named. Another of the same vault replaces nothing.
func substituting(t *testing.T, handler http.Handler, in ...string) *kit {
	t.Helper()
	k := newKit(t, handler, func(o *broker.Options) {
		hosts := o.Dialer.Hosts
		hosts["other.example.com"] = hosts["example.com"]
	})
	none := auth(t, `{"type":"passthrough"}`)
	v := &k.snapshot.Vaults[0]
	v.Services = []vault.Service{
		{Name: "api", Host: "example.com", Enabled: true, Auth: none, Substitutions: []inject.Substitution{{Placeholder: placeheld, Credential: "API_KEY", In: in}}},
		{Name: "other", Host: "other.example.com", Enabled: true, Auth: none},
	}
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k
}

// seen writes down what an upstream sees of a request.
func seen(into *string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		*into = fmt.Sprintf("%s %s\nX-Token: %s\n%d %q %v", r.Method, r.RequestURI, r.Header.Get("X-Token"), r.ContentLength, body, err)
		if len(r.Header["Digest"]) > 0 {
			*into += "\nDigest"
		}
	})
}

func TestSubstitutions(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	all := []string{"path", "query", "header:X-Token", "body"}
	basic := func(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }
	for _, tt := range []struct {
		name, host, target string
		in                 []string
		header             []string // name, value …
		body               string
		chunked            bool
		want               string // what the upstream sees, or the code of a fault
	}{
		{"in all surfaces", "example.com", "/bot" + placeheld + "/x?k=" + placeheld, all, []string{"X-Token", placeheld, "Content-Type", "application/json"}, `{"k":"` + placeheld + `"}`, false,
			"POST /bot" + credential + "/x?k=" + credential + "\nX-Token: " + credential + "\n32 \"{\\\"k\\\":\\\"" + credential + "\\\"}\" <nil>"},
		{"chunked stays chunked", "example.com", "/", all, []string{"Content-Type", form}, "k=" + placeheld, true,
			"POST /\nX-Token: \n-1 \"k=" + credential + "\" <nil>"},
		{"digests of what the agent wrote go", "example.com", "/", all, []string{"Content-Type", form, "Digest", "x"}, "k=" + placeheld, false,
			"POST /\nX-Token: \n26 \"k=" + credential + "\" <nil>"},
		{"a body without one is left alone", "example.com", "/", all, []string{"Content-Type", form, "Digest", "x"}, "k=%41+", false,
			"POST /\nX-Token: \n6 \"k=%41+\" <nil>\nDigest"},
		{"Basic", "example.com", "/", all, []string{"X-Token", basic("me:" + placeheld)}, "", false,
			"POST /\nX-Token: " + basic("me:"+credential) + "\n0 \"\" <nil>"},

		{"in the path", "example.com", "/" + placeheld, []string{"query"}, nil, "", false, broker.CodePlaceholder},
		{"in the path, encoded", "example.com", "/%5F%5Fapi_key_goes_here__", []string{"query"}, nil, "", false, broker.CodePlaceholder},
		{"in the query", "example.com", "/?" + placeheld, []string{"path"}, nil, "", false, broker.CodePlaceholder},
		{"in the query, in base64", "example.com", "/?k=" + base64.RawURLEncoding.EncodeToString([]byte(placeheld)), all, nil, "", false, broker.CodePlaceholder},
		{"in the query, behind half an escape", "example.com", "/?k=%4" + placeheld, all, nil, "", false, broker.CodePlaceholder},
		{"in another field", "example.com", "/", all, []string{"X-Other", placeheld}, "", false, broker.CodePlaceholder},
		{"in a cookie", "example.com", "/", all, []string{"Cookie", "a=" + placeheld}, "", false, broker.CodePlaceholder},
		{"in the name of a field", "example.com", "/", all, []string{"X-" + strings.ToUpper(placeheld), "x"}, "", false, broker.CodePlaceholder},
		{"in the password of Basic of another field", "example.com", "/", all, []string{"X-Other", basic("me:" + placeheld)}, "", false, broker.CodePlaceholder},
		{"in a body", "example.com", "/", []string{"path"}, []string{"Content-Type", form}, "k=" + placeheld, false, broker.CodePlaceholder},
		{"in a body in chunks", "example.com", "/", []string{"path"}, nil, strings.Repeat("x", 100_000) + placeheld + "y", true, broker.CodePlaceholder},
		{"in a body of another kind", "example.com", "/", all, []string{"Content-Type", "text/plain"}, "k=" + placeheld, false, broker.CodePlaceholder},
		{"in what is no JSON", "example.com", "/", all, []string{"Content-Type", "application/json"}, `{"k":"` + placeheld, false, broker.CodeBodyUnreadable},
		{"in what is no JSON, elsewhere", "other.example.com", "/", all, []string{"Content-Type", "application/json"}, `{"k":"` + placeheld, false, broker.CodePlaceholder},
		{"what is no JSON, without one", "example.com", "/", all, []string{"Content-Type", "application/json"}, `{"k":`, false,
			"POST /\nX-Token: \n5 \"{\\\"k\\\":\" <nil>"},
		{"in JSON, percent-encoded", "example.com", "/", all, []string{"Content-Type", "application/json"}, `{"k":"%5F_api_key_goes_here__"}`, false, broker.CodePlaceholder},
		{"for another host", "other.example.com", "/" + placeheld, all, nil, "", false, broker.CodePlaceholder},
		{"for another host, in the body", "other.example.com", "/", all, nil, placeheld, false, broker.CodePlaceholder},

		{"compressed", "example.com", "/", all, []string{"Content-Type", form, "Content-Encoding", "gzip"}, "k=v", false, broker.CodeBodyUnreadable},
		{"of several parts", "example.com", "/", all, []string{"Content-Type", "multipart/form-data; boundary=x"}, "--x--", false, broker.CodeBodyUnreadable},
		{"of several parts, where bodies are not looked into", "other.example.com", "/", all, []string{"Content-Type", "multipart/form-data; boundary=x"}, "--x--", false,
			"POST /\nX-Token: \n5 \"--x--\" <nil>"},
		{"too long", "example.com", "/", all, []string{"Content-Type", form}, strings.Repeat("a", 1<<20+1), false, broker.CodeRequestTooLarge},
		{"too long, in chunks", "example.com", "/", all, []string{"Content-Type", form}, strings.Repeat("a", 1<<20+1), true, broker.CodeRequestTooLarge},
		{"too long afterwards", "example.com", "/", all, []string{"Content-Type", form}, strings.Repeat(placeheld, 1<<20/len(placeheld)), false, broker.CodeRequestTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			k := substituting(t, seen(&got), tt.in...)
			r := httptest.NewRequestWithContext(t.Context(), "POST", tt.target, strings.NewReader(tt.body))
			for i := 0; i+1 < len(tt.header); i += 2 {
				r.Header.Set(tt.header[i], tt.header[i+1])
			}
			if tt.chunked {
				r.ContentLength = -1
			}
			w := httptest.NewRecorder()
			k.Serve(w, r, k.request(t, tt.host, tt.target))
			k.upstream.Close() // and wait for its handler
			fault := code(t, w)
			if fault != "" {
				got = fault
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			k.wantOutcome(t, fault)
		})
	}
}

// What is recorded of a request has the placeholder, and the credential is named.
func TestSubstitutionRecord(t *testing.T) {
	var got string
	k := substituting(t, seen(&got), "path")
	if w := k.get(t, "example.com", "/bot"+placeheld+"/x"); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	records := k.records(t)
	for _, r := range records {
		if r.Path != "/bot"+placeheld+"/x" || len(r.Credentials) != 1 || r.Credentials[0] != "API_KEY" {
			t.Errorf("recorded: %+v", r)
		}
	}
	if len(records) != 2 {
		t.Errorf("%d records, want an intent and an outcome", len(records))
	}
}

// A placeholder that is left out is the credential's dummy.
func TestDummyIsPlaceholder(t *testing.T) {
	var got string
	k := substituting(t, seen(&got), "query")
	v := &k.snapshot.Vaults[0]
	v.Services = slices.Clone(v.Services) // the broker holds what it was given
	v.Services[0].Substitutions = []inject.Substitution{{Credential: "API_KEY", In: []string{"query"}}}
	k.source.set(k.snapshot, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	dummy := vault.DummyOf(k.key.ForVault("v1"), "API_KEY")
	if w := k.get(t, "example.com", "/?k="+dummy); w.Code != http.StatusOK || !strings.Contains(got, "/?k="+credential) {
		t.Errorf("%d %s, and the upstream saw %s", w.Code, w.Body, got)
	}
	if w := k.get(t, "other.example.com", "/?k="+dummy); code(t, w) != broker.CodePlaceholder {
		t.Errorf("for another host: %d %s", w.Code, w.Body)
	}
}

// A session that replaces in the messages of a WebSocket, and one that does not.
func TestSubstitutionsInWebSockets(t *testing.T) {
	long := strings.Repeat("a", 70_000)
	for _, tt := range []struct {
		name   string
		in     string
		frames []string // of the agent
		want   []string // what the upstream reads: opcode and payload
		fault  string
	}{
		{"a message", "websocket", []string{frame(0x81, "AUTH "+placeheld)}, []string{"81 AUTH " + credential}, ""},
		{"JSON", "websocket", []string{frame(0x81, `{"k":"`+placeheld+`"}`)}, []string{`81 {"k":"` + credential + `"}`}, ""},
		{"fragments, and a ping between", "websocket", []string{frame(0x01, "AUTH "+placeheld[:9]), frame(0x89, "ping"), frame(0x00, ""), frame(0x80, placeheld[9:])}, []string{"89 ping", "81 AUTH " + credential}, ""},
		{"nothing to replace", "websocket", []string{frame(0x81, long), frame(0x81, ""), frame(0x88, "\x03\xe8")}, []string{"81 " + long, "81 ", "88 \x03\xe8"}, ""},
		{"binary passes", "websocket", []string{frame(0x02, "\x00"), frame(0x00, long), frame(0x80, "\x01"), frame(0x81, placeheld)}, []string{"02 \x00", "00 " + long, "80 \x01", "81 " + credential}, ""},
		{"binary holds one", "websocket", []string{frame(0x02, placeheld[:5]), frame(0x80, placeheld[5:])}, []string{"02 " + placeheld[:5]}, broker.CodePlaceholder},
		{"a ping holds one", "websocket", []string{frame(0x89, placeheld)}, nil, broker.CodePlaceholder},
		{"another spelling", "websocket", []string{frame(0x81, base64.StdEncoding.EncodeToString([]byte(placeheld)))}, nil, broker.CodePlaceholder},
		{"too long", "websocket", []string{frame(0x01, strings.Repeat("a", 1<<20)), frame(0x80, "b")}, nil, broker.CodeRequestTooLarge},
		{"not masked", "websocket", []string{"\x81\x01a"}, nil, broker.CodeBadRequest},
		{"out of order", "websocket", []string{frame(0x80, "a")}, nil, broker.CodeBadRequest},
		{"a reserved bit", "websocket", []string{frame(0xc1, "a")}, nil, broker.CodeBadRequest},
		{"where it is not declared", "path", []string{frame(0x81, "x"+placeheld)}, nil, broker.CodePlaceholder},
		{"where it is not declared, in fragments", "path", []string{frame(0x01, placeheld[:5]), frame(0x80, placeheld[5:])}, nil, broker.CodePlaceholder},
		{"where it is not declared, other text", "path", []string{frame(0x81, placeheld[:5]), frame(0x81, placeheld[5:])}, []string{"81 " + placeheld[:5], "81 " + placeheld[5:]}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan []string, 1)
			k := substituting(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, buf, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				if r.Header["Sec-Websocket-Extensions"] != nil {
					t.Error("messages could come compressed")
				}
				fmt.Fprintf(buf, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
				buf.Flush()
				most := len(tt.want)
				if tt.fault != "" {
					most = 0
				}
				got <- readFrames(buf.Reader, most)
			}), tt.in)
			conn, err := net.Dial("tcp", k.listen(t, k.request(t, "example.com", "/")))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
			br := bufio.NewReader(conn)
			if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("%v %v", resp, err)
			}
			for _, f := range tt.frames {
				io.WriteString(conn, f) // it may have been cut already
			}
			if tt.fault != "" {
				io.Copy(io.Discard, br) // until it is cut
			}
			frames := <-got
			if fmt.Sprintf("%.300q", frames) != fmt.Sprintf("%.300q", tt.want) || strings.Join(frames, "") != strings.Join(tt.want, "") {
				t.Errorf("upstream got %.300q, want %.300q", frames, tt.want)
			}
			if tt.fault != "" { // else what ends the broker may end the exchange
				k.wantOutcome(t, tt.fault)
			}
		})
	}
}

// frame spells a frame of a client.
func frame(first byte, payload string) string {
	mask := [4]byte{0x37, 0x00, 0xfa, 0x21}
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	default:
		b = append(b, 0x80|127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i&3])
	}
	return string(b)
}

// readFrames reads so many frames of a client, or all until the end.
func readFrames(r *bufio.Reader, most int) (frames []string) {
	for most == 0 || len(frames) < most {
		head := make([]byte, 2)
		if _, err := io.ReadFull(r, head); err != nil {
			return frames
		}
		n := int(head[1] & 0x7f)
		if n >= 126 {
			long := make([]byte, map[int]int{126: 2, 127: 8}[n])
			io.ReadFull(r, long)
			n = 0
			for _, c := range long {
				n = n<<8 | int(c)
			}
		}
		masked := make([]byte, 4+n)
		if _, err := io.ReadFull(r, masked); err != nil {
			return frames
		}
		for i := range n {
			masked[4+i] ^= masked[i&3]
		}
		frames = append(frames, fmt.Sprintf("%02x %s", head[0], masked[4:]))
	}
	return frames
}
