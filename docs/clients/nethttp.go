//go:build ignore

// Any API with net/http: a transport that asks the vault.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
)

// behindVault sends each request for https://HOST/PATH to the path entrance.
type behindVault struct {
	addr  *url.URL
	token string
}

func (v behindVault) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	u := r.URL
	u.Path, u.RawPath = "/proxy/"+u.Host+u.Path, "/proxy/"+u.Host+u.EscapedPath()
	u.Scheme, u.Host, r.Host = v.addr.Scheme, v.addr.Host, ""
	r.Header.Set("Authorization", "Bearer "+v.token)
	return http.DefaultTransport.RoundTrip(r)
}

func main() {
	addr, err := url.Parse(os.Getenv("AGENT_VAULT_ADDR"))
	if err != nil {
		log.Fatal(err)
	}
	client := http.Client{Transport: behindVault{addr, os.Getenv("AGENT_VAULT_SESSION_TOKEN")}}
	resp, err := client.Get("https://api.github.com/user")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body) // where the vault refuses, its reason
	fmt.Println(resp.Status, string(body), err)
}
