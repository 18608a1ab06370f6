package inject_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

// What it does to the request is what the kind in auth does; certificates
// themselves are tested where they are shown, in broker.
func TestMTLS(t *testing.T) {
	open := values(map[string]string{"CERT": "c", "KEY": "k", "T": "token", "PAIR": "both"})
	const pair = `{"type":"mtls","certificate":"CERT","private_key":"KEY"`
	for _, row := range []struct {
		auth          string
		keys          []string
		header        map[string][]string
		minter, reads bool
	}{
		{pair + `}`, []string{"CERT", "KEY"}, map[string][]string{"Accept": {"*/*"}}, false, false},
		{`{"type":"mtls","certificate":"PAIR","private_key":"PAIR"}`, []string{"PAIR"}, map[string][]string{"Accept": {"*/*"}}, false, false},
		{pair + `,"auth":{"type":"passthrough"}}`, []string{"CERT", "KEY"}, map[string][]string{"Accept": {"*/*"}, "Authorization": {"mine"}}, false, false},
		{pair + `,"auth":{"type":"bearer","token":"T"}}`, []string{"T", "CERT", "KEY"}, map[string][]string{"Accept": {"*/*"}, "Authorization": {"Bearer token"}}, false, false},
		{pair + `,"auth":{"type":"bearer","token":"KEY"}}`, []string{"KEY", "CERT"}, map[string][]string{"Accept": {"*/*"}, "Authorization": {"Bearer k"}}, false, false},
		{pair + `,"auth":{"type":"hmac","algorithm":"sha1","key":"T","message":"{{ body }}","headers":{"X-S":"{{ T }}{{ signature_hex }}"}}}`, []string{"T", "CERT", "KEY"},
			map[string][]string{"Accept": {"*/*"}, "X-S": {"tokenf190b79dd1dcff0cab0d9410743c3c7f1451177a"}}, false, true},
		{pair + `,"auth":{"type":"github-app","app_id":7,"private_key":"T","installation_id":42}}`, []string{"T", "CERT", "KEY"},
			map[string][]string{"Accept": {"*/*"}, "Authorization": {"Bearer minted"}}, true, false},
	} {
		in, err := parse(t, row.auth)
		if err != nil {
			t.Fatalf("%s: %v", row.auth, err)
		}
		minter, minting := in.(inject.Minter)
		reader, reads := in.(inject.BodyReader)
		if _, shows := in.(inject.Certifier); !shows || minting != row.minter || reads != row.reads || in.Type() != "mtls" {
			t.Errorf("%s: shows %v, mints %v, reads %v, type %s", row.auth, shows, minting, reads, in.Type())
		}
		if minting && len(minter.Endpoints()) != 1 || reads && reader.BodyLimit(&inject.Request{}) == 0 {
			t.Errorf("%s: it is not the inner kind's", row.auth)
		}
		if diff := cmp.Diff(row.keys, in.Keys()); diff != "" {
			t.Errorf("%s: %s", row.auth, diff)
		}
		req := inject.Request{Header: map[string][]string{"Accept": {"*/*"}, "Authorization": {"mine"}}, Token: seal.NewPlaintext([]byte("minted"))}
		in.Slots().Strip(&req)
		if err := in.Inject(&req, open); err != nil {
			t.Errorf("%s: %v", row.auth, err)
		}
		if diff := cmp.Diff(row.header, req.Header); diff != "" {
			t.Errorf("%s: %s", row.auth, diff)
		}
		req.Header = nil
		if err := in.Inject(&req, values(map[string]string{"T": "token", "CERT": "c"})); err == nil || req.Header != nil {
			t.Errorf("%s: without a key: %v, %v", row.auth, err, req.Header)
		}
	}
}

func TestMTLSRefuses(t *testing.T) {
	const pair = `{"type":"mtls","certificate":"CERT","private_key":"KEY",`
	for auth, want := range map[string]string{
		`{"type":"mtls"}`:                                                         `auth mtls: field certificate is missing; it names a credential key, as in API_KEY`,
		`{"type":"mtls","certificate":"C"}`:                                       `auth mtls: field private_key is missing; it names a credential key, as in API_KEY`,
		`{"type":"mtls","certificate":"C","private_key":"k"}`:                     `auth mtls: field private_key must be the name of a credential in upper case, as in API_KEY; values never stand here`,
		pair + `"auth":{"type":"bearer"}}`:                                        `auth mtls: field auth: bearer: field token is missing; it names a credential key, as in API_KEY`,
		pair + `"auth":{"type":"bearer","token":"T","key":"T"}}`:                  `auth mtls: field auth: bearer: it has no field "key"; its fields are token`,
		pair + `"auth":{"type":"mtls","certificate":"CERT","private_key":"KEY"}}`: `auth mtls: field auth: it is of another kind than mtls`,
		pair + `"auth":{}}`:                                                       `auth mtls: auth: the field type is missing; it is one of `,
		pair + `"key":"K"}`:                                                       `auth mtls: it has no field "key"; its fields are certificate, private_key, auth`,
	} {
		if _, err := parse(t, auth); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s…", auth, err, want)
		}
	}
}

// What a kind refuses of requests, it refuses behind a certificate, before a person
// is asked or a body is read.
func TestMTLSRefusesWhatItsAuthDoes(t *testing.T) {
	bare, err := parse(t, awsAuth)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := parse(t, `{"type":"mtls","certificate":"CERT","private_key":"CERT","auth":`+awsAuth+`}`)
	if err != nil {
		t.Fatal(err)
	}
	r := awsRequest("GET", "s3.us-east-1.amazonaws.com", "/b/k")
	for _, r.RawQuery = range []string{"", "X-Amz-Signature=abc"} {
		want, got := bare.(inject.Refuser).Refuses(r), error(nil)
		if refuser, ok := shown.(inject.Refuser); ok {
			got = refuser.Refuses(r)
		}
		if (want == nil) != (got == nil) || want != nil && got.Error() != want.Error() {
			t.Errorf("%q: %v, want %v", r.RawQuery, got, want)
		}
	}
	for _, auth := range []string{`{"type":"bearer","token":"A"}`, `{"type":"hmac","algorithm":"sha256","key":"A","message":"{{ body }}","headers":{"X-Sig":"{{ signature_hex }}"}}`} {
		in, err := parse(t, `{"type":"mtls","certificate":"CERT","private_key":"CERT","auth":`+auth+`}`)
		if err != nil {
			t.Fatal(err)
		}
		if refuser, ok := in.(inject.Refuser); ok && refuser.Refuses(r) != nil {
			t.Errorf("%s refuses a request", auth)
		}
	}
}
