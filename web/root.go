package web

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A root is the certificate that clients of the proxy entrance trust.
type root struct {
	Fingerprint []string  // SHA-256, byte by byte in hex
	EndsAt      time.Time // of its validity
	Files       []rootFile
	pem, der    []byte
}

// A rootFile is a form in which it is downloaded.
type rootFile struct {
	Name, Form, For string
	kind            string // Content-Type
	content         func(root) []byte
}

var rootFiles = []rootFile{
	{"agent-vault-ca.pem", "PEM", "Linux, macOS, and most programs", "application/x-pem-file", func(r root) []byte { return r.pem }},
	{"agent-vault-ca.der", "DER", "Windows, Android, and Java", "application/pkix-cert", func(r root) []byte { return r.der }},
}

func (v *visit) root() (r root, err error) {
	r.Files = rootFiles
	if r.pem, err = v.client.CAPEM(v.ctx()); err != nil {
		return r, err
	}
	block, _ := pem.Decode(r.pem)
	if block == nil {
		return r, errors.New("the root certificate is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return r, fmt.Errorf("the root certificate: %w", err)
	}
	sum := sha256.Sum256(cert.Raw)
	r.der, r.EndsAt = cert.Raw, cert.NotAfter
	r.Fingerprint = strings.Fields(fmt.Sprintf("% X", sum))
	return r, nil
}

func downloadRoot(v *visit) error {
	for _, f := range rootFiles {
		if f.Name != v.r.PathValue("file") {
			continue
		}
		r, err := v.root()
		if err != nil {
			return err
		}
		v.w.Header().Set("Content-Type", f.kind)
		v.w.Header().Set("Content-Disposition", "attachment; filename="+f.Name)
		_, _ = v.w.Write(f.content(r)) // a client that went away is no concern of ours
		return nil
	}
	return refusal{http.StatusNotFound, "There is no such file."}
}
