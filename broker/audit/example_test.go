package audit_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"agentvault/broker/audit"
)

// A log is written, read line by line, which may go on meanwhile, and verified.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, key := filepath.Join(dir, "audit.log"), make([]byte, 32)
	l, err := audit.Open(audit.Options{Path: path, Key: key})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	type record struct {
		Seq  uint64 `json:"seq"`
		Kind string `json:"kind"`
		Path string `json:"path"`
	}
	for _, p := range []string{"/a", "/b", "/c"} {
		if err := l.Append(record{Kind: "intent", Path: p}); err != nil {
			log.Fatal(err)
		}
	}
	in := audit.NewReader(path, audit.Position{})
	defer in.Close()
	for {
		line, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		body, _, _ := strings.Cut(string(line), `,"mac":`)
		fmt.Println(body)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(raw), "/b", "/x", 1)), 0o600); err != nil {
		log.Fatal(err)
	}
	report, err := audit.Verify(context.Background(), audit.VerifyOptions{Path: path, Key: key})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Bad)
	// Output:
	// {"seq":1,"kind":"intent","path":"/a"
	// {"seq":2,"kind":"intent","path":"/b"
	// {"seq":3,"kind":"intent","path":"/c"
	// audit.log line 2 (byte 111), record 2: changed: its mac does not fit it and the record before
}
