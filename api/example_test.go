package api_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"agentvault/api"
	"agentvault/store"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// startExample serves an empty instance.
func startExample(dir string) (*httptest.Server, func(), error) {
	db, err := store.Open(context.Background(), store.Options{Path: filepath.Join(dir, "data", "agent-vault.db")})
	if err != nil {
		return nil, nil, err
	}
	registry, err := vault.New(vault.Options{Store: db, Key: seal.NewKey()})
	if err != nil {
		return nil, nil, err
	}
	var handler http.Handler
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	base := func() string { return "http://" + srv.Listener.Addr().String() }
	handler, err = api.New(api.Options{Registry: registry, CAPEM: func() []byte { return nil }, BaseURL: base, PathProxyURL: base, ProxyURL: base})
	if err != nil {
		return nil, nil, err
	}
	srv.Start()
	return srv, func() { srv.Close(); _ = db.Close() }, nil
}

// A person becomes the owner and stores a credential; an agent sees its name.
func ExampleClient() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	server, stop, err := startExample(dir)
	if err != nil {
		log.Print(err)
		return
	}
	defer stop()
	ctx := context.Background()

	person := &api.Client{Address: server.URL}
	login, err := person.Register(ctx, api.LoginRequest{Email: "you@example.com", Password: "correct horse battery staple"})
	if err != nil {
		log.Print(err)
		return
	}
	person.Token = login.Token
	answer, err := person.Apply(ctx, api.ApplyRequest{Vaults: []api.ApplyVault{{
		Name: "default", Credentials: map[string]string{"API_KEY": "sk-live-3f9a77c1"},
	}}})
	if err != nil {
		log.Print(err)
		return
	}
	for _, c := range answer.Changes {
		fmt.Println(c.Action, c.Kind, c.Name)
	}

	session, err := person.MintSession(ctx, api.SessionRequest{Vault: "default", Label: "my agent"})
	if err != nil {
		log.Print(err)
		return
	}
	agent := &api.Client{Address: server.URL, Token: session.Token}
	found, err := agent.Discover(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Println("the agent's vault is", found.Vault, "with", found.AvailableCredentials)
	_, err = agent.Vaults(ctx)
	fmt.Println(err)
	// Output:
	// unchanged vault default
	// created credential API_KEY
	// the agent's vault is default with [API_KEY]
	// an agent's token may not do this; a person can
}
