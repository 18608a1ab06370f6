package inject_test

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy/inject"
)

// signed is what a service of the kind makes of a request, from stripping to
// sending.
func signed(t testing.TB, auth string, req *inject.Request, creds map[string]string) error {
	t.Helper()
	in, err := parse(t, auth)
	if err != nil {
		t.Fatalf("%s: %v", auth, err)
	}
	in.Slots().Strip(req)
	body := req.Body
	if req.Body = nil; in.(inject.BodyReader).BodyLimit(req) > 0 {
		req.Body = body
	}
	return in.Inject(req, values(creds))
}

const (
	slackBody = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	base64Key = "c2VjcmV0LWtleS1mb3ItdGVzdHM="

	azureDigest       = "AVq9f1zFei3ZS3WQ8ErYCEJzkF7jPsXOvq5iJ2qX+GI="
	azureSignature    = "LeS0ZPx3DqGWQHCk+SF/P+U0MshW71SB7ZPYRN5tq7A="
	okxSignature      = "0pacLWCybchfUk01FyxYHMyeQ5jJbC/BfcEBasq1AUQ="
	coinbaseSignature = "rS90F2PkNHin6ZhsabFHSFonk2IBMSid4iXNUijEKUw="
)

// The first rows are examples that were published with their signatures; those of
// the others were computed by another program.
func TestHMACVectors(t *testing.T) {
	for _, row := range []struct {
		name, auth string
		key        string
		now        int64 // milliseconds
		request    inject.Request
		header     map[string]string
		query      string
	}{
		{"GitHub, validating webhook deliveries",
			`{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ body }}","headers":{"X-Hub-Signature-256":"sha256={{ signature_hex }}"}}`,
			"It's a Secret to Everybody", 0, inject.Request{Body: []byte("Hello, World!")},
			map[string]string{"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}, ""},
		{"Slack, verifying requests",
			`{"type":"hmac","algorithm":"sha256","key":"K","message":"v0:{{ timestamp }}:{{ body }}","headers":{"X-Slack-Signature":"v0={{ signature_hex }}","X-Slack-Request-Timestamp":"{{ timestamp }}"}}`,
			"8f742231b10e8888abcd99yyyzzz85a5", 1531420618_000, inject.Request{Body: []byte(slackBody)},
			map[string]string{"X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503", "X-Slack-Request-Timestamp": "1531420618"}, ""},
		{"Standard Webhooks, as Svix documents it",
			`{"type":"hmac","algorithm":"sha256","key":"K","encoding":"base64","message":"msg_loFOjxBNrRLzqYUf.{{ timestamp }}.{{ body }}","headers":{"svix-signature":"v1,{{ signature_base64 }}"}}`,
			"plJ3nmyCDGBKInavdOK15jsl", 1731705121_000, inject.Request{Body: []byte(`{"event_type":"ping","data":{"success":true}}`)},
			map[string]string{"Svix-Signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="}, ""},
		{"Binance, SIGNED endpoint: the query",
			`{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ query }}{{ body }}","headers":{"X-MBX-APIKEY":"{{ ID }}"},"query":{"timestamp":"{{ timestamp_ms }}","signature":"{{ signature_hex }}"}}`,
			"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j", 1499827319559,
			inject.Request{RawQuery: "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1&signature=mine"},
			map[string]string{"X-Mbx-Apikey": "the-id"},
			"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559&signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"},
		{"Binance, SIGNED endpoint: the body",
			`{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ body }}","query":{"signature":"{{ signature_hex }}"}}`,
			"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j", 0,
			inject.Request{Body: []byte("symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559")},
			nil, "signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"},
		{"RFC 2202, test case 2",
			`{"type":"hmac","algorithm":"sha1","key":"K","encoding":"hex","message":"{{ body }}","headers":{"X-S":"{{ signature_hex }}"}}`,
			"4a656665", 0, inject.Request{Body: []byte("what do ya want for nothing?")},
			map[string]string{"X-S": "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"}, ""},
		{"RFC 4231, test case 2",
			`{"type":"hmac","algorithm":"sha512","key":"K","message":"what do ya want {{ body }}","headers":{"X-S":"{{ signature_hex }}"}}`,
			"Jefe", 0, inject.Request{Body: []byte("for nothing?")},
			map[string]string{"X-S": "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"}, ""},
		{"Azure App Configuration",
			`{"type":"hmac","algorithm":"sha256","key":"K","encoding":"base64","message":"{{ method }}\n{{ path_query }}\n{{ date_http }};{{ host }};{{ body_sha256_base64 }}",
			"headers":{"x-ms-date":"{{ date_http }}","x-ms-content-sha256":"{{ body_sha256_base64 }}","Authorization":"HMAC-SHA256 Credential={{ ID }}&SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={{ signature_base64 }}"}}`,
			base64Key, 1800000000_000, exampleRequest(),
			map[string]string{"X-Ms-Date": "Fri, 15 Jan 2027 08:00:00 GMT", "X-Ms-Content-Sha256": azureDigest,
				"Authorization": "HMAC-SHA256 Credential=the-id&SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=" + azureSignature}, exampleRequest().RawQuery},
		{"OKX",
			`{"type":"hmac","algorithm":"sha256","key":"K","encoding":"base64","message":"{{ date_iso_ms }}{{ method }}{{ path_query }}{{ body }}",
			"headers":{"OK-ACCESS-SIGN":"{{ signature_base64 }}","OK-ACCESS-TIMESTAMP":"{{ date_iso_ms }}"}}`,
			base64Key, 1800000000_123, exampleRequest(),
			map[string]string{"Ok-Access-Sign": okxSignature, "Ok-Access-Timestamp": "2027-01-15T08:00:00.123Z"}, exampleRequest().RawQuery},
		{"Coinbase Exchange",
			`{"type":"hmac","algorithm":"sha256","key":"K","encoding":"base64","message":"{{ timestamp }}{{ method }}{{ path_query }}{{ body }}",
			"headers":{"CB-ACCESS-KEY":"{{ ID }}","CB-ACCESS-SIGN":"{{ signature_base64 }}","CB-ACCESS-TIMESTAMP":"{{ timestamp }}"}}`,
			strings.TrimRight(base64Key, "="), 1800000000_999, exampleRequest(),
			map[string]string{"Cb-Access-Key": "the-id", "Cb-Access-Sign": coinbaseSignature, "Cb-Access-Timestamp": "1800000000"}, exampleRequest().RawQuery},
	} {
		row.request.Now = time.UnixMilli(row.now)
		row.request.Header = http.Header{"Authorization": {"mine"}}
		for name := range row.header {
			row.request.Header[strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = []string{"mine"}
		}
		if err := signed(t, row.auth, &row.request, map[string]string{"K": row.key, "ID": "the-id"}); err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		want := map[string][]string{}
		for name, value := range row.header {
			want[name] = []string{value}
		}
		if diff := cmp.Diff(want, row.request.Header); diff != "" {
			t.Errorf("%s: header (-want +got): %s", row.name, diff)
		}
		if row.request.RawQuery != row.query {
			t.Errorf("%s: query\n got %q\nwant %q", row.name, row.request.RawQuery, row.query)
		}
	}
}

func exampleRequest() inject.Request {
	return inject.Request{Method: "POST", Host: "store.example.com", Path: "/kv", RawQuery: "api-version=1.0&x=%2F", Body: []byte(`{"a":1}`)}
}

// A nonce is one for a request, and another for the next.
func TestHMACNonce(t *testing.T) {
	const auth = `{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ nonce }}{{ date_iso }}","headers":{"X-Nonce":"{{ nonce }}","X-Sign":"{{ nonce }} {{ signature_base64url }}"}}`
	var nonces [2]string
	for i := range nonces {
		req := inject.Request{Now: time.Unix(1800000000, 0)}
		if err := signed(t, auth, &req, map[string]string{"K": "key"}); err != nil {
			t.Fatal(err)
		}
		nonces[i] = req.Header["X-Nonce"][0]
		if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(nonces[i]) || !regexp.MustCompile("^"+nonces[i]+` [\w-]{43}$`).MatchString(req.Header["X-Sign"][0]) {
			t.Errorf("%v", req.Header)
		}
	}
	if nonces[0] == nonces[1] {
		t.Errorf("both nonces are %s", nonces[0])
	}
}

// The body is asked for only where it is used.
func TestHMACBodyLimit(t *testing.T) {
	for message, want := range map[string]int{
		"{{ timestamp }}{{ method }}{{ path_query }}": 0, "{{ body }}": 1 << 20, "{{ path }}{{ body_sha256 }}": 1 << 20, "{{ body_sha256_base64 }}": 1 << 20,
	} {
		in, err := parse(t, `{"type":"hmac","algorithm":"sha256","key":"K","message":"`+message+`","headers":{"X-S":"{{ signature_hex }}"}}`)
		if err != nil {
			t.Fatal(err)
		}
		if got := in.(inject.BodyReader).BodyLimit(&inject.Request{}); got != want {
			t.Errorf("%s: %d, want %d", message, got, want)
		}
	}
}

func TestHMACRefuses(t *testing.T) {
	const in = `{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ body }}",`
	names := "body, body_sha256, body_sha256_base64, date_http, date_iso, date_iso_ms, host, method, nonce, path, path_query, query, signature_base64, signature_base64url, signature_hex, timestamp, timestamp_ms"
	for auth, want := range map[string]string{
		`{"type":"hmac"}`:                                                                `auth hmac: field algorithm: it is sha256, sha512 or sha1`,
		`{"type":"hmac","algorithm":"md5"}`:                                              `auth hmac: field algorithm: it is sha256, sha512 or sha1`,
		`{"type":"hmac","algorithm":"sha256"}`:                                           `auth hmac: field key is missing; it names a credential key, as in API_KEY`,
		`{"type":"hmac","algorithm":"sha256","key":"K","encoding":"base32"}`:             `auth hmac: field encoding: it is utf8, base64 or hex`,
		`{"type":"hmac","algorithm":"sha256","key":"K"}`:                                 `auth hmac: field message: it is missing; it says what is signed, as in "{{ timestamp }}{{ method }}{{ path_query }}{{ body }}"`,
		`{"type":"hmac","algorithm":"sha256","key":"K","message":"fixed"}`:               `auth hmac: field message: it has no placeholder, as in {{ signature_hex }}; values never stand here`,
		`{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ signature_hex }}"}`: `auth hmac: field message: the signature cannot be signed`,
		`{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ bodies }}"}`:        `auth hmac: field message: it has a placeholder that is neither a credential in upper case nor one of ` + names,
		`{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ body }}{{"}`:        `auth hmac: field message: it has a placeholder that is not of the form {{ name }}`,
		in + `"headers":{}}`:                                                         `auth hmac: field headers: none of them, and no parameter of query, has {{ signature_hex }}, {{ signature_base64 }} or {{ signature_base64url }}`,
		in + `"headers":{"X-T":"{{ timestamp }}"}}`:                                  `auth hmac: field headers: none of them, and no parameter of query, has {{ signature_hex }}, {{ signature_base64 }} or {{ signature_base64url }}`,
		in + `"headers":{"Host":"{{ signature_hex }}"}}`:                             `auth hmac: field headers: Host cannot carry a credential`,
		in + `"headers":{"X-S":"s3cr3t"}}`:                                           `auth hmac: field headers: X-S has no placeholder, as in {{ signature_hex }}; values never stand here`,
		in + `"headers":{"X-S":"a\nb{{ signature_hex }}"}}`:                          `auth hmac: field headers: the text of X-S cannot stand in a header`,
		in + `"headers":{"X-S":"{{ signature_hex }}","X_S":"{{ timestamp }}"}}`:      `auth hmac: field headers: X_s stands there twice`,
		in + `"query":{"a&b":"{{ signature_hex }}"}}`:                                `auth hmac: field query: it may not hold "&"`,
		in + `"query":{"a":"{{ signature_hex }}","A":"{{ timestamp }}"}}`:            `auth hmac: field query: a stands there twice`,
		in + `"query":{"a":"{{ signature_hex }}` + strings.Repeat("a", 1024) + `"}}`: `auth hmac: field query: a is longer than 1024 bytes`,
		in + `"headers":{"X-S":"{{ signature_hex }}"},"secret":"K"}`:                 `auth hmac: it has no field "secret"; its fields are algorithm, key, encoding, message, headers, query`,
	} {
		if _, err := parse(t, auth); err == nil || err.Error() != want {
			t.Errorf("%.200s:\n got %v\nwant %s", auth, err, want)
		}
	}
}

// Nothing is set by halves.
func TestHMACValuesThatDoNotFit(t *testing.T) {
	for _, row := range []struct{ encoding, key, id, wrong, want string }{
		{"base64", "not*base64", "id", "K", "the value of credential K is not base64"},
		{"hex", "abc", "id", "K", "the value of credential K is not hex"},
		{"base64", "====", "id", "K", "the value of credential K is not base64"},
		{"utf8", "key", "i\nd", "ID", "the value of credential ID holds bytes that cannot be sent there"},
	} {
		auth := `{"type":"hmac","algorithm":"sha256","key":"K","encoding":"` + row.encoding + `","message":"{{ path }}","query":{"t":"{{ timestamp }}"},"headers":{"A":"{{ signature_hex }}","B":"{{ ID }}"}}`
		req := inject.Request{RawQuery: "a=b"}
		err := signed(t, auth, &req, map[string]string{"K": row.key, "ID": row.id})
		var ve *inject.ValueError
		if err == nil || err.Error() != row.want || !errors.As(err, &ve) || ve.Key != row.wrong || len(req.Header) != 0 || req.RawQuery != "a=b" {
			t.Errorf("%+v: %v, %+v", row, err, req)
		}
	}
	const auth = `{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ OTHER }}","headers":{"A":"{{ signature_hex }} {{ ID }}"}}`
	in, err := parse(t, auth)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"K", "OTHER", "ID"}, in.Keys()); diff != "" {
		t.Error(diff)
	}
	if err := in.Inject(&inject.Request{}, values(map[string]string{"K": "k", "OTHER": "o"})); err == nil || err.Error() != "no value for ID" {
		t.Errorf("%v", err)
	}
}

// What is signed is what goes out: whoever recomputes it over the request that
// arrived finds the same.
func FuzzHMACQuery(f *testing.F) {
	f.Add("a=b&signature=mine", "sk")
	f.Add("t=1&T=2;%74=3&", "v&v")
	f.Fuzz(func(t *testing.T, query, value string) {
		const auth = `{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ query }}","query":{"t":"{{ V }}","signature":"{{ signature_hex }}"}}`
		req := inject.Request{RawQuery: query, Header: map[string][]string{}}
		if err := signed(t, auth, &req, map[string]string{"K": "key", "V": value}); err != nil {
			t.Fatal(err)
		}
		at := strings.LastIndex(req.RawQuery, "signature=")
		if at < 0 {
			t.Fatalf("%q has no signature", req.RawQuery)
		}
		again := inject.Request{Body: []byte(strings.TrimSuffix(req.RawQuery[:at], "&")), Header: map[string][]string{}}
		if strings.HasSuffix(string(again.Body), "&") { // the agent's own, which stays
			return
		}
		const check = `{"type":"hmac","algorithm":"sha256","key":"K","message":"{{ body }}","headers":{"S":"{{ signature_hex }}"}}`
		if err := signed(t, check, &again, map[string]string{"K": "key"}); err != nil {
			t.Fatal(err)
		}
		if got, want := req.RawQuery[at+len("signature="):], again.Header["S"][0]; got != want {
			t.Errorf("%q is signed %s, want %s", req.RawQuery, got, want)
		}
	})
}
