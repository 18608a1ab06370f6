package main_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
)

const (
	storeID  = "STOREID0123456789AB"
	storeKey = "sk-store-5c0d8a41f7e3b296"
)

const awsDeclaration = `
vaults:
  - name: default
    services:
      - {name: store, host: "store.test:8443", auth: {type: aws-sigv4, access_key_id: ID, secret_access_key: KEY, region: eu-west-1, service: s3}}
      - {name: table, host: table.test, auth: {type: aws-sigv4, access_key_id: ID, secret_access_key: KEY, session_token: TOKEN, region: us-east-1, service: dynamodb}}
      - {name: nowhere, host: nowhere.test, auth: {type: aws-sigv4, access_key_id: ID, secret_access_key: KEY, region: us-east-1}}
      - {name: unset, host: unset.test, auth: {type: aws-sigv4, access_key_id: NOT_SET, secret_access_key: KEY, region: us-east-1, service: s3}}
      - {name: swapped, host: swapped.test, auth: {type: aws-sigv4, access_key_id: SLASHED, secret_access_key: ID, region: us-east-1, service: s3}}
    credentials:
      ID: {from: "file:ID"}
      KEY: {from: "file:KEY"}
      TOKEN: {from: "file:TOKEN"}
      SLASHED: {from: "file:SLASHED"}
`

// signedAt is what differs between two requests that are signed alike.
var signedAt = regexp.MustCompile(`(?i)(x-amz-date: |Credential=[^/]*/|Signature=|chunk-signature=)[0-9a-fTZ]+`)

// TestSignedForAWS sends one table of requests by each way into the vault. Each
// arrives as it was sent and with a signature that an upstream verifies, and it
// makes no difference which way it came.
func TestSignedForAWS(t *testing.T) {
	ca := newAuthority(t, "Origin CA")
	hosts := []string{"store.test", "table.test", "nowhere.test", "unset.test", "swapped.test"}
	origin := startOrigin(t, ca.leaf(t, hosts...), false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // what came is recorded
	}))
	at := make(map[string]string)
	for _, h := range hosts {
		at[h] = origin.Addr
	}
	spelled, err := json.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	caFile := t.TempDir() + "/origin.pem"
	if err := os.WriteFile(caFile, ca.pem, 0o600); err != nil {
		t.Fatal(err)
	}
	i := newInstance(t, fmt.Sprintf("upstream: {ca_file: %s, hosts: %s}\nnetwork: {allow: [127.0.0.0/8]}\n", caFile, spelled))
	i.register()
	i.apply(awsDeclaration, map[string]string{"ID": storeID, "KEY": storeKey, "TOKEN": "session/token+of=ours", "SLASHED": "secret/with/slashes"})
	token := i.token()

	sum := sha256.Sum256([]byte("hello"))
	hello := "X-Amz-Content-Sha256: " + hex.EncodeToString(sum[:])
	mark := strings.Repeat("0", 64)
	for _, tt := range []struct {
		call
		fault string // "" for a request that arrives
	}{
		{call{host: "store.test:8443", target: "/bucket/key"}, ""},
		{call{host: "store.test:8443", target: "//bucket//a%20b%2Fc%2B+c/%e2%82%ac/./../x?prefix=&list-type=2&a=1&a=0&marker=%2F+%7e&&x"}, ""},
		{call{host: "store.test:8443", method: "PUT", target: "/bucket/key", body: "hello"}, ""},
		{call{host: "store.test:8443", method: "PUT", target: "/bucket/key", body: "hello", header: []string{hello, "X-Amz-Meta-A: two  spaces", "X-Amz-Meta-A: again", "User-Agent: aws-cli"}}, ""},
		{call{host: "store.test:8443", method: "PUT", target: "/bucket/key", body: "hello", header: []string{"Transfer-Encoding: chunked", "Accept-Encoding: br"}}, ""},
		{call{host: "store.test:8443", method: "PUT", target: "/bucket/key", header: []string{"X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "X-Amz-Decoded-Content-Length: 5"},
			body: "5;chunk-signature=" + mark + "\r\nhello\r\n0;chunk-signature=" + mark + "\r\n\r\n"}, ""},
		{call{host: "store.test:8443", method: "DELETE", target: "/bucket/key?versionId=1", header: []string{"X-Amz-Date: 20200101T000000Z", "X_Amz_Date: 20200101T000000Z", "Connection: X-Amz-Date"}}, ""},
		{call{host: "table.test", method: "POST", target: "/", body: `{"TableName":"t"}`, header: []string{"X-Amz-Target: DynamoDB_20120810.Scan", "Content-Type: application/x-amz-json-1.0", "X-Amz-Security-Token: mine"}}, ""},
		{call{host: "table.test", method: "POST", target: "/a%20b//c/../d/?Action=x", body: "Action=GetCallerIdentity&Version=2011-06-15", header: []string{"Content-Type: application/x-www-form-urlencoded"}}, ""},
		{call{host: "store.test:8443", target: "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIADUMMY&X-Amz-Signature=00"}, "bad_request"},
		{call{host: "store.test:8443", target: "/", header: []string{"X-Amz-Region-Set: *"}}, "bad_request"},
		{call{host: "table.test", method: "POST", target: "/", body: strings.Repeat("x", 8<<20+1)}, "request_too_large"},
		{call{host: "nowhere.test", target: "/"}, "bad_request"},
		{call{host: "unset.test", target: "/"}, "credential_not_found"},
		{call{host: "swapped.test", target: "/"}, "credential_invalid"},
	} {
		first := ""
		for _, e := range ways {
			before := origin.received()
			a := i.do(e, token, tt.call)
			received := origin.received()
			if code, _ := a.header["X-Agent-Vault-Proxy-Error"]; tt.fault != "" || code != nil {
				if f := a.fault(t); f["error"] != tt.fault || received != before {
					t.Errorf("%s, %s%s: %v, want %s", e, tt.host, tt.target, f, tt.fault)
				}
				continue
			}
			if line := strings.TrimPrefix(tt.method+" ", " ") + tt.target + " HTTP/1.1\r\n"; !strings.Contains(received, line) {
				t.Errorf("%s: %q arrived as\n%s", e, line, received)
			}
			verifySignature(t, received)
			alike := signedAt.ReplaceAllString(received, "$1")
			if first == "" {
				first = alike
			} else if diff := cmp.Diff(first, alike); diff != "" {
				t.Errorf("%s %s%s: the ways differ (-path +%s):\n%s", tt.method, tt.host, tt.target, e, diff)
			}
		}
	}
}

// verifySignature signs with the SDK what arrived, and compares.
func verifySignature(t *testing.T, received string) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(received)))
	if err != nil {
		t.Fatalf("%v:\n%s", err, received)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("%v:\n%s", err, received)
	}
	store := strings.HasPrefix(r.Host, "store.")
	credentials := aws.Credentials{AccessKeyID: storeID, SecretAccessKey: storeKey}
	service, region := "s3", "eu-west-1"
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if store {
		path = strings.NewReplacer("%2F", "/", "+", "%20").Replace(url.QueryEscape(mustURL(t, "http://h"+path).Path))
	} else {
		service, region, credentials.SessionToken = "dynamodb", "us-east-1", "session/token+of=ours"
		path = strings.ReplaceAll(path, "/a%20b//c/../d/", "/a%20b/d/")
	}
	payload := r.Header.Get("X-Amz-Content-Sha256")
	if payload == "" {
		sum := sha256.Sum256(body)
		payload = hex.EncodeToString(sum[:])
	}
	date, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(date).Abs() > time.Minute {
		t.Errorf("it is of %v, %v", date, err)
	}
	got := r.Header.Get("Authorization")
	again := &http.Request{Method: r.Method, Host: r.Host, Header: make(http.Header), URL: &url.URL{Scheme: "https", Host: r.Host, Opaque: "//h" + path, RawQuery: r.URL.RawQuery}}
	_, fields, _ := strings.Cut(got, "SignedHeaders=")
	fields, _, _ = strings.Cut(fields, ",")
	for name := range strings.SplitSeq(fields, ";") {
		if v := r.Header.Values(name); v != nil {
			again.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = store })
	if err := signer.SignHTTP(context.Background(), credentials, again, payload, service, region, date); err != nil {
		t.Fatal(err)
	}
	if want := again.Header.Get("Authorization"); got != want {
		t.Errorf("the signature is\n%s, want\n%s of\n%s", got, want, received)
	}
	if strings.Contains(received, "AKIADUMMY") || strings.Contains(received, "mine") {
		t.Errorf("what the agent signed with arrived:\n%s", received)
	}
}
