package broker_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"agentvault/broker"
	"agentvault/vault"
	"agentvault/vault/seal"
)

// newSigningKit is a kit whose service signs for S3, and what its upstream was
// sent in whole requests.
func newSigningKit(t *testing.T) (k *kit, sent chan string) {
	t.Helper()
	sent = make(chan string, 10)
	k = newKit(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if _, scope, ok := strings.Cut(r.Header.Get("Authorization"), "Credential=AKIDEXAMPLE/"); !ok || !strings.Contains(scope, "/eu-west-1/s3/") {
			t.Errorf("Authorization: %s", r.Header.Get("Authorization"))
		}
		sent <- r.Header.Get("X-Amz-Content-Sha256") + " " + string(body)
	}), nil)
	credentials := make(map[string]vault.Credential)
	for key, value := range map[string]string{"KEY_ID": "AKIDEXAMPLE", "SECRET": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"} {
		box, err := k.key.ForVault("v1").Seal(seal.Context{Vault: "v1", Credential: key, Field: vault.FieldValue, Version: 1}, seal.NewPlaintext([]byte(value)))
		if err != nil {
			t.Fatal(err)
		}
		credentials[key] = vault.Credential{Key: key, Version: 1, Box: box}
	}
	snap := k.snapshot
	snap.Vaults = []vault.Vault{{ID: "v1", Name: "default", Credentials: credentials, Services: []vault.Service{{
		Name: "s3", Host: "example.com", Enabled: true,
		Auth: auth(t, `{"type":"aws-sigv4","access_key_id":"KEY_ID","secret_access_key":"SECRET","region":"eu-west-1","service":"s3"}`),
	}}}}
	k.source.set(snap, nil)
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return k, sent
}

// TestSigning: a body is hashed, passed on, or signed chunk by chunk; what cannot
// be signed is a bad request, whose message says why, and never arrives whole.
func TestSigning(t *testing.T) {
	k, sent := newSigningKit(t)
	at := k.listen(t, k.request(t, "example.com", "/"))
	mark := strings.Repeat("0", 64)
	chunks := "5;chunk-signature=" + mark + "\r\nhello\r\n0;chunk-signature=" + mark + "\r\n\r\n"
	sum := sha256.Sum256([]byte("hello"))
	hello := hex.EncodeToString(sum[:])
	for _, tt := range []struct {
		target, said, body string
		length             int64
		want               string // what arrives, signatures as stars; or the message
	}{
		{"/b/k", "", "hello", 5, hello + " hello"},
		{"/b/k", "", "hello", -1, "UNSIGNED-PAYLOAD hello"},
		{"/b/k", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", chunks, int64(len(chunks)), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD " + strings.ReplaceAll(chunks, mark, "*")},
		{"/b/k", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", chunks, -1, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD " + strings.ReplaceAll(chunks, mark, "*")},
		{"/b/k", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "hello", 5, "the body is not in signed chunks, though X-Amz-Content-Sha256 says so"},
		{"/b/k", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", strings.Replace(chunks, "\r\n\r\n", "", 1), -1, "the body is not in signed chunks, though X-Amz-Content-Sha256 says so"},
		{"/b/k?X-Amz-Signature=0", "", "hello", 5, "the query carries a signature of its own (a presigned URL); send the request without it, and the vault signs it"},
		{"/b/k?a=%zz", "", "hello", 5, "the query has a % that begins no escape, so it cannot be signed"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+at+"/", io.NopCloser(strings.NewReader(tt.body)))
		if err != nil {
			t.Fatal(err)
		}
		path, query, _ := strings.Cut(tt.target, "?")
		req.URL.Opaque, req.URL.RawQuery, req.ContentLength = path, query, tt.length
		if tt.said != "" {
			req.Header.Set("X-Amz-Content-Sha256", tt.said)
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatalf("%s %q: %v", tt.target, tt.body, err)
		}
		var fault struct{ Error, Message string }
		switch resp.StatusCode {
		case http.StatusOK:
			if got := withoutSignatures(<-sent); got != tt.want {
				t.Errorf("%s %s %q: %q arrives, want %q", tt.target, tt.said, tt.body, got, tt.want)
			}
		case http.StatusBadRequest:
			if err := json.NewDecoder(resp.Body).Decode(&fault); err != nil || fault.Error != broker.CodeBadRequest || fault.Message != tt.want {
				t.Errorf("%s %s %q: %v, %+v, want %q", tt.target, tt.said, tt.body, err, fault, tt.want)
			}
		default:
			t.Errorf("%s %s %q: %s", tt.target, tt.said, tt.body, resp.Status)
		}
		resp.Body.Close()
	}
	if len(sent) > 0 {
		t.Errorf("%q arrived too", <-sent)
	}
}

// withoutSignatures puts a star for each signature of a chunk that is not the
// agent's.
func withoutSignatures(body string) string {
	parts := strings.Split(body, ";chunk-signature=")
	for i := range parts[1:] {
		if s, rest, ok := strings.Cut(parts[i+1], "\r\n"); ok && len(s) == 64 && s != strings.Repeat("0", 64) {
			parts[i+1] = "*\r\n" + rest
		}
	}
	return strings.Join(parts, ";chunk-signature=")
}
