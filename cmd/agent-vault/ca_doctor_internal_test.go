package main

import (
	"strings"
	"testing"
)

// TestDoctorsSigns: what programs say of each problem, as they said it.
func TestDoctorsSigns(t *testing.T) {
	for _, tt := range []struct{ says, want string }{
		{"curl: (60) SSL certificate problem: unable to get local issuer certificate", problemUntrusted},
		{"ERROR: The certificate of 'doctor.agent-vault.invalid' is not trusted.", problemUntrusted},
		{"<= Recv header: HTTP/1.1 407 Proxy Authentication Required\nfatal: unable to access 'https://doctor.agent-vault.invalid/': server certificate verification failed. CAfile: none CRLfile: none", problemUntrusted},
		{`tls: failed to verify certificate: x509: certificate signed by unknown authority`, problemUntrusted},
		{"javax.net.ssl.SSLHandshakeException: PKIX path building failed", problemUntrusted},
		{"error: invalid peer certificate: UnknownIssuer", problemUntrusted},
		{"Error: getaddrinfo ENOTFOUND doctor.agent-vault.invalid", problemNoProxy},
		{"curl: (6) Could not resolve host: doctor.agent-vault.invalid", problemNoProxy},
		{"Exception in thread \"main\" java.net.UnknownHostException: doctor.agent-vault.invalid", problemNoProxy},
		{"java.io.IOException: Unable to tunnel through proxy. Proxy returns \"HTTP/1.1 407 Proxy Authentication Required\"", problemRefused},
		{"curl: (7) Failed to connect to 127.0.0.1 port 14322 after 4 ms: Couldn't connect to server", problemNoWay},
		{"Segmentation fault", problemOther},
		{"", problemOther},
	} {
		if got := problemOf(tt.says); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.says, got, tt.want)
		}
	}
}

func TestDoctorsLine(t *testing.T) {
	d := &doctor{token: "av_sess_token"}
	for in, want := range map[string]string{
		"": "",
		"first\n  error: it broke  \nhelp text\n": "error: it broke",
		"only\nlines\n\n":                         "lines",
		"http://av_sess_token:x@host failed\n":    "http://(token):x@host failed",
		strings.Repeat("é", 300):                  strings.Repeat("é", 150) + "…",
	} {
		if got := d.shown(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestBounded(t *testing.T) {
	var b bounded
	for range 3 {
		if n, err := b.Write(make([]byte, maxSaid/2+1)); n != maxSaid/2+1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(b.String()) != maxSaid {
		t.Errorf("%d bytes are kept", len(b.String()))
	}
}

// TestProbes: each can be told apart, and says what mends it.
func TestProbes(t *testing.T) {
	seen := make(map[string]bool)
	for _, p := range probes {
		if seen[p.name] || p.trusts == "" {
			t.Errorf("%s is there twice, or trusts nothing", p.name)
		}
		seen[p.name] = true
		if p.note == "" && (p.fix == "" || p.args == nil || p.version == nil) {
			t.Errorf("%s is tried and lacks something", p.name)
		}
		if (p.needs == nil) != (p.lacking == "") {
			t.Errorf("%s needs something and does not say what", p.name)
		}
	}
}
