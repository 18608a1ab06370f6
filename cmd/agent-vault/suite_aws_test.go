package main_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An awsWorld is a store that takes S3's requests and verifies their signatures,
// behind a vault.
type awsWorld struct {
	*suiteWorld
	aws, python string
}

func newAWSWorld(t *testing.T) *awsWorld {
	t.Helper()
	store := suiteProgram(t, "versitygw")
	w := &awsWorld{aws: suiteProgram(t, "aws/bin/aws"), python: suiteProgram(t, "aws/bin/python")}
	w.suiteWorld = newSuiteWorld(t, "auth: {type: aws-sigv4, access_key_id: SUITE_ID, secret_access_key: SUITE_KEY, service: s3, region: us-east-1}")
	dir, meta := t.TempDir(), t.TempDir()
	startUpstream(t, upstreamAt(w.ports[0]), store, "--port", upstreamAt(w.ports[0]), "--cert", w.certFile, "--key", w.keyFile,
		"--access", suiteID, "--secret", suiteKey, "--region", "us-east-1", "--quiet", "posix", "--sidecar", meta, dir)
	return w
}

// An awsWay leads an unmodified client to the store.
type awsWay struct {
	name, endpoint string
	env            []string
}

// ways are those through the vault. Keys are worth nothing, but for the id on the
// path entrance, which is the session's token.
func (w *awsWorld) ways() []awsWay {
	return []awsWay{
		{"proxy", "https://" + suiteHost, []string{"HTTPS_PROXY=" + w.proxyURL(), "AWS_CA_BUNDLE=" + w.caFile, "AWS_ACCESS_KEY_ID=AKIADUMMY"}},
		{"path", w.API + "/proxy/" + suiteHost, []string{"AWS_ACCESS_KEY_ID=" + w.token}},
	}
}

func (w *awsWorld) run(way awsWay, program string, args ...string) (string, error) {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = w.env(append(way.env, "AWS_SECRET_ACCESS_KEY=dummy", "AWS_DEFAULT_REGION=us-east-1", "AWS_MAX_ATTEMPTS=1", "AWS_EC2_METADATA_DISABLED=true", "PYTHONUTF8=1")...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestAWSBoto: boto3 finds a store as it would be without the vault, whether it
// signs with keys that are worth nothing, with hashes of bodies, or not at all.
func TestAWSBoto(t *testing.T) {
	w := newAWSWorld(t)
	for n, way := range w.ways() {
		for m, how := range []string{"signed", "hash", "unsigned"} {
			if how == "unsigned" && way.name == "path" {
				continue // the token would be nowhere
			}
			out, err := w.run(way, w.python, "testdata/aws/store.py", way.endpoint, fmt.Sprintf("bucket-%d%d", n, m), how)
			if err != nil {
				t.Errorf("%s, %s: %v\n%s", way.name, how, err, out)
			}
			t.Logf("%s, %s: %s", way.name, how, strings.TrimSpace(out))
		}
	}
}

// TestAWSCommandLine: the same of the AWS CLI. Without the vault its keys open
// nothing.
func TestAWSCommandLine(t *testing.T) {
	w := newAWSWorld(t)
	direct := awsWay{"directly", "https://" + upstreamAt(w.ports[0]), []string{"AWS_ACCESS_KEY_ID=" + suiteID}}
	if out, err := w.run(direct, w.aws, "s3", "--no-verify-ssl", "--endpoint-url", direct.endpoint, "ls"); err == nil || !strings.Contains(out, "SignatureDoesNotMatch") {
		t.Errorf("the store takes any signature: %v\n%s", err, out)
	}
	big := make([]byte, 20<<20)
	rand.Read(big)
	dir := t.TempDir()
	file := filepath.Join(dir, "big file+é.bin")
	if err := os.WriteFile(file, big, 0o600); err != nil {
		t.Fatal(err)
	}
	for n, way := range w.ways() {
		bucket := fmt.Sprintf("s3://shelf-%d", n)
		back := filepath.Join(dir, way.name)
		for _, args := range [][]string{
			{"mb", bucket}, {"cp", file, bucket}, {"cp", "testdata/aws/store.py", bucket + "/a folder/it's (1)+~.py"}, {"ls", "--recursive", bucket},
			{"cp", bucket + "/big file+é.bin", back}, {"mv", bucket + "/a folder/it's (1)+~.py", bucket + "/b"}, {"rm", "--recursive", bucket}, {"rb", bucket},
		} {
			out, err := w.run(way, w.aws, append([]string{"s3", "--endpoint-url", way.endpoint}, args...)...)
			if err != nil {
				t.Fatalf("%s, aws s3 %q: %v\n%s\nserver: %s", way.name, args, err, out, w.stderr)
			}
			if args[0] == "ls" && (!strings.Contains(out, "big file+é.bin") || !strings.Contains(out, "a folder/it's (1)+~.py")) {
				t.Errorf("%s: ls says\n%s", way.name, out)
			}
		}
		if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, big) {
			t.Errorf("%s: the file came back as %d bytes, %v", way.name, len(got), err)
		}
	}
}

// TestAWSChunks: a store verifies each chunk of a body that is signed chunk by
// chunk, and the trailer; the agent's chunks are signed with nothing.
func TestAWSChunks(t *testing.T) {
	w := newAWSWorld(t)
	if out, err := w.run(w.ways()[0], w.aws, "s3", "--endpoint-url", "https://"+suiteHost, "mb", "s3://chunks"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	client := &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyURL(mustURL(t, w.proxyURL())), TLSClientConfig: &tls.Config{RootCAs: w.trust()},
	}}
	defer client.CloseIdleConnections()
	const mark = "0000000000000000000000000000000000000000000000000000000000000000"
	for _, tt := range []struct {
		payload, trailer string
		chunks           []int
	}{
		{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", []int{64 << 10, 64 << 10, 1 << 20, 77}},
		{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "", nil},
		{"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", "x-amz-checksum-crc32:AAAAAA==", nil},
	} {
		var body bytes.Buffer
		length := 0
		for _, n := range append(tt.chunks, 0) {
			fmt.Fprintf(&body, "%x;chunk-signature=%s\r\n", n, mark)
			if n > 0 {
				body.Write(bytes.Repeat([]byte("x"), n))
				body.WriteString("\r\n")
			}
			length += n
		}
		if tt.trailer != "" {
			fmt.Fprintf(&body, "%s\r\nx-amz-trailer-signature:%s\r\n", tt.trailer, mark)
		}
		body.WriteString("\r\n")
		req, err := http.NewRequestWithContext(t.Context(), "PUT", "https://"+suiteHost+"/chunks/object", &body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"X-Amz-Content-Sha256": {tt.payload}, "X-Amz-Decoded-Content-Length": {strconv.Itoa(length)}, "Content-Encoding": {"aws-chunked"}}
		if name, _, ok := strings.Cut(tt.trailer, ":"); ok {
			req.Header.Set("X-Amz-Trailer", name)
		}
		if resp, err := client.Do(req); err != nil {
			t.Errorf("%s of %v: %v", tt.payload, tt.chunks, err)
		} else if text := bodyOf(t, resp); resp.StatusCode != http.StatusOK {
			t.Errorf("%s of %v: %s\n%s", tt.payload, tt.chunks, resp.Status, text)
		}
		if resp, err := client.Get("https://" + suiteHost + "/chunks/object"); err != nil {
			t.Error(err)
		} else if got := bodyOf(t, resp); got != strings.Repeat("x", length) {
			t.Errorf("%s of %v: %d bytes are stored, want %d", tt.payload, tt.chunks, len(got), length)
		}
	}
}

func bodyOf(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return string(body)
}
