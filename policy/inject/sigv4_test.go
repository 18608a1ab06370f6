package inject_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentvault/policy/inject"
	"agentvault/vault/seal"
)

const (
	awsAuth   = `{"type":"aws-sigv4","access_key_id":"A","secret_access_key":"S"}`
	agentsKey = "AKIADUMMYDUMMY"
	emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

var awsValues = map[string]string{"A": "AKIDEXAMPLE", "S": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "T": "the/session+token=="}

// agentsSignature is what an agent signs with, for a scope.
func agentsSignature(scope string) string {
	return "AWS4-HMAC-SHA256 Credential=" + agentsKey + "/20260102/" + scope + "/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("0", 64)
}

// awsRequest is a request as the broker hands it over, before it strips it.
func awsRequest(method, host, target string, header ...string) *inject.Request {
	r := &inject.Request{Method: method, Scheme: "https", Host: host, Header: make(map[string][]string), Now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	r.Path, r.RawQuery, _ = strings.Cut(target, "?")
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header[name] = append(r.Header[name], value)
	}
	if a := r.Header["Authorization"]; len(a) == 1 {
		r.AgentsAuthorization = a[0]
	}
	return r
}

// injectAWS does what the broker does with a request and its body.
func injectAWS(t testing.TB, auth string, r *inject.Request, body string) (limit int, err error) {
	t.Helper()
	in, err := parse(t, auth)
	if err != nil {
		t.Fatal(err)
	}
	if r.Length == 0 {
		r.Length = int64(len(body))
	}
	in.Slots().Strip(r)
	if limit = in.(inject.BodyReader).BodyLimit(r); limit > 0 {
		r.Body = []byte(body)
	}
	return limit, in.Inject(r, values(awsValues))
}

// TestSigV4Golden: requests as AWS sees them. The signatures were computed with
// botocore.
func TestSigV4Golden(t *testing.T) {
	sum := sha256.Sum256([]byte("hello"))
	hello := hex.EncodeToString(sum[:])
	dummy := "Authorization: " + agentsSignature("us-east-1/s3")
	for _, tt := range []struct {
		name, auth string
		r          *inject.Request
		body       string
		limit      int
		want       map[string][]string
	}{
		{
			"DynamoDB, signed with dummy keys", awsAuth,
			awsRequest("POST", "dynamodb.eu-west-1.amazonaws.com", "/", "Authorization: "+agentsSignature("eu-west-1/dynamodb"), "X-Amz-Date: 20200101T000000Z",
				"X-Amz-Target: DynamoDB_20120810.GetItem", "Content-Type: application/x-amz-json-1.0", "User-Agent: aws-cli", "Accept-Encoding: identity"),
			`{"TableName":"t","Key":{"id":{"S":"1"}}}`, 8 << 20,
			map[string][]string{"Authorization": {sent("eu-west-1/dynamodb", "content-type;host;x-amz-date;x-amz-target", "f27e0682f7a3c9050b65484712406a0e661839ecafa7052b4f4386921570f20d")}, "X-Amz-Date": {"20260102T030405Z"},
				"X-Amz-Target": {"DynamoDB_20120810.GetItem"}, "Content-Type": {"application/x-amz-json-1.0"}, "User-Agent": {"aws-cli"}, "Accept-Encoding": {"identity"}},
		},
		{
			"STS, a form, not signed at all, with temporary credentials", `{"type":"aws-sigv4","access_key_id":"A","secret_access_key":"S","session_token":"T"}`,
			awsRequest("POST", "sts.amazonaws.com", "/", "Content-Type: application/x-www-form-urlencoded; charset=utf-8", "X-Amz-Security-Token: mine", "X-Amz_Security_token: mine"),
			"Action=GetCallerIdentity&Version=2011-06-15", 8 << 20,
			map[string][]string{"Authorization": {sent("us-east-1/sts", "content-type;host;x-amz-date;x-amz-security-token", "79023a2dc5b004eb22bf16758748b5acb008e35753a3ad615e84e429caa26a68")}, "X-Amz-Date": {"20260102T030405Z"},
				"X-Amz-Security-Token": {"the/session+token=="}, "Content-Type": {"application/x-www-form-urlencoded; charset=utf-8"}},
		},
		{
			"S3, an upload with its hash", awsAuth,
			awsRequest("PUT", "s3.us-east-1.amazonaws.com", "/bucket/a%20b%2Bc//%C3%A9(1).txt", dummy, "X-Amz-Date: 20200101T000000Z", "X_Amz_Date: 20200101T000000Z",
				"X-Amz-Content-Sha256: "+hello, "X-Amz-Meta-B: two  spaces", "Content-Md5: XUFAKrxLKna5cZ2REBfFkg=="),
			"hello", 0,
			map[string][]string{"Authorization": {sent("us-east-1/s3", "content-md5;host;x-amz-content-sha256;x-amz-date;x-amz-meta-b", "1f73378e0aa482c8f050133e414a97e6aa71229038c18db88b11e051521463c8")}, "X-Amz-Date": {"20260102T030405Z"},
				"X-Amz-Content-Sha256": {hello}, "X-Amz-Meta-B": {"two  spaces"}, "Content-Md5": {"XUFAKrxLKna5cZ2REBfFkg=="}},
		},
		{
			"S3, by a client that knows nothing of it", awsAuth,
			awsRequest("PUT", "bucket.s3.eu-central-1.amazonaws.com", "/key?tagging"), "hello", 8 << 20,
			map[string][]string{"Authorization": {sent("eu-central-1/s3", "host;x-amz-content-sha256;x-amz-date", "5bc1ee905727463557f72e41ffe732e2ea79be9789d43fe6c0cbe0ba415fd0b5")}, "X-Amz-Date": {"20260102T030405Z"}, "X-Amz-Content-Sha256": {hello}},
		},
		{
			"S3, nothing in the body", awsAuth,
			awsRequest("GET", "bucket.s3.eu-central-1.amazonaws.com", "/?prefix=a%2Fb&list-type=2&delimiter="), "", 0,
			map[string][]string{"Authorization": {sent("eu-central-1/s3", "host;x-amz-content-sha256;x-amz-date", "e74f0a47175fc34495a557306937a83ac5751f9f5a8b6c664e503d5cae18b41b")}, "X-Amz-Date": {"20260102T030405Z"}, "X-Amz-Content-Sha256": {emptyHash}},
		},
		{
			"another store, on a port, with another service than the agent thinks", `{"type":"aws-sigv4","access_key_id":"A","secret_access_key":"S","region":"auto","service":"s3"}`,
			awsRequest("GET", "store.example.com:9000", "/b/k", "Authorization: "+agentsSignature("us-east-1/iam"), "X-Amz-S3session-Token: mine"), "", 0,
			map[string][]string{"Authorization": {sent("auto/s3", "host;x-amz-content-sha256;x-amz-date", "f20bbf01d576b39e65bfe06d921c3d5927d4697b5107204914df9f4fc79cc24d")}, "X-Amz-Date": {"20260102T030405Z"}, "X-Amz-Content-Sha256": {emptyHash}},
		},
	} {
		before := tt.r.Path + "?" + tt.r.RawQuery
		limit, err := injectAWS(t, tt.auth, tt.r, tt.body)
		if err != nil || limit != tt.limit {
			t.Errorf("%s: %v, reads %d, want %d", tt.name, err, limit, tt.limit)
		}
		if diff := cmp.Diff(tt.want, tt.r.Header); diff != "" {
			t.Errorf("%s: header (-want +got)\n%s", tt.name, diff)
		}
		if got := tt.r.Path + "?" + tt.r.RawQuery; got != before {
			t.Errorf("%s: %s became %s", tt.name, before, got)
		}
		if tt.r.Wrap != nil {
			t.Errorf("%s: the body changes", tt.name)
		}
	}
}

func sent(scope, fields, signature string) string {
	return "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/" + scope + "/aws4_request, SignedHeaders=" + fields + ", Signature=" + signature
}

// TestSigV4Parse: each mistake has its message.
func TestSigV4Parse(t *testing.T) {
	for auth, want := range map[string]string{
		`{"type":"aws-sigv4"}`:                                               `auth aws-sigv4: field access_key_id is missing; it names a credential key, as in API_KEY`,
		`{"type":"aws-sigv4","access_key_id":"A"}`:                           `auth aws-sigv4: field secret_access_key is missing; it names a credential key, as in API_KEY`,
		`{"type":"aws-sigv4","access_key_id":"a","secret_access_key":"S"}`:   `auth aws-sigv4: field access_key_id must be the name of a credential in upper case, as in API_KEY; values never stand here`,
		`{"type":"aws-sigv4","access_key_id":"A","secret_access_key":"s/+"}`: `auth aws-sigv4: field secret_access_key must be the name of a credential in upper case, as in API_KEY; values never stand here`,
		`{"type":"aws-sigv4","access_key_id":"A","secret_access_key":"A"}`:   `auth aws-sigv4: field secret_access_key: the fields name different credentials`,
		awsWith(`"session_token":"t"`):                                       `auth aws-sigv4: field session_token must be the name of a credential in upper case, as in API_KEY; values never stand here`,
		awsWith(`"session_token":"S"`):                                       `auth aws-sigv4: field secret_access_key: the fields name different credentials`,
		awsWith(`"session_token":"A"`):                                       `auth aws-sigv4: field secret_access_key: the fields name different credentials`,
		awsWith(`"region":"us east"`):                                        `auth aws-sigv4: field region: it is the name of a region, as in us-east-1`,
		awsWith(`"region":"{{ R }}"`):                                        `auth aws-sigv4: field region: it is the name of a region, as in us-east-1`,
		awsWith(`"service":"S3"`):                                            `auth aws-sigv4: field service: it is the name of a service as signatures bear it, as in s3 or dynamodb`,
		awsWith(`"service":7`):                                               `auth aws-sigv4: field service: it must be a string, not a number`,
		awsWith(`"token":"T"`):                                               `auth aws-sigv4: it has no field "token"; its fields are access_key_id, secret_access_key, session_token, region, service`,
	} {
		if _, err := parse(t, auth); err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v\nwant %s", auth, err, want)
		}
	}
	in, err := parse(t, awsWith(`"session_token":"T"`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A", "S", "T"}, in.Keys()); diff != "" || in.Type() != "aws-sigv4" {
		t.Errorf("%s %s", in.Type(), diff)
	}
}

func awsWith(field string) string { return strings.TrimSuffix(awsAuth, "}") + "," + field + "}" }

// TestSigV4Refuses: what cannot be signed again is refused before a credential is
// opened, and nothing is set.
func TestSigV4Refuses(t *testing.T) {
	const s3 = "s3.us-east-1.amazonaws.com"
	payload := func(s string) *inject.Request { return awsRequest("PUT", s3, "/b/k", "X-Amz-Content-Sha256: "+s) }
	for want, requests := range map[string][]*inject.Request{
		"presigned": {
			awsRequest("GET", s3, "/b/k?X-Amz-Signature=00"), awsRequest("GET", s3, "/b/k?a&x-amz-signature=00"), awsRequest("GET", s3, "/b/k?X-Amz-Credential"),
			awsRequest("GET", s3, "/b/k?%58-Amz-Algorithm=AWS4-HMAC-SHA256"), awsRequest("GET", s3, "/b/k?a;X_Amz.Expires[]=1"), awsRequest("GET", s3, "/b/k?AWSAccessKeyId=A&Signature=b"),
			awsRequest("GET", s3, "/b/k?+X-Amz-Security-Token=mine"), awsRequest("GET", s3, "/b/k?X-Amz-Date%00=1"), awsRequest("GET", s3, "/?Action=x&X-Amz-SignedHeaders=host"),
		},
		"SigV4a": {
			awsRequest("GET", s3, "/", "Authorization: AWS4-ECDSA-P256-SHA256 Credential=A/20260102/s3/aws4_request, SignedHeaders=host, Signature=00"),
			awsRequest("GET", s3, "/", "X-Amz-Region-Set: *"),
			payload("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"), payload("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER"),
		},
		"X-Amz-Content-Sha256 is neither": {
			payload(""), payload("unsigned-payload"), payload(emptyHash[1:]), payload("STREAMING-AWS4-HMAC-SHA256-EVENTS"),
		},
		"X-Amz-Content-Sha256 is there twice": {awsRequest("PUT", s3, "/b/k", "X-Amz-Content-Sha256: "+emptyHash, "X-Amz-Content-Sha256: "+emptyHash)},
		"without a path":                      {awsRequest("OPTIONS", s3, "*")},
		"the path has a %":                    {awsRequest("GET", s3, "/b/%zz"), awsRequest("GET", s3, "/b/%")},
		"the query has a %":                   {awsRequest("GET", s3, "/b?a=%zz"), awsRequest("GET", s3, "/b?%2=a")},
		"read in two ways":                    {awsRequest("GET", s3, "/b", "X-Amz-Meta-A: \u00a0a")},
		"not AWS's":                           {awsRequest("GET", "s3.example.com", "/b", "Authorization: "+agentsSignature("us-east-1/s3")), awsRequest("GET", "amazonaws.com", "/b"), awsRequest("GET", "s3.amazonaws.com.example.com", "/")},
		"which region":                        {awsRequest("GET", "dynamodb.amazonaws.com", "/"), awsRequest("GET", "bucket.s3-accelerate.amazonaws.com", "/")},
	} {
		for _, r := range requests {
			in, err := parse(t, awsAuth)
			if err != nil {
				t.Fatal(err)
			}
			if want == "presigned" || want == "SigV4a" {
				r.Length = -1
			}
			in.Slots().Strip(r)
			before := len(r.Header)
			if n := in.(inject.BodyReader).BodyLimit(r); n != 0 {
				t.Errorf("%s?%s %v: reads the body", r.Path, r.RawQuery, r.Header)
			}
			opened := 0
			err = in.Inject(r, func(key string) (seal.Plaintext, error) { opened++; return values(awsValues)(key) })
			var refused *inject.RequestError
			if !errors.As(err, &refused) || !strings.Contains(refused.Reason, want) {
				t.Errorf("%s?%s %v: %v, want %s", r.Path, r.RawQuery, r.Header, err, want)
			}
			if len(r.Header) != before || r.Header["Authorization"] != nil {
				t.Errorf("%s?%s: header %v", r.Path, r.RawQuery, r.Header)
			}
		}
	}
}

// Parameters that only look like parts of a signature are none.
func TestSigV4TakesOtherParameters(t *testing.T) {
	for _, query := range []string{"Signature=x", "x-amz-target=y", "Expires=1", "X-Amz-SignatureX=1", "prefix=X-Amz-Signature", "versionId=X-Amz-Signature=1"} {
		if _, err := injectAWS(t, awsAuth, awsRequest("GET", "s3.us-east-1.amazonaws.com", "/b?"+query), ""); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// TestSigV4Scope: for which service and region a request is signed.
func TestSigV4Scope(t *testing.T) {
	iam := agentsSignature("eu-west-3/iam")
	for _, tt := range []struct{ auth, host, agents, want string }{
		{awsAuth, "s3.amazonaws.com", "", "us-east-1/s3"},
		{awsAuth, "bucket.s3.amazonaws.com:443", "", "us-east-1/s3"},
		{awsAuth, "a.bucket.s3.eu-west-1.amazonaws.com", "", "eu-west-1/s3"},
		{awsAuth, "bucket.s3.dualstack.eu-west-1.amazonaws.com", "", "eu-west-1/s3"},
		{awsAuth, "bucket.s3-fips.us-gov-west-1.amazonaws.com", "", "us-gov-west-1/s3"},
		{awsAuth, "bucket.s3-us-west-2.amazonaws.com", "", "us-west-2/s3"},
		{awsAuth, "ap-123.s3-accesspoint.us-east-2.amazonaws.com", "", "us-east-2/s3"},
		{awsAuth, "b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com", "", "us-east-1/s3express"},
		{awsAuth, "dynamodb.cn-north-1.amazonaws.com.cn", "", "cn-north-1/dynamodb"},
		{awsAuth, "api.ecr.eu-central-1.amazonaws.com", "", "eu-central-1/ecr"},
		{awsAuth, "bedrock-runtime.us-east-1.amazonaws.com", "", "us-east-1/bedrock"},
		{awsAuth, "lambda.us-east-1.api.aws", "", "us-east-1/lambda"},
		{awsAuth, "x.lambda-url.us-east-1.on.aws", "", "us-east-1/lambda"},
		{awsAuth, "vpce-1.sqs.us-east-1.vpce.amazonaws.com", "", "us-east-1/sqs"},
		{awsAuth, "search-x.us-east-1.es.amazonaws.com", "", "us-east-1/es"},
		{awsAuth, "iam.amazonaws.com", "", "us-east-1/iam"},
		// What the agent signed for is better than what its host is called.
		{awsAuth, "runtime.lex.us-east-1.amazonaws.com", agentsSignature("us-east-1/lex-v2"), "us-east-1/lex-v2"},
		{awsAuth, "dynamodb.amazonaws.com", agentsSignature("us-west-1/dynamodb"), "us-west-1/dynamodb"},
		// Not where somebody else could use it.
		{awsAuth, "x.execute-api.us-east-1.amazonaws.com", iam, "eu-west-3/execute-api"},
		{awsAuth, "x.lambda-url.us-east-1.on.aws", iam, "eu-west-3/lambda"},
		{awsAuth, "lb-1.us-east-1.elb.amazonaws.com", iam, "eu-west-3/elb"},
		{awsAuth, "lb-1.elb.us-east-1.amazonaws.com", iam, "eu-west-3/elb"},
		{awsAuth, "ec2-1-2-3-4.compute-1.amazonaws.com", iam, "eu-west-3/compute-1"},
		{awsAuth, "vpce-1.vpce-svc-1.us-east-1.vpce.amazonaws.com", iam, "eu-west-3/vpce-svc-1"},
		// Nor where it is not well formed.
		{awsAuth, "s3.eu-west-1.amazonaws.com", "AWS4-HMAC-SHA256 Credential=A/20260102/us-east-1/iam/aws4", "eu-west-1/s3"},
		{awsAuth, "s3.eu-west-1.amazonaws.com", "AWS4-HMAC-SHA256 Credential=A/2026010/us-east-1/iam/aws4_request", "eu-west-1/s3"},
		{awsAuth, "s3.eu-west-1.amazonaws.com", "AWS4-HMAC-SHA256 Credential=A/20260102/us-east-1/i\nam/aws4_request", "eu-west-1/s3"},
		{awsAuth, "s3.eu-west-1.amazonaws.com", "AWS4-HMAC-SHA256 Credential=20260102/us-east-1/iam/aws4_request", "eu-west-1/s3"},
		{awsAuth, "s3.eu-west-1.amazonaws.com", "AWS A:c2lnbmF0dXJl", "eu-west-1/s3"},
		{awsAuth, "s3.eu-west-1.amazonaws.com", "Bearer x", "eu-west-1/s3"},
		// What was declared is best.
		{awsWith(`"service":"s3"`), "s3.eu-west-1.amazonaws.com", iam, "eu-west-3/s3"},
		{awsWith(`"region":"ap-south-1"`), "s3.eu-west-1.amazonaws.com", iam, "ap-south-1/iam"},
		{awsWith(`"service":"s3","region":"auto"`), "r2.example.com", iam, "auto/s3"},
		{awsWith(`"service":"s3"`), "minio.example.com", iam, "eu-west-3/s3"},
	} {
		r := awsRequest("GET", tt.host, "/")
		if r.AgentsAuthorization = tt.agents; r.AgentsAuthorization != "" {
			r.Header["Authorization"] = []string{r.AgentsAuthorization}
		}
		if _, err := injectAWS(t, tt.auth, r, ""); err != nil {
			t.Errorf("%s %q: %v", tt.host, tt.agents, err)
			continue
		}
		if got := r.Header["Authorization"][0]; !strings.Contains(got, "Credential=AKIDEXAMPLE/20260102/"+tt.want+"/aws4_request,") {
			t.Errorf("%s %s %q: %s, want %s", tt.auth, tt.host, tt.agents, got, tt.want)
		}
	}
}

// TestSigV4Payloads: what of a body is signed, and how much of it is read first.
func TestSigV4Payloads(t *testing.T) {
	sum := sha256.Sum256([]byte("hello"))
	hello := hex.EncodeToString(sum[:])
	const s3, sqs = "s3.us-east-1.amazonaws.com", "sqs.us-east-1.amazonaws.com"
	const unsigned, chunks, trailer, plainTrailer = "UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	const all = 8 << 20
	for _, tt := range []struct {
		scheme, host, said string
		length             int64
		limit              int
		want               string // of X-Amz-Content-Sha256
		wraps              bool
	}{
		{"https", s3, "", 5, all, hello, false},
		{"https", s3, "", all, all, hello, false},
		{"https", s3, "", all + 1, 0, unsigned, false},
		{"https", s3, "", -1, 0, unsigned, false},
		{"https", s3, unsigned, 5, 0, unsigned, false},
		{"https", s3, plainTrailer, 5, 0, plainTrailer, false},
		{"https", s3, emptyHash, 5, 0, emptyHash, false}, // the upstream finds that it is another
		{"https", s3, strings.ToUpper(hello), 5, 0, strings.ToUpper(hello), false},
		{"https", s3, chunks, 5, 0, chunks, true},
		{"https", s3, trailer, -1, 0, trailer, true},
		{"https", sqs, "", 5, all, "", false},
		{"https", sqs, "", -1, all, "", false},
		{"https", sqs, "", all + 1, all, "", false},
		{"https", sqs, unsigned, 5, 0, unsigned, false},
		{"https", sqs, hello, 5, 0, hello, false},
		{"http", s3, "", 5, all, hello, false},
		{"http", s3, "", -1, all, hello, false},
		{"http", s3, unsigned, 5, all, hello, false},
		{"http", s3, hello, 5, 0, hello, false},
		{"http", s3, plainTrailer, 5, 0, plainTrailer, false},
		{"http", sqs, unsigned, -1, all, hello, false},
	} {
		r := awsRequest("PUT", tt.host, "/b/k")
		r.Scheme, r.Length = tt.scheme, tt.length
		if tt.said != "" {
			r.Header["X-Amz-Content-Sha256"] = []string{tt.said}
		}
		limit, err := injectAWS(t, awsAuth, r, "hello")
		if got := strings.Join(r.Header["X-Amz-Content-Sha256"], ", "); err != nil || got != tt.want || limit != tt.limit || (r.Wrap != nil) != tt.wraps {
			t.Errorf("%s %s %q of %d: %q, %v, reads %d, wraps %v", tt.scheme, tt.host, tt.said, tt.length, got, err, limit, r.Wrap != nil)
		}
	}
}

// TestSigV4Values: values that can be no keys are refused, by their credential's
// name.
func TestSigV4Values(t *testing.T) {
	for key, rows := range map[string][]string{
		"A": {"", "AKID EXAMPLE", "AKID\n", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "A,B", "A=B", "é"},
		"S": {"", "secret\n", "two words", "é"},
		"T": {"", "token\r\nX-Evil: 1", "é"},
	} {
		for _, value := range rows {
			v := map[string]string{"A": awsValues["A"], "S": awsValues["S"], "T": awsValues["T"]}
			v[key] = value
			in, err := parse(t, awsWith(`"session_token":"T"`))
			if err != nil {
				t.Fatal(err)
			}
			r := awsRequest("GET", "s3.amazonaws.com", "/")
			var ve *inject.ValueError
			if err := in.Inject(r, values(v)); !errors.As(err, &ve) || ve.Key != key || len(r.Header) != 0 {
				t.Errorf("%s %q: %v, header %v", key, value, err, r.Header)
			}
		}
	}
	gone := errors.New("gone")
	for n := range 3 {
		in, err := parse(t, awsWith(`"session_token":"T"`))
		if err != nil {
			t.Fatal(err)
		}
		r := awsRequest("GET", "s3.amazonaws.com", "/")
		err = in.Inject(r, func(key string) (seal.Plaintext, error) {
			if key == in.Keys()[n] {
				return seal.Plaintext{}, gone
			}
			return values(awsValues)(key)
		})
		if !errors.Is(err, gone) || len(r.Header) != 0 {
			t.Errorf("without %s: %v, header %v", in.Keys()[n], err, r.Header)
		}
	}
}
