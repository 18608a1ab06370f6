package inject

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestSigV4Suite: AWS's own test suite gets the signatures that AWS published.
func TestSigV4Suite(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/sigv4-test-suite.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, f := range archive.Files {
		files[f.Name] = strings.TrimSuffix(string(f.Data), "\n")
	}
	cases := 0
	for name := range files {
		name, ok := strings.CutSuffix(name, ".req")
		if !ok {
			continue
		}
		cases++
		canonical := files[name+".creq"]
		r := readVector(t, files[name+".req"])
		s := awsSigning{service: "service", region: "us-east-1", at: time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)}
		s.credentials = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
		if _, token, ok := strings.Cut(canonical, "x-amz-security-token:"); ok {
			s.credentials.SessionToken, _, _ = strings.Cut(token, "\n")
		}
		sum := sha256.Sum256(r.Body)
		s.payload = hex.EncodeToString(sum[:])
		if _, err := s.sign(r); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, want := r.Header[authorization][0], strings.TrimSpace(files[name+".authz"]); got != want {
			t.Errorf("%s:\n got %s\nwant %s\nof %q", name, got, want, canonical)
		}
	}
	if cases != 34 {
		t.Errorf("%d cases", cases)
	}
}

// readVector reads a request as the suite spells it: as no parser of HTTP takes
// it, with folded lines and bytes that must be escaped.
func readVector(t *testing.T, text string) *Request {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSpace(head), "\n")
	first := strings.TrimSuffix(lines[0], " HTTP/1.1")
	method, target, ok := strings.Cut(first, " ")
	if !ok {
		t.Fatalf("%q", text)
	}
	r := &Request{Method: method, Scheme: "https", Header: make(map[string][]string), Body: []byte(body)}
	r.Path, r.RawQuery, _ = strings.Cut(target, "?")
	last := ""
	for _, line := range lines[1:] {
		if strings.HasPrefix(line, " ") {
			values := r.Header[last]
			values[len(values)-1] += " " + strings.TrimSpace(line)
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		switch last = canonical(name); last {
		case "Host":
			r.Host = value
		case amzDate, amzSecurityToken:
		default:
			r.Header[last] = append(r.Header[last], strings.TrimSpace(value))
		}
	}
	return r
}

// awsExample signs as the examples of the S3 manual do.
func awsExample(payload string) *awsSigning {
	return &awsSigning{
		service: "s3", region: "us-east-1", at: time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC), payload: payload,
		credentials: aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"},
	}
}

// TestSigV4OfS3: the examples of S3's manual.
//
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
func TestSigV4OfS3(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, tt := range []struct {
		method, path, query, payload string
		header                       map[string][]string
		want                         string
	}{
		{"GET", "/test.txt", "", empty, map[string][]string{"Range": {"bytes=0-9"}}, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
		{
			"PUT", "/test%24file.text", "", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
			map[string][]string{"Date": {"Fri, 24 May 2013 00:00:00 GMT"}, "X-Amz-Storage-Class": {"REDUCED_REDUNDANCY"}},
			"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		},
		{"GET", "/", "lifecycle", empty, nil, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
		{"GET", "/", "max-keys=2&prefix=J", empty, nil, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
	} {
		r := &Request{Method: tt.method, Scheme: "https", Host: "examplebucket.s3.amazonaws.com", Path: tt.path, RawQuery: tt.query, Header: tt.header}
		r.set(amzContentSha256, tt.payload)
		got, err := awsExample(tt.payload).sign(r)
		if err != nil || got != tt.want {
			t.Errorf("%s %s?%s: %s, %v, want %s", tt.method, tt.path, tt.query, got, err, tt.want)
		}
	}
}

// streamed is a body in signed chunks, whose signatures are of no worth.
func streamed(data []byte, size int, trailer string) string {
	var b strings.Builder
	chunk := func(data []byte) {
		b.WriteString(strings.ToLower(hex.EncodeToString([]byte{byte(len(data) >> 16), byte(len(data) >> 8), byte(len(data))})))
		b.WriteString(chunkSignature + strings.Repeat("0", 64) + "\r\n")
		b.Write(data)
	}
	for len(data) > 0 {
		n := min(size, len(data))
		chunk(data[:n])
		b.WriteString("\r\n")
		data = data[n:]
	}
	chunk(nil)
	if trailer != "" {
		b.WriteString(trailer + "\r\n" + trailerSignature + strings.Repeat("0", 64) + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

// TestSigV4Chunks: the manual's examples of bodies in signed chunks, with a
// trailer and without.
func TestSigV4Chunks(t *testing.T) {
	for _, tt := range []struct {
		payload, seed, trailer string
		want                   []string
	}{
		{signedChunks, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9", "", []string{
			"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
			"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
			"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
		}},
		{signedTrailer, "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e", "x-amz-checksum-crc32c:sOO8/Q==", []string{
			"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
			"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
			"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
			"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435",
		}},
	} {
		body := streamed(bytes.Repeat([]byte("a"), 65*1024), 64*1024, tt.trailer)
		want := body
		for _, s := range tt.want {
			want = strings.Replace(want, strings.Repeat("0", 64), s, 1)
		}
		for how, from := range map[string]io.Reader{"whole": strings.NewReader(body), "by halves": iotest.HalfReader(strings.NewReader(body)), "byte by byte": iotest.OneByteReader(strings.NewReader(body))} {
			got, err := io.ReadAll(awsExample(tt.payload).chunks(tt.seed).over(from))
			if err != nil || string(got) != want {
				t.Errorf("%s, %s: %v, %d bytes of %d; the last are\n%q, want\n%q", tt.payload, how, err, len(got), len(want), tail(string(got)), tail(want))
			}
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-300):] }

// TestSigV4ChunksRefused: what is not in signed chunks ends with an error, and of
// the chunk in which that shows nothing is passed on.
func TestSigV4ChunksRefused(t *testing.T) {
	good := streamed([]byte("data"), 4, "")
	trailed := streamed([]byte("data"), 4, "x-amz-checksum-crc32c:sOO8/Q==")
	mark := strings.Repeat("0", 64)
	for _, tt := range []struct {
		payload, body string
		want          error
	}{
		{signedChunks, "", errChunked},
		{signedChunks, "data", errChunked},
		{signedChunks, strings.Repeat("0", 1<<16), errChunked},
		{signedChunks, "4\r\ndata\r\n0\r\n\r\n", errChunked},
		{signedChunks, good[:len(good)-1], errChunked},
		{signedChunks, good + "x", errChunked},
		{signedChunks, strings.ReplaceAll(good, mark, mark[1:]), errChunked},
		{signedChunks, strings.Replace(good, "data\r\n", "data\n", 1), errChunked},
		{signedChunks, strings.Replace(good, "000004;", "-4;", 1), errChunked},
		{signedChunks, strings.Replace(good, "000004;", "000005;", 1), errChunked},
		{signedChunks, strings.Replace(good, "000004;", "100001;", 1), errLongChunk},
		{signedChunks, strings.Replace(good, "000004;", "ffffffffffffffff;", 1), errChunked},
		{signedChunks, trailed, errChunked},
		{signedTrailer, good, errChunked},
		{signedTrailer, strings.Replace(trailed, trailerSignature+mark, trailerSignature+mark[1:], 1), errChunked},
		{signedTrailer, strings.Replace(trailed, "x-amz-checksum", strings.Repeat("x-a: b\r\n", 1<<10)+"x-amz-checksum", 1), errChunked},
	} {
		got, err := io.ReadAll(awsExample(tt.payload).chunks("").over(strings.NewReader(tt.body)))
		if err != tt.want {
			t.Errorf("%s of %q: %v, want %v", tt.payload, tail(tt.body), err, tt.want)
		}
		if first := strings.Index(good, "000000;"); len(got) != 0 && len(got) != first {
			t.Errorf("%s of %q: passes on %q", tt.payload, tail(tt.body), got)
		}
	}
	// What the agent's side fails with is not the agent's mistake.
	if _, err := io.ReadAll(awsExample(signedChunks).chunks("").over(io.MultiReader(strings.NewReader(good[:90]), iotest.ErrReader(io.ErrClosedPipe)))); err != io.ErrClosedPipe {
		t.Errorf("%v", err)
	}
}

// Some clients end the trailers before their signature.
func TestSigV4ChunksLenient(t *testing.T) {
	body := strings.Replace(streamed(nil, 1, "X-Amz-Checksum-Crc32c: AAAAAA==\n"), "\n\r\n"+trailerSignature, "\n\r\n"+trailerSignature, 1)
	got, err := io.ReadAll(awsExample(signedTrailer).chunks("").over(strings.NewReader(body)))
	if err != nil || len(got) != len(body) || strings.Contains(string(got), strings.Repeat("0", 64)) {
		t.Errorf("%v, %q of %q", err, got, body)
	}
}

// FuzzSigV4Chunks: of a body nothing changes but its signatures, and not its
// length; what is cut short is passed on as it is up to there.
func FuzzSigV4Chunks(f *testing.F) {
	f.Add([]byte(streamed([]byte("some data"), 4, "")), false)
	f.Add([]byte(streamed([]byte("some data"), 9, "x-amz-checksum-crc32c:sOO8/Q==")), true)
	f.Add([]byte(streamed(nil, 1, "a:b\n")), true)
	f.Add([]byte("0;chunk-signature="+strings.Repeat("é", 32)+"\r\n\r\n"), false)
	f.Fuzz(func(t *testing.T, body []byte, trailers bool) {
		payload := map[bool]string{true: signedTrailer, false: signedChunks}[trailers]
		got, err := io.ReadAll(awsExample(payload).chunks("").over(bytes.NewReader(body)))
		if len(got) > len(body) || err == nil && len(got) != len(body) {
			t.Fatalf("%d bytes of %d, %v", len(got), len(body), err)
		}
		for i := range got {
			if got[i] != body[i] && !bytes.ContainsRune([]byte("0123456789abcdef"), rune(got[i])) {
				t.Fatalf("byte %d of %q is %q", i, body, got[i])
			}
		}
	})
}
