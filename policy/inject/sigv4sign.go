package inject

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const sigV4Algorithm = "AWS4-HMAC-SHA256"

// An awsSigning is what a signature is made with.
type awsSigning struct {
	credentials     aws.Credentials
	service, region string
	at              time.Time // UTC
	payload         string    // hash, or what stands for it
}

// sign signs every field of the header and sets what carries the signature,
// which it returns too.
//
// The SDK's signer gets a request of its own. It would rewrite the query, take
// away what it cannot read of it, and sign fields that change on the way; what goes
// upstream are the agent's bytes, so what it signs is spelled here, from those.
func (s *awsSigning) sign(r *Request) (signature string, err error) {
	path, err := canonicalPath(r.Path, isS3(s.service))
	if err != nil {
		return "", err
	}
	query, err := canonicalQuery(r.RawQuery)
	if err != nil {
		return "", err
	}
	for _, values := range r.Header {
		for _, v := range values {
			// The SDK cuts off more than readers of HTTP do.
			if strings.TrimSpace(v) != textproto.TrimString(v) {
				return "", &RequestError{"a header field that is signed begins or ends with a character that is read in two ways"}
			}
		}
	}
	out := &http.Request{
		Method: r.Method, Host: r.Host, Header: r.Header,
		URL: &url.URL{Scheme: r.Scheme, Host: r.Host, Opaque: "//host" + path, RawQuery: query},
	}
	// A signer keeps the keys that it derived: this one lasts for one request.
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = isS3(s.service) })
	if err := signer.SignHTTP(context.Background(), s.credentials, out, s.payload, s.service, s.region, s.at); err != nil {
		return "", err
	}
	_, signature, _ = strings.Cut(r.Header[authorization][0], "Signature=")
	return signature, nil
}

// signedFields are those of a header that are signed: what says of the body what it
// is, and AWS's own. All of them reach the upstream as they are.
func signedFields(header map[string][]string) map[string][]string {
	signed := make(map[string][]string)
	for name, values := range header {
		switch {
		case name == amzDate, len(values) == 0:
		case name == "Content-Type", name == "Content-Md5", strings.HasPrefix(name, "X-Amz-"):
			signed[name] = values
		}
	}
	return signed
}

// canonicalPath spells a path so that the SDK signs it as the upstream reads it.
// S3 decodes it and encodes it again; all others resolve dots and empty segments,
// and encode what they find, escapes too.
//
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
func canonicalPath(path string, s3 bool) (string, error) {
	if !s3 {
		return resolved(path), nil
	}
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return "", &RequestError{"the path has a % that begins no escape, so it cannot be signed"}
	}
	return strings.NewReplacer("%2F", "/", "+", "%20").Replace(url.QueryEscape(decoded)), nil
}

// resolved takes ".", ".." and empty segments out of a path.
func resolved(path string) string {
	if !strings.Contains(path, "//") && !strings.Contains(path, "/.") {
		return path // the usual case
	}
	var kept []string
	for segment := range strings.SplitSeq(path, "/") {
		switch segment {
		case "", ".":
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		default:
			kept = append(kept, segment)
		}
	}
	if len(kept) > 0 && strings.HasSuffix(path, "/") {
		kept = append(kept, "")
	}
	return "/" + strings.Join(kept, "/")
}

// canonicalQuery spells each parameter of a query in the one way that url.ParseQuery
// reads everywhere; the SDK sorts them. "+" is a space, as in forms.
func canonicalQuery(query string) (string, error) {
	var b strings.Builder
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		n, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return "", &RequestError{"the query has a % that begins no escape, so it cannot be signed"}
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(n))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(value))
	}
	return b.String(), nil
}

// presigned reports whether a query carries a signature, or parts of one, of
// version 4 or 2, in any spelling that an upstream could read.
func presigned(query string) bool {
	for part := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(part, "=")
		switch strings.ReplaceAll(foldParameter(name), "_", "-") {
		case "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-expires", "x-amz-security-token", "x-amz-signature", "x-amz-signedheaders",
			"x-amz-s3session-token", "awsaccesskeyid":
			return true
		}
	}
	return false
}
