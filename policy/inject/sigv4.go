package inject

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"agentvault/vault/seal"
)

// awsSigV4 signs requests to AWS, and to what speaks as AWS does, with Signature
// Version 4. What the agent signed with, or that it did not sign at all, makes no
// difference: its signature never passes.
type awsSigV4 struct {
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	SessionToken    string `json:"session_token"` // of temporary credentials; optional
	Region          string `json:"region"`        // literal; see scope
	Service         string `json:"service"`       // literal: the name that signatures bear; see scope
}

var _ = register("aws-sigv4", func(a awsSigV4) (Injector, error) {
	if err := checkKey("access_key_id", a.AccessKeyID); err != nil {
		return nil, err
	}
	if err := checkKey("secret_access_key", a.SecretAccessKey); err != nil {
		return nil, err
	}
	if a.SessionToken != "" {
		if err := checkKey("session_token", a.SessionToken); err != nil {
			return nil, err
		}
	}
	// The key's id and the token are sent in clear, the secret never.
	if a.SecretAccessKey == a.AccessKeyID || a.SecretAccessKey == a.SessionToken || a.AccessKeyID == a.SessionToken {
		return nil, fieldErrorf("secret_access_key", "the fields name different credentials")
	}
	if a.Region != "" && !scopeWord.MatchString(a.Region) {
		return nil, fieldErrorf("region", "it is the name of a region, as in us-east-1")
	}
	if a.Service != "" && !scopeWord.MatchString(a.Service) {
		return nil, fieldErrorf("service", "it is the name of a service as signatures bear it, as in s3 or dynamodb")
	}
	return a, nil
})

func (a awsSigV4) Type() string { return "aws-sigv4" }

func (a awsSigV4) Keys() []string {
	if a.SessionToken == "" {
		return []string{a.AccessKeyID, a.SecretAccessKey}
	}
	return []string{a.AccessKeyID, a.SecretAccessKey, a.SessionToken}
}

func (a awsSigV4) Slots() Slots {
	return headerSlots(amzSecurityToken, "X-Amz-S3session-Token")
}

const (
	amzDate          = "X-Amz-Date"
	amzContentSha256 = "X-Amz-Content-Sha256"
	amzSecurityToken = "X-Amz-Security-Token"
)

// maxSigned is how much of a body is held to be hashed, in bytes. The largest calls
// that AWS's clients commonly send without a hash of their own are Lambda's, of
// 6 MB; uploads to S3 come with one, or go unsigned.
const maxSigned = 8 << 20

// What stands in X-Amz-Content-Sha256 instead of a hash.
const (
	unsignedPayload = "UNSIGNED-PAYLOAD"
	unsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	signedChunks    = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	signedTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
)

var hexHash = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

// payload says what of the body is signed: what the agent says of it, where that
// can be; "" if the body must be hashed here.
func payload(r *Request, service string) string {
	said := r.Header[amzContentSha256]
	switch {
	case len(said) > 0 && said[0] != unsignedPayload:
		return said[0]
	case r.Scheme != "https": // whoever is on the way could put another body there
		return ""
	case len(said) > 0:
		return unsignedPayload
	case isS3(service) && (r.Length < 0 || r.Length > maxSigned):
		return unsignedPayload
	}
	return ""
}

// BodyLimit implements [BodyReader].
func (a awsSigV4) BodyLimit(r *Request) int {
	if service, _, err := a.scope(r); r.Length != 0 && err == nil && resignable(r) == nil && payload(r, service) == "" {
		return maxSigned
	}
	return 0
}

// Refuses implements [Refuser].
func (a awsSigV4) Refuses(r *Request) error {
	if err := resignable(r); err != nil {
		return err
	}
	_, _, err := a.scope(r)
	return err
}

// Inject implements [Injector].
func (a awsSigV4) Inject(r *Request, open func(string) (seal.Plaintext, error)) error {
	if err := resignable(r); err != nil {
		return err
	}
	service, region, err := a.scope(r)
	if err != nil {
		return err
	}
	s := awsSigning{service: service, region: region, at: r.Now.UTC(), payload: payload(r, service)}
	if s.payload == "" {
		sum := sha256.Sum256(r.Body)
		s.payload = hex.EncodeToString(sum[:])
	}
	if s.credentials, err = a.credentials(open); err != nil {
		return err
	}
	signed := &Request{Method: r.Method, Scheme: r.Scheme, Host: r.Host, Path: r.Path, RawQuery: r.RawQuery, Header: signedFields(r.Header)}
	if isS3(service) || r.Header[amzContentSha256] != nil {
		signed.set(amzContentSha256, s.payload)
	}
	signature, err := s.sign(signed)
	if err != nil {
		return err
	}
	Slots{Headers: []string{amzDate, amzContentSha256}}.Strip(r) // no twin of them either
	for _, name := range []string{authorization, amzDate, amzContentSha256, amzSecurityToken} {
		if v, ok := signed.Header[name]; ok {
			r.set(name, v[0])
		}
	}
	if s.payload == signedChunks || s.payload == signedTrailer {
		c := s.chunks(signature)
		r.Wrap = func(body io.Reader) io.Reader { return c.over(body) }
	}
	return nil
}

// resignable refuses what cannot be signed again. The error is for the agent.
func resignable(r *Request) error {
	said := r.Header[amzContentSha256]
	algorithm, _, _ := strings.Cut(r.AgentsAuthorization, " ")
	switch {
	case !strings.HasPrefix(r.Path, "/"):
		return &RequestError{"a request without a path cannot be signed for AWS"}
	case presigned(r.RawQuery):
		return &RequestError{"the query carries a signature of its own (a presigned URL); send the request without it, and the vault signs it"}
	case strings.HasPrefix(algorithm, "AWS4-ECDSA"), r.Header["X-Amz-Region-Set"] != nil, len(said) > 0 && strings.HasPrefix(said[0], "STREAMING-AWS4-ECDSA"):
		return &RequestError{"the request is signed with SigV4a (for several regions), which the vault does not sign; send it to an endpoint of one region"}
	case len(said) > 1:
		return &RequestError{"X-Amz-Content-Sha256 is there twice"}
	case len(said) == 0 || hexHash.MatchString(said[0]):
		return nil
	}
	switch said[0] {
	case unsignedPayload, unsignedTrailer, signedChunks, signedTrailer:
		return nil
	}
	return &RequestError{"X-Amz-Content-Sha256 is neither a SHA-256 in hex nor a kind of payload that the vault signs"}
}

// credentials opens what is signed with.
func (a awsSigV4) credentials(open func(string) (seal.Plaintext, error)) (c aws.Credentials, err error) {
	for _, field := range []struct {
		key   string
		value *string
		fits  func(string) bool
		why   string
	}{
		{a.AccessKeyID, &c.AccessKeyID, accessKeyID.MatchString, "is not the id of an access key"}, // it may be the secret
		{a.SecretAccessKey, &c.SecretAccessKey, oneWord, "holds bytes that no secret access key has, such as a line break"},
		{a.SessionToken, &c.SessionToken, oneWord, "holds bytes that no session token has, such as a line break"},
	} {
		if field.key == "" {
			continue
		}
		p, err := open(field.key)
		if err != nil {
			return aws.Credentials{}, err
		}
		if *field.value = string(p.Bytes()); !field.fits(*field.value) {
			return aws.Credentials{}, &UnfitError{field.key, field.why}
		}
	}
	return c, nil
}

// accessKeyID: what may stand before the scope. AWS's have capitals and digits,
// other stores' what people chose.
var accessKeyID = regexp.MustCompile(`^[A-Za-z0-9_.@-]{1,128}$`)

// oneWord: visible ASCII.
func oneWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != ""
}
