package broker_test

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"agentvault/policy/inject"
	"agentvault/vault"
)

const oauthConnect = `{"type":"oauth2","grant":"refresh_token","token_url":"https://example.com/token","authorization_url":"https://example.com/authorize","client_id_literal":"the-client","client_secret":"CLIENT_SECRET","refresh_token":"REFRESH_TOKEN"}`

// A code goes to the token endpoint with its verifier and exact redirect, over the
// guard, and is on record.
func TestExchangeCode(t *testing.T) {
	e := &endpoint{}
	k := newMintKit(t, e, oauthConnect, nil)
	verifier := inject.NewVerifier()
	sum := sha256.Sum256([]byte(verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	const redirect = "http://127.0.0.1:49152/callback"
	e.set(func() {
		e.answers = func(w http.ResponseWriter, r *http.Request) {
			sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
			if r.PostForm.Get("grant_type") != "authorization_code" || r.PostForm.Get("redirect_uri") != redirect || r.PostForm.Get("code") != "the-code" ||
				base64.RawURLEncoding.EncodeToString(sum[:]) != challenge || len(r.PostForm) != 4 {
				answering("invalid_grant", 400)(w, r)
				return
			}
			saying(`{"access_token":"the-access-token","refresh_token":"the-refresh-token"}`)(w, r)
		}
	})
	x := vault.CodeExchange{VaultID: "v1", Vault: "default", Service: "api", Auth: auth(t, oauthConnect), Code: "the-code", UserID: "u1", User: "a@example.com",
		SignIn: inject.SignIn{Redirect: redirect, State: "state", Verifier: verifier}}
	token, err := k.ExchangeCode(t.Context(), x)
	if err != nil || string(token.Rotated["REFRESH_TOKEN"].Bytes()) != "the-refresh-token" {
		t.Fatalf("%v", err)
	}
	for name, change := range map[string]func(*vault.CodeExchange){
		"another redirect": func(x *vault.CodeExchange) { x.SignIn.Redirect += "x" },
		"another verifier": func(x *vault.CodeExchange) { x.SignIn.Verifier = inject.NewVerifier() },
		"another code":     func(x *vault.CodeExchange) { x.Code = "another-code" },
	} {
		other := x
		change(&other)
		var refused *vault.Error
		if _, err := k.ExchangeCode(t.Context(), other); !errors.As(err, &refused) || refused.Code != vault.CodeConnectFailed || !strings.Contains(refused.Message, "does not take the code") {
			t.Errorf("%s: %v", name, err)
		}
	}
	e.set(func() { e.answers = saying(`{"access_token":"the-access-token"}`) })
	if _, err := k.ExchangeCode(t.Context(), x); err == nil || !strings.Contains(err.Error(), "gave no refresh token") {
		t.Errorf("without a refresh token: %v", err)
	}
	k.Close()
	raw, err := os.ReadFile(k.audit)
	if err != nil {
		t.Fatal(err)
	}
	if log := string(raw); strings.Count(log, `"kind":"mint"`) != 5 || !strings.Contains(log, `"agent":"a@example.com","agent_kind":"user"`) || strings.Contains(log, "the-code") || strings.Contains(log, "-token\"") {
		t.Errorf("recorded as %s", fmt.Sprint(log))
	}
}
