package scrub_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"html"
	"io"
	"net/url"
	"strings"
	"testing"

	"agentvault/broker/scrub"
)

// An upstream that prints a private key breaks it into lines as it likes.
func TestPrivateKeysInEveryLayout(t *testing.T) {
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]any{"RSA": rs, "EC": ec, "Ed25519": ed} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		stored := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		account, err := json.MarshalIndent(map[string]string{"type": "service_account", "private_key": stored}, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: bytes.Repeat([]byte("public"), 20)}))
		for _, value := range []string{stored, strings.TrimSpace(stored), strings.ReplaceAll(stored, "\n", "\r\n"), cert + stored, string(account)} {
			testLayouts(t, name, value, stored, der)
		}
	}
}

func testLayouts(t *testing.T, name, value, stored string, der []byte) {
	set := scrub.Compile([][]byte{[]byte(value)})
	one := strings.Join(strings.Split(strings.TrimSpace(stored), "\n")[1:], "")
	one = one[:strings.Index(one, "-")]
	escaped := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	crlf := strings.ReplaceAll(stored, "\n", "\r\n")
	for layout, text := range map[string]string{
		"as it is":             stored,
		"CRLF":                 crlf,
		"JSON":                 escaped(stored),
		"JSON with CRLF":       escaped(crlf),
		"JSON in JSON":         escaped(escaped(stored)),
		"spaces for breaks":    strings.ReplaceAll(stored, "\n", " "),
		"on one line":          one,
		"broken at 76":         broken(one, 76),
		"indented":             strings.ReplaceAll(stored, "\n", "\n      "),
		"in a form":            url.QueryEscape(stored),
		"in a page":            html.EscapeString(strings.ReplaceAll(stored, "\n", "<br>")),
		"base64url":            base64.RawURLEncoding.EncodeToString(der),
		"hex":                  hex.EncodeToString(der),
		"base64 of it":         base64.StdEncoding.EncodeToString([]byte(stored)),
		"base64 of it, CRLF":   base64.StdEncoding.EncodeToString([]byte(crlf)),
		"a line alone":         "line: " + strings.Split(stored, "\n")[1],
		"a line alone, quoted": escaped(strings.Split(stored, "\n")[1]),
	} {
		masked, err := io.ReadAll(set.Reader(strings.NewReader("before " + text + " after")))
		if err != nil {
			t.Fatal(err)
		}
		if len(masked) != len(text)+len("before  after") || !bytes.HasPrefix(masked, []byte("before ")) || !bytes.HasSuffix(masked, []byte(" after")) {
			t.Errorf("%s, %s: what stands around it has changed: %q", name, layout, masked)
		}
		// The end of a last line, and what mixes in bits of a neighbour, may stay.
		for i := 0; i+16 <= len(text); i++ {
			if piece := text[i : i+16]; isSecret(piece, one, stored, der) && bytes.Contains(masked, []byte(piece)) {
				t.Errorf("%s, %s: %q is left of\n%s\nin\n%s", name, layout, piece, text, masked)
				break
			}
		}
	}
	public := []byte("-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("public"), 8)))
	if masked, err := io.ReadAll(set.Reader(bytes.NewReader(public))); err != nil || !bytes.Equal(masked, public) {
		t.Errorf("%s: a certificate became %q, %v", name, masked, err)
	}
}

// isSecret reports whether a piece of a text is more than what stands around keys.
func isSecret(piece, one, stored string, der []byte) bool {
	coded := base64.StdEncoding.EncodeToString([]byte(stored))
	return strings.Contains(one, piece) || strings.Contains(hex.EncodeToString(der), piece) ||
		strings.Contains(coded[40:len(coded)-44], piece) // between BEGIN and END
}

func broken(s string, at int) string {
	var b strings.Builder
	for len(s) > at {
		b.WriteString(s[:at] + "\n")
		s = s[at:]
	}
	return b.String() + s
}
