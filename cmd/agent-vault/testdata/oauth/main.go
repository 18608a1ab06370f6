// Oauth is the authorization server of zitadel/oidc's example, over TLS, with what
// its suite needs besides: tokens that live as long as one says, clients that come
// back to loopback, a service with a key, and a list of the refresh tokens that
// there ever were, so that they can be looked for.
package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/text/language"
)

// redirect is where apps are sent back to, on any port: a path of this server's own,
// which is login.test.
const redirect = "http://127.0.0.1/callback/login.test"

func main() {
	listen := flag.String("listen", "", "address")
	issuer := flag.String("issuer", "", "URL")
	cert := flag.String("cert", "", "certificate, PEM")
	key := flag.String("key", "", "its key, PEM")
	service := flag.String("service-key", "", "public key of the service, PEM")
	issued := flag.String("issued", "", "file for the refresh tokens that are given out, each with its client")
	life := flag.Duration("life", 5*time.Minute, "of access tokens")
	flag.Parse()
	s := &server{life: *life, tokens: make(map[string]token)}
	var err error
	if s.serviceKey, err = publicKey(*service); err != nil {
		log.Fatal(err)
	}
	if s.issued, err = os.OpenFile(*issued, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		log.Fatal(err)
	}
	storage.RegisterClients(
		storage.NativeClient("phone", redirect),
		storage.WebClient("desktop", "desktop-secret"),
		storage.WebClient("api", "api-secret"),
	)
	s.Storage = storage.NewStorage(people{
		"id1":     {ID: "id1", Username: "alice", Password: "verysecure", PreferredLanguage: language.English},
		"sid1":    {ID: "sid1"}, // the example's client for client_credentials
		"service": {ID: "service"},
	})
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	handler := exampleop.SetupServer(*issuer, s, quiet, false, op.WithLogger(quiet))
	log.Fatal(http.ListenAndServeTLS(*listen, *cert, *key, handler))
}

func publicKey(file string) (any, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("the key is no PEM")
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}

// people are those who can sign in, and whom tokens are for.
type people map[string]*storage.User

func (p people) GetUserByID(id string) *storage.User { return p[id] }
func (p people) ExampleClientID() string             { return storage.ServiceUserID }
func (p people) GetUserByUsername(name string) *storage.User {
	for _, u := range p {
		if name != "" && u.Username == name {
			return u
		}
	}
	return nil
}

// A server is the example's, whose tokens all live for five minutes, and are told of
// to their own client only.
type server struct {
	*storage.Storage
	life       time.Duration
	serviceKey any
	issued     *os.File

	mu     sync.Mutex
	tokens map[string]token // access tokens by ID
}

type token struct {
	until    time.Time
	audience []string
}

func (s *server) note(id string, r op.TokenRequest) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := token{time.Now().Add(s.life), r.GetAudience()}
	s.tokens[id] = t
	return t.until
}

// CreateAccessToken implements op.Storage.
func (s *server) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, _, err := s.Storage.CreateAccessToken(ctx, r)
	return id, s.note(id, r), err
}

// CreateAccessAndRefreshTokens implements op.Storage. The example takes a refresh
// token once, and ends the access token that came with it.
func (s *server) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	id, refresh, _, err := s.Storage.CreateAccessAndRefreshTokens(ctx, r, current)
	if err != nil {
		return "", "", time.Time{}, err
	}
	_, err = fmt.Fprintln(s.issued, r.(interface{ GetClientID() string }).GetClientID(), refresh)
	return id, refresh, s.note(id, r), err
}

// SetIntrospectionFromToken implements op.Storage.
func (s *server) SetIntrospectionFromToken(ctx context.Context, out *oidc.IntrospectionResponse, id, subject, _ string) error {
	s.mu.Lock()
	t, ok := s.tokens[id]
	s.mu.Unlock()
	if !ok || time.Now().After(t.until) {
		return errors.New("the token has ended")
	}
	err := s.Storage.SetIntrospectionFromToken(ctx, out, id, subject, t.audience[0])
	if err == nil {
		out.Subject = subject
	}
	return err
}

// GetKeyByIDAndClientID implements op.Storage.
func (s *server) GetKeyByIDAndClientID(_ context.Context, id, client string) (*jose.JSONWebKey, error) {
	if id != storage.ServiceUserKeyID || client != storage.ServiceUserID {
		return nil, errors.New("no such key")
	}
	return &jose.JSONWebKey{KeyID: id, Use: "sig", Key: s.serviceKey}, nil
}

// GetClientByClientID implements op.Storage.
func (s *server) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if id == "desktop" && err == nil {
		c = desktop{c}
	}
	return c, err
}

// A desktop is a native app that has a secret, as Google's are.
type desktop struct{ op.Client }

func (desktop) ApplicationType() op.ApplicationType { return op.ApplicationTypeNative }
func (desktop) RedirectURIs() []string              { return []string{redirect} }
