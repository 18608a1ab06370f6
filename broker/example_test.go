package broker_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"agentvault/broker"
	"agentvault/store"
	"agentvault/vault"
)

// exampleLog is an audit log of one request that was sent and one that was
// refused.
func exampleLog(dir string) (path string, err error) {
	path = filepath.Join(dir, "audit.log")
	a, err := broker.OpenAudit(path, make([]byte, 32))
	if err != nil {
		return "", err
	}
	for _, r := range []broker.Record{
		{Kind: "intent", Request: "r1", Target: "https://api.example.com:443", Credentials: []string{"API_KEY"}},
		{Kind: "outcome", Request: "r1", Target: "https://api.example.com:443", Credentials: []string{"API_KEY"}, Status: 200},
		{Kind: "outcome", Request: "r2", Target: "https://new.example.com:443", Status: 403, Fault: broker.CodeForbidden},
	} {
		if err := a.Append(&r); err != nil {
			return "", err
		}
	}
	return path, a.Close()
}

// A Filler makes rows of the records, one for each request.
func ExampleFiller() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, err := exampleLog(dir)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{Path: filepath.Join(dir, "data", "agent-vault.db")})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	f, err := broker.NewFiller(broker.FillerOptions{Path: path, Into: db})
	if err != nil {
		log.Fatal(err)
	}
	if err := f.Fill(ctx); err != nil {
		log.Fatal(err)
	}
	err = db.Read(ctx, func(tx vault.Tx) error {
		requests, err := tx.ListRequests(vault.RequestQuery{Limit: 10})
		for _, r := range requests {
			fmt.Println(r.ID, r.Host, *r.Status, r.Fault)
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// r1 api.example.com 200
	// r2 new.example.com 403 forbidden
}
