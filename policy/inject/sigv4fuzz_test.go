package inject_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"agentvault/policy/inject"
)

// FuzzSigV4: what a verifier computes from the bytes that arrive is what was
// signed, and nothing that the agent signed with is in them.
func FuzzSigV4(f *testing.F) {
	f.Add("/", "", "v", "text/plain", "body", true)
	f.Add("/b/a%20b+c//%2F%e9/./..", "a=1&a=0&b&=c&&%20=+%2B;d", "two  spaces\t ", "", "", true)
	f.Add("//a/../b/./%2e%2E/%zz", "X-Amz-Target=%C3%A9&a-=1&a%2F=2", "\xc3\xa9", "a,b", "x", false)
	f.Add("/~-_.!*'()[]@:$&=;,", "~-_.!*'()[]@:$", " ", " , ", "\x00", false)
	f.Add("/a", "b=%E1%88%B4&B=2&b=%", "a\u0085", "b", "", true)
	f.Fuzz(func(t *testing.T, path, query, meta, contentType, body string, s3 bool) {
		host := "dynamodb.eu-west-1.amazonaws.com:8443"
		if s3 {
			host = "bucket.s3.eu-west-1.amazonaws.com"
		}
		meta, contentType = strings.Trim(meta, " \t"), strings.Trim(contentType, " \t") // as they are read
		if !strings.HasPrefix(path, "/") || !onALine(path+query) || strings.Contains(path, "?") || !httpguts.ValidHeaderFieldValue(meta) || !httpguts.ValidHeaderFieldValue(contentType) {
			return
		}
		r := awsRequest("PUT", host, path, "Authorization: "+agentsSignature("us-east-1/"+map[bool]string{true: "s3", false: "dynamodb"}[s3]), "X-Amz-Date: 20200101T000000Z",
			"X-Amz-Security-Token: "+agentsKey, "X-Amz-Meta-A: "+meta, "X-Amz-Meta-A: second", "Content-Type: "+contentType, "Accept: */*")
		r.RawQuery = query
		_, err := injectAWS(t, awsAuth, r, body)
		var refused *inject.RequestError
		switch {
		case errors.As(err, &refused):
			return
		case err != nil:
			t.Fatalf("%q?%q: %v", path, query, err)
		case r.Path != path || r.RawQuery != query:
			t.Errorf("%q?%q became %q?%q", path, query, r.Path, r.RawQuery)
		}
		arrives := spelled(r)
		if got, want := verifies(t, arrives, s3, body), signatureOf(r); got != want {
			t.Errorf("a verifier computes %s of\n%s", got, arrives)
		}
		if strings.Contains(arrives, agentsKey) {
			t.Errorf("the agent's key arrives:\n%s", arrives)
		}
	})
}

func onALine(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '#' })
}

// spelled is a request's head as it goes over the wire.
func spelled(r *inject.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s?%s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.Path, r.RawQuery, r.Host)
	_ = http.Header(r.Header).Write(&b) // to memory
	return b.String()
}

func signatureOf(r *inject.Request) string {
	_, signature, _ := strings.Cut(r.Header["Authorization"][0], "Signature=")
	return signature
}

// verifies computes the signature that a head must bear, as AWS's manual says and
// without any code that signs. The body's hash is that of X-Amz-Content-Sha256, or
// is computed.
func verifies(t testing.TB, head string, s3 bool, body string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(head, "\r\n"), "\r\n")
	first := strings.Split(lines[0], " ")
	method, target := first[0], first[1]
	path, query, _ := strings.Cut(target, "?")
	fields := make(map[string]string)
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.ToLower(name), collapsed(strings.Trim(value, " \t"))
		if before, ok := fields[name]; ok {
			value = before + "," + value
		}
		fields[name] = value
	}
	scope, names := betweenWords(fields["authorization"], "Credential=", ","), betweenWords(fields["authorization"], "SignedHeaders=", ",")
	_, scope, _ = strings.Cut(scope, "/")
	canonical := method + "\n" + canonicalURI(path, s3) + "\n" + canonicalParameters(query) + "\n"
	for name := range strings.SplitSeq(names, ";") {
		canonical += name + ":" + fields[name] + "\n"
	}
	for name := range fields {
		if signed := slices.Contains(strings.Split(names, ";"), name); !signed && (name == "host" || name == "content-type" || strings.HasPrefix(name, "x-amz-")) {
			t.Errorf("%s is not signed in\n%s", name, head)
		}
	}
	hash, ok := fields["x-amz-content-sha256"]
	if !ok {
		hash = hexSum(body)
	}
	canonical += "\n" + names + "\n" + hash
	key := []byte("AWS4" + awsValues["S"])
	for word := range strings.SplitSeq(scope, "/") {
		key = hmacOf(key, word)
	}
	return hex.EncodeToString(hmacOf(key, "AWS4-HMAC-SHA256\n"+fields["x-amz-date"]+"\n"+scope+"\n"+hexSum(canonical)))
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func hmacOf(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func betweenWords(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}

// collapsed makes one space of several.
func collapsed(s string) string {
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	return s
}

func canonicalURI(path string, s3 bool) string {
	if s3 {
		return uriEncoded(percentDecoded(path, false), "/")
	}
	segments := []string{}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == ".." && len(segments) > 0 {
			segments = segments[:len(segments)-1]
		} else if segment != "" && segment != "." && segment != ".." {
			segments = append(segments, segment)
		}
	}
	resolved := "/" + strings.Join(segments, "/")
	if strings.HasSuffix(path, "/") && resolved != "/" {
		resolved += "/"
	}
	return uriEncoded(resolved, "/")
}

func canonicalParameters(query string) string {
	type pair struct{ name, value string }
	var pairs []pair
	for part := range strings.SplitSeq(query, "&") {
		if part != "" {
			name, value, _ := strings.Cut(part, "=")
			pairs = append(pairs, pair{uriEncoded(percentDecoded(name, true), ""), uriEncoded(percentDecoded(value, true), "")})
		}
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if a.name != b.name {
			return strings.Compare(a.name, b.name)
		}
		return strings.Compare(a.value, b.value)
	})
	var spelled []string
	for _, p := range pairs {
		spelled = append(spelled, p.name+"="+p.value)
	}
	return strings.Join(spelled, "&")
}

func percentDecoded(s string, form bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%' && i+2 < len(s):
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "not decodable"
			}
			b.WriteByte(byte(n))
			i += 2
		case c == '+' && form:
			b.WriteByte(' ')
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func uriEncoded(s, kept string) string {
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(unreserved+kept, s[i]) >= 0 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}
